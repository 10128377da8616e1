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
    """Rows under titles. Columns in `right` are aligned to the right; the last column, and those in `cut`, may be shortened to fit.

    With `whole` a cell of the last column that does not fit is not shortened, but put below its row, on as many lines as it takes.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[str]] = ()
    right: Sequence[int] = ()
    cut: Sequence[int] = ()
    bad: frozenset[int] = field(default_factory=frozenset)
    """Numbers of the rows that need attention"""
    below: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """{number of a row: lines below it}"""
    whole: bool = False


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


def table_of(titles: Sequence[str], rows: Sequence[Row], right: Sequence[int] = (), *, whole: bool = False) -> Table:
    """Return the table of rows; `right` are the numbers of columns that are aligned to the right."""
    bad = frozenset(number for number, row in enumerate(rows) if row.bad)
    below = {number: row.below for number, row in enumerate(rows)}
    return Table(titles, [row.cells for row in rows], right, (), bad, below, whole)


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
    if live and table.whole:
        texts, below = wrapped(texts, below, shutil.get_terminal_size().columns)
    if live:
        texts = fitted(texts, shutil.get_terminal_size().columns, (*table.cut, len(table.titles) - 1))
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while over > 0:
        widest = max(cut, key=lambda column: widths[column])
        if widths[widest] <= _LEAST_WIDTH:
            break
        widths[widest] -= 1
        over -= 1
    return [
        [_shortened(cell, widths[column]) if column in cut else cell for column, cell in enumerate(row)] for row in rows
    ]


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

    console = rich.console.Console(file=out, highlight=False, emoji=False)
    if any(below):  # rich would make the first column as wide as what is below
        first, *lines = plain_lines(rows, right)
        styled = [(first, "bold")]
        for line, is_bad, more in zip(lines, bad, below, strict=True):
            styled += [(each, "red" if is_bad else "") for each in (line, *more)]
        for line, style in styled:
            console.print(rich.text.Text(line, style=style), no_wrap=True, overflow="ignore", crop=False)
        return
    drawn = rich.table.Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold underline")
    for number, title in enumerate(rows[0]):
        drawn.add_column(title, justify="right" if number in right else "left", no_wrap=True)
    for row, is_bad in zip(rows[1:], bad, strict=True):
        drawn.add_row(*(rich.text.Text(cell, style="red" if is_bad else "") for cell in row))  # data has no markup
    console.print(drawn)
