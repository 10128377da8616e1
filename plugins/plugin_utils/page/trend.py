"""The trend of free space, and when a disk will be full. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DAY = 86400.0
LOOKED_BACK = 30
"""Days from which the rate is computed"""
_LEAST_POINTS = 4
_LEAST_DAYS = 3.0
_FAR = 3650.0
"""Days beyond which no date is forecast"""

Point = tuple[float, float]
"""(seconds since 1970, bytes)"""


@dataclass(frozen=True)
class Forecast:
    """The trend of free space."""

    rate: float | None = None
    """Bytes a day by which it shrinks, negative if it grows; None if too little is known"""
    days: float | None = None
    """Days until nothing is free; None for never, or beyond ten years"""


def slope(points: Sequence[Point]) -> float:
    """Return the rise a second of points with at least two different times: the median over all pairs, robust against jumps.

    This is the Theil-Sen estimator.
    """
    pairs = [
        (right[1] - left[1]) / (right[0] - left[0])
        for number, left in enumerate(points)
        for right in points[number + 1 :]
        if right[0] != left[0]
    ]
    return median(pairs)


def forecast(points: Sequence[Point], now: float) -> Forecast:
    """Return the trend of the last LOOKED_BACK days of `points`, oldest first; without a rate if they are too few or too close in time."""
    recent = [point for point in points if now - point[0] <= LOOKED_BACK * DAY]
    if len(recent) < _LEAST_POINTS or recent[-1][0] - recent[0][0] < _LEAST_DAYS * DAY:
        return Forecast()
    rate = -slope(recent) * DAY
    if rate <= 0:
        return Forecast(rate)
    days = recent[-1][1] / rate - (now - recent[-1][0]) / DAY
    return Forecast(rate, None if days > _FAR else max(days, 0.0))
