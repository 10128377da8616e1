"""Consistent copies of SQLite databases while they are written, by the engine's backup API."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote_from_bytes

from ..system.digest import open_plain
from ..system.errors import AltbackupError, InvalidInput, SourceChanged
from ..system.holes import copy_file
from ..system.processes import Deadline
from ..system.readers import UNCHANGED, Identity
from ..system.seeing import forbidden, is_there
from ..system.units import told_apart
from ..tree.layout import is_plain_file
from .base import BESIDE_A_DATABASE
from .sqlite_survey import check_integrity, count_rows, notes_on, readable

_HEADER = b"SQLite format 3\0"
_WAL_VERSIONS = b"\2\2"
_BUSY_SECONDS = 60.0
_PAGES = 4096
_INSTRUCTIONS = 1_000_000


def uri(path: str, options: str) -> str:
    """Return SQLite's URI of a path, with options."""
    return f"file:{quote_from_bytes(os.fsencode(path))}?{options}"


def _read_header(path: str) -> bytes:
    with open_plain(path) as stream:
        return stream.read(len(_HEADER) + 4)


def check_database(path: str, title: str, identity: Identity = UNCHANGED) -> None:
    """Raise InvalidInput unless the path is an SQLite database that can be read, with nothing odd beside it."""
    try:
        there = is_there(path)
    except AltbackupError as error:
        raise InvalidInput(f"{title}: path {error}") from error
    if not there:
        raise InvalidInput(f"{title}: path {path} does not exist")
    if not is_plain_file(path):
        raise InvalidInput(f"{title}: path {path} is not a file")
    if not _read_by_owner(path, title, identity):
        raise InvalidInput(f"{title}: path {path} is not an SQLite database")


def _read_by_owner(path: str, title: str, identity: Identity) -> bool:
    """Return whether a file begins as a database does, read as its owner. Raise InvalidInput."""
    owner = as_owner_of(path, identity)
    try:
        header = bytes.fromhex(owner.call(_header_in_hex, path))
    except PermissionError as error:
        raise InvalidInput(f"{title}: path {forbidden(path, owner.reads_as)}") from error
    except OSError as error:
        raise InvalidInput(f"{title}: path {path} cannot be read by uid {owner.reads_as}: {error.strerror}") from error
    if not header:
        raise InvalidInput(f"{title}: path {path} is empty: a database without a single table is not worth a backup")
    return header.startswith(_HEADER)


def _header_in_hex(path: str) -> str:
    return _read_header(path).hex()


def as_owner_of(path: str, identity: Identity) -> Identity:
    """Return the identity of the owner of a database: SQLite writes beside it, and takes up what it finds there.

    He may read what he otherwise may not only in a folder that he cannot enter himself, and so put nothing there. It is
    never root because of a file of root's in somebody else's item.
    """
    owner = replace(identity, uid=os.lstat(path).st_uid or identity.uid)
    may_enter = bool(owner.call(os.access, os.path.dirname(path), os.X_OK))
    return replace(owner, reads_any=not may_enter)


def _require_plain_companions(path: str) -> None:
    """Raise AltbackupError if what SQLite would open beside a database is no plain file, or a journal of another mode."""
    for suffix in BESIDE_A_DATABASE:
        beside = path + suffix
        if _mode_of(beside) not in (0, stat.S_IFREG):
            raise AltbackupError(f"{beside} is no plain file: it is not opened, and the database is not copied")
    if os.path.lexists(f"{path}-journal") and _read_header(path)[18:20] == _WAL_VERSIONS:
        raise AltbackupError(
            f"{path}-journal stands beside a database in WAL mode, which has none: whoever opens the database would follow what it says. "
            "Look at where it comes from and move it away"
        )


def _mode_of(path: str) -> int:
    """Return the type of what is there, 0 for nothing."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return 0


def _is_closed(path: str) -> bool:
    """Return whether a database is in WAL mode, and nobody has it open: what is committed is in the file itself."""
    if _read_header(path)[18:20] != _WAL_VERSIONS:
        return False
    return _size_of(f"{path}-wal") is None or (_size_of(f"{path}-wal") == 0 and not os.path.lexists(f"{path}-shm"))


def _is_abandoned(path: str) -> bool:
    """Return whether a database has a log without the index that whoever has it open makes, and would have to be written to be read."""
    return bool(_size_of(f"{path}-wal")) and not os.path.lexists(f"{path}-shm")


def _size_of(path: str) -> int | None:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def open_live(path: str, deadline: Deadline) -> Iterator[sqlite3.Connection]:
    """Yield a connection for reading a live database that leaves nothing behind and waits a minute for writers.

    To be called as the owner of the database. Raise AltbackupError where what stands beside it is not to be taken up,
    SourceChanged where one that nobody had open was opened meanwhile.
    """
    _require_plain_companions(path)
    patience = deadline.at_most(_BUSY_SECONDS)
    closed, before = _is_closed(path), _trace(path)
    live_uri = uri(path, "mode=ro&immutable=1" if closed else "mode=ro")  # else SQLite would have to write beside it
    with contextlib.closing(sqlite3.connect(live_uri, uri=True, timeout=patience, isolation_level=None)) as live:
        yield live
    if closed and not (_is_closed(path) and _trace(path) == before):
        raise SourceChanged(f"database {path} was opened by somebody while it was read")


def _trace(path: str) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def copy_database(
    path: str, destination: str, deadline: Deadline, identity: Identity = UNCHANGED
) -> tuple[dict[str, int | None], list[str]]:
    """Write a copy of one committed state of a live database, check it, and return ({table: rows, None if that cannot be known here}, notes).

    What is still in the write-ahead log is in the copy, too. Raise AltbackupError where it is damaged or locked for long.
    """
    owner = as_owner_of(path, identity)
    os.close(
        os.open(destination, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    )  # a full disk says so here
    owner.own(destination)
    owner.own(os.path.dirname(destination))
    rows, notes = owner.call(_copy, path, destination, deadline)
    return dict(rows), list(notes)


def _copy(path: str, destination: str, deadline: Deadline) -> tuple[dict[str, int | None], list[str]]:
    try:
        try:
            _back_up(path, destination, deadline)
        except sqlite3.OperationalError:
            if not _is_abandoned(path):
                raise
            with _taken(path, os.path.dirname(destination), deadline) as taken:
                _back_up(taken, destination, deadline)
        return inspect_database(destination, path, deadline)
    except sqlite3.Error as error:
        deadline.remaining()
        if "disk is full" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), destination) from error
        raise AltbackupError(f"database {path} could not be copied: {error}{_hint(path, str(error))}") from error


def _back_up(path: str, destination: str, deadline: Deadline) -> None:
    with open_live(path, deadline) as live:
        live.execute("BEGIN")
        live.execute("PRAGMA schema_version").fetchone()  # from here on all is read from one committed state
        _require_room(live, path, os.path.dirname(destination))
        with contextlib.closing(sqlite3.connect(destination, isolation_level=None)) as scratch:
            scratch.execute("PRAGMA journal_mode=OFF")
            scratch.execute("PRAGMA synchronous=OFF")  # nobody needs the copy after a crash
            live.backup(scratch, pages=_PAGES, progress=lambda *_: deadline.remaining())


def _require_room(live: sqlite3.Connection, path: str, folder: str) -> None:
    """Raise AltbackupError where a folder has no room for all pages of a database: holes in it do not come to its copy."""
    needed = int(live.execute("PRAGMA page_count").fetchone()[0]) * int(live.execute("PRAGMA page_size").fetchone()[0])
    free = shutil.disk_usage(folder).free
    if needed > free:
        wanted, left = told_apart(needed, free)
        raise AltbackupError(
            f"database {path} has {wanted}, but only {left} are free for its copy, below {folder}: nothing was copied"
        )


@contextlib.contextmanager
def _taken(path: str, room: str, deadline: Deadline) -> Iterator[str]:
    """Yield a copy, beside which SQLite can write, of a database in WAL mode that nobody has open, and of its log. Raise SourceChanged."""
    folder = tempfile.mkdtemp(dir=room)
    try:
        before = [_trace(f"{path}{suffix}") for suffix in ("", "-wal")]
        for suffix in ("", "-wal"):
            copy_file(f"{path}{suffix}", os.path.join(folder, f"taken{suffix}"), deadline)
        if not _is_abandoned(path) or [_trace(f"{path}{suffix}") for suffix in ("", "-wal")] != before:
            raise SourceChanged(f"database {path} was opened by somebody while it was read")
        yield os.path.join(folder, "taken")
    finally:
        shutil.rmtree(folder)


def _hint(path: str, message: str) -> str:
    if "readonly database" not in message and "unable to open" not in message:
        return ""
    if os.path.lexists(f"{path}-journal"):
        return ": a writer was killed and left a journal; open it once with its own program, which rolls that back"
    return f": uid {os.geteuid()} must be able to read it, and to write to its folder if it is in WAL mode"


def inspect_database(path: str, name: str, deadline: Deadline) -> tuple[dict[str, int | None], list[str]]:
    """Check a private copy that nobody writes and return ({table: rows}, notes). Raise AltbackupError if it is damaged."""
    with contextlib.closing(sqlite3.connect(uri(path, "immutable=1"), uri=True)) as database:
        database.text_factory = readable
        database.set_progress_handler(deadline.is_over, _INSTRUCTIONS)
        problems, unchecked = check_integrity(database)
        if problems:
            raise AltbackupError(f"database {name} is damaged: {'; '.join(problems)}")
        rows = count_rows(database)
        return rows, notes_on(name, unchecked, rows)
