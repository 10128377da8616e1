"""Tarballs of one content, whatever their bytes: earlier nights, other compression and other names of owners."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest
from helpers.environments import execute
from helpers.repositories import make_git, make_subversion
from helpers.trees import NIGHTS, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages import contents as contents_module
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.system import names as names_module
from ansible_collections.altbackup.core.plugins.module_utils.tree.contents import content_of
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, record_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

Thing = tuple[dict[str, Any], Callable[[], object]]
KINDS = ("folder", "sqlite", "svn", "git")


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


def make(kind: str, live: Path) -> Thing:
    """Make an item of a kind, and return it with a function that changes it, affecting its record as little as possible."""
    live.parent.mkdir(exist_ok=True)
    if kind == "folder":
        live.mkdir()
        (live / "file").write_text("content")
        return item(kind, live), lambda: (live / "file").chmod(0o600)
    if kind == "sqlite":
        execute(live, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        return item(kind, live), lambda: execute(live, "UPDATE t SET a = 2")
    if kind == "svn":
        make_subversion(live)
        return item(kind, live), lambda: (live / "hooks" / "post-commit").write_text("#!/bin/sh\n")
    make_git(live)
    return item(kind, live), lambda: (live / "description").write_text("another one\n")


@pytest.fixture(params=KINDS)
def thing(request: pytest.FixtureRequest, tmp_path: Path) -> Thing:
    return make(request.param, tmp_path / "live" / "thing")


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A node that knows no names, until the returned function is called."""
    with_names = {name: getattr(names_module, name) for name in ("_user_name", "_group_name")}
    for name in with_names:
        monkeypatch.setattr(names_module, name, lambda number: "")

    def ended() -> None:
        for name, function in with_names.items():
            monkeypatch.setattr(names_module, name, function)

    return ended


def content(tarball: dict[str, Any], record: dict[str, Any] | None = None) -> Hashable:
    """Return the key of a tarball's content."""
    known = tarball["record"] if record is None else record
    return content_of(known, Dna(tarball["dig"], tarball["size"], tarball["alg"]))


def dump_as_before(base: Base, entry: dict[str, Any], stamp: str) -> dict[str, Any]:
    """Dump an item, and reduce its record to one of 0.1.0; return the tarball."""
    tarball = base.dump_one(entry, stamp=stamp)
    path = Path(record_path(open_tree(str(base.path)), f"{tarball['category']}/{tarball['name']}", stamp))
    record = {key: value for key, value in tarball["record"].items() if key not in ("content", "formerly", "owners")}
    path.write_text(json.dumps(record))
    return {**tarball, "record": record}


def recorded(base: Base, tarball: dict[str, Any]) -> dict[str, Any]:
    """Return the current record of a tarball."""
    return read_record(open_tree(str(base.path)), f"{tarball['category']}/{tarball['name']}", tarball["stamp"])


@pytest.mark.sampled(4)
def test_what_did_not_change_is_the_content_that_an_older_version_stored(
    base: Base, thing: Thing, nameless: Callable[[], None]
) -> None:
    entry, change = thing
    old = dump_as_before(base, entry, NIGHTS[0])
    nameless()
    new = base.dump_one(entry, stamp=NIGHTS[1])
    assert new["dig"] != old["dig"], "it has names now"
    assert content(new) == content(old) == content(old, recorded(base, old))
    pressed = base.dump_one(entry, stamp=NIGHTS[2], form=ArchiveFormat(".tar.gz", 6, "md5"))
    assert content(pressed) == content(old)
    again = base.dump_one(entry, stamp=NIGHTS[3])
    assert os.path.samefile(again["path"], new["path"])
    assert content(again) == content(old)
    change()
    changed = base.dump_one(entry, stamp="2013/05/20/104701")
    assert content(changed) != content(old)


@pytest.mark.sampled(6)
def test_another_compression_is_no_other_content(base: Base, thing: Thing) -> None:
    entry, change = thing
    first = base.dump_one(entry, stamp=NIGHTS[0])
    second = base.dump_one(entry, stamp=NIGHTS[1], form=ArchiveFormat(".tar.zst", 19))
    third = base.dump_one(entry, stamp=NIGHTS[2], form=ArchiveFormat(".tar"))
    assert len({first["dig"], second["dig"], third["dig"]}) == 3
    assert content(first, recorded(base, first)) == content(second) == content(third)
    change()
    assert content(base.dump_one(entry, stamp=NIGHTS[3], form=ArchiveFormat(".tar"))) != content(third)


@pytest.mark.sampled(4)
def test_what_has_the_bytes_of_an_older_version_is_the_same_content(
    base: Base, thing: Thing, nameless: Callable[[], None]
) -> None:
    entry, _ = thing
    old = dump_as_before(base, entry, NIGHTS[0])
    new = base.dump_one(entry, stamp=NIGHTS[1])
    assert os.path.samefile(new["path"], old["path"])
    assert content(new) == content(old)
    nameless()
    assert content(base.dump_one(entry, stamp=NIGHTS[2])) == content(old)


def test_a_content_that_comes_back_is_the_one_that_it_was(base: Base, tmp_path: Path) -> None:
    entry, change = make("folder", tmp_path / "thing")
    first = base.dump_one(entry, stamp=NIGHTS[0])
    change()
    second = base.dump_one(entry, stamp=NIGHTS[1])
    (tmp_path / "thing" / "file").chmod(0o644)
    third = base.dump_one(entry, stamp=NIGHTS[2], form=ArchiveFormat(".tar"))
    assert content(first) == content(third) != content(second)


def test_an_older_tarball_is_read_once_in_its_life(
    base: Base, tmp_path: Path, nameless: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, _ = make("sqlite", tmp_path / "x.db")
    old = dump_as_before(base, entry, NIGHTS[0])
    read: list[str] = []
    real = contents_module.read_content

    def read_content(path: str, *arguments: Any) -> str:
        read.append(path)
        return real(path, *arguments)

    monkeypatch.setattr(contents_module, "read_content", read_content)
    for number, night in enumerate(NIGHTS[1:4], 100):
        execute(tmp_path / "x.db", f"UPDATE t SET a = {number}")
        base.dump_one(entry, stamp=night)
    assert read.count(old["path"]) == 1


@pytest.mark.parametrize("why", ["names", "compression"])
def test_what_only_looks_new_takes_no_older_contents_place(
    base: Base, tmp_path: Path, nameless: Callable[[], None], why: str
) -> None:
    entry, change = make("folder", tmp_path / "thing")
    first = dump_as_before(base, entry, NIGHTS[0])
    change()
    second = dump_as_before(base, entry, NIGHTS[1])
    if why == "names":
        nameless()
    third = base.dump_one(entry, stamp=NIGHTS[2], form=ArchiveFormat(".tar" if why == "compression" else ".tar.zst"))
    fourth = base.dump_one(entry, stamp=NIGHTS[3], form=ArchiveFormat(".tar.gz"))
    assert len({tarball["dig"] for tarball in (first, second, third, fourth)}) == 4
    purged = purge(PurgeRequest(str(base.path), 2, moment=Moment(NIGHTS[3], NIGHTS[3])))
    assert purged["kept"] == [first["relpath"], third["relpath"], fourth["relpath"]], purged["reasons"]
    assert purged["removed"] == [second["relpath"]], "its content has newer copies"


@pytest.mark.sampled(4)
def test_a_damaged_older_tarball_is_another_content_and_no_failure(
    base: Base, thing: Thing, nameless: Callable[[], None]
) -> None:
    entry, _ = thing
    old = dump_as_before(base, entry, NIGHTS[0])
    with open(old["path"], "r+b") as stream:
        stream.seek(old["size"] // 2)
        stream.write(b"\0rot\0")
    nameless()
    new = base.dump_one(entry, stamp=NIGHTS[1])
    assert content(new) != content(old)
    assert "content" not in recorded(base, old)
