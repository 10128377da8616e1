"""The histories of inventories: a SQLite file for each, in a private folder of the user who runs the playbooks.

Backups do not depend on them. A run is one transaction, so that it is there whole or not at all, also after a kill. The journal is
SQLite's rollback journal, which exists only during a write, not a WAL: a run writes for milliseconds, and otherwise a history is a single
file, which may be copied, and may lie in a home on the network.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.own_state import has_state, opened_state, state_folder
from ...module_utils.system.visible import visible
from ...module_utils.tree.failures import explain
from ..planning.journal import journal_name, locked
from .schema import APPLICATION, COLUMNS, STATEMENTS, VERSION

FOLDER = "history"
PLACE = "ALTBACKUP_HISTORY"
"""Environment variable that names another folder"""
_ENDING = ".sqlite"
_PATIENCE = 30.0
"""Seconds to wait for another reader or writer"""
_DAY = 86400.0
_Changing = Callable[[sqlite3.Connection], Sequence[Path] | None]
"""Changes a history; returns others that it took over"""


@dataclass(frozen=True)
class Record:
    """What one run leaves: rows of the tables, without the run's number."""

    run: Mapping[str, Any]
    trees: Sequence[Mapping[str, Any]] = ()
    copies: Sequence[Mapping[str, Any]] = ()
    failures: Sequence[Mapping[str, Any]] = ()
    inventory: Sequence[tuple[str, str, str]] | None = None
    """(node, source, role) of all trees in the inventory, None if not known"""
    late: Sequence[Mapping[str, Any]] = ()
    """Copies of earlier runs' stamps that this one brought: the columns of `copies` that name one, `stamp` and `size`"""

    def of(self, sources: Collection[str]) -> Record:
        """Return the record with the trees of some sources only."""
        trees, copies, late = (
            [row for row in rows if row["source"] in sources] for rows in (self.trees, self.copies, self.late)
        )
        there = None if self.inventory is None else [place for place in self.inventory if place[1] in sources]
        return replace(self, trees=trees, copies=copies, inventory=there, late=late)

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield (table, row) for all tables but `runs`."""
        for table in ("trees", "copies", "failures"):
            for row in getattr(self, table):
                yield table, row


@dataclass
class History:
    """An open history."""

    path: Path
    database: sqlite3.Connection
    notes: list[str] = field(default_factory=list)

    @property
    def inventory(self) -> str:
        """The file of its inventory, "" if it has none."""
        found = self.database.execute("SELECT value FROM about WHERE name = 'inventory'").fetchone()
        return str(found[0]) if found else ""

    @property
    def trees(self) -> list[tuple[str, str, str]] | None:
        """(node, source, role) of all trees in the inventory, None if no run recorded them."""
        found = self.database.execute("SELECT value FROM about WHERE name = 'trees'").fetchone()
        return [(str(node), str(source), str(role)) for node, source, role in json.loads(found[0])] if found else None

    @property
    def pauses(self) -> dict[str, float]:
        """{node: end of its pause, in seconds since 1970}, from the last run."""
        found = self.database.execute("SELECT value FROM about WHERE name = 'pauses'").fetchone()
        return {str(node): float(until) for node, until in json.loads(found[0]).items()} if found else {}

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query. Raise sqlite3.Error."""
        return self.database.execute(query, values).fetchall()


def write_records(
    file: str, records: Sequence[Record], days: int, now: float, *, pauses: Mapping[str, float] | None = None
) -> list[str]:
    """Store the records of runs in the history of an inventory, whose path is `file`; return notes on what was wrong and what was done.

    A record with the token of an existing one replaces it. Runs that began more than `days` before `now` (seconds since 1970) are deleted.
    `pauses` are {node: end of its pause}; None keeps those that are stored. What runs left under a folder of the file, before its name was known,
    is moved here.
    """

    def write(database: sqlite3.Connection) -> list[Path]:
        early = _beginnings(file)
        for record in [*(Record(run) for runs in early.values() for run in runs), *records]:
            _put(database, record)
        database.execute("DELETE FROM runs WHERE started < ?", (now - days * _DAY,))
        if pauses is not None:
            database.execute("INSERT OR REPLACE INTO about VALUES ('pauses', ?)", (json.dumps(dict(pauses)),))
        return list(early)

    return _changed(file, write)


def _beginnings(file: str) -> dict[Path, list[dict[str, Any]]]:
    """Return {history: runs} of the folders of an inventory's file: what came to no report while no run had named the file."""
    found = {}
    for path in all_files():
        place = _place_of(path)
        if not (file and place and os.path.realpath(file).startswith(f"{place}{os.sep}")):
            continue
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connected(path, reading=True)) as database:
            history = History(path, database)
            if not history.rows("SELECT 1 FROM trees"):
                found[path] = [{**dict(run), "id": None} for run in history.rows("SELECT * FROM runs ORDER BY id")]
    return found


def conclude(inventory: Sequence[str], run: Mapping[str, Any]) -> list[str]:
    """Store how a run ended, from columns of `runs`, in the histories of its inventories; return notes.

    It updates the record that the run's own report left; a run without a report gets a row without trees.
    """
    known = [path for path in _files_of(inventory) if _knows(path, str(run["folder"]))]
    if known:
        return [note for path in known for note in _changed_file(path.name, "", lambda database: _end(database, run))]
    mine = [path.name for path in _files_of(inventory)]
    if mine:
        return [note for name in mine for note in _changed_file(name, "", lambda database: _put(database, Record(run)))]
    return _changed(inventory[0] if inventory else "", lambda database: _put(database, Record(run)))


def _end(database: sqlite3.Connection, run: Mapping[str, Any]) -> None:
    """Update the record of a run with how it ended."""
    names = [name for name in run if name not in ("folder", "token", "stamp")]
    words = ", ".join(f"{name} = ?" for name in names)
    values = [_stored(run[name]) for name in names]
    database.execute(f"UPDATE runs SET {words} WHERE folder = ?", [*values, run["folder"]])  # noqa: S608 (names of columns)


def _put(database: sqlite3.Connection, record: Record) -> None:
    """Insert a record, in place of the same run's."""
    database.execute("DELETE FROM runs WHERE token = ?", (record.run["token"],))
    number = _insert(database, "runs", record.run)
    for table, row in record.rows():
        _insert(database, table, {**row, "run": number})
    for row in record.late:
        database.execute(_FILL, {name: _stored(value) for name, value in row.items()})
    if record.inventory is not None:
        places = json.dumps([[_stored(part) for part in place] for place in sorted(record.inventory)])
        database.execute("INSERT OR REPLACE INTO about VALUES ('trees', ?)", (places,))


_FILL = """
    UPDATE copies SET stamp = :stamp, size = :size
    WHERE node = :node AND source = :source AND role = :role AND category = :category AND name = :name
    AND (stamp IS NULL OR stamp < :stamp) AND run IN (SELECT id FROM runs WHERE stamp = :stamp)
"""
"""Enters in the record of a run what a later one brought: the copy that it was to leave"""


def _insert(database: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int | None:
    names = [name for name in COLUMNS[table] if row.get(name) is not None]
    marks = ", ".join("?" * len(names))
    words = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 (names of columns)
    return database.execute(words, [_stored(row[name]) for name in names]).lastrowid


def _stored(value: Any) -> Any:
    """Return a text as a file can store it: invalid characters and control sequences made visible."""
    return visible(value) if isinstance(value, str) else value


def opened(inventory: Sequence[str]) -> list[History]:
    """Return the histories of these inventories, all for none, open for reading. Raise AltbackupError."""
    found = []
    for path in _files_of(inventory) if inventory else all_files():
        try:
            found.append(History(path, _connected(path, reading=True)))
        except sqlite3.Error as error:
            raise AltbackupError(damaged_reason(path, error)) from error
    return found


def has_history(inventory: Sequence[str]) -> bool:
    """Return whether one of these inventories has a history. Raise AltbackupError if the state folder cannot be used."""
    return bool(_files_of(inventory))


def damaged_reason(path: Path, error: sqlite3.Error) -> str:
    """Return the message on a history that cannot be read."""
    return (
        f"{path}, this controller's history, cannot be read ({error}): the next run moves it aside and begins another one; what the nodes "
        "know of before is entered by: altbackup status --rebuild"
    )


def all_files() -> list[Path]:
    """Return the files of all histories. Raise AltbackupError if the state folder cannot be used."""
    folder = _own_folder()
    if folder is None:
        if not has_state(FOLDER):
            return []
        folder = Path(state_folder(), FOLDER)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob(f"*{_ENDING}") if path.is_file() and path.stat().st_size)


def _files_of(inventory: Sequence[str]) -> list[Path]:
    """Return the files of the histories of inventories, which may be named by their folders."""
    wanted = [os.path.realpath(name) for name in inventory if name and "," not in name]
    found = []
    for path in all_files():
        place = _place_of(path)
        below = [name for name in wanted if place and (place == name or place.startswith(f"{name}{os.sep}"))]
        if below or (place == "" and not wanted):
            found.append(path)
    return found


def _place_of(path: Path) -> str | None:
    """Return the inventory of a history, None if it cannot be read."""
    try:
        with contextlib.closing(_connected(path, reading=True)) as database:
            return History(path, database).inventory
    except sqlite3.Error:
        return None


def _knows(path: Path, folder: str) -> bool:
    try:
        with contextlib.closing(_connected(path, reading=True)) as database:
            return bool(database.execute("SELECT 1 FROM runs WHERE folder = ?", (folder,)).fetchone())
    except sqlite3.Error:
        return False


def _changed(file: str, change: _Changing) -> list[str]:
    """Change the history of an inventory, creating it if it is missing; return notes."""
    return _changed_file(f"{journal_name(file).partition('.')[0]}{_ENDING}", file, change)


def _changed_file(name: str, file: str, change: _Changing) -> list[str]:
    """Change one history, creating it for the inventory `file` if it is missing; return notes. Raise nothing."""
    try:
        with _opened_folder() as folder, locked(str(folder)):
            path = folder / name
            try:
                _change(path, file, change)
                return []
            except _Newer as error:
                return [f"what this run did was not noted in the history: {error}"]
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:  # full disk, lock, bug: the file is intact
                    raise
                aside = _moved_aside(path)
                _change(path, file, change)
                told = f"{path}, this controller's history, was damaged ({error}): it is {aside} now, and a new one has begun"
                return [f"{told}; what the nodes know of before is entered by: altbackup status --rebuild"]
    except (AltbackupError, OSError, sqlite3.Error) as error:
        why = explain(error) if isinstance(error, (AltbackupError, OSError)) else str(error)
        return [f"what this run did was not noted in the history: {why}"]


class _Newer(Exception):
    """Raised for a history that a later version has written."""


def _change(path: Path, file: str, change: _Changing) -> None:
    """Change a history in one transaction, then remove those that it took over. Raise sqlite3.Error, _Newer or OSError."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connected(path)) as database:
        _prepare(database, path, file)
        database.execute("BEGIN IMMEDIATE")
        taken = change(database)
        database.execute("COMMIT")
    for each in taken or ():
        each.unlink(missing_ok=True)


def _prepare(database: sqlite3.Connection, path: Path, file: str) -> None:
    """Create the tables of an empty file, or check a history's integrity. Raise sqlite3.DatabaseError or _Newer."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise _Newer(f"{path} is of version {version}, and this program knows {VERSION}: use the newer one")
    if version == VERSION and database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION:
        result = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise sqlite3.DatabaseError(result)
        return
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError("it is a database of something else")
    database.execute("BEGIN IMMEDIATE")
    for statement in STATEMENTS:
        database.execute(statement)
    place = os.path.realpath(file) if file else ""
    database.execute("INSERT INTO about VALUES ('inventory', ?)", (place,))
    database.execute("COMMIT")


def _connected(path: Path, *, reading: bool = False) -> sqlite3.Connection:
    """Return a connection to an existing file. Raise sqlite3.Error.

    The mode allows writing also for a reader, which may have to roll back what a killed writer left.
    """
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA synchronous = EXTRA")
        if reading:
            database.execute("PRAGMA query_only = ON")
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                raise sqlite3.DatabaseError(f"it is no history of version {VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _moved_aside(path: Path) -> Path:
    """Rename a damaged history, and SQLite's files beside it; return the new path. Raise OSError."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}")
    os.rename(path, aside)
    for ending in ("-journal", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{ending}", f"{aside}{ending}")
    return aside


def _own_folder() -> Path | None:
    """Return the folder that the environment names, None if it names none."""
    named = os.environ.get(PLACE)
    return Path(named).expanduser().absolute() if named else None


@contextlib.contextmanager
def _opened_folder() -> Iterator[Path]:
    """Yield the folder of histories, creating it if it is missing. Raise AltbackupError or OSError."""
    own = _own_folder()
    if own:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield own
    else:
        with opened_state(FOLDER) as (_, path):
            yield Path(path)
