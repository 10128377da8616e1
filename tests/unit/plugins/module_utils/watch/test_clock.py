"""Time with clocks that jump, and machines that boot without one: no false alarms, and no endless silence."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.watch.clock import HOLD, Reading, reckon

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
BEFORE = {"now": NOW, "running": 1000.0, "boot": "a", "odd": "", "odd_for": 0.0}
OLD = [NOW - 60 * DAY]
"""Arrivals so old that they prove nothing"""


@pytest.mark.parametrize(
    ("before", "reading", "came", "now", "odd"),
    [
        pytest.param({}, Reading(NOW, 50, "a"), OLD, NOW, "", id="the first check believes its clock"),
        pytest.param({}, Reading(0, 50, "a"), [NOW], NOW, "behind", id="but not one that is before a run came"),
        pytest.param(BEFORE, Reading(NOW + HOUR, 4600, "a"), OLD, NOW + HOUR, "", id="an hour later"),
        pytest.param(BEFORE, Reading(NOW + HOUR - 300, 4600, "a"), OLD, NOW + HOUR - 300, "", id="set back by minutes"),
        pytest.param(BEFORE, Reading(100, 50, "b"), OLD, NOW + 50, "behind", id="booted without a clock"),
        pytest.param(BEFORE, Reading(NOW - DAY, 4600, "a"), OLD, NOW + HOUR, "behind", id="set back by a day"),
        pytest.param(BEFORE, Reading(NOW + 9 * DAY, 4600, "a"), OLD, NOW + HOUR, "ahead", id="set ahead by days"),
        pytest.param(BEFORE, Reading(NOW + 3 * DAY, 60, "b"), OLD, NOW + 60, "ahead", id="off for three days"),
        pytest.param(
            BEFORE, Reading(NOW + 3 * DAY, 60, "b"), [NOW + 3 * DAY], NOW + 3 * DAY, "", id="a run came meanwhile"
        ),
        pytest.param(
            {**BEFORE, "now": NOW + 999 * DAY},
            Reading(NOW, 4600, "a"),
            [NOW - HOUR],
            NOW,
            "",
            id="mended, and a run came by it",
        ),
        pytest.param({"now": "x", "running": [], "boot": 3}, Reading(NOW, 9, "a"), OLD, NOW, "ahead", id="damaged"),
    ],
)
def test_time_is_what_passed_for_sure_where_a_clock_is_odd(
    before: dict[str, Any], reading: Reading, came: list[float], now: float, odd: str
) -> None:
    found, _ = reckon(before, reading, came)
    assert found.odd == odd
    if before.get("boot") != 3:
        assert found.now == now


def hourly(kept: dict[str, Any], wall: float, running: float, hours: int) -> list[Any]:
    """Return the results of hourly checks from then on, with a clock that continues from `wall`."""
    found = []
    for hour in range(hours):
        seen, kept = reckon(kept, Reading(wall + hour * HOUR, running + hour * HOUR, "b"), OLD)
        found.append(seen)
    return found


def test_without_a_clock_time_goes_on_and_somebody_is_told() -> None:
    found = hourly(dict(BEFORE), 100, 50, 48)
    assert [seen.now - NOW for seen in found] == [50 + hour * HOUR for hour in range(48)]
    assert [seen.is_fault for seen in found] == [hour * HOUR > HOLD for hour in range(48)]


def test_a_jump_ahead_is_believed_after_six_hours() -> None:
    wall = NOW + 5 * DAY
    found = hourly(dict(BEFORE), wall, 50, 10)
    held = [seen for seen in found if seen.odd == "ahead"]
    assert len(held) == 6
    assert [seen.now for seen in held] == [NOW + 50 + hour * HOUR for hour in range(6)]
    assert found[6].now == wall + 6 * HOUR
    assert not any(seen.is_fault for seen in found)


def test_a_machine_that_boots_again_and_again_is_not_silent_for_ever() -> None:
    kept: dict[str, Any] = dict(BEFORE)
    seen = None
    for boot in range(20):
        seen, kept = reckon(kept, Reading(NOW + 30 * DAY + boot * HOUR, HOUR, str(boot)), OLD)
    assert seen is not None and seen.odd == ""
    assert seen.now == NOW + 30 * DAY + 19 * HOUR
