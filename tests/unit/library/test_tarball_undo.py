"""Module tarball_undo, in process on real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, put, reasons, run_module, tree_hash

NOW = "2013/05/20/104701"


def relpath(day: int) -> str:
    return f"svn/x/2013/05/{day:02}/104701/x-{day}.tar"


def stamp(day: int) -> str:
    return f"svn/x/2013/05/{day:02}/104701"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with four tarballs, three of which were purged, one on each of three days."""
    folder = marked(tmp_path / "dayabay")
    for day in range(1, 5):
        put(folder, relpath(day), f"{day}".encode())
    for day in (20, 21, 22):
        clock = f"2013/05/{day}/104701"
        run_module("tarball_purge", base=str(folder), keep=1, stamp=clock, clock=clock, trash_days=9)
    return folder


def undo(base: Path, **options: Any) -> dict[str, Any]:
    return run_module("tarball_undo", base=str(base), **options)


def there(base: Path) -> list[str]:
    return sorted(str(path.relative_to(base)) for path in base.glob("svn/x/*/*/*/*/*.tar"))


@pytest.mark.parametrize(
    ("asked", "days"),
    [
        ({"days": ["2013/05/21"]}, [2]),
        ({"stamps": [stamp(3)]}, [3]),
        ({"days": ["2013/05/20", "2013/05/22"], "stamps": [stamp(3)]}, [1, 3]),
    ],
)
def test_what_is_named_is_put_back_and_told_and_the_rest_stays_in_the_trash(
    base: Path, asked: dict[str, Any], days: list[int]
) -> None:
    before = tree_hash(base)
    predicted = undo(base, check=True, **asked)
    assert tree_hash(base) == before
    result = undo(base, **asked)
    assert predicted["put_back"] == result["put_back"] == [relpath(day) for day in days]
    assert predicted["notes"][0] == f"would put back {relpath(days[0])}"
    assert result["notes"][:-1] == [f"put back {relpath(day)}" for day in days]
    assert "the next purge removes" in result["notes"][-1]
    assert there(base) == [relpath(day) for day in sorted([*days, 4])]
    assert result["in_trash"] == [stamp(day) for day in (1, 2, 3) if day not in days]
    assert (result["changed"], result["failures"]) == (True, [])
    assert is_as_documented("tarball_undo", result)
    again = undo(base, **asked)
    assert (again["changed"], again["put_back"], again["failures"]) == (False, [], [])


def test_one_that_rotted_holds_up_no_other(base: Path) -> None:
    next((base / ".altbackup/trash/kept/2013-05-21").rglob("*.tar")).write_bytes(b"?")
    result = undo(base, days=["2013/05/20", "2013/05/21"])
    assert result["put_back"] == [relpath(1)]
    assert result["failed"]
    assert reasons(result)[0].startswith(f"{stamp(2)}, removed on 2013/05/21, was not put back: ")
    assert stamp(2) in result["in_trash"]


def test_what_a_killed_undo_put_back_is_told_and_check_mode_forgets_nothing(base: Path) -> None:
    (kept,) = (base / ".altbackup/trash/kept/2013-05-21").rglob("*.tar")
    (base / relpath(2)).parent.mkdir(parents=True, exist_ok=True)
    for path in (kept, kept.with_name(f"{kept.name}.dna")):
        path.rename((base / relpath(2)).with_name(path.name))
    before = tree_hash(base)
    predicted = undo(base, check=True, stamps=[stamp(2)])
    assert tree_hash(base) == before
    result = undo(base, stamps=[stamp(2)])
    assert predicted["put_back"] == result["put_back"] == [relpath(2)]
    assert (result["failures"], result["in_trash"]) == ([], [stamp(1), stamp(3)])


def test_what_stands_there_already_is_not_replaced(base: Path) -> None:
    put(base, relpath(1), b"another")
    result = undo(base, stamps=[stamp(1)])
    assert "x-1.tar stands there: nothing was put over it" in result["msg"]
    assert (base / relpath(1)).read_bytes() == b"another"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "neither days nor stamps are named"),
        ({"days": ["-1"]}, "'-1'"),
        ({"days": [""]}, "'' is not a date like 2013/05/10"),
        ({"days": ["2013/02/30"]}, "'2013/02/30'"),
        ({"stamps": ["svn/x"]}, "'svn/x' is not category/name/YYYY/MM/DD/HHMMSS"),
        ({"stamps": ["2013/05/20/104701"]}, "is not category/name"),
    ],
)
def test_bad_input_is_a_clear_message(base: Path, asked: dict[str, Any], why: str) -> None:
    before = tree_hash(base)
    result = undo(base, **asked)
    assert result["failed"]
    assert why in result["msg"]
    assert tree_hash(base) == before


def test_an_empty_trash_puts_nothing_back(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    result = undo(base, days=["2013/05/20"])
    assert (result["put_back"], result["in_trash"], result["failures"]) == ([], [], [])
