"""When kept scratch copies are built anew."""

from __future__ import annotations

import pytest
from helpers.repositories import NEVER

from ansible_collections.altbackup.core.plugins.module_utils.kinds.kept import is_due


@pytest.mark.parametrize(
    ("built", "today", "every", "expected"),
    [
        ("2013/05/10", "2013/05/10", 7, False),
        ("2013/05/10", "2013/05/17", 7, True),
        ("2013/05/10", "2013/05/09", 7, True),
        ("2013/05/10", "2013/07/10", 7, True),
        ("2013/05/10", "2013/05/11", 1, True),
        ("2013/05/10", "2013/05/10", 1, False),
        ("damaged", "2013/05/10", 7, True),
        ("2013/02/31", "2013/05/10", 7, True),
    ],
)
def test_day_of_the_rebuild(built: str, today: str, every: int, expected: bool) -> None:
    assert is_due("svn/toy", built, today, every) is expected


def test_days_of_rebuilds_are_spread_over_the_items() -> None:
    days = [f"2013/05/{day:02d}" for day in range(11, 18)]
    first = [next(day for day in days if is_due(f"svn/item{number}", "2013/05/10", day, 7)) for number in range(70)]
    assert set(first) == set(days)
    assert max(first.count(day) for day in days) < 25
    assert not any(is_due(f"svn/item{number}", "2013/05/10", "2013/05/11", NEVER) for number in range(70))
