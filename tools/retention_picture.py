"""Draw docs/images/retention-*.svg: what the rules of retention keep of a history, by the code that keeps it.

With --check, write nothing and exit 1 if a picture is not up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))
if TYPE_CHECKING:
    from plugins.module_utils.tree.layout import Tarball

LEFT, RIGHT, TOP, LINE, FOOT = 92, 20, 62, 26, 34
WIDTH = 880
LAST = date(2026, 11, 29)
_GONE, _HELD, _LATEST = "#c8ccd2", "#1f6f8b", "#0b3d4f"


@dataclass(frozen=True)
class Picture:
    """Nights and the retention rules that apply to them."""

    name: str
    title: str
    nights: int
    rules: dict[str, Any]
    content: Callable[[int], int] = lambda night: night
    """Returns the number of the content that a night's dump found"""


PICTURES = (
    Picture(
        "target",
        "A target by default: keep 3, daily 7, weekly 4, monthly 6, within 1d; new content each night",
        220,
        {"keep": 3, "daily": 7, "weekly": 4, "monthly": 6, "within": 86400.0},
    ),
    Picture(
        "young",
        "The same after five weeks: while a rule is not filled, the oldest stays",
        36,
        {"keep": 3, "daily": 7, "weekly": 4, "monthly": 6, "within": 86400.0},
    ),
    Picture(
        "source",
        "A source by default: keep 3; new content once in twelve nights",
        60,
        {"keep": 3},
        lambda night: night // 12,
    ),
)


def main() -> int:
    """Write or check the pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if a picture is not up to date")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures are, by default docs/images")
    options = parser.parse_args()
    stale = []
    for picture in PICTURES:
        path, text = options.folder / f"retention-{picture.name}.svg", draw(picture)
        if not (path.is_file() and path.read_text(encoding="utf-8") == text):
            stale.append(path)
            if not options.check:
                path.write_text(text, encoding="utf-8")
    if options.check and stale:
        print(f"not up to date: run tools/retention_picture.py: {', '.join(map(str, stale))}", file=sys.stderr)
        return 1
    return 0


def kept(picture: Picture) -> dict[date, list[str]]:
    """Run a picture's nights, each with its purge; return {day of a remaining tarball: the reasons for which it stays}."""
    from plugins.module_utils.tree.retention import Rules, judge

    there: list[Tarball] = []
    reasons: dict[str, list[str]] = {}
    for number, night in enumerate(nights(picture)):
        there.append(tarball(night, picture.content(number)))
        reasons = judge(there, Rules(**picture.rules), now=there[-1].stamp, made_now=[there[-1].stamp])
        there = [one for one in there if reasons[one.relpath]]
    return {date(*map(int, one.stamp[:10].split("/"))): reasons[one.relpath] for one in there}


def nights(picture: Picture) -> list[date]:
    """Return the days of a picture, the oldest first."""
    return [LAST - timedelta(days=number) for number in reversed(range(picture.nights))]


def tarball(night: date, content: int) -> Tarball:
    """Return a verified tarball of a night."""
    from plugins.module_utils.tree.layout import Tarball
    from plugins.module_utils.tree.sidecar import Dna

    dna = Dna(f"{content:x}", 1, "sha256")
    return Tarball("svn", "x", f"{night:%Y/%m/%d}/013000", "x.tar", 1, (1, content), 1, dna, "", "verified")


def draw(picture: Picture) -> str:
    """Return a picture as SVG: a row for each rule, a dot for each night, filled if that rule keeps its tarball."""
    days, staying = nights(picture), kept(picture)
    rows = [
        (word, {day for day, why in staying.items() if any(_is_of(word, reason) for reason in why)})
        for word in _words(picture)
    ]
    step = (WIDTH - LEFT - RIGHT) / (len(days) - 1)
    across = {day: LEFT + number * step for number, day in enumerate(days)}
    height = TOP + LINE * (len(rows) + 1) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="sans-serif">',
        f"<title>{escape(picture.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(LEFT - 76, 24, picture.title, 14),
        *_months(days, across, height),
    ]
    for number, (word, own) in enumerate([*rows, ("stays", set(staying))]):
        level = TOP + LINE * number + LINE / 2
        last = number == len(rows)
        parts.append(_text(16, level + 4, word, 12, bold=last))
        parts += _dots(own, across, level, _LATEST if last else _HELD)
    told = f"{len(days)} nights, {len(staying)} tarballs stay; the newest is on the right"
    return "\n".join([*parts, _text(LEFT, height - 10, told, 12), "</svg>\n"])


def _dots(own: Iterable[date], across: dict[date, float], level: float, colour: str) -> list[str]:
    """Return a row: a small dot for each night, and a large one for each night of `own`."""
    places = list(across.values())
    first, last = places[0], places[-1]
    apart = (last - first) / (len(across) - 1)
    every = (
        f'<line x1="{first:.1f}" y1="{level:.1f}" x2="{last + 0.1:.1f}" y2="{level:.1f}" stroke="{_GONE}" stroke-width="2" '
        f'stroke-linecap="round" stroke-dasharray="0 {apart:.3f}"/>'
    )
    return [every, *(f'<circle cx="{across[day]:.1f}" cy="{level:.1f}" r="4" fill="{colour}"/>' for day in sorted(own))]


def _months(days: Sequence[date], across: dict[date, float], height: int) -> list[str]:
    """Return a vertical line and a label at each first day of a month."""
    parts = []
    for day in days:
        if day.day == 1:
            parts.append(
                f'<line x1="{across[day]:.1f}" y1="{TOP - 12}" x2="{across[day]:.1f}" y2="{height - FOOT}" stroke="#e4e7eb" stroke-width="1"/>'
            )
            parts.append(_text(across[day] + 3, TOP - 4, f"{day:%Y-%m}", 10))
    return parts


def _words(picture: Picture) -> list[str]:
    """Return the rules of a picture by the word with which their reasons begin."""
    calendar = [word for word in ("daily", "weekly", "monthly", "yearly", "within") if picture.rules.get(word)]
    return ["content", "day", *calendar, *(["oldest"] if calendar else [])]


def _is_of(word: str, reason: str) -> bool:
    return reason.startswith(f"{word} ")


def _text(x: float, y: float, text: str, size: int, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} fill="#22313f">{escape(text)}</text>'


if __name__ == "__main__":
    sys.exit(main())
