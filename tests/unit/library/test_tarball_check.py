"""Module tarball_check, in process on real files: it finds what dna_verify and tarball_count find, and tells it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, STAMP, marked, put, reasons, run_module, tree_hash

EXPECT = {"dybsvn": 1, "svnsetup": 1}
SVN, FOLDER = f"svn/dybsvn/{STAMP}/dybsvn-1.tar", f"folders/svnsetup/{STAMP}/svnsetup.tar"
CONTENT = bytes(range(256)) * 100


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with two good tarballs."""
    base = marked(tmp_path / "dayabay")
    put(base, SVN, CONTENT)
    put(base, FOLDER, CONTENT)
    return base


def check(base: Path, **options: Any) -> dict[str, Any]:
    """Run the module."""
    return run_module("tarball_check", base=str(base), **{"day": DAY, "expect": EXPECT, **options})


def test_what_is_good_is_read_and_counted_and_nothing_changes(base: Path) -> None:
    before = tree_hash(base)
    result = check(base)
    assert not result.get("failed") and not result.get("changed")
    assert sorted(result["match"]) == [FOLDER, SVN]
    assert (result["counts"], result["bytes_read"], result["day"]) == (EXPECT, 2 * len(CONTENT), DAY)
    assert tree_hash(base) == before


@pytest.mark.parametrize(
    "options", [{}, {"scope": "all"}, {"day": "2013/05/09"}, {"predicted": [f"git/x/{STAMP}/x.tar"]}]
)
def test_it_finds_what_the_two_modules_find(base: Path, options: dict[str, Any]) -> None:
    content = bytearray(CONTENT)
    content[7] ^= 1
    (base / SVN).write_bytes(content)
    Path(f"{base / FOLDER}.dna").unlink()
    found = check(base, fail=False, **options)
    day = "all" if options.get("scope") == "all" else options.get("day", DAY)
    predicted = options.get("predicted", [])
    verified = run_module("dna_verify", base=str(base), day=day, predicted=predicted, fail=False)
    shared = {"day": options.get("day", DAY), "expect": EXPECT, "predicted": predicted}
    counted = run_module("tarball_count", base=str(base), fail=False, **shared)
    for one in (verified, counted):
        alone = {key: value for key, value in one.items() if key not in ("failures", "day", "invocation")}
        assert {key: found[key] for key in alone} == alone
    told = [*verified["failures"], *counted["failures"]]
    assert [entry for entry in found["failures"] if entry not in told] == []
    assert [entry for entry in told if entry not in found["failures"]] == []


def test_one_that_cannot_be_done_does_not_keep_the_other_from_being_done(base: Path) -> None:
    result = check(base, expect={"dybsvn": "many"}, fail=False)
    assert sorted(result["match"]) == [FOLDER, SVN]
    assert result["counts"] == {}
    assert len(reasons(result)) == 1 and "is not a whole number" in reasons(result)[0]


def test_a_base_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    result = check(tmp_path / "nowhere")
    assert result["failed"]
    assert len(reasons(result)) == 1


def test_what_is_listed_too_is_what_a_listing_alone_finds(base: Path) -> None:
    (base / SVN).write_bytes(b"x")
    found = check(base, listing=True, fail=False)
    listed = run_module("tarball_list", base=str(base), records=True, fail=False)
    assert found["tarballs"] == listed["tarballs"] and len(found["tarballs"]) == 2
    assert (found["listed"], found["notes"]) == (True, [])
    assert "tarballs" not in check(base, fail=False)
