"""Surveys an SQLite database: whether it is sound, and what it holds.

It needs nothing but Python's standard library, so that Sandbox can run it, as a program of its own, on a database that
may be hostile: nothing of its triggers, views and functions is to take effect.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from typing import Any
from urllib.parse import quote_from_bytes

_UNKNOWN_HERE = (
    "no such collation sequence",
    "no such function",
    "no such module",
    "unknown tokenizer",
    "unsafe use of",
)
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_SETTINGS = {
    "SQLITE_DBCONFIG_DEFENSIVE": True,
    "SQLITE_DBCONFIG_TRUSTED_SCHEMA": False,
    "SQLITE_DBCONFIG_ENABLE_TRIGGER": False,
    "SQLITE_DBCONFIG_ENABLE_VIEW": False,
    "SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION": False,
}
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"


def readable(text: bytes) -> str:
    """Given a text of a database, return it, with bytes that are no UTF-8 as \\xNN."""
    return text.decode("utf-8", "backslashreplace")


def check_integrity(database: sqlite3.Connection) -> tuple[list[str], str]:
    """Return (what is wrong with a database, why its integrity could not be checked)."""
    try:
        problems = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    except sqlite3.OperationalError as error:
        if str(error).startswith(_UNKNOWN_HERE):
            return [], str(error)
        raise
    return [] if problems == ["ok"] else problems, ""


def count_rows(database: sqlite3.Connection) -> dict[str, int]:
    """Return {table: number of rows}, of those tables that a database holds itself."""
    rows = {}
    for (table,) in database.execute(_TABLES).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        count = f"SELECT count(*) FROM {quoted}"  # noqa: S608 (an identifier, quoted)
        rows[table] = int(database.execute(count).fetchone()[0])
    return rows


def attachments(database: sqlite3.Connection) -> list[tuple[str, str, str, int]]:
    """Return (type, id, filename, size in bytes) of all attachments in a database of Trac's."""
    known = database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'attachment'").fetchone()
    return database.execute("SELECT type, id, filename, size FROM attachment").fetchall() if known else []


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow what reads, and nothing else."""
    if action in _READING or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension"):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in ("integrity_check", "data_version"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def survey(path: bytes) -> dict[str, Any]:
    """Given a database that may be hostile, return `problems`, `unchecked`, `rows`, `attachments` and `version`."""
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
    """Given the path of a database, print what it holds as JSON; return the exit code."""
    try:
        found = survey(argv[0].encode("utf-8", "surrogateescape"))
    except sqlite3.Error as error:
        found = {
            "problems": [str(error)],
            "unchecked": "",
            "rows": {},
            "attachments": [],
            "version": sqlite3.sqlite_version,
        }
    sys.stdout.write(json.dumps(found))
    return 0
