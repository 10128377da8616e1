"""The table of the measurements, as Markdown, JSON and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.sax.saxutils import escape

from .figures import Figures, Judged, Result, curves, fit, judge, median, points, ratio, spread, values
from .meter import COUNTED
from .rows import CURVES, Curve

ALSO_COUNTED = {
    "stored": "bytes on the target's disk afterwards",
    "added": "bytes of tarballs that the target has more than before",
    "calls": "module calls of a source and its targets",
}
HOW = (
    "Each row was measured by turns, ours and its yardsticks one after the other. A figure is the median of the turns, with "
    "the lowest and the highest in brackets; a ratio is the median of the ratios of the turns."
)
_METRICS = ("cpu", "read", "written", "wire", "memory")
_BYTES = {"read", "written", "wire", "memory", "stored", "added"}
_WIDTH, _LEFT, _RIGHT, _LINE = 880, 330, 60, 24
_COLOURS = {True: "#1f6f8b", False: "#c0504d", None: "#8a929b"}
_LINES = ("#0b3d4f", "#c8822e", "#7a5195", "#5b8c5a")


def shown(metric: str, value: float | None) -> str:
    """Return a figure in the unit of the tables: MB, seconds, or a plain number."""
    if value is None:
        return "-"
    return (
        f"{value / 1e6:,.1f}" if metric in _BYTES else f"{value:,.2f}" if metric in ("seconds", "cpu") else f"{value:g}"
    )


def factor(value: float | None) -> str:
    """Return a ratio, with its significant digits."""
    return "-" if value is None else f"{value:.3g} x"


def asked(judged: Judged) -> tuple[str, str, str]:
    """Return a limit, the value found, and whether the limit is met."""
    limit = judged.limit
    if limit.of:
        most, found = f"{limit.metric}: {limit.most:.3g} x {' or '.join(limit.of)}", factor(judged.value)
        found += f" {judged.of}" if judged.value is not None and len(limit.of) > 1 else ""
    else:
        most, found = f"{limit.metric}: {shown(limit.metric, limit.most)}", shown(limit.metric, judged.value)
    return most, found, {True: "yes", False: "**no**", None: "not measured"}[judged.met]


def markdown(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Return the page: limits, figures, curves, seconds by part, and what the figures count."""
    parts = [
        "# Measured",
        table(("", ""), list(machine.items())),
        HOW,
        "## Limits",
        table(
            ("work", "at most", "measured", "met"),
            [(row.work, *asked(judge(row, limit))) for row in results for limit in row.limits if row.turns],
        ),
        "## Figures",
        figures_table(results),
        *missing(results),
        "## Fixed cost and slope",
        curves_table(results),
        "## Where the seconds went",
        table(("row", "by", "medians of seconds"), [line for row in results for line in parts_of(row)]),
        "## What is counted",
        table(("figure", "meaning"), list({**COUNTED, **ALSO_COUNTED}.items())),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def figures_table(results: Sequence[Result]) -> str:
    """Return the medians of all contenders of all rows."""
    head = ("row", "by", "ours / it", "seconds", "cpu s", "read MB", "written MB", "wire MB", "memory MB", "besides")
    lines = []
    for row in results:
        for name, turns in row.turns.items():
            own = ratio(row.turns[row.ours], turns, "seconds") if name != row.ours else None
            lines.append(
                (row.key, name, factor(own) if own else "", *cells(turns), besides(turns, row.first.get(name, {})))
            )
    return table(head, lines)


def cells(turns: Sequence[Figures]) -> tuple[str, ...]:
    """Return the medians of a contender, the seconds with their spread."""
    lowest_highest = spread(turns, "seconds")
    seconds = shown("seconds", median(turns, "seconds"))
    if lowest_highest:
        seconds += f" ({' - '.join(shown('seconds', value) for value in lowest_highest)})"
    return (seconds, *(shown(metric, median(turns, metric)) for metric in _METRICS))


def besides(turns: Sequence[Figures], first: Figures) -> str:
    """Return further findings about a contender: bytes stored at the end, calls, and its first night."""
    found = [f"{name} {shown(name, values(turns, name)[-1])}" for name in ALSO_COUNTED if values(turns, name)]
    if first:
        found.append(f"first night {shown('seconds', first['seconds'])} s")
    return ", ".join(found)


def missing(results: Sequence[Result]) -> list[str]:
    """Return what could not be measured, and why."""
    absent = [f"- {row.key}: {name}: {how}" for row in results for name, how in row.absent.items()]
    failed = [f"- {row.key} failed: {row.failure.splitlines()[0]}" for row in results if row.failure]
    return ["\n".join(["Not measured:", "", *absent, *failed])] if absent or failed else []


def parts_of(row: Result) -> list[tuple[str, str, str]]:
    """Return a line for each contender whose seconds are known by part."""
    lines = []
    for name, turns in row.parts.items():
        parts = {part: median(turns, part) for turn in turns for part in turn}
        if len(parts) > 1:
            lines.append(
                (row.key, name, ", ".join(f"{part} {shown('seconds', value)}" for part, value in parts.items()))
            )
    return lines


def curves_table(results: Sequence[Result]) -> str:
    """Return, for each curve and contender, the figures along it, fixed cost and slope, and what is required of ours."""
    lines = []
    for title, rows in curves(results).items():
        lines += [(f"{title}, by {CURVES[title].unit}", name, *line) for name, line in _along(rows).items()]
        lines += [(title, "", "", said, found, met) for said, found, met in judge_curve(CURVES[title], rows)]
    return table(("curve", "by", "seconds at", "fixed s", "slope s", "met"), lines)


def _along(rows: Sequence[Result]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.turns):
        medians = points(rows, name)
        line = fit(medians)
        along = ", ".join(f"{at:g}: {seconds:.2f}" for at, seconds in medians)
        found[name] = (along, *(shown("seconds", value) for value in line or (None, None)), "")
    return found


def judge_curve(curve: Curve, rows: Sequence[Result]) -> list[tuple[str, str, str]]:
    """Compare our fixed cost and slope with the limits; return the limit, the value found, and whether it is met."""
    ours = fit(points(rows, rows[0].ours))
    if ours is None:
        return []
    found = []
    if curve.fixed_per_call is not None and (calls := median(rows[-1].turns[rows[-1].ours], "calls")):
        value = ours[0] / calls
        found.append(
            (f"fixed: {curve.fixed_per_call:g} s a call", f"{value:.2f} s", _met(value <= curve.fixed_per_call))
        )
    slopes = [line[1] for name in curve.of if (line := fit(points(rows, name))) and line[1] > 0]
    if curve.slope is not None and slopes:
        value = ours[1] / min(slopes)
        found.append((f"slope: {curve.slope:g} x {' or '.join(curve.of)}", factor(value), _met(value <= curve.slope)))
    return found


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def as_json(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Return all measurements, turn by turn."""
    plain: dict[str, Any] = {
        "machine": dict(machine),
        "counted": {**COUNTED, **ALSO_COUNTED},
        "rows": [
            {
                **asdict(row),
                "limits": [
                    {**asdict(limit), "value": judge(row, limit).value, "met": judge(row, limit).met}
                    for limit in row.limits
                ],
            }
            for row in results
        ],
        "curves": {
            title: {name: fit(points(rows, name)) for name in rows[0].turns} for title, rows in curves(results).items()
        },
    }
    return json.dumps(plain, indent=2) + "\n"


def picture(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Return a picture: a bar for each ratio, with its limit, then the curves."""
    bars = [(row, found) for row in results for limit in row.limits if limit.of and (found := judge(row, limit)).value]
    drawn = curves(results)
    foot = 70 + _LINE * len(bars) + 40
    height = foot + 230 * math.ceil(len(drawn) / 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" font-family="sans-serif">',
        "<title>Ratios and curves of the benchmarks</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "Over the yardstick, on a logarithmic scale; the line is the limit, left is better", 14),
        _text(16, 42, ", ".join(machine.values())[:150], 10),
        *_bars(bars),
    ]
    for number, (title, rows) in enumerate(drawn.items()):
        parts += _curve(title, rows, 16 + number % 2 * _WIDTH / 2, foot + 230 * (number // 2))
    return "\n".join([*parts, "</svg>\n"])


def _bars(bars: Sequence[tuple[Result, Judged]]) -> list[str]:
    parts = []
    numbers = [number for _, found in bars for number in (found.value or 1.0, found.limit.most)] or [1.0]
    lowest, highest = math.log10(min(numbers)) - 0.3, math.log10(max([1.0, *numbers])) + 0.1

    def across(value: float) -> float:
        return _LEFT + (math.log10(value) - lowest) / (highest - lowest) * (_WIDTH - _LEFT - _RIGHT)

    for number, (row, found) in enumerate(bars):
        top = 60 + _LINE * number
        assert found.value is not None
        end, limit = across(found.value), across(found.limit.most)
        parts += [
            _text(16, top + 13, f"{row.key}: {found.limit.metric} / {found.of}", 12),
            f'<rect x="{_LEFT}" y="{top + 2}" width="{end - _LEFT:.1f}" height="14" fill="{_COLOURS[found.met]}"/>',
            f'<line x1="{limit:.1f}" y1="{top - 1}" x2="{limit:.1f}" y2="{top + 19}" stroke="#22313f" stroke-width="2"/>',
            _text(max(end, limit) + 5, top + 13, factor(found.value), 11),
        ]
    return parts


def _curve(title: str, rows: Sequence[Result], left: float, top: float) -> list[str]:
    """Return a curve's picture, 400 wide and 200 high: seconds over the position of its rows."""
    names = list(dict.fromkeys(name for row in rows for name in row.turns))
    along = {name: points(rows, name) for name in names}
    most_x = max(row.at for row in rows) or 1.0
    most_y = max(y for found in along.values() for _, y in found)
    parts = [
        _text(left, top, f"{title}: seconds by {CURVES[title].unit}", 12),
        f'<path d="M {left} {top + 15} v 150 h 300" fill="none" stroke="#8a929b"/>',
        _text(left + 4, top + 24, f"{most_y:.1f} s", 10),
        _text(left + 290, top + 178, f"{most_x:g}", 10),
    ]
    for number, (name, found) in enumerate(along.items()):
        colour = _LINES[number % len(_LINES)]
        places = [(left + x / most_x * 290, top + 165 - y / most_y * 140) for x, y in found]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(_text(left + 310, top + 30 + 16 * number, name, 11, colour))
    return parts


def _text(x: float, y: float, text: str, size: int, colour: str = "#22313f") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
