"""The arithmetic of the benchmarks."""

from __future__ import annotations

import pytest
from benchmarks.figures import Limit, Result, curves, fit, judge, median, points, ratio, spread


def turns(*seconds: float) -> list[dict[str, float]]:
    return [{"seconds": value} for value in seconds]


def result(**contenders: list[dict[str, float]]) -> Result:
    return Result("row", "work", turns=dict(contenders))


@pytest.mark.parametrize(
    ("measured", "middle", "ends"),
    [([9, 1, 2], 2, (1, 9)), ([4, 1, 2, 3], 2.5, (1, 4)), ([5], 5, (5, 5)), ([], None, None)],
)
def test_a_figure_is_the_median_with_the_lowest_and_the_highest(
    measured: list[float], middle: float | None, ends: tuple[float, float] | None
) -> None:
    assert median(turns(*measured), "seconds") == middle
    assert spread(turns(*measured), "seconds") == ends
    assert median(turns(*measured), "wire") is None


def test_a_ratio_is_the_median_of_those_of_the_turns_so_that_a_slow_minute_counts_for_both() -> None:
    assert ratio(turns(2, 20, 3), turns(1, 10, 3), "seconds") == 2
    assert ratio(turns(2, 4), turns(0, 1), "seconds") == 4
    assert ratio(turns(1), [], "seconds") is None
    assert ratio(turns(1), [{"wire": 1}], "seconds") is None


def test_fixed_cost_and_slope_are_those_of_the_line_through_the_points() -> None:
    assert fit([(1, 5), (2, 7), (4, 11)]) == pytest.approx((3, 2))
    assert fit([(0, 1), (1, 2), (2, 6)]) == pytest.approx((0.5, 2.5))
    assert fit([(1, 5), (1, 7)]) is None
    assert fit([]) is None


@pytest.mark.parametrize(
    ("limit", "value", "of", "met"),
    [
        (Limit("seconds", 1.5, ("borg",)), 1.5, "borg", True),
        (Limit("seconds", 1.4, ("borg",)), 1.5, "borg", False),
        (Limit("seconds", 1.5, ("borg", "restic")), 3, "restic", False),
        (Limit("seconds", 5, ("absent",)), None, "absent", None),
        (Limit("wire", 5, ("borg",)), None, "borg", None),
        (Limit("seconds", 3), 3, "", True),
        (Limit("seconds", 2.9), 3, "", False),
        (Limit("calls", 7), None, "", None),
    ],
)
def test_a_limit_is_held_against_the_best_yardstick_or_the_figure_itself(
    limit: Limit, value: float | None, of: str, met: bool | None
) -> None:
    judged = judge(result(altbackup=turns(3, 3), borg=turns(2, 2), restic=turns(1, 1)), limit)
    assert (judged.value, judged.of, judged.met) == (value, of, met)


def test_rows_of_a_curve_are_put_in_order_and_those_that_failed_are_left_out() -> None:
    rows = [
        Result("b", "", curve="size", at=1, turns={"altbackup": turns(4, 6)}),
        Result("a", "", curve="size", at=0.1, turns={"altbackup": turns(2)}),
        Result("c", "", curve="size", at=8, failure="disk full"),
        result(altbackup=turns(1)),
    ]
    found = curves(rows)
    assert {name: [row.key for row in along] for name, along in found.items()} == {"size": ["a", "b"]}
    assert points(found["size"], "altbackup") == [(0.1, 2), (1, 5)]
    assert points(found["size"], "borg") == []
