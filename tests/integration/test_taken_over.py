"""A tree and a state of 0.1.0 are taken over by this version: nothing is lost, and names of owners in new archives make no new content."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from fixtures.taken_over import ARCHIVE, LOST, NIGHTS, PLACE, add_hosts, mailed_by
from helpers.mail_server import serving
from helpers.trees import needs_root
from integration.site import REPOSITORY, Site, call, commit_svn, item_of, tarballs_of

from ansible_collections.altbackup.core.plugins.module_utils.tree.contents import content_of
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree, split_relpath
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import read

TONIGHT, NEXT = "2013/05/10/104701", "2013/05/11/104701"
UNCHANGED = (("git", "toolbox"), ("folder", "svnsetup"), ("folder", LOST), ("sqlite", "monitor"))
KEPT = ("svn/dybsvn", "git/toolbox", "folders/svnsetup", "databases/monitor")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The machine as 0.1.0 left it: bases, live data, and the files in its user's home.

    An upgrade leaves all of it in place. Here it lies elsewhere, so the paths in its texts are changed. Nothing else needs to be: no file
    of it holds an inode, a device or a boot. (What restores remember in the user's state does, and is not part of it.)
    """
    made = Site(tmp_path)
    add_hosts(made)
    call("tar", "--extract", "--numeric-owner", "-f", ARCHIVE, "-C", tmp_path)
    places = {f"{PLACE}/collection": str(REPOSITORY), str(PLACE): str(tmp_path)}
    markers = [tmp_path / "dayabay" / "backup" / ".altbackup", tmp_path / "cms01" / "copies" / ".altbackup"]
    homes = [tmp_path / "home", tmp_path / "live"]
    for path in (path for folder in (*markers, *homes) for path in folder.rglob("*") if path.is_file()):
        relocate(path, places)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return made


def relocate(path: Path, places: dict[str, str]) -> None:
    """Change paths in a file, and keep its times."""
    text = before = path.read_bytes()
    for old, new in places.items():
        text = text.replace(old.encode(), new.encode())
    if text != before:
        status = path.stat()
        path.write_bytes(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def trees(site: Site) -> tuple[Path, Path]:
    """Return the tree of the source and its copy on the target."""
    return site.folder / "dayabay" / "backup", site.folder / "cms01" / "copies" / "dayabay"


def files_of(tree: Path) -> dict[str, tuple[Any, ...]]:
    """Return the files of a tree's tarballs and their companions: {path: (inode, time, content)}."""
    found = {path: path.stat() for path in tree.glob("[!.]*/*/*/*/*/*/*")}
    return {str(path): (status.st_ino, status.st_mtime_ns, path.read_bytes()) for path, status in found.items()}


def content(tree: Path, path: Path) -> Hashable:
    """Return the key of a tarball's content."""
    opened = open_tree(str(tree))
    category, name, stamp, _ = split_relpath(str(path.relative_to(tree)))
    return content_of(read_record(opened, f"{category}/{name}", stamp), read(f"{path}.dna"))


@pytest.mark.root
@needs_root
@pytest.mark.full
def test_trees_and_state_of_an_older_version_are_taken_over(site: Site) -> None:
    old = [files_of(tree) for tree in trees(site)]
    assert [sum(path.endswith(".proof") for path in files) for files in old] == [5, 5]

    to = site.folder / "restored"
    order = {"source": "dayabay", "kind": "folder", "name": "svnsetup", "from": "cms01", "at": NIGHTS[0], "to": str(to)}
    restored = site.run("restore", stamp=TONIGHT, restore=[order], adopt=[f"dayabay/folders/{LOST}"])
    assert restored.rc == 0, restored.stdout
    assert (to / "users.conf").read_text() == "[users]\n", "as it was in the first night"
    assert not (site.live / f"{LOST}.altbackup-restored").exists(), "the marker of the copy was understood"

    commit_svn(site.live / "svn", "tonight", "tonight\n")
    with serving("accepts") as server:
        site.mail = mailed_by(server)
        night = site.run("backup", stamp=TONIGHT)
    assert night.rc == 0, night.stdout
    (mail,) = server.messages()
    assert "RECOVERED" in mail["Subject"], "it is known that the last night failed"
    source, _ = trees(site)
    made = sum(item_of(source, kind, name)[-1].stat().st_size for kind, name in (("svn", "dybsvn"), *UNCHANGED))
    sent = [count for _, _, result in night.calls for count in result.get("sent", {}).values()]
    assert sent == [made], "all have names of owners now"
    assert [note for _, _, result in night.calls for note in result.get("notes", [])] == []

    for tree, files in zip(trees(site), old, strict=True):
        now = files_of(tree)
        assert {path: now.get(path) for path in files} == files
        for kind, name in UNCHANGED:
            *_, before, tonight = item_of(tree, kind, name)
            assert TONIGHT in str(tonight) and not tonight.samefile(before)
            assert content(tree, tonight) == content(tree, before), "what did not change is one content"
        *_, before, tonight = item_of(tree, "svn", "dybsvn")
        assert content(tree, tonight) != content(tree, before)
        assert len(tarballs_of(tree)) == 14

    assert site.run("check", stamp=TONIGHT, check_scope="all").rc == 0
    listed = site.folder / "list.json"
    assert site.run("list", stamp=TONIGHT, list_file=str(listed)).rc == 0
    entries = json.loads(listed.read_text())
    assert {entry["state"] for entry in entries} == {"verified"}
    stamps = {key: [*NIGHTS, TONIGHT] for key in KEPT} | {f"folders/{LOST}": [NIGHTS[0], TONIGHT]}
    assert sorted(
        (entry["node"], f"{entry['category']}/{entry['name']}", entry["stamp"]) for entry in entries
    ) == sorted((node, key, stamp) for node in ("dayabay", "cms01") for key, found in stamps.items() for stamp in found)

    quiet = site.run("backup", stamp=NEXT)
    assert quiet.rc == 0, quiet.stdout
    assert [count for _, _, result in quiet.calls for count in result.get("sent", {}).values() if count] == []
    for tree in trees(site):
        for kind, name in UNCHANGED:
            *_, tonight, last = item_of(tree, kind, name)
            assert NEXT in str(last) and last.samefile(tonight), "what did not change has one file"
            assert content(tree, last) == content(tree, tonight)
