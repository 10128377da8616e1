"""What time it is where a clock may be wrong: a machine that boots without one, a clock that jumps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NEAR = 3600.0
"""Seconds by which a clock may differ from what has passed"""
HOLD = 6 * 3600.0
"""Seconds for which a jump ahead is not believed, and one back is no fault yet"""
_CAME_LATELY = 2 * 86400.0
"""Seconds within which a run came by a clock that is right"""


@dataclass(frozen=True)
class Reading:
    """What the clocks of a machine show."""

    wall: float
    """Seconds since 1970, as far as that clock is right"""
    running: float
    """Seconds since this boot, which no one sets"""
    boot: str
    """What tells this boot from others"""


@dataclass(frozen=True)
class Reckoned:
    """What time it is by all that is known."""

    now: float
    """Seconds since 1970 by which ages are judged: never more than passed for sure, until the clock was believed"""
    odd: str = ""
    """`behind` or `ahead`: how the clock differs from that"""
    odd_for: float = 0.0
    """Seconds that were counted since then"""

    @property
    def is_fault(self) -> bool:
        """Whether the clock is wrong for so long that somebody has to be told."""
        return self.odd == "behind" and self.odd_for > HOLD


def reckon(before: Mapping[str, Any], reading: Reading, came: Sequence[float]) -> tuple[Reckoned, dict[str, Any]]:
    """Given what the last check kept (empty for none), what the clocks show, and when runs came by this clock, return the time and what to keep.

    A clock that is behind what has passed is not used: what has passed is counted by how long the machine runs, so that nobody stays silent for
    ever. One that is ahead of that is believed after six hours, so that nobody cries wolf. Either is believed when a run came by it.
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
