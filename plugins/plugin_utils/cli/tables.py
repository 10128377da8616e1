"""Tables as commands show them: by rich on a terminal, where that is installed, and as plain aligned text elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ...module_utils.system.visible import one_line

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    cells: tuple[str, ...]
    bad: bool = False
    below: tuple[str, ...] = ()
    """Lines that stand below it"""


def show(titles: Sequence[str], rows: Sequence[Row], right: Sequence[int] = ()) -> None:
    """Given titles of columns, rows, and the numbers of the columns that are aligned to the right, print a table."""
    shown = [Row(tuple(map(one_line, row.cells)), row.bad, tuple(map(one_line, row.below))) for row in rows]
    if not shown:
        return
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        _show_rich(titles, shown, right)
    else:
        print("\n".join(plain(titles, shown, right)))


def plain(titles: Sequence[str], rows: Sequence[Row], right: Sequence[int] = ()) -> list[str]:
    """Return a table as lines of plain text."""
    table = [tuple(titles), *(row.cells for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(titles))]
    lines = []
    for cells, below in zip(table, [(), *(row.below for row in rows)], strict=True):
        padded = [
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines += ["  ".join(padded).rstrip(), *(f"  {line}" for line in below)]
    return lines


def _show_rich(titles: Sequence[str], rows: Sequence[Row], right: Sequence[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, title in enumerate(titles):
        table.add_column(
            title, justify="right" if column in right else "left", no_wrap=column in right, overflow="fold"
        )
    for row in rows:
        style = "red" if row.bad else ""
        table.add_row(*(Text(cell, style=style) for cell in row.cells))
        for line in row.below:
            table.add_row(Text(f"  {line}", style=style))
    Console(highlight=False).print(table)


def age(seconds: float | None) -> str:
    """Given seconds, return them as people say how old something is, in one unit: 35 min, 31 h, 12 d; `never` for None."""
    if seconds is None:
        return "never"
    for size, unit in _UNITS:
        if seconds >= size and (unit != "d" or seconds >= 2 * size):
            return f"{int(seconds // size)} {unit}"
    return "now"
