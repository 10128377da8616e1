"""Dumping one item: published once, and only if what is read back is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.environments import execute
from helpers.trees import FIRST, SECOND, Base, describe_tree, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import store_archive
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_item, dump_store
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan


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
    monkeypatch.setattr(dump_item, "store_archive", lambda *_, **__: pytest.fail("dumped again"))
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

    monkeypatch.setattr(dump_item, "store_archive", write)
    assert "is not what was written" in base.reason(item("folder", folder), stamp=SECOND)


def test_a_prediction_is_what_the_run_makes_and_writes_nothing(base: Base, folder: Path) -> None:
    base.dump_one(item("folder", folder), stamp=FIRST)
    before = describe_tree(base.path)
    predicted = base.dump(item("folder", folder), stamp=SECOND, check_mode=True)
    assert describe_tree(base.path) == before
    made = base.dump(item("folder", folder), stamp=SECOND)
    assert [entry["relpath"] for entry in predicted["tarballs"]] == [entry["relpath"] for entry in made["tarballs"]]
    assert (predicted["changed"], made["changed"]) == (True, True)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_tree_of_an_item_is_scanned_once_and_the_day_of_the_dump_when_it_is_stored(
    check_mode: bool, base: Base, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.dump_one(item("folder", folder), stamp=FIRST, full_every=7)
    (folder / "file").write_text("changed")
    days: list[str] = []

    def count(tree: Any, day: str = "", *arguments: Any, **options: Any) -> Any:
        days.append(day)
        return scan(tree, day, *arguments, **options)

    for module in (dump_item, dump_store):
        monkeypatch.setattr(module, "scan", count)
    assert base.dump(item("folder", folder), stamp=SECOND, full_every=7, check_mode=check_mode)["changed"]
    assert days == ([""] if check_mode else ["", *[SECOND.rpartition("/")[0]] * 2])
