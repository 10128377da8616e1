"""What is brought from a store is what its sidecars say, within bounds, and below folders of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.store_calls import NEW, OLD, ask, two_tarballs, wanted
from helpers.stores import Place, said, served, sync


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with two tarballs."""
    return two_tarballs(tmp_path / "dayabay")


@pytest.fixture
def disk(base: Path, tmp_path: Path) -> Iterator[Place]:
    """Return a store that was filled."""
    with served("disk", tmp_path / "store") as place:
        sync(place, base, expect={}, items=["svn/x"])
        yield place


def test_a_store_that_swapped_two_tarballs_gives_neither(disk: Place, base: Path) -> None:
    for one, other in ((OLD, NEW), (NEW, OLD)):
        disk.write(f"dayabay/{one}", (base / other).read_bytes())
    assert NEW in said(ask(disk, base, "fetch", tarballs=wanted(base, NEW)))


def test_more_bytes_than_were_told_do_not_fill_the_disk_of_the_node(disk: Place, base: Path) -> None:
    assert disk.folder is not None
    os.truncate(disk.folder / "dayabay" / NEW, 1 << 30)
    assert ask(disk, base, "fetch", tarballs=wanted(base, NEW))["failures"]
    brought = base / ".altbackup/fetched/vault/dayabay" / NEW
    assert not brought.exists() or brought.stat().st_size < 1 << 28


def test_a_record_that_is_too_long_is_not_brought(disk: Place, base: Path) -> None:
    assert disk.folder is not None
    disk.write(".altbackup/records/dayabay/svn/x/2013/05/11/104701.json", b"{}")
    os.truncate(disk.folder / ".altbackup/records/dayabay/svn/x/2013/05/11/104701.json", 1 << 30)
    (tree,) = ask(disk, base, "find", keys=["svn/x"])["trees"]
    assert "max transfer limit" in tree["problem"], tree


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "a\nb"])
def test_what_names_no_folder_is_refused(name: str, disk: Place, base: Path) -> None:
    assert "is no name of a folder" in said(ask(disk, base, "list", source=name))
    if name:
        assert "is no name of a folder" in said(sync(disk, base, source=name))
    disk.options["name"] = name
    assert "is no name of a folder" in said(ask(disk, base, "list"))
    assert "is no name of a folder" in said(sync(disk, base))
