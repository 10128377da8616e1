"""What lies in a store is held against what is remembered of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import marked, modern_text, put
from helpers.stores import Place, said, sync

OLD, NEW = "svn/x/2013/05/10/104701/x-1.tar", "svn/x/2013/05/11/104701/x-2.tar"


@pytest.fixture
def base(tmp_path: Path, disk: Place) -> Path:
    """Return a base that has filled the store, and has the newer one of two tarballs still."""
    base = marked(tmp_path / "dayabay")
    put(base, OLD, b"one" * 3000)
    put(base, NEW, b"two" * 3000)
    assert not sync(disk, base, expect={}, items=["svn/x"])["failures"]
    for ending in ("", ".dna"):
        (base / f"{OLD}{ending}").unlink()
    return base


def night(disk: Place, base: Path, day: int) -> str:
    """Return what is said of failures in a night."""
    return said(sync(disk, base, f"2013/05/{day}/104701", expect={}, items=["svn/x"]))


def test_another_tarball_with_its_own_dna_is_told_until_somebody_has_seen_to_it(base: Path, disk: Place) -> None:
    disk.write(f"dayabay/{OLD}", b"other" * 30)
    disk.write(f"dayabay/{OLD}.dna", modern_text(b"other" * 30).encode())
    for day in (12, 13):
        assert f"{OLD} has a dna of" in night(disk, base, day), f"it passed for a good copy on day {day}"


def test_a_dna_that_is_gone_is_told(base: Path, disk: Place) -> None:
    disk.delete(f"dayabay/{OLD}.dna")
    assert f"the dna of {OLD} was there, and is gone" in night(disk, base, 12)


def test_a_dna_that_is_too_long_is_not_brought(base: Path, disk: Place) -> None:
    disk.write(f"dayabay/{OLD}.dna", b" " * 5000)
    disk.write("dayabay/svn/x/2013/05/09/104701/x-0.tar", b"x")
    disk.write("dayabay/svn/x/2013/05/09/104701/x-0.tar.dna", b" " * 5000)
    reasons = night(disk, base, 12)
    assert reasons.count("has a malformed dna: it has 5000 bytes") == 2
