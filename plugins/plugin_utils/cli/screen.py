"""Tables as a screen or a pipe shows them: plain aligned text, and on a terminal by rich, where that is installed."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

from ...module_utils.system.visible import one_line

_LEAST_LINES = 10
_AROUND = 6
"""Lines of a screen that are not the table's"""


@dataclass(frozen=True)
class Table:
    """Rows under titles; a column of numbers stands to the right, and the last one may be cut on a screen."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]] = ()
    right: Sequence[int] = ()
    bad: frozenset[int] = field(default_factory=frozenset)
    """The rows to look at"""


def show(table: Table, out: TextIO, *, everything: bool = False) -> None:
    """Show a table; on a terminal only as many rows as fit, unless `everything` is wanted, and a line on the others."""
    live = out.isatty()
    room = max(_LEAST_LINES, shutil.get_terminal_size().lines - _AROUND)
    rows = [[one_line(cell) for cell in row] for row in table.rows]
    shown = rows if everything or not live else rows[:room]
    if shown and live and importlib.util.find_spec("rich"):
        _show_rich(table, shown, out)
    elif shown:
        for number, line in enumerate(plain_lines([table.titles, *shown], table.right)):
            print(f"\x1b[31m{line}\x1b[0m" if live and number - 1 in table.bad else line, file=out)
    if len(shown) < len(rows):
        print(f"... and {len(rows) - len(shown)} more: --all shows them", file=out)


def plain_lines(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Given rows, return them as aligned lines; those columns whose numbers are given are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _show_rich(table: Table, rows: Sequence[Sequence[str]], out: TextIO) -> None:
    import rich.box
    import rich.console
    import rich.table
    import rich.text

    drawn = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, title in enumerate(table.titles):
        last = number == len(table.titles) - 1
        drawn.add_column(
            title,
            justify="right" if number in table.right else "left",
            no_wrap=True,
            overflow="ellipsis" if last else "fold",
            ratio=1 if last else None,
        )
    for number, row in enumerate(rows):
        style = "red" if number in table.bad else ""
        drawn.add_row(*(rich.text.Text(cell, style=style) for cell in row))  # no markup: it is data
    rich.console.Console(file=out, highlight=False, emoji=False).print(drawn)
