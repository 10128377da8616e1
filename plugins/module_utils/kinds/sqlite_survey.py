"""Surveys an SQLite database: whether it is sound, and what it holds.

It needs nothing but Python's standard library, so that Sandbox can run it, as a program of its own, on a database that
may be hostile: nothing of its triggers, views and functions is to take effect.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote_from_bytes

_COLLATION = "no such collation sequence: "
_UNKNOWN_HERE = (
    _COLLATION,
    "no such function",
    "unknown function",
    "no such module",
    "unknown tokenizer",
    "no such tokenizer",
    "vtable constructor failed",
    "unsafe use of",
)
"""How SQLite tells of what an application brings along: collations, functions, modules and tokenizers of its own"""
_MOST_COLLATIONS = 100
_SHOWN = 5
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_SETTINGS = {
    "SQLITE_DBCONFIG_DEFENSIVE": True,
    "SQLITE_DBCONFIG_TRUSTED_SCHEMA": False,
    "SQLITE_DBCONFIG_ENABLE_TRIGGER": False,
    "SQLITE_DBCONFIG_ENABLE_VIEW": False,
    "SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION": False,
}
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
_VIRTUAL_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%' ORDER BY name"


def readable(text: bytes) -> str:
    """Return a text of a database with bytes that are no UTF-8 as \\xNN."""
    return text.decode("utf-8", "backslashreplace")


def check_integrity(database: sqlite3.Connection) -> tuple[list[str], dict[str, str]]:
    """Return (what is wrong with a database, {table: why it could not be checked whole}).

    Where it holds what only its application knows, tables are checked one by one, and such a one as far as that goes.
    """
    problems, reason = _checked(database, "integrity_check(5)")
    if problems and not reason:
        return problems, {}
    unchecked = _foreign(database)
    if not reason:
        return problems, unchecked
    if sqlite3.sqlite_version_info < (3, 33):  # which checks no single table
        return _checked(database, "quick_check(5)")[0], {**unchecked, **dict.fromkeys(_tables(database), reason)}
    for table in ["sqlite_master", *_tables(database)]:
        found, reason = _checked(database, f"integrity_check({_quoted(table)})")
        if reason:
            unchecked[table] = reason
            found, _ = _checked(database, f"quick_check({_quoted(table)})")
        problems += found
    return problems[:_SHOWN], unchecked


def _checked(database: sqlite3.Connection, pragma: str) -> tuple[list[str], str]:
    """Return (what a check finds, why it could not be made)."""
    try:
        problems = [str(row[0]) for row in database.execute(f"PRAGMA {pragma}")]
    except sqlite3.OperationalError as error:
        if str(error).startswith(_UNKNOWN_HERE):
            return [], str(error)
        raise
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise
        return [str(error)], ""
    told = [problem for problem in problems if not problem.startswith(_UNKNOWN_HERE)]
    reason = next((problem for problem in problems if problem.startswith(_UNKNOWN_HERE)), "")
    return [] if told == ["ok"] else told, reason


def _foreign(database: sqlite3.Connection) -> dict[str, str]:
    """Return {virtual table: why this node cannot open it}: what such tables keep in others is checked with those."""
    found = {}
    for (table,) in database.execute(_VIRTUAL_TABLES).fetchall():
        try:
            database.execute(f"SELECT 1 FROM {_quoted(table)} LIMIT 0")  # noqa: S608 (an identifier, quoted)
        except sqlite3.DatabaseError as error:
            if str(error).startswith(_UNKNOWN_HERE):
                found[table] = str(error)
    return found


def _tables(database: sqlite3.Connection) -> list[str]:
    return [table for (table,) in database.execute(_TABLES).fetchall()]


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def count_rows(database: sqlite3.Connection) -> dict[str, int | None]:
    """Return {table: number of rows}, of those tables that a database holds itself; None where that cannot be known here.

    From then on, collations that are not known here sort all as equal: counting compares nothing.
    """
    return {table: _count(database, table) for table in _tables(database)}


def _count(database: sqlite3.Connection, table: str) -> int | None:
    count = f"SELECT count(*) FROM {_quoted(table)}"  # noqa: S608 (an identifier, quoted)
    for _ in range(_MOST_COLLATIONS):
        try:
            return int(database.execute(count).fetchone()[0])
        except sqlite3.OperationalError as error:
            text = str(error)
            if not text.startswith(_UNKNOWN_HERE):
                raise
        if not text.startswith(_COLLATION):
            return None
        try:
            database.create_collation(text[len(_COLLATION) :], lambda one, other: 0)
        except sqlite3.ProgrammingError:  # before Python 3.11, for a name that is not ASCII
            if count.endswith("NOT INDEXED"):
                return None
            count += " NOT INDEXED"
    return None


def notes_on(name: str, unchecked: Mapping[str, str], rows: Mapping[str, int | None]) -> list[str]:
    """Return notes on the tables of a database that could not be checked ({table: why}), or whose rows were not counted (None)."""
    notes = []
    foreign = {table: reason for table, reason in unchecked.items() if table not in (*rows, "sqlite_master")}
    if foreign:
        reasons = ", ".join(sorted(set(foreign.values()))[:_SHOWN])
        notes.append(
            f"tables of {name} are of modules or tokenizers that this node does not have ({reasons}), and were neither checked nor counted, "
            f"but for what they keep in other tables: {_listed(foreign)}"
        )
    unchecked = {table: reason for table, reason in unchecked.items() if table not in foreign}
    if unchecked:
        reasons = ", ".join(sorted(set(unchecked.values()))[:_SHOWN])
        notes.append(
            f"the integrity of {name} was not checked where it takes what its application alone has ({reasons} on this node): "
            f"indexes and conditions of {_listed(unchecked)}"
        )
    uncounted = [table for table, count in rows.items() if count is None]
    if uncounted:
        notes.append(f"the rows of {name} were not counted where this node cannot: {_listed(uncounted)}")
    return notes


def _listed(tables: Iterable[str]) -> str:
    names = sorted(tables)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def attachments(database: sqlite3.Connection) -> list[tuple[str, str, str, int]]:
    """Return (type, id, filename, size in bytes) of all attachments in a database of Trac's."""
    known = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'attachment'").fetchone()
    return database.execute("SELECT type, id, filename, size FROM attachment").fetchall() if known else []


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow what reads, and nothing else."""
    if action in _READING or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension"):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in ("integrity_check", "quick_check", "data_version"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def survey(path: bytes) -> dict[str, Any]:
    """Return `problems`, `unchecked`, `rows`, `attachments` and `version` of a database that may be hostile."""
    uri = f"file:{quote_from_bytes(path)}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        database.text_factory = readable
        for name, value in _SETTINGS.items():  # Python 3.12
            if hasattr(sqlite3, name):
                database.setconfig(getattr(sqlite3, name), value)  # type: ignore[attr-defined]
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
            database.execute(f"PRAGMA {setting}")
        database.set_authorizer(_authorize)
        problems, unchecked = check_integrity(database)
        return {
            "problems": problems,
            "unchecked": unchecked,
            "rows": {} if problems else count_rows(database),
            "attachments": [] if problems else attachments(database),
            "version": sqlite3.sqlite_version,
        }


def main(argv: list[str]) -> int:
    """Print what the database at the path in `argv` holds as JSON; return the exit code."""
    try:
        found = survey(argv[0].encode("utf-8", "surrogateescape"))
    except sqlite3.Error as error:
        found = {
            "problems": [str(error)],
            "unchecked": {},
            "rows": {},
            "attachments": [],
            "version": sqlite3.sqlite_version,
        }
    sys.stdout.write(json.dumps(found))
    return 0
