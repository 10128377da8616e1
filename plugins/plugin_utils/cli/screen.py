"""Prints tables: aligned text, and on a terminal through rich, where that is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from ...module_utils.system.visible import one_line

_LEAST_LINES = 10
_LEAST_WIDTH = 12
_GAP = "  "
_INDENT = "     "
"""Before a line that continues a row"""
_AROUND = 6
"""Lines of a screen that are not the table's"""


@dataclass(frozen=True)
class Table:
    """Rows under titles. Columns in `right` are aligned to the right; those in `cut` may be shortened to fit, and the last unless in `whole`.

    With `wrap_last` a cell of the last column that does not fit is not shortened, but put below its row, on as many lines as it takes.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]] = ()
    right: Sequence[int] = ()
    cut: Sequence[int] = ()
    bad: frozenset[int] = field(default_factory=frozenset)
    """Numbers of the rows that need attention"""
    below: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """{number of a row: lines below it}"""
    whole: Sequence[int] = ()
    """Columns of what a user types, such as paths and names of runs"""
    wrap_last: bool = False

    @property
    def flexible(self) -> list[int]:
        """The columns that may be shortened."""
        return [number for number in {*self.cut, len(self.titles) - 1} if number not in self.whole]


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    cells: Sequence[str]
    bad: bool = False
    below: Sequence[str] = ()


def while_read(act: Callable[[], int]) -> int:
    """Return the exit code of what prints, 0 if whoever read it in a pipe has gone, such as `head`."""
    try:
        code = act()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def table_of(
    titles: Sequence[str],
    rows: Sequence[Row],
    right: Sequence[int] = (),
    whole: Sequence[int] = (),
    *,
    wrap_last: bool = False,
) -> Table:
    """Return the table of rows; `right` are the columns that are aligned to the right, `whole` those that are never shortened."""
    bad = frozenset(number for number, row in enumerate(rows) if row.bad)
    below = {number: row.below for number, row in enumerate(rows)}
    return Table(titles, [row.cells for row in rows], right, (), bad, below, whole, wrap_last)


def show(table: Table, out: TextIO, *, everything: bool = False) -> None:
    """Print a table; on a terminal only as many rows as fit, bad ones first, and a line on the rest, unless `everything` is set."""
    live = out.isatty()
    room = max(_LEAST_LINES, shutil.get_terminal_size().lines - _AROUND)
    numbers = list(range(len(table.rows)))
    is_cut = live and not everything and len(numbers) > room
    shown = sorted(numbers, key=lambda number: number not in table.bad)[:room] if is_cut else numbers
    texts = [list(table.titles), *([one_line(cell) for cell in table.rows[number]] for number in shown)]
    bad = [number in table.bad for number in shown]
    below = [[f"{_GAP}{one_line(line)}" for line in table.below.get(number, ())] for number in shown]
    if live and table.wrap_last:
        texts, below = wrapped(texts, below, shutil.get_terminal_size().columns)
    if live:
        texts = fitted(texts, shutil.get_terminal_size().columns, table.flexible)
    if shown and live and importlib.util.find_spec("rich"):
        _show_rich(texts, table.right, bad, below, out)
    elif shown:
        first, *lines = plain_lines(texts, table.right)
        print(first, file=out)
        for line, is_bad, more in zip(lines, bad, below, strict=True):
            for each in (line, *more):
                print(f"\x1b[31m{each}\x1b[0m" if live and is_bad else each, file=out)
    if len(shown) < len(numbers):
        print(f"... and {len(numbers) - len(shown)} more: --all shows them", file=out)


def plain_lines(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as aligned lines; `right` are the numbers of columns that are aligned to the right."""
    widths = _widths(rows)
    return [
        _GAP.join(
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def wrapped(
    rows: Sequence[Sequence[str]], below: Sequence[Sequence[str]], width: int
) -> tuple[list[list[str]], list[list[str]]]:
    """Return rows, the first of titles, and the lines below those after it, with last cells that do not fit a screen of `width` columns as lines."""
    last = len(rows[0]) - 1
    room = width - sum(max(len(row[column]) for row in rows) + len(_GAP) for column in range(last))
    texts, lines = [list(rows[0])], []
    for row, more in zip(rows[1:], below, strict=True):
        fits = len(row[last]) <= room
        broken = textwrap.wrap(
            row[last], max(_LEAST_WIDTH, width - len(_INDENT)), break_long_words=False, break_on_hyphens=False
        )
        texts.append([*row[:last], row[last] if fits else ""])
        lines.append([*([] if fits else [f"{_INDENT}{line}" for line in broken]), *more])
    return texts, lines


def fitted(rows: Sequence[Sequence[str]], width: int, cut: Sequence[int]) -> list[list[str]]:
    """Return rows that fit a screen of `width` columns as far as shortening cells in the middle, in the columns `cut`, allows."""
    widths = _widths(rows)
    over = _total(widths) - width
    while over > 0 and cut:
        widest = max(cut, key=lambda column: widths[column])
        if widths[widest] <= _LEAST_WIDTH:
            break
        widths[widest] -= 1
        over -= 1
    return [
        [_shortened(cell, widths[column]) if column in cut else cell for column, cell in enumerate(row)] for row in rows
    ]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shortened(cell: str, width: int) -> str:
    if len(cell) <= width:
        return cell
    tail = 2 * (width - 1) // 3  # the end of a name is more specific
    return f"{cell[: width - 1 - tail]}\u2026{cell[len(cell) - tail :]}"


def _show_rich(
    rows: Sequence[Sequence[str]],
    right: Sequence[int],
    bad: Sequence[bool],
    below: Sequence[Sequence[str]],
    out: TextIO,
) -> None:
    import rich.console
    import rich.table
    import rich.text

    widths = _widths(rows)
    wide = max(shutil.get_terminal_size().columns, _total(widths))  # else rich shortens what may not be
    console = rich.console.Console(file=out, highlight=False, emoji=False, width=wide)

    def table(*, header: bool) -> rich.table.Table:
        look = {"box": None, "pad_edge": False, "padding": (0, len(_GAP), 0, 0), "header_style": "bold underline"}
        new = rich.table.Table(show_header=header, **look)
        for number, (title, width) in enumerate(zip(rows[0], widths, strict=True)):
            justify = "right" if number in right else "left"
            new.add_column(title, justify=justify, no_wrap=True, width=width)
        return new

    drawn = table(header=True)
    for row, is_bad, more in zip(rows[1:], bad, below, strict=True):
        style = "red" if is_bad else ""
        drawn.add_row(*(rich.text.Text(cell, style=style) for cell in row))  # data has no markup
        if more:  # not in the table, whose first column they would widen
            console.print(drawn)
            for line in more:
                console.print(rich.text.Text(line, style=style), soft_wrap=True)
            drawn = table(header=False)
    if drawn.rows:
        console.print(drawn)
