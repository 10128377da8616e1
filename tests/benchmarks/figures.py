"""Arithmetic on measured figures: medians and spread, ratios of pairs, fixed cost and slope, and whether a limit is met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Figures = Mapping[str, float]
"""Figures of one measurement, by metric: seconds, cpu, read, written, wire, memory, and further ones of a row"""


@dataclass(frozen=True)
class Limit:
    """A bound on a metric of ours: a factor of the best of some yardsticks, or, without any, the figure itself."""

    metric: str
    most: float
    of: tuple[str, ...] = ()
    last: bool = False
    """Whether the last turn decides, as of what has piled up by then, not the median"""


@dataclass(frozen=True)
class Judged:
    """The result of a limit: the value compared with it, and the yardstick; None if it could not be measured."""

    limit: Limit
    value: float | None
    of: str = ""

    @property
    def met(self) -> bool | None:
        """Return whether the limit is met, None if that is unknown."""
        return None if self.value is None else self.value <= self.limit.most


@dataclass
class Result:
    """The figures of a row for each contender, turn by turn; the first contender is ours."""

    key: str
    work: str
    limits: Sequence[Limit] = ()
    curve: str = ""
    at: float = 0.0
    turns: dict[str, list[Figures]] = field(default_factory=dict)
    first: dict[str, Figures] = field(default_factory=dict)
    """Figures of a contender's first night, which fills its store"""
    parts: dict[str, list[Figures]] = field(default_factory=dict)
    """Seconds of each turn by part"""
    absent: dict[str, str] = field(default_factory=dict)
    """{missing yardstick: how to get it}"""
    failure: str = ""

    @property
    def ours(self) -> str:
        """Return the name of our contender."""
        return next(iter(self.turns), "")


def values(turns: Iterable[Figures], metric: str) -> list[float]:
    """Return the figures of a metric, from the turns that have it."""
    return [turn[metric] for turn in turns if metric in turn]


def median(turns: Iterable[Figures], metric: str) -> float | None:
    """Return the median of a metric, None if it was not measured."""
    found = values(turns, metric)
    return statistics.median(found) if found else None


def spread(turns: Iterable[Figures], metric: str) -> tuple[float, float] | None:
    """Return the lowest and the highest figure of a metric, None if it was not measured."""
    found = values(turns, metric)
    return (min(found), max(found)) if found else None


def ratio(ours: Sequence[Figures], theirs: Sequence[Figures], metric: str) -> float | None:
    """Return the median of the turns' ratios, each with the one measured beside it; None without such pairs."""
    pairs = [
        (one[metric], other[metric])
        for one, other in zip(ours, theirs, strict=False)
        if metric in one and metric in other
    ]
    found = [one / other for one, other in pairs if other]
    return statistics.median(found) if found else None


def fit(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return fixed cost and slope of the least-squares line through points (x, y), None for less than two values of x."""
    if len({x for x, _ in points}) < 2:
        return None
    line = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return line.intercept, line.slope


def judge(result: Result, limit: Limit) -> Judged:
    """Compare a row with a limit; the yardstick against which ours is worst decides."""
    kept = slice(-1, None) if limit.last else slice(None)
    ours = result.turns.get(result.ours, [])[kept]
    if not limit.of:
        return Judged(limit, median(ours, limit.metric))
    ratios = {name: ratio(ours, result.turns.get(name, [])[kept], limit.metric) for name in limit.of}
    known = {name: found for name, found in ratios.items() if found is not None}
    if not known:
        return Judged(limit, None, " or ".join(limit.of))
    worst = max(known, key=lambda name: known[name])
    return Judged(limit, known[worst], worst)


def curves(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the rows of curves, {name of the curve: rows in order of their position}."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.curve and result.turns:
            found.setdefault(result.curve, []).append(result)
    return {name: sorted(rows, key=lambda row: row.at) for name, rows in found.items()}


def points(rows: Iterable[Result], name: str, metric: str = "seconds") -> list[tuple[float, float]]:
    """Return the medians of a contender along a curve."""
    found = [(row.at, median(row.turns.get(name, []), metric)) for row in rows]
    return [(at, value) for at, value in found if value is not None]
