"""Room on the disks for a night, as preflight estimates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import bound_by_modes, link, put, reasons
from helpers.repositories import make_git

from ansible_collections.altbackup.core.plugins.module_utils.stages import preflight
from ansible_collections.altbackup.core.plugins.module_utils.stages.care import Safeguards
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment
from ansible_collections.altbackup.core.plugins.module_utils.tree.trash import kept_ones


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A marked base."""
    folder = tmp_path / "base"
    (folder / ".altbackup").mkdir(parents=True)
    return folder


@pytest.fixture
def small_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks with 10 free bytes."""
    usage = preflight.shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=10))


def test_too_little_space_names_needed_and_free(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(bytes(300_000))
    items = [{"kind": "folder", "name": "data", "path": str(tmp_path / "data")}]
    assert preflight.inspect(preflight.Demands([str(base)], items=items))["failures"] == []
    usage = preflight.shutil.disk_usage(base)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    (text,) = reasons(preflight.inspect(preflight.Demands([str(base)], items=items)))
    assert str(base) in text
    assert "but only 1.0 KiB are free" in text


def test_estimate_follows_the_previous_tarballs(base: Path, small_room: None) -> None:
    for stamp, size in (("2013/05/09/104701", 900), ("2013/05/10/104701", 700)):
        put(base, f"folders/data/{stamp}/data.tar", bytes(size))
    item = {"kind": "folder", "name": "data", "path": str(base.parent)}
    for options in ({"items": [item]}, {"trees": [{"base": str(base), "keys": ["folders/data"]}]}):
        (text,) = reasons(preflight.inspect(preflight.Demands([str(base)], **options)))
        assert "700 bytes are needed" in text
    other = {"base": str(base), "keys": ["svn/other"]}
    assert reasons(preflight.inspect(preflight.Demands([str(base)], trees=[other]))) == []


def test_estimate_counts_an_item_once_that_is_discovered_too(base: Path, tmp_path: Path, small_room: None) -> None:
    make_git(tmp_path / "shelf" / "toolbox.git")
    put(base, "git/toolbox/2013/05/09/104701/toolbox.tar", bytes(700))
    (base / ".altbackup" / "scratch" / "git" / "toolbox").mkdir(parents=True)
    item = {"kind": "git", "name": "toolbox", "path": str(tmp_path / "shelf" / "toolbox.git")}
    (text,) = reasons(
        preflight.inspect(preflight.Demands([str(base)], items=[item], discover={"git": str(tmp_path / "shelf")}))
    )
    assert "700 bytes are needed" in text and "but only 10 bytes are free: 690 bytes are lacking. Make room" in text


def test_folder_that_cannot_be_read_is_named_and_the_node_stays_usable(base: Path, small_room: None) -> None:
    put(base, "folders/data/2013/05/09/104701/data.tar", bytes(700))
    put(base, "svn/dybsvn/2013/05/10/123000/dybsvn-1.tar").parent.chmod(0)
    item = {"kind": "folder", "name": "data", "path": str(base.parent)}
    trees = [{"base": str(base), "keys": ["folders/data", "svn/dybsvn"]}]
    for options in ({"items": [item]}, {"trees": trees}):
        with bound_by_modes():
            result = preflight.inspect(preflight.Demands([str(base)], locks=[str(base)], **options))
        space, unseen = sorted(result["failures"], key=lambda entry: entry["name"])
        assert "700 bytes are needed" in space["reason"]
        assert (unseen["category"], unseen["name"]) == ("svn", "dybsvn")
        assert (
            "folder svn/dybsvn/2013/05/10/123000 holds is not known: it cannot be read by uid 0: Permission denied"
            in unseen["reason"]
        )
        assert result["usable"] is True


def kept_in_trash(base: Path) -> int:
    """Purge one of two tarballs, whose bytes stay in the trash; return the bytes."""
    for day in ("08", "09"):
        put(base, f"folders/data/2013/05/{day}/104701/data.tar", day.encode() * 350)
    moment = Moment("2013/05/09/104701", "2013/05/09/104701")
    return int(purge(PurgeRequest(str(base), 1, moment=moment, safeguards=Safeguards(trash_days=2)))["bytes_in_trash"])


def test_the_trash_is_room_and_is_emptied_where_it_is_needed_by_a_run_that_writes(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept_in_trash(base) == 700
    trash = base / ".altbackup/trash/kept"
    usage = preflight.shutil.disk_usage("/")
    tree = open_tree(str(base))
    monkeypatch.setattr(
        preflight.shutil, "disk_usage", lambda path: usage._replace(free=10 if list(trash.glob("*")) else 710)
    )
    trees = [{"base": str(base), "keys": ["folders/data"]}]
    assert reasons(preflight.inspect(preflight.Demands([str(base)], trees=trees))) == []
    assert len(kept_ones(tree)) == 1
    result = preflight.inspect(preflight.Demands([str(base)], trees=trees, locks=[str(base)]))
    assert (reasons(result), kept_ones(tree)) == ([], [])
    assert "as room was needed, 700 bytes" in result["notes"][0]


def test_the_trash_that_would_not_do_is_left(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_in_trash(base)
    usage = preflight.shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=10))
    put(base, "svn/x/2013/05/09/104701/x-1.tar", bytes(900))
    trees = [{"base": str(base), "keys": ["folders/data", "svn/x"]}]
    (text,) = reasons(preflight.inspect(preflight.Demands([str(base)], trees=trees, locks=[str(base)])))
    assert "1.6 KiB are needed" in text and "but only 710 bytes are free" in text
    assert len(kept_ones(open_tree(str(base)))) == 1


@pytest.mark.parametrize(
    ("nights", "keeps", "needed"),
    [
        ("a", {"folders/data": 3}, (300, 3000)),
        ("ab", {"folders/data": 3}, (300, 3000)),
        ("aa", {"folders/data": 4}, (200, 1500)),
        ("aaaa", {"folders/data": 4}, (100, 800)),
        ("ab", {}, (200, 200)),
    ],
)
def test_what_rules_come_to_keep_is_estimated_from_the_newest_tarball_and_how_often_it_changed(
    base: Path, nights: str, keeps: dict[str, Any], needed: tuple[int, int]
) -> None:
    first: dict[str, str] = {}
    for number, content in enumerate(nights, 1):
        path = f"folders/data/2013/05/{number:02}/104701/data.tar"
        if content in first:
            link(base, first[content], path)
        else:
            put(base, path, content.encode() * 100)
        first.setdefault(content, path)
    for rules, expected in zip(({}, {"daily": 30}), needed, strict=True):
        trees = [{"base": str(base), "keys": ["folders/data"], "keeps": keeps, "rules": rules}]
        (entry,) = preflight.inspect(preflight.Demands([str(base)], trees=trees))["steady"]
        assert (entry["base"], entry["held"], entry["needed"]) == (str(base), 100 * len(first), expected)
        assert entry["free"] > 0
