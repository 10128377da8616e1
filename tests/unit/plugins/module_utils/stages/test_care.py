"""Safeguards that keep a purge from removing: fallen rules, too few verified copies, a wrong clock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked, put, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.stages.care import Safeguards
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = "2013/05/30/104701"
MOMENT = Moment(NOW, NOW)


def relpath(day: int, name: str = "x") -> str:
    return f"svn/{name}/2013/05/{day:02}/104701/{name}-{day}.tar"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with thirty nights of two items."""
    folder = marked(tmp_path / "dayabay")
    for day in range(1, 31):
        for name in "xy":
            put(folder, relpath(day, name), f"{name}{day}".encode())
    return folder


def purged(base: Path, keep: Any, check_mode: bool = False, **safeguards: Any) -> dict[str, Any]:
    return purge(
        PurgeRequest(str(base), keep, moment=MOMENT, safeguards=Safeguards(**safeguards), check_mode=check_mode)
    )


def tarballs(base: Path) -> int:
    return len(list(base.glob("svn/*/*/*/*/*/*.tar")))


def test_a_mistyped_number_removes_nothing_until_it_is_confirmed_or_set_back(base: Path) -> None:
    assert purged(base, 30)["failures"] == []
    before = tree_hash(base)
    for check_mode in (True, False):
        result = purged(base, 3, check_mode)
        (failure,) = result["failures"]
        assert (
            f"since the last purge of {base} what is kept of svn/x, svn/y fell, keep from 30 to 3: 54 tarballs would go, and none was removed"
            in failure["reason"]
        )
        assert "-e altbackup_purge_confirm=true" in failure["reason"]
        assert (result["removed"], result["waiting"], tarballs(base)) == ([], [], 60)
        assert tree_hash(base) == before
    assert purged(base, 30)["failures"] == []
    assert purged(base, 3, confirmed=True)["removed"] == [relpath(1), relpath(1, "y")]
    assert len(purged(base, 3)["removed"]) == 2
    assert tarballs(base) == 56


def test_rises_and_first_runs_are_silent_and_each_item_has_its_own_numbers(base: Path) -> None:
    assert purged(base, {"svn/x": 20, "svn/y": 29})["failures"] == []
    assert purged(base, {"svn/x": 25, "svn/y": 29})["failures"] == []
    result = purged(base, {"svn/x": 25, "svn/y": 28})
    (failure,) = result["failures"]
    assert (failure["name"], "keep from 29 to 28: 1 tarball would go" in failure["reason"]) == ("y", True)
    assert {path.split("/")[1] for path in result["removed"]} == {"x"}


def test_a_number_that_falls_before_anything_would_go_is_told_too(base: Path) -> None:
    purged(base, 60)
    (failure,) = purged(base, 40)["failures"]
    assert "keep from 60 to 40: 0 tarballs would go" in failure["reason"]


def test_what_is_not_judged_keeps_its_numbers(base: Path) -> None:
    purged(base, 30)
    purge(PurgeRequest(str(base), 31, names=["svn/x"], moment=MOMENT, safeguards=Safeguards()))
    (failure,) = purged(base, 30)["failures"]
    assert "what is kept of svn/x fell, keep from 31 to 30" in failure["reason"].replace("\n", " ")


@pytest.mark.parametrize(
    "text", ["", "junk", "[]", '{"svn/x": 5}', '{"svn/x": {"keep": "3"}}', '{"svn/x": {"keep": true}}']
)
def test_damaged_numbers_remove_nothing_and_are_named(base: Path, text: str) -> None:
    path = base / ".altbackup/rules/items"
    path.parent.mkdir()
    path.write_text(text)
    result = purged(base, 3)
    assert (result["removed"], tarballs(base)) == ([], 60)
    (failure,) = result["failures"]
    assert f"{path}, which tells by what rules this tree was purged last, is damaged" in failure["reason"]
    assert path.read_text() == text
    path.unlink()
    assert len(purged(base, 3)["removed"]) == 2


def test_numbers_are_written_when_they_change_and_not_otherwise(base: Path) -> None:
    path = base / ".altbackup/rules/items"
    purged(base, 30)
    before = path.stat().st_ino
    purged(base, 30)
    assert path.stat().st_ino == before
    purged(base, 31)
    assert json.loads(path.read_text())["svn/x"]["keep"] == 31
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_with_too_few_verified_copies_nothing_older_goes_and_that_is_a_note(base: Path) -> None:
    result = purged(base, 3, copies={"svn/x": 1}, min_copies=1)
    assert result["removed"] == [relpath(1)]
    assert result["failures"] == []
    assert (
        "nothing older of svn/y goes: its newest copy is verified on 0 of 1 target (altbackup_min_copies)"
        in result["notes"]
    )
    result = purged(base, 3, copies={}, min_copies=2)
    assert (
        "nothing older of svn/x, svn/y goes: their newest copies are verified on 0 of 2 targets (altbackup_min_copies)"
        in result["notes"]
    )
    assert result["removed"] == []


@pytest.mark.parametrize("safeguards", [{}, {"copies": {}, "min_copies": 0}, {"copies": None, "min_copies": 1}])
def test_where_nobody_asks_for_copies_none_are_needed(base: Path, safeguards: Any) -> None:
    assert len(purged(base, 3, **safeguards)["removed"]) == 2


def test_nothing_is_said_of_copies_where_nothing_would_go(base: Path) -> None:
    assert purged(base, 30, copies={}, min_copies=1)["notes"] == []


def test_a_run_that_is_a_day_ahead_of_this_nodes_clock_removes_nothing_and_empties_no_trash(base: Path) -> None:
    purged(base, 3, trash_days=2)
    before = tree_hash(base)
    late = Moment("2013/06/30/104701", "2013/06/30/104701")
    result = purge(
        PurgeRequest(str(base), 3, moment=late, safeguards=Safeguards(trash_days=2, latest="2013/05/31/104701"))
    )
    (failure,) = result["failures"]
    assert "the run is of 2013/06/30/104701, more than a day later than the clock of this node" in failure["reason"]
    assert result["removed"] == []
    assert tree_hash(base) == before
