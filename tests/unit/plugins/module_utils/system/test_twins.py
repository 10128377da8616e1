"""Bases on file systems without links and modes: hard links elsewhere are copies here, and nothing fails for it."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.invariants import Tree, violations
from helpers.bare_disk import bare_disk
from helpers.drills import make_database
from helpers.original_trees import put
from helpers.repositories import make_git, make_subversion
from helpers.restore_disk import SCRIPT
from helpers.trees import FIRST, NOBODY, SECOND, THIRD, Base, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.restore.drill import drill
from ansible_collections.altbackup.core.plugins.module_utils.stages.check import verify_base
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.stages.preflight import Demands, inspect
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.synchronize import rsync, send
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.accept import accept
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.prepare import prepare
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.transfer_plan import Request
from ansible_collections.altbackup.core.plugins.module_utils.system import twins
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import point_last
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import Ruling
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment, day_of

NOW = Moment(THIRD, THIRD)


@pytest.fixture(params=[False, True], ids=["modes ignored", "modes refused"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk without links of either kind, and without modes."""
    with bare_disk(tmp_path, refuse_modes=request.param) as top:
        yield top


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, Any]:
    """An item."""
    path = tmp_path / "notes"
    path.mkdir()
    (path / "one").write_text("one")
    return {"kind": "folder", "name": "notes", "path": str(path)}


def test_unchanged_item_on_a_disk_without_links_is_a_copy_of_its_own(bare: Path, folder: dict[str, Any]) -> None:
    base = Base(bare / "base")
    first = base.dump(folder, stamp=FIRST)
    again = base.dump(folder, stamp=SECOND)
    assert [result["failures"] for result in (first, again)] == [[], []]
    old, new = (Path(result["tarballs"][0]["path"]) for result in (first, again))
    assert old.read_bytes() == new.read_bytes()
    assert old.stat().st_ino != new.stat().st_ino
    assert not (old.parents[4] / "last").exists()
    third = base.dump(folder, stamp=SECOND)
    assert (third["changed"], third["failures"]) == (False, [])


@pytest.mark.sampled(4)
def test_damaged_older_copy_is_told_where_there_are_no_links(bare: Path, folder: dict[str, Any]) -> None:
    base = Base(bare / "base")
    for stamp in (FIRST, SECOND):
        base.dump_one(folder, stamp=stamp)
    old = bare / "base/folders/notes" / SECOND / "notes.tar.zst"
    old.write_bytes(bytes(old.stat().st_size))
    result = base.dump(folder, stamp=THIRD)
    assert ["is damaged" in entry["reason"] for entry in result["failures"]] == [True]
    assert [entry["stamp"] for entry in result["tarballs"]] == [THIRD]


def night(source: Path, copies: Path, stamp: str, *, pull: bool) -> tuple[list[str], dict[str, Any]]:
    """Transfer a source's tarballs to a target as a run does; return the reasons of failures, and the result of prepare."""
    tree = copies / "dayabay"
    incoming = copies / ".altbackup/incoming/dayabay"
    tarballs = listing(str(source), moment=NOW, records=True)["tarballs"]
    options: dict[str, Any] = {"day": day_of(stamp), "moment": NOW, "ruling": Ruling({"": 9}), "basis": True}
    with held(open_tree(str(tree)), None) as hold:
        prepared = prepare(Request(str(tree), tarballs, **options), hold)
    sent = [entry for entry in tarballs if entry["relpath"] in prepared["send"]]
    deliveries, offers = ([], [("cms01", sent)]) if pull else ([(Peer("cms01", str(incoming)), sent)], [])
    carried = send.send(str(source), deliveries, Deadline(60), offers)
    peer = Peer("dayabay", send.offer_folder(str(source), "cms01"))
    fetch = (lambda folder, wanted: rsync.fetch(folder, peer, wanted, Deadline(60))) if pull else None
    with held(open_tree(str(tree)), None) as hold:
        accepted = accept(hold, sent, moment=NOW, fetch=fetch)
    entries = [*prepared["failures"], *carried["failures"], *accepted["failures"]]
    return [entry["reason"] for entry in entries], prepared


def marked(path: Path) -> Path:
    (path / ".altbackup").mkdir(parents=True)
    return path


@pytest.mark.sampled(15)
@pytest.mark.parametrize("pull", [False, True], ids=["push", "pull"])
@pytest.mark.parametrize("where", ["source", "target", "both"])
def test_nights_between_disks_without_links_go_well(bare: Path, tmp_path: Path, where: str, pull: bool) -> None:
    source = marked((tmp_path if where == "target" else bare) / "a source: base")
    copies = marked((tmp_path if where == "source" else bare) / "copies")
    content = random.Random(0).randbytes(2_000_000)
    changed = content[:1_000_000] + b"other" + content[1_000_000:]
    for stamp, data in ((FIRST, content), (SECOND, content), (THIRD, changed)):
        put(source, f"folders/notes/{stamp}/notes.tar", data)
        put(source, f"folders/other/{stamp}/other.tar", data[::-1])
        failures, prepared = night(source, copies, stamp, pull=pull)
        assert failures == []
        assert len(prepared["linked"]) == (2 if stamp == SECOND else 0)
    found = scan(open_tree(str(copies / "dayabay"))).verified()
    assert sorted({tarball.stamp for tarball in found}) == [FIRST, SECOND, THIRD]
    assert len(found) == 6
    assert (copies / f"dayabay/folders/notes/{THIRD}/notes.tar").read_bytes() == changed
    failures, prepared = night(source, copies, THIRD, pull=pull)
    assert (failures, prepared["changed"], prepared["send"]) == ([], False, [])


def test_preflight_tells_once_what_a_base_has_not(bare: Path) -> None:
    base = marked(bare / "base")
    result = inspect(Demands([str(base)], claim=True))
    assert result["failures"] == []
    (note,) = result["notes"]
    assert result["lacking"] == [note]
    for words in (str(base), "fuse.bare", "no hard links", "no symbolic links", "0755"):
        assert words in note
    assert list((base / ".altbackup").iterdir()) == []


@pytest.mark.full
def test_repositories_and_databases_are_dumped_to_a_disk_without_links(tmp_path: Path) -> None:
    items = [
        {"kind": "svn", "name": "one", "path": str(make_subversion(tmp_path / "svn"))},
        {"kind": "git", "name": "two", "path": str(make_git(tmp_path / "git"))},
        {"kind": "git", "name": "three", "path": str(make_git(tmp_path / "work", bare=False).parent)},
        {"kind": "sqlite", "name": "four", "path": str(make_database(tmp_path / "database"))},
    ]
    with bare_disk(tmp_path) as top:
        base = Base(top / "base")
        nights = [base.dump(*items, stamp=stamp) for stamp in (FIRST, SECOND)]
        assert [result["failures"] for result in nights] == [[], []]
        assert not [note for result in nights for note in result["notes"] if "xattr" in note]
        first, second = ({entry["name"]: entry["dig"] for entry in result["tarballs"]} for result in nights)
        assert first == second
        assert len(first) == len(items)
        assert not list(top.glob("base/*/*/last"))


@pytest.mark.full
def test_disk_that_refuses_modes_takes_git_and_databases(tmp_path: Path) -> None:
    items = [
        {"kind": "git", "name": "two", "path": str(make_git(tmp_path / "git"))},
        {"kind": "sqlite", "name": "four", "path": str(make_database(tmp_path / "database"))},
    ]
    with bare_disk(tmp_path, refuse_modes=True) as top:
        assert Base(top / "base").dump(*items)["failures"] == []


@needs_root
def test_item_of_another_user_says_that_the_disk_keeps_no_owners(bare: Path, tmp_path: Path) -> None:
    path = make_git(tmp_path / "git")
    for place in (path, *path.rglob("*")):
        os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    reason = Base(bare / "base").reason({"kind": "git", "name": "two", "path": str(path)})
    assert "keeps no owners" in reason
    assert f"uid {NOBODY}" in reason


def test_link_in_a_repository_is_named_where_none_can_be_copied(bare: Path, tmp_path: Path) -> None:
    path = make_git(tmp_path / "git")
    (path / "hooks").mkdir(exist_ok=True)
    (path / "hooks" / "pre-receive").symlink_to("/usr/bin/true")
    reason = Base(bare / "base").reason({"kind": "git", "name": "two", "path": str(path)})
    assert "hooks/pre-receive" in reason
    assert "has none" in reason


@needs_root
def test_drill_says_once_that_the_disk_keeps_no_owners(bare: Path, folder: dict[str, Any], tmp_path: Path) -> None:
    base = Base(bare / "base")
    base.dump_one(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    options: dict[str, Any] = {"moment": NOW, "sandbox": Sandbox(), "deadline": Deadline(60)}
    with pytest.raises(AltbackupError, match=r"keeps no owners.* set altbackup_drill_folder"):
        drill(str(base.path), ["folders/notes"], **options)
    result = drill(str(base.path), ["folders/notes"], folder=str(elsewhere), **options)
    assert (result["failures"], len(result["proved"])) == ([], 1)


@pytest.mark.sampled(2)
def test_checks_purges_and_restores_need_no_links(bare: Path, folder: dict[str, Any], tmp_path: Path) -> None:
    tree = marked(bare / "copies") / "dayabay"
    tree.mkdir()
    for stamp in (FIRST, SECOND, THIRD):
        options = {"deadline": Deadline(60, "dump"), "verify_every": 7}
        assert dump(str(tree), [folder], stamp, ArchiveFormat(), options)["failures"] == []
    checked = verify_base(str(tree), "all")
    assert (checked["failures"], len(checked["match"])) == ([], 3)
    result = purge(PurgeRequest(str(tree), 1, moment=NOW, made_now=[THIRD]))
    size = (tree / "folders/notes" / THIRD / "notes.tar.zst").stat().st_size
    assert result["failures"] == []
    assert [relpath.split("/")[4] for relpath in result["removed"]] == ["10", "11"]
    assert result["bytes_freed"] == 2 * size
    assert violations(Tree(tree, bare / "copies"), bare=True) == []
    place = tmp_path / "place"
    place.mkdir()
    shutil.copyfile(SCRIPT, bare / "copies" / "restore.sh")
    words = ["sh", str(bare / "copies" / "restore.sh"), "restore", "dayabay/folders/notes", str(place / "notes")]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "notes" / "one").read_text() == "one"


def refuse(number: int) -> Callable[..., None]:
    """Return a function in place of a system call, which fails with an errno."""

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_however_links_are_refused_a_copy_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (tmp_path / "old").write_bytes(b"content")
    monkeypatch.setattr(twins.os, "link", refuse(number))
    assert twins.duplicate(str(tmp_path / "old"), str(tmp_path / "new"))
    assert (tmp_path / "new").read_bytes() == b"content"
    assert (tmp_path / "new").stat().st_ino != (tmp_path / "old").stat().st_ino


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EEXIST])
def test_what_else_goes_wrong_with_a_link_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "old").write_bytes(b"content")
    monkeypatch.setattr(twins.os, "link", refuse(number))
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        twins.duplicate(str(tmp_path / "old"), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_blocks_are_shared_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_bytes(b"content")
    asked = []

    def clone(copy: int, request: int, old: int) -> int:
        asked.append(request)
        return os.write(copy, os.pread(old, 100, 0))

    monkeypatch.setattr(twins.os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(twins.fcntl, "ioctl", clone)
    assert twins.share(str(tmp_path / "old"), str(tmp_path / "new"))
    assert (asked, (tmp_path / "new").read_bytes()) == ([0x40049409], b"content")


def test_copy_without_room_says_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_bytes(b"content")
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(twins.os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(twins.shutil, "disk_usage", lambda path: usage._replace(free=5 << 20))
    with pytest.raises(AltbackupError, match=r"needs 16 MiB \(16 MiB of them a margin\), but only 5\.0 MiB are free"):
        twins.duplicate(str(tmp_path / "old"), str(tmp_path / "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_last_that_is_there_but_cannot_be_moved_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = open_tree(str(marked(tmp_path / "base")))
    item = tmp_path / "base/folders/notes"
    item.mkdir(parents=True)
    monkeypatch.setattr(os, "symlink", refuse(errno.EPERM))
    assert point_last(tree, "folders/notes", FIRST, NOW) is False
    assert list(item.iterdir()) == []
    monkeypatch.undo()
    assert point_last(tree, "folders/notes", FIRST, NOW) is True
    monkeypatch.setattr(os, "symlink", refuse(errno.EPERM))
    with pytest.raises(OSError, match="Operation not permitted"):
        point_last(tree, "folders/notes", SECOND, NOW)
