"""Kind `trac`: a Trac environment with an SQLite database; needs no Trac on the node."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from urllib.parse import quote

from .archive import Part
from .errors import AltbackupError, InvalidInput, SourceChanged
from .items import Item
from .kinds import Context, Kind, Prepared, compare, scratch_folder, owner_of, remove_folder, require_folder, walk
from .processes import find_tool
from .sqlite_copy import check_database, copy_database, uri

_LOGS = "log"


def check(item: Item) -> None:
    """Raise InvalidInput unless the item's path is a Trac environment with an SQLite database."""
    require_folder(item)
    for member in ("VERSION", "conf/trac.ini"):
        if not os.path.isfile(os.path.join(item.path, member)):
            raise InvalidInput(f"item trac {item.name!r}: path {item.path} is not a Trac environment: it has no {member}")
    check_database(os.path.join(item.path, database_path(item)), f"item trac {item.name!r}")
    find_tool("tar")


def database_path(item: Item) -> str:
    """Given an item, return its database's path inside the environment, as its trac.ini has it. Raise InvalidInput."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read(os.path.join(item.path, "conf", "trac.ini"), encoding="utf-8-sig")
        database = parser.get("trac", "database", fallback="sqlite:db/trac.db") or "sqlite:db/trac.db"
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"item trac {item.name!r}: {item.path}/conf/trac.ini cannot be read: {error}") from error
    scheme, _, path = database.partition(":")
    if scheme != "sqlite":
        raise InvalidInput(
            f"item trac {item.name!r}: its database is {scheme}, not sqlite: "
            "back up the environment as kind folder and the database by its engine's own dump"
        )
    path = os.path.normpath(path.partition("?")[0])
    if os.path.isabs(path) or path.startswith(".."):
        raise InvalidInput(f"item trac {item.name!r}: its database {path} lies outside the environment: add it as an item of kind sqlite")
    return path


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, yield the environment with its database as of one committed state, copied before the attachments."""
    database = database_path(item)
    live = os.path.join(item.path, database)
    folder = scratch_folder(context, item)
    try:
        staged = os.path.join(folder, database)
        os.makedirs(os.path.dirname(staged), exist_ok=True)
        rows = copy_database(live, staged, context.deadline)
        shutil.copymode(live, staged)
        os.utime(staged, (0, 0))
        _own(staged, live)
        _copy_logs(item.path, folder)
        moving = {os.path.dirname(database), _LOGS}
        for path in sorted(moving | {""}, reverse=True):
            _copy_attributes(os.path.join(item.path, path), os.path.join(folder, path), path in moving)
        copied = list(walk(folder)[0])

        def excluded(path: str, _is_folder: bool) -> bool:
            beside = path in (database, f"{database}-wal", f"{database}-shm", f"{database}-journal")
            return beside or (path.startswith(f"{_LOGS}/") and os.path.isfile(os.path.join(item.path, path)))

        def look() -> tuple[dict[bytes, tuple[int, ...]], list[str]]:
            tree, notes = walk(item.path, excluded)
            return {name: value for name, value in tree.items() if name not in copied}, notes

        before, notes = look()
        notes += _check_attachments(item, staged, live, before)
        parts = [Part(folder, copied), Part(item.path, list(before))]
        yield Prepared(parts, {"rows": rows}, notes=notes, confirm=lambda: compare(before, look()[0]))
    finally:
        remove_folder(folder)


def _copy_attributes(live: str, staged: str, moving: bool) -> None:
    """Give a staged folder the owner, mode and time of the live one; SQLite and the log move the time of theirs: it is fixed."""
    if os.path.isdir(staged):
        shutil.copymode(live, staged)
        _own(staged, live)
        time = 0 if moving else os.stat(live).st_mtime_ns
        os.utime(staged, ns=(time, time))


def _copy_logs(environment: str, folder: str) -> None:
    """Copy the logs as they are now: they grow while the environment is in use, and a part of them is no damage."""
    logs = os.path.join(environment, _LOGS)
    if not os.path.isdir(logs) or os.path.islink(logs):
        return
    os.makedirs(os.path.join(folder, _LOGS), exist_ok=True)
    for entry in sorted(os.listdir(logs)):
        source, destination = os.path.join(logs, entry), os.path.join(folder, _LOGS, entry)
        if os.path.isfile(source) and not os.path.islink(source):
            with contextlib.suppress(FileNotFoundError):  # rotated meanwhile
                shutil.copy2(source, destination)
                _own(destination, source)


def _own(path: str, live: str) -> None:
    if os.geteuid() == 0:
        os.chown(path, *owner_of(live))


def _check_attachments(item: Item, staged: str, live: str, tree: dict[bytes, tuple[int, ...]]) -> list[str]:
    """Given the copied database and the tree, return notes on attachments whose file the live environment has lost.

    Raise SourceChanged if one was deleted while the environment was read.
    """
    missing = [row for row in _attachments(item, uri(staged, "immutable=1")) if not _present(row, tree)]
    if not missing:
        return []
    still = _attachments(item, uri(live, "mode=ro"))
    for row in missing:
        if row not in still:
            raise SourceChanged(f"item trac {item.name!r}: attachment {'/'.join(row)} was deleted while it was read")
    return [f"attachment {'/'.join(row)} is in the database, but its file is missing in {item.path}" for row in missing]


def _attachments(item: Item, database: str) -> list[tuple[str, str, str]]:
    """Return (type, id, filename) of all attachments in a database."""
    try:
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=60)) as connection:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'attachment'").fetchone()
            return connection.execute("SELECT type, id, filename FROM attachment").fetchall() if known else []
    except sqlite3.Error as error:
        raise AltbackupError(f"item trac {item.name!r}: its attachments cannot be listed: {error}") from error


def _present(row: tuple[str, str, str], tree: dict[bytes, tuple[int, ...]]) -> bool:
    return any(os.fsencode(f"./{path}") in tree for path in attachment_paths(*row))


def attachment_paths(realm: str, parent: str, filename: str) -> list[str]:
    """Given an attachment's row, return the paths that Trac 1.0 and newer, and older ones, give its file."""
    folder = hashlib.sha1(parent.encode("utf-8")).hexdigest()  # noqa: S324 (Trac's own layout)
    stored = hashlib.sha1(filename.encode("utf-8")).hexdigest()  # noqa: S324 (Trac's own layout)
    extension = re.search(r"\.[A-Za-z0-9]+\Z", filename)
    return [
        f"files/attachments/{realm}/{folder[:3]}/{folder}/{stored}{extension.group() if extension else ''}",
        f"attachments/{quote(realm)}/{quote(parent)}/{quote(filename)}",
    ]


KIND = Kind(check, copy)
