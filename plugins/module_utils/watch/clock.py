"""Estimate of the time where a clock may be wrong: a machine that boots without one, a clock that jumps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEAR = 3600.0
"""Seconds by which the clock may differ from the time that has passed"""
HOLD = 6 * 3600.0
"""Seconds before a jump ahead is believed, and before a clock that is behind is a fault"""
_CAME_LATELY = 2 * 86400.0
"""Seconds within which the arrival of a run confirms the clock"""


@dataclass(frozen=True)
class Reading:
    """Readings of a machine's clocks."""

    wall: float
    """Seconds since 1970, if that clock is right"""
    running: float
    """Seconds since boot, which nobody can set"""
    boot: str
    """Id of this boot"""


@dataclass(frozen=True)
class Reckoned:
    """Estimate of the time."""

    now: float
    """Seconds since 1970 by which ages are judged: never more than surely passed, until the clock is believed"""
    odd: str = ""
    """`behind` or `ahead`, as the clock differs from the estimate; empty if it does not"""
    odd_for: float = 0.0
    """Seconds counted since it began to differ"""

    @property
    def is_fault(self) -> bool:
        """Whether the clock is wrong for so long that somebody must be told."""
        return self.odd == "behind" and self.odd_for > HOLD


def reckon(before: Mapping[str, Any], reading: Reading, came: Sequence[float]) -> tuple[Reckoned, dict[str, Any]]:
    """Return the time, and what the next check needs; `before` is what the last check kept, `came` are moments of runs that arrived.

    A clock behind the time that surely passed is not used: uptime is counted instead, so that a target does not stay silent for ever. One
    that is ahead is believed after six hours, to avoid false alarms. Either is believed once a run arrived by it.
    """
    floor = max(came, default=0.0)
    now, last_running = _number(before, "now"), _number(before, "running")
    same = before.get("boot") == reading.boot and reading.running >= last_running
    passed = reading.running - last_running if same else reading.running
    counted = max(now + passed, floor) if before else floor
    odd, odd_for = "", 0.0
    judged = reading.wall
    if any(reading.wall - _CAME_LATELY <= moment <= reading.wall + NEAR for moment in came):
        pass
    elif reading.wall < counted - NEAR:
        odd, judged = "behind", counted
    elif before and reading.wall > counted + NEAR:
        odd, judged = "ahead", counted
    if odd:
        odd_for = passed + (_number(before, "odd_for") if before.get("odd") == odd else -passed)
        if odd == "ahead" and odd_for >= HOLD:
            odd, odd_for, judged = "", 0.0, reading.wall
    kept = {"now": judged, "running": reading.running, "boot": reading.boot, "odd": odd, "odd_for": odd_for}
    return Reckoned(judged, odd, odd_for), kept


def _number(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name)
    return (
        float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found < 1e11 else 0.0
    )
