"""The time at which a disk will be full at the present rate."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.page.trend import DAY, Forecast, forecast, slope

NOW = 1000 * DAY


def points(*free: float) -> list[tuple[float, float]]:
    """Return the free bytes of the last nights, the last of which is now."""
    return [(NOW - (len(free) - 1 - number) * DAY, number_of) for number, number_of in enumerate(free)]


def test_what_goes_down_evenly_is_full_when_the_line_meets_nothing() -> None:
    assert forecast(points(140, 130, 120, 110, 100), NOW) == Forecast(10.0, 10.0)


def test_a_last_night_that_is_long_ago_counts_from_then() -> None:
    assert forecast(points(140, 130, 120, 110, 100), NOW + 4 * DAY).days == pytest.approx(6.0)
    assert forecast(points(140, 130, 120, 110, 100), NOW + 20 * DAY).days == 0.0


@pytest.mark.parametrize(
    "free", [(), (100,), (100, 90), (100, 90, 80)], ids=["no night", "one night", "two nights", "three nights"]
)
def test_few_nights_tell_nothing(free: tuple[float, ...]) -> None:
    assert forecast(points(*free), NOW) == Forecast()


def test_many_runs_of_one_day_tell_nothing() -> None:
    assert forecast([(NOW - number * 3600, 100.0 - number) for number in range(8, -1, -1)], NOW) == Forecast()


@pytest.mark.parametrize("free", [(100, 110, 120, 130, 140), (100, 100, 100, 100, 100)])
def test_what_does_not_go_down_is_never_full(free: tuple[float, ...]) -> None:
    assert forecast(points(*free), NOW).days is None


def test_what_is_far_away_is_never() -> None:
    assert forecast(points(1e9 + 4, 1e9 + 3, 1e9 + 2, 1e9 + 1, 1e9), NOW).days is None


def test_a_jump_does_not_sway_it() -> None:
    level = [1000.0 - 10 * number for number in range(30)]
    jumped = [value + (5000 if number > 20 else 0) for number, value in enumerate(level)]
    assert slope(points(*jumped)) * DAY == pytest.approx(-10.0, rel=0.5)


def test_what_was_before_the_last_month_does_not_count() -> None:
    assert forecast(points(*[10_000.0 - 300 * number for number in range(30)], *([1000.0] * 31)), NOW).days is None
