"""Consistent copies of SQLite databases while they are written, by the engine's backup API."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from urllib.parse import quote_from_bytes

from .errors import AltbackupError, InvalidInput
from .processes import Deadline

_HEADER = b"SQLite format 3\0"
_BUSY_SECONDS = 60.0
_PAGES = -1  # all pages in one read transaction: one committed state, and an end even while others write


def uri(path: str, options: str) -> str:
    """Given a path and options, return SQLite's URI of it."""
    return f"file:{quote_from_bytes(os.fsencode(path))}?{options}"


def check_database(path: str, title: str) -> None:
    """Raise InvalidInput unless the path is an SQLite database that can be read."""
    if not os.path.lexists(path):
        raise InvalidInput(f"{title}: path {path} does not exist")
    if not os.path.isfile(path):
        raise InvalidInput(f"{title}: path {path} is not a file")
    try:
        with open(path, "rb") as stream:
            header = stream.read(len(_HEADER))
    except OSError as error:
        raise InvalidInput(f"{title}: path {path} cannot be read by uid {os.geteuid()}: {error.strerror}") from error
    if header and header != _HEADER:
        raise InvalidInput(f"{title}: path {path} is not an SQLite database")


def copy_database(path: str, destination: str, deadline: Deadline) -> dict[str, int]:
    """Given a live database, write a copy of one committed state, check it, and return {table: number of rows}.

    What is still in the write-ahead log is in the copy, too. Raise AltbackupError where it is damaged or locked for long.
    """
    deadline.remaining()
    try:
        with contextlib.closing(sqlite3.connect(uri(path, "mode=ro"), uri=True, timeout=_BUSY_SECONDS)) as live:
            with contextlib.closing(sqlite3.connect(destination, isolation_level=None)) as scratch:
                live.backup(scratch, pages=_PAGES)
        os.chmod(destination, 0o600)
        return inspect_database(destination, path)
    except sqlite3.Error as error:
        raise AltbackupError(f"database {path} could not be copied: {error}") from error


def inspect_database(path: str, name: str) -> dict[str, int]:
    """Given a private copy that nobody writes, check it and return {table: rows}. Raise AltbackupError if it is damaged."""
    with contextlib.closing(sqlite3.connect(uri(path, "immutable=1"), uri=True)) as database:
        database.text_factory = lambda text: text.decode("utf-8", "backslashreplace")
        problems = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
        if problems != ["ok"]:
            raise AltbackupError(f"database {name} is damaged: {'; '.join(problems)}")
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        ).fetchall()
        return {name: _rows(database, name) for (name,) in tables}


def _rows(database: sqlite3.Connection, table: str) -> int:
    quoted = '"' + table.replace('"', '""') + '"'
    return int(database.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0])  # noqa: S608 (an identifier, quoted)
