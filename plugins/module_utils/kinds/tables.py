"""What became of the tables of a database since a dump that nobody doubts."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from ..system.units import counted, first_of
from ..system.visible import one_line
from .base import shortened
from .earlier import stamp_of

_FEWEST = 10
"""Rows from which on a table is not emptied in the course of a day"""
_SHOWN = 5
_STORAGE = (
    (("_segments", "_segdir"), ("_segments", "_segdir")),
    (("_data", "_idx", "_config"), ("_data", "_idx")),
    (("_node", "_parent", "_rowid"), ("_node", "_parent")),
)
"""Endings of tables in which SQLite keeps an index of FTS4, FTS5 or R-Tree, and which of them another order of the same content changes"""
_OF_THE_ENGINE = "sqlite_"


def content_of(rows: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the rows of those tables that hold content: not of what the engine keeps, such as indexes for searching."""
    storage: set[str] = set()
    for siblings, changing in _STORAGE:
        for table in rows:
            stem = table[: -len(siblings[0])]
            if table.endswith(siblings[0]) and all(f"{stem}{ending}" in rows for ending in siblings):
                storage.update(f"{stem}{ending}" for ending in changing)
    return {table: count for table, count in rows.items() if not (table in storage or table.startswith(_OF_THE_ENGINE))}


def total_of(rows: Mapping[str, int | None]) -> int:
    """Return the number of rows in tables that hold content, as far as that is known."""
    return sum(count or 0 for count in content_of(rows).values())


def measure(rows: Mapping[str, int | None], may_empty: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Return `measures` and `counted`, as a record has them: rows of tables that no pattern of `may_empty` matches."""
    patterns = sorted({*may_empty})
    lasting = {table: count for table, count in rows.items() if not _matches(table, patterns)}
    return {"measures": {"rows": total_of(lasting)}, "counted": {"rows": ", ".join(patterns)} if patterns else {}}


def rows_of(record: Mapping[str, object]) -> dict[str, int | None]:
    """Return the rows of tables from the record of a dump; nothing where it tells none."""
    rows = record.get("rows")
    found = rows.items() if isinstance(rows, Mapping) else ()
    return {str(table): count if isinstance(count, int) else None for table, count in found}


def judge_tables(
    then: Mapping[str, int | None], now: Mapping[str, int | None], when: str, may_empty: Iterable[str] = ()
) -> tuple[list[str], list[str]]:
    """Return (doubts, notes) on tables that lost all their rows, or are gone, between the dump of the stamp `when` and now.

    Where what came in the place of tables that are gone has as many rows, an application moved its data: that is a note, as
    is the end of a table of a few rows, and of one that one of the patterns of `may_empty` matches. Where no table is left, it
    is another database.
    """
    patterns, then, now = list(may_empty), content_of(then), content_of(now)
    gone = {table: count for table, count in then.items() if table not in now and count}
    empty = {table: count for table, count in then.items() if count and now.get(table) == 0}
    came = {table: count for table, count in now.items() if table not in then}
    if not now.keys() & then.keys() and not all(_matches(table, patterns) for table in gone):
        return [
            f"it is another database: {_shown(gone)} of the dump of {when} vanished, and no table of it is left"
        ], []
    moved = bool(gone) and total_of(came) >= total_of(gone)
    doubts, notes = [], []
    for lost, word in ((empty, "lost all rows"), (gone, "vanished")):
        serious = {
            table: count
            for table, count in lost.items()
            if (count or 0) >= _FEWEST and not _matches(table, patterns) and not (moved and lost is gone)
        }
        if serious:
            doubts.append(f"{_shown(serious)} of the dump of {when} {word}")
        slight = {table: count for table, count in lost.items() if table not in serious}
        if slight:
            instead = f"; {first_of(sorted(map(_named, came)), _SHOWN)} came" if moved and lost is gone else ""
            notes.append(f"{_shown(slight)} of the dump of {when} {word}{instead}")
    return doubts, notes


def _matches(table: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(table, pattern) for pattern in patterns)


def _named(name: str) -> str:
    """Return a name as messages show it."""
    return one_line(shortened(name))


def _shown(tables: Mapping[str, int | None]) -> str:
    names = [f"{_named(table)} ({counted(count or 0, 'row')})" for table, count in sorted(tables.items())]
    return f"{counted(len(names), 'table')} {first_of(names, _SHOWN)}"


def judge_databases(
    good: Mapping[str, Any],
    now: Iterable[str],
    rows: Mapping[str, int | None],
    asked: Iterable[str] | None,
    may_empty: Iterable[str] = (),
) -> tuple[list[str], list[str]]:
    """Return (doubts, notes) on the databases of a server and the rows of their tables, compared with the record of its last good dump.

    Tables are named `database.table`. Of databases that are `asked` for by name, those that no longer are, are not missed.
    """
    when, found = stamp_of(good), good.get("databases")
    known, names, wanted = set(found) if isinstance(found, Mapping) else set(), set(now), set(asked or ())
    gone = sorted(name for name in known - names if asked is None or name in wanted)
    then = {
        table: count
        for table, count in rows_of(good).items()
        if not any(table.startswith(f"{name}.") for name in known - names)
    }
    doubts, notes = judge_tables(then, rows, when, may_empty)
    if gone:
        came = sorted(names - known)
        more = f"; {first_of(came, _SHOWN)} came" if came else ""
        what = f"{counted(len(gone), 'database')} of the dump of {when} vanished: {first_of(gone, _SHOWN)}{more}"
        doubts = [what, *doubts]
    return doubts, notes


def measure_databases(
    rows: Mapping[str, int | None], more: Mapping[str, int], asked: Iterable[str] | None, may_empty: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Return `measures` and `counted`, as `measure` does, of the rows of tables of several databases and of `more` amounts.

    Where databases are `asked` for by name, fewer of them are no loss.
    """
    measured = measure(rows, may_empty)
    measures, settings = {**measured["measures"], **more}, measured["counted"]
    if asked:
        names = f"databases {', '.join(sorted(asked))}"
        settings = {word: "; ".join(filter(None, [settings.get(word), names])) for word in measures}
    return {"measures": measures, "counted": settings}
