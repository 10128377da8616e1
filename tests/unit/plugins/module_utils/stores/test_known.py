"""What a node remembers of a store."""

from __future__ import annotations

from pathlib import Path

from helpers.stores import (
    ALL,
    OTHER,
    TWO,
    Place,
    said,
    sync,
)


def test_what_somebody_removes_is_told_and_comes_back(base: Path, disk: Place) -> None:
    sync(disk, base)
    disk.delete(f"dayabay/{TWO}")
    disk.delete(f"dayabay/{OTHER}")
    disk.delete(f"dayabay/{OTHER}.dna")
    result = sync(disk, base)
    assert f"{OTHER} was there, and is gone: somebody other than this collection removed it" in said(result)
    assert f"{TWO} is gone, its dna alone is there" in said(result)
    assert sorted(result["uploaded"] + result["replaced"]) == sorted([TWO, OTHER]) and result["kept"] == ALL
