"""Dumping a list of items: each is published by itself, once, and only if what lies there is what was written."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from helpers.environments import execute
from helpers.trees import FIRST, SECOND, Base, describe_tree, item, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, store_archive
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump as dump_module
from ansible_collections.altbackup.core.plugins.module_utils.system import names
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    BaseUnusable,
    InvalidInput,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "live" / "folder"
    path.mkdir(parents=True)
    (path / "file").write_text("content")
    return path


def test_second_run_changes_nothing_and_dumps_nothing(
    base: Base, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(tmp_path / "x.db", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    items = [item("folder", folder), item("sqlite", tmp_path / "x.db")]
    first = base.dump(*items)
    before = describe_tree(base.path)
    monkeypatch.setattr(dump_module, "store_archive", lambda *_, **__: pytest.fail("dumped again"))
    (folder / "file").write_text("changed meanwhile")
    second = base.dump(*items)
    assert (first["changed"], second["changed"], second["failures"]) == (True, False, [])
    for tarball in first["tarballs"] + second["tarballs"]:
        tarball.pop("seconds")
    assert second["tarballs"] == first["tarballs"]
    assert describe_tree(base.path) == before


def test_bytes_altered_between_writing_and_reading_back_are_not_published(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.dump_one(item("folder", folder))
    (folder / "file").write_text("changed")

    def write(destination: str, *arguments: Any, **options: Any) -> Any:
        dna = store_archive(destination, *arguments, **options)
        with open(destination, "r+b") as stream:
            stream.seek(dna.size // 2)
            byte = stream.read(1)
            stream.seek(dna.size // 2)
            stream.write(bytes([byte[0] ^ 1]))
        return dna

    monkeypatch.setattr(dump_module, "store_archive", write)
    assert "is not what was written" in base.reason(item("folder", folder), stamp=SECOND)


def test_a_bug_met_by_one_item_does_not_stop_the_others(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(destination: str, *arguments: Any, **options: Any) -> Any:
        if "bad" in destination:
            raise KeyError("surprise")
        return store_archive(destination, *arguments, **options)

    monkeypatch.setattr(dump_module, "store_archive", write)
    result = base.dump(item("folder", folder, "bad"), item("folder", folder, "good"))
    assert [tarball["name"] for tarball in result["tarballs"]] == ["good"]
    (entry,) = result["failures"]
    assert (entry["stage"], entry["name"]) == ("dump", "bad")
    assert entry["reason"].endswith("item folder 'bad': unexpected KeyError: 'surprise'")


def test_duplicate_items_are_both_refused_and_others_are_not(base: Base, folder: Path) -> None:
    result = base.dump(item("folder", folder), item("folder", folder / "other"), item("folder", folder, "alone"))
    assert ["folders/thing stands 2 times" in entry["reason"] for entry in result["failures"]] == [True, True]
    assert [tarball["name"] for tarball in result["tarballs"]] == ["alone"]


def test_no_items_are_a_failure(base: Base) -> None:
    assert base.reason() == f"there are no items to dump to {base.path}: nothing was backed up"


def test_a_prediction_is_what_the_run_makes_and_writes_nothing(base: Base, folder: Path) -> None:
    base.dump_one(item("folder", folder), stamp=FIRST)
    before = describe_tree(base.path)
    predicted = base.dump(item("folder", folder), stamp=SECOND, check_mode=True)
    assert describe_tree(base.path) == before
    made = base.dump(item("folder", folder), stamp=SECOND)
    assert [entry["relpath"] for entry in predicted["tarballs"]] == [entry["relpath"] for entry in made["tarballs"]]
    assert (predicted["changed"], made["changed"]) == (True, True)


@pytest.mark.parametrize(
    ("marker", "stamp", "error"), [(True, "2013/05/32/104701", InvalidInput), (False, FIRST, BaseUnusable)]
)
def test_where_nothing_can_be_done_at_all_it_says_so(
    tmp_path: Path, folder: Path, marker: bool, stamp: str, error: type[Exception]
) -> None:
    path = Base(tmp_path / "marked").path if marker else tmp_path
    options = {"deadline": Deadline(60, "dump"), "verify_every": 7}
    with pytest.raises(error):
        dump_module.dump(str(path), [item("folder", folder)], stamp, ArchiveFormat(), options)


@needs_root
@pytest.mark.parametrize("name", ["DOMAIN\\\\jo", "domain users", "n" * 40])
def test_names_of_owners_are_those_of_the_nodes_database_not_those_of_files_that_a_view_has(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.chown(folder / "file", 1, 70001)
    monkeypatch.setattr(names, "_user_name", lambda uid: {0: "zero", 1: name}.get(uid, ""))
    monkeypatch.setattr(names, "_group_name", lambda gid: {70001: name}.get(gid, ""))
    result = base.dump(item("folder", folder), form=ArchiveFormat(".tar"))
    with tarfile.open(result["tarballs"][0]["path"]) as archive:
        found = {entry.name: (entry.uid, entry.gid, entry.uname, entry.gname) for entry in archive}
    assert found["thing/file"] == (1, 70001, name, name)
    assert found["thing"][:3] == (0, 0, "zero")
    assert result["notes"] == []


@needs_root
@pytest.mark.parametrize("name", ["jo\nroot", "a:b", "n" * 32, "n" * 300, "\udcff", "jo\x1b[2J"])
def test_an_archive_has_numbers_alone_where_a_name_of_an_owner_is_none(
    base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    os.chown(folder / "file", 1, 70001)
    monkeypatch.setattr(names, "_user_name", lambda uid: name if uid == 1 else "root")
    result = base.dump(item("folder", folder), form=ArchiveFormat(".tar"))
    with tarfile.open(result["tarballs"][0]["path"]) as archive:
        assert {(entry.uid, entry.uname, entry.gname) for entry in archive} == {(0, "", ""), (1, "", "")}
    (note,) = result["notes"]
    assert note.startswith(
        "folders/thing: its archive has the owners' numbers without their names: this node's name of user 1 is none"
    )


@pytest.mark.parametrize(
    "value", [None, {}, [1], [[1]], [[1, 2, 3]], [[1, "2"]], [[-1, 2]], [[1, 1 << 32]], [[1.5, 2]]]
)
def test_what_a_reader_says_of_owners_is_looked_at(value: object) -> None:
    with pytest.raises(AltbackupError, match="a reader said what are no owners"):
        dump_module._owners_told(value)
