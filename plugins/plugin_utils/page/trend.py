"""How free space goes, and when there will be none at that rate: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DAY = 86400.0
LOOKED_BACK = 30
"""Days of which the rate is told"""
_LEAST_POINTS = 4
_LEAST_DAYS = 3.0
_FAR = 3650.0
"""Days after which nobody asks"""

Point = tuple[float, float]
"""(seconds since 1970, bytes)"""


@dataclass(frozen=True)
class Forecast:
    """How free space goes."""

    rate: float | None = None
    """Bytes a day by which it grows less, negative where it grows; None where too little is known"""
    days: float | None = None
    """Days until nothing is free; None for never, or not in ten years"""


def slope(points: Sequence[Point]) -> float:
    """Given points of at least two different times, return the rise for each second: the median of all pairs, which a jump does not sway.

    This is the estimator of Theil and Sen.
    """
    pairs = [
        (right[1] - left[1]) / (right[0] - left[0])
        for number, left in enumerate(points)
        for right in points[number + 1 :]
        if right[0] != left[0]
    ]
    return median(pairs)


def forecast(points: Sequence[Point], now: float) -> Forecast:
    """Given what was free when, oldest first, and the time, return how that goes, by the last 30 days; nights that are few tell nothing."""
    recent = [point for point in points if now - point[0] <= LOOKED_BACK * DAY]
    if len(recent) < _LEAST_POINTS or recent[-1][0] - recent[0][0] < _LEAST_DAYS * DAY:
        return Forecast()
    rate = -slope(recent) * DAY
    if rate <= 0:
        return Forecast(rate)
    days = recent[-1][1] / rate - (now - recent[-1][0]) / DAY
    return Forecast(rate, None if days > _FAR else max(days, 0.0))
