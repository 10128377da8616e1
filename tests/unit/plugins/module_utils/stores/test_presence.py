"""Whether a store is there and is the one that it was: disks that are away or take turns, and places that hold something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.original_trees import put
from helpers.stores import (
    ALL,
    Place,
    said,
    served,
    sync,
)


@pytest.mark.full
def test_a_disk_that_is_away_is_a_note_and_then_a_failure_and_is_filled_when_it_is_back(
    base: Path, disk: Place
) -> None:
    assert disk.folder is not None
    week = {"absent_for": 7 * 86400.0}
    sync(disk, base, store=week)
    away = disk.folder.with_name("away")
    disk.folder.rename(away)
    disk.folder.mkdir()
    put(base, "svn/x/2013/05/12/104701/x-3.tar", b"three" * 3000)
    soon = sync(disk, base, "2013/05/12/104701", store=week)
    assert (
        not soon["failures"]
        and "was there last in the run of 2013/05/11/104701, and may be away for 7d" in soon["notes"][0]
    )
    late = sync(disk, base, "2013/05/20/104701", store=week)
    assert "longer ago than the 7d of altbackup_absent_for" in said(late)
    assert not list(disk.folder.iterdir()), "an empty mount point is no disk"
    disk.folder.rmdir()
    away.rename(disk.folder)
    back = sync(disk, base, "2013/05/20/104701", store=week, expect={})
    assert back["uploaded"] == ["svn/x/2013/05/12/104701/x-3.tar"] and not back["failures"]


@pytest.mark.full
def test_disks_in_rotation_are_stores_of_one_name(base: Path, disk: Place) -> None:
    assert disk.folder is not None
    week = {"absent_for": 7 * 86400.0}
    sync(disk, base, store=week)
    disk.folder.rename(disk.folder.with_name("first"))
    (disk.folder / ".altbackup").mkdir(parents=True)
    second = sync(disk, base, "2013/05/12/104701", store=week, expect={})
    assert sorted(second["uploaded"]) == ALL and not second["failures"]
    assert any("may be away for 7d" in note for note in second["notes"])
    ids = {
        json.loads((folder / ".altbackup/store.json").read_text())["id"]
        for folder in (disk.folder, disk.folder.with_name("first"))
    }
    assert len(ids) == 2
    late = sync(disk, base, "2013/05/19/104702", store=week, expect={})
    assert (
        "disk" in said(late)
        and "longer ago than the 7d" in said(late)
        and "If it is gone for good, remove" in said(late)
    )


@pytest.mark.full
def test_a_place_that_holds_something_else_is_not_taken_for_a_new_store(base: Path, tmp_path: Path) -> None:
    with served("webdav", tmp_path / "store") as place:
        place.write("precious.txt", b"of somebody else")
        result = sync(place, base)
        assert "is not empty: nothing was touched" in said(result)
        assert set(place.files()) == {"precious.txt"}
        assert not sync(place, base, adopt=True)["failures"]


@pytest.mark.full
def test_a_store_that_was_emptied_is_not_filled_again_unless_that_is_meant(base: Path, tmp_path: Path) -> None:
    with served("webdav", tmp_path / "store") as place:
        sync(place, base)
        for path in place.files():
            place.delete(path)
        assert "was it emptied, or is it another place?" in said(sync(place, base))
        assert not place.files()
        assert sorted(sync(place, base, adopt=True)["uploaded"]) == ALL
