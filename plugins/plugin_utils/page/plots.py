"""Plots as inline SVG: the page's style colours them, so that they follow light, dark and print, and nothing has to be installed.

Lines and bars are stretched to the available width; all text stands beside them, in the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from .site import FAILED, GOOD, NONE, SUSPECT, Night, days_between

_WIDTH, _HEIGHT = 1000, 100
_MARGIN = 4
_CELL, _SIDE = 12, 9
_LEFT, _TOP = 62, 16
_LAST_OF_MONTH = 31

Text = Callable[[str], str]
"""Returns a text from elsewhere in a form that may be shown"""


def line(points: Sequence[tuple[float, float]], low: float, high: float, label: str) -> Markup:
    """Return a line plot of at least two points (any unit, bytes) from left to right; `low` and `high` are the values at bottom and top."""
    first, last = points[0][0], points[-1][0]
    spread = (high - low) or 1.0
    wide = (last - first) or 1.0
    places = [
        (
            (x - first) / wide * _WIDTH,
            _HEIGHT - _MARGIN - (y - low) / spread * (_HEIGHT - 2 * _MARGIN) if high > low else _HEIGHT / 2,
        )
        for x, y in points
    ]
    path = "L".join(f"{x:.0f} {y:.1f}" for x, y in places)
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="area" d="M0 {}L{}L{} {}Z"/><path class="line" d="M{}"/></svg>'
    ).format(_WIDTH, _HEIGHT, label, _HEIGHT, Markup(path), _WIDTH, _HEIGHT, Markup(path))


def bars(values: Sequence[tuple[float, bool]], high: float, label: str) -> Markup:
    """Return a bar plot of (value, whether it is good); `high` is the value at the top. Bad bars are hatched as well as coloured."""
    wide = _WIDTH / max(len(values), 1)
    parts: dict[str, list[str]] = {"good": [], "bad": []}
    for number, (value, is_good) in enumerate(values):
        tall = max(value / (high or 1.0) * _HEIGHT, 1.0)
        parts["good" if is_good else "bad"].append(
            f"M{number * wide:.1f} {_HEIGHT}v-{tall:.1f}h{wide * 0.8:.1f}v{tall:.1f}z"
        )
    drawn = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(kind, "".join(found)) for kind, found in parts.items() if found
    )
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, _HEIGHT, label, drawn)


def share(part: float, whole: float) -> Markup:
    """Return a bar for a part of a whole, without text, as it stands beside its number."""
    wide = 100.0 * part / whole if whole > 0 else 0.0
    return Markup(
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="line" width="{}" height="8"/></svg>'
    ).format(f"{min(max(wide, 0.0), 100.0):.1f}")


def calendar(nights: Mapping[str, Night], first: str, last: str, label: str, text: Text) -> Markup:
    """Return a calendar of nights, {day: night}, from day `first` to `last`: a row a month, a cell a day.

    Each state has its own shape. Good nights form one path; each other night has a tooltip with its reason.
    """
    months, cells = _grid(first, last)
    good: list[str] = []
    gaps: list[str] = []
    others: list[str] = []
    for day, x, y in cells:
        night = nights.get(day)
        if night is None:
            gaps.append(f"M{x + 3} {y + 4}h2v2h-2z")
        elif night.state == GOOD:
            good.append(f"M{x} {y}h{_SIDE}v{_SIDE}h-{_SIDE}z")
        else:
            title = escape(text(f"{day}: {_SAID[night.state]}: {night.why}"))
            others.append(
                f'<path class="{night.state}" d="M{x} {y}{_SHAPES[night.state]}"><title>{title}</title></path>'
            )
    tall = _TOP + len(months) * _CELL
    names = "".join(
        f'<text x="0" y="{_TOP + number * _CELL + _SIDE}">{month.replace("/", "-")}</text>'
        for number, month in enumerate(months)
    )
    numbers = "".join(
        f'<text x="{_LEFT + (number - 1) * _CELL}" y="10">{number}</text>'
        for number in (1, 5, 10, 15, 20, 25, _LAST_OF_MONTH)
    )
    return Markup(
        '<svg class="calendar" viewBox="0 0 {} {}" role="img" aria-label="{}">{}<path class="good" d="{}"/><path class="gap" d="{}"/>{}</svg>'
    ).format(
        _LEFT + _LAST_OF_MONTH * _CELL + 4,
        tall,
        label,
        Markup(names + numbers),
        "".join(good),
        "".join(gaps),
        Markup("".join(others)),
    )


@lru_cache(maxsize=16)
def _grid(first: str, last: str) -> tuple[list[str], list[tuple[str, int, int]]]:
    """Return the months from one day to another, and (day, x, y) of each day's cell."""
    days = days_between(first, last)
    months = {month: number for number, month in enumerate(dict.fromkeys(day[:7] for day in days))}
    cells = [(day, _LEFT + (int(day[8:]) - 1) * _CELL, _TOP + months[day[:7]] * _CELL) for day in days]
    return list(months), cells


_SAID = {SUSPECT: "suspect", FAILED: "failed", NONE: "no copy"}
_SHAPES = {
    SUSPECT: f"m{_SIDE / 2} 0l{_SIDE / 2} {_SIDE}h-{_SIDE}z",
    FAILED: f"l{_SIDE} {_SIDE}m0 -{_SIDE}l-{_SIDE} {_SIDE}",
    NONE: f"m1 1h{_SIDE - 2}v{_SIDE - 2}h-{_SIDE - 2}z",
}
"""Path data of a triangle, a cross, a frame"""


def legend() -> list[tuple[Markup, str]]:
    """Return (shape, meaning) of a calendar."""
    shapes = {
        GOOD: (f"h{_SIDE}v{_SIDE}h-{_SIDE}z", "a good copy"),
        SUSPECT: (_SHAPES[SUSPECT], "suspect"),
        FAILED: (_SHAPES[FAILED], "failed"),
        NONE: (_SHAPES[NONE], "no copy"),
        "gap": ("m3 4h2v2h-2z", "no run"),
    }
    drawn = '<svg class="calendar key" viewBox="0 0 {0} {0}" aria-hidden="true"><path class="{1}" d="M1 1{2}"/></svg>'
    return [(Markup(drawn).format(_SIDE + 2, state, shape), meaning) for state, (shape, meaning) in shapes.items()]
