"""Dumping a list of items: each independently, and only valid ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.trees import FIRST, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump as dump_module
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
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


def test_duplicate_items_are_both_refused_and_others_are_not(base: Base, folder: Path) -> None:
    result = base.dump(item("folder", folder), item("folder", folder / "other"), item("folder", folder, "alone"))
    assert ["folders/thing stands 2 times" in entry["reason"] for entry in result["failures"]] == [True, True]
    assert [tarball["name"] for tarball in result["tarballs"]] == ["alone"]


def test_no_items_are_a_failure(base: Base) -> None:
    assert base.reason() == f"there are no items to dump to {base.path}: nothing was backed up"


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
