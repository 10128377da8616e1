"""Consistent copies of SQLite databases while they are written, by the engine's backup API."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

from .errors import AltbackupError, InvalidInput
from .processes import Deadline
from .sqlite_survey import check_integrity, count_rows, readable

_HEADER = b"SQLite format 3\0"
_WAL_VERSIONS = b"\2\2"
_BUSY_SECONDS = 60.0
_PAGES = 4096
_INSTRUCTIONS = 1_000_000

_locks: dict[tuple[int, int], Any] = {}
_locks_guard = threading.Lock()


def uri(path: str, options: str) -> str:
    """Given a path and options, return SQLite's URI of it."""
    return f"file:{quote_from_bytes(os.fsencode(path))}?{options}"


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Work on a database file in one thread: when any file descriptor of it is closed, the process loses all its locks on it."""
    status = os.stat(path)
    with _locks_guard:
        lock = _locks.setdefault((status.st_dev, status.st_ino), threading.Lock())
    with lock:
        yield


def _read_header(path: str) -> bytes:
    with _alone(path), open(path, "rb") as stream:
        return stream.read(len(_HEADER) + 4)


def check_database(path: str, title: str) -> None:
    """Raise InvalidInput unless the path is an SQLite database that can be read."""
    if not os.path.lexists(path):
        raise InvalidInput(f"{title}: path {path} does not exist")
    if not os.path.isfile(path):
        raise InvalidInput(f"{title}: path {path} is not a file")
    try:
        header = _read_header(path)
    except OSError as error:
        raise InvalidInput(f"{title}: path {path} cannot be read by uid {os.geteuid()}: {error.strerror}") from error
    if not header:
        raise InvalidInput(f"{title}: path {path} is empty: a database without a single table is not worth a backup")
    if not header.startswith(_HEADER):
        raise InvalidInput(f"{title}: path {path} is not an SQLite database")


def _live_mode(path: str) -> str:
    """Return how to open a live database: a reader that may not write would leave an empty `-wal` and `-shm` behind."""
    closed = not os.path.lexists(f"{os.path.realpath(path)}-wal")
    return "rw" if closed and _read_header(path)[18:20] == _WAL_VERSIONS else "ro"


@contextlib.contextmanager
def open_live(path: str, deadline: Deadline) -> Iterator[sqlite3.Connection]:
    """Given a live database, yield a connection for reading that leaves nothing behind and waits a minute for writers."""
    patience = deadline.at_most(_BUSY_SECONDS)
    live_uri = uri(path, f"mode={_live_mode(path)}")
    with _alone(path):
        with contextlib.closing(sqlite3.connect(live_uri, uri=True, timeout=patience, isolation_level=None)) as live:
            yield live


def copy_database(path: str, destination: str, deadline: Deadline) -> tuple[dict[str, int], list[str]]:
    """Given a live database, write a copy of one committed state, check it, and return ({table: number of rows}, notes).

    What is still in the write-ahead log is in the copy, too. Raise AltbackupError where it is damaged or locked for long.
    """
    os.close(os.open(destination, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # a full disk says so here
    try:
        with open_live(path, deadline) as live:
            live.execute("BEGIN")
            live.execute("PRAGMA schema_version").fetchone()  # from here on all is read from one committed state
            with contextlib.closing(sqlite3.connect(destination, isolation_level=None)) as scratch:
                scratch.execute("PRAGMA journal_mode=OFF")
                scratch.execute("PRAGMA synchronous=OFF")  # nobody needs the copy after a crash
                live.backup(scratch, pages=_PAGES, progress=lambda *_: deadline.remaining())
        return inspect_database(destination, path, deadline)
    except sqlite3.Error as error:
        deadline.remaining()
        if "disk is full" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), destination) from error
        raise AltbackupError(f"database {path} could not be copied: {error}{_hint(path, str(error))}") from error


def _hint(path: str, message: str) -> str:
    if "readonly database" not in message and "unable to open" not in message:
        return ""
    if os.path.lexists(f"{os.path.realpath(path)}-journal"):
        return ": a writer was killed and left a journal; open it once with its own program, which rolls that back"
    return f": uid {os.geteuid()} must be able to read it, and to write to its folder if it is in WAL mode"


def inspect_database(path: str, name: str, deadline: Deadline) -> tuple[dict[str, int], list[str]]:
    """Given a private copy that nobody writes, check it and return ({table: rows}, notes). Raise AltbackupError if it is damaged."""
    with contextlib.closing(sqlite3.connect(uri(path, "immutable=1"), uri=True)) as database:
        database.text_factory = readable
        database.set_progress_handler(deadline.is_over, _INSTRUCTIONS)
        problems, unchecked = check_integrity(database)
        if problems:
            raise AltbackupError(f"database {name} is damaged: {'; '.join(problems)}")
        notes = [f"the integrity of {name} was not checked: {unchecked} on this node"] if unchecked else []
        return count_rows(database), notes
