"""Kind `trac`: a Trac environment with an SQLite database; needs no Trac on the node."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..archive.write import Part
from ..system.conversation import NeedsPlace
from ..system.digest import open_plain
from ..system.errors import AltbackupError, InvalidInput, SourceChanged
from ..system.holes import copy_file
from ..system.paths import is_within
from ..system.processes import Deadline
from ..system.seeing import as_whom
from ..system.twins import set_mode, take_attributes
from ..system.units import counted, readable
from ..system.view import Place
from ..system.visible import printable
from ..tree.layout import is_plain_file
from .base import (
    BESIDE_A_DATABASE,
    Arrangement,
    Context,
    Kind,
    Snapshot,
    compare,
    listed,
    members_of,
    owner_found,
    owner_of,
    require_folder,
    require_inside,
    require_plain,
    scratch_folder,
    settle,
    walk,
)
from .earlier import stamp_of
from .items import Item
from .sqlite import survey
from .sqlite_copy import as_owner_of, check_database, copy_database, open_live, uri
from .sqlite_survey import attachments
from .tables import judge_tables, measure, rows_of

if TYPE_CHECKING:
    from .proofs import Proof

_LOGS = "log"
_USUAL_DATABASE = "db/trac.db"
_MUST_NOT_BE_LINKS = ("VERSION", "attachments", "files", "files/attachments")
_PASSING_TABLES = ("auth_cookie", "cache", "session", "session_attribute", "revision", "node_change")
"""Tables of Trac's that hold who is logged in, or what is read from a repository again"""
_LONGEST = 4 << 20
"""Most bytes of a file of settings"""
_MOST_FILES = 20
_SIZE = 3  # in what a walk tells of a file


def looks_like(path: str) -> bool:
    """Given a path, return whether a Trac environment is there, or what is left of one."""
    return members_of(path, ("conf/trac.ini", _USUAL_DATABASE)) >= 1


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a Trac environment with an SQLite database."""
    require_folder(item)
    require_inside(item, context, ("conf", "conf/trac.ini"))
    require_plain(item.path, lambda path: False, context.deadline, f"item trac {item.name!r}")
    for member in ("VERSION", "conf/trac.ini"):
        if not os.path.isfile(os.path.join(item.path, member)):
            raise InvalidInput(
                f"item trac {item.name!r}: path {item.path} is not a Trac environment: it has no {member}"
            )
    for member in _MUST_NOT_BE_LINKS:
        path = os.path.join(item.path, member)
        if os.path.islink(path):
            raise InvalidInput(
                f"item trac {item.name!r}: {path} is a symbolic link, and only the link would be archived: "
                f"mount {os.path.realpath(path)} there instead (mount --bind)"
            )
    database = database_path(item, context)
    require_inside(item, context, (os.path.dirname(database) or ".", database), folders=True)
    live = os.path.realpath(os.path.join(item.path, database))
    check_database(live, f"item trac {item.name!r}", context.identity)


def database_path(item: Item, context: Context) -> str:
    """Given an item, return its database's path inside the environment, as its trac.ini has it. Raise InvalidInput."""
    scheme, _, path = _database_setting(item, context).partition(":")
    if scheme != "sqlite":
        raise InvalidInput(
            f"item trac {item.name!r}: its database is {scheme}, not sqlite: "
            "back up the environment as kind folder and the database as kind postgresql or mysql"
        )
    path = os.path.relpath(os.path.join(item.path, path.partition("?")[0]), item.path)
    if path == ".." or path.startswith("../"):
        path = os.path.normpath(os.path.join(item.path, path))
        raise InvalidInput(
            f"item trac {item.name!r}: its database {path} lies outside the environment: "
            "back up the environment as kind folder and the database as kind sqlite"
        )
    return path


def _database_setting(item: Item, context: Context) -> str:
    """Return the setting `database` of an environment; what its trac.ini lacks may stand in files that it inherits."""
    waiting = [os.path.join(item.path, "conf", "trac.ini")]
    seen: set[str] = set()
    while waiting and len(seen) < _MOST_FILES:
        path = os.path.normpath(waiting.pop(0))
        if path in seen:
            continue
        real = os.path.realpath(path)
        if not any(is_within(real, place) for place in (*context.shown, os.path.realpath(item.path))):
            raise NeedsPlace(f"{item.path}/conf/trac.ini inherits {printable(path)}", real, optional=True)
        if seen and not os.path.lexists(real):  # Trac itself does without
            continue
        seen.add(path)
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            with open_plain(real) as stream:
                text = stream.read(_LONGEST + 1)
                size = os.fstat(stream.fileno()).st_size
            if len(text) > _LONGEST:
                raise InvalidInput(
                    f"item trac {item.name!r}: {path} has {readable(size)}, and is not read: no file of settings has more than "
                    f"{readable(_LONGEST)}. See what is in it, and put it right"
                )
            parser.read_string(text.decode("utf-8").lstrip("\ufeff"))
        except (configparser.Error, UnicodeDecodeError):  # whose words quote what the file holds
            raise InvalidInput(
                f"item trac {item.name!r}: {path} cannot be read: it is not text of sections and settings"
            ) from None
        except OSError as error:
            raise InvalidInput(f"item trac {item.name!r}: {path} cannot be read{as_whom(error)}") from error
        database = parser.get("trac", "database", fallback=None)
        if database:
            return database
        inherited = (parser.get("inherit", "file", fallback=None) or "").split(",")
        waiting[:0] = [os.path.join(os.path.dirname(path), name.strip()) for name in inherited if name.strip()]
    return f"sqlite:{_USUAL_DATABASE}"


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Given an item, yield the environment with its database as of one committed state, copied before the attachments."""
    database = database_path(item, context)
    live = os.path.realpath(os.path.join(item.path, database))
    folder = scratch_folder(context, item)
    staged = os.path.join(folder, database)
    os.makedirs(os.path.dirname(staged), exist_ok=True)
    if context.identity.viewed:  # nobody else comes here, and the owner of the database may be another one
        set_mode(folder, 0o711)
    rows, notes = copy_database(live, staged, context.deadline, context.identity)
    if "system" not in rows:
        raise InvalidInput(f"item trac {item.name!r}: {live} is no Trac database: it has no table system")
    _copy_attributes(live, staged, moving=True)
    _copy_logs(item.path, folder)
    for parent, _, _ in os.walk(folder, topdown=False):
        path = os.path.relpath(parent, folder)
        moving = path == (os.path.dirname(database) or ".") or _is_below_logs(path)
        _copy_attributes(os.path.join(item.path, path), parent, moving)
    copied = walk(folder)[0]
    beside = {database, *(database + ending for ending in BESIDE_A_DATABASE)}

    def excluded(path: str, is_folder: bool) -> bool:
        return path in beside or (not is_folder and _is_below_logs(path) and _is_log(os.path.join(item.path, path)))

    def look() -> tuple[dict[bytes, tuple[int, ...]], list[str]]:
        tree, notes = walk(item.path, excluded, context.deadline)
        return {name: value for name, value in tree.items() if name not in copied}, notes

    before, left_out = look()
    files, absent = _check_attachments(item, staged, live, before, context)
    notes += left_out + _note_absent(item, absent)
    if os.path.islink(os.path.join(item.path, os.path.dirname(database))):
        notes.append(
            f"{os.path.dirname(database)} is a symbolic link: of what lies behind it only the database is archived"
        )
    if os.geteuid() != 0:
        notes.append(f"read as uid {os.geteuid()}, not root: the database and the logs are archived as its own")
    settle()
    parts = [Part(folder, list(copied)), Part(item.path, list(before))]
    may_empty = (*_PASSING_TABLES, *item.may_empty)
    doubts, more = judge_tables(rows_of(context.good), rows, stamp_of(context.good), may_empty)
    notes += more
    measured = measure(rows, may_empty)
    record = {
        "rows": rows,
        "database": database,
        "attachments": files,
        "absent": len(absent),
        **measured,
        "measures": {**measured["measures"], "attachments": files - len(absent)},
        "doubts": doubts + _doubt_absent(absent, context),
    }
    yield Snapshot(parts, record, notes=notes, confirm=lambda: compare(before, look()[0]))


def _copy_attributes(live: str, staged: str, moving: bool) -> None:
    """Give a copy the owner, mode, attributes and time of what it is of; the time is fixed where mere reading moves it."""
    if os.geteuid() == 0:
        os.chown(staged, *owner_of(live))
    take_attributes(live, staged)
    if moving:
        os.utime(staged, (0, 0))


def _is_below_logs(path: str) -> bool:
    return is_within(path, _LOGS)


def _is_log(path: str) -> bool:
    """Return whether a file below the logs is copied rather than archived as it is, or is already gone."""
    return is_plain_file(path) or not os.path.lexists(path)


def _copy_logs(environment: str, folder: str) -> None:
    """Copy the logs as they are now: they grow while the environment is in use, and a part of them is no damage."""
    if os.path.islink(os.path.join(environment, _LOGS)):
        return
    for parent, _, files in os.walk(os.path.join(environment, _LOGS)):
        destination = os.path.join(folder, os.path.relpath(parent, environment))
        os.makedirs(destination, exist_ok=True)
        for name in files:
            source = os.path.join(parent, name)
            if is_plain_file(source):
                with contextlib.suppress(FileNotFoundError):  # rotated meanwhile
                    copy_file(source, os.path.join(destination, name))
                    _copy_attributes(source, os.path.join(destination, name), moving=False)


def _check_attachments(
    item: Item, staged: str, live: str, tree: dict[bytes, tuple[int, ...]], context: Context
) -> tuple[int, list[str]]:
    """Given the copied database and the tree, return the number of attachments, and those whose file the live environment has lost.

    Raise SourceChanged if one was deleted or replaced while the environment was read.
    """
    rows = [tuple(row) for row in as_owner_of(staged, context.identity).call(_staged_attachments, item, staged)]
    sizes = {
        row: [tree[name][_SIZE] for name in map(os.fsencode, attachment_paths(*row[:3])) if name in tree]
        for row in rows
    }
    odd = [row for row in rows if row[3] not in sizes[row]]
    if not odd:
        return len(rows), []
    still = as_owner_of(live, context.identity).call(_live_attachments, item, live, context.deadline)
    for row in odd:
        if list(row) not in still:
            raise SourceChanged(
                f"item trac {item.name!r}: attachment {'/'.join(row[:3])} was deleted or replaced while it was read"
            )
    return len(rows), ["/".join(row[:3]) for row in odd if not sizes[row]]


def _staged_attachments(item: Item, staged: str) -> list[list[Any]]:
    with contextlib.closing(sqlite3.connect(uri(staged, "immutable=1"), uri=True)) as database:
        return [list(row) for row in _attachments(item, database)]


def _live_attachments(item: Item, live: str, deadline: Deadline) -> list[list[Any]]:
    with open_live(live, deadline) as database:
        return [list(row) for row in _attachments(item, database)]


def _note_absent(item: Item, absent: list[str]) -> list[str]:
    """Return a note on attachments whose files the live environment has lost."""
    if not absent:
        return []
    return [f"in {item.path} the files of attachments are missing, or behind a symbolic link: {listed(absent)}"]


def _doubt_absent(absent: Sequence[str], context: Context) -> list[str]:
    """Return why attachments are doubtful: more of them have lost their files than at the last good dump."""
    before = context.good.get("absent")
    if not isinstance(before, int) or len(absent) <= before:
        return []
    return [
        f"the files of {counted(len(absent), 'attachment')} are missing, and were of {before} at the dump of {stamp_of(context.good)}: {listed(absent)}"
    ]


def _attachments(item: Item, database: sqlite3.Connection) -> list[tuple[str, str, str, int]]:
    """Return (type, id, filename, size in bytes) of all attachments in a database."""
    try:
        return attachments(database)
    except sqlite3.Error as error:
        raise AltbackupError(f"item trac {item.name!r}: its attachments cannot be listed: {error}") from error


def attachment_paths(realm: str, parent: str, filename: str) -> list[str]:
    """Given an attachment's row, return the paths in the tree that Trac 1.0 and newer, and older ones, give its file."""
    folder = hashlib.sha1(parent.encode("utf-8")).hexdigest()  # noqa: S324 (Trac's own layout)
    stored = hashlib.sha1(filename.encode("utf-8")).hexdigest()  # noqa: S324 (Trac's own layout)
    extension = re.search(r"\.[A-Za-z0-9]+\Z", filename)
    quoted = f"./attachments/{quote(realm)}/{quote(parent)}/{quote(filename)}"
    return [
        f"./files/attachments/{realm}/{folder[:3]}/{folder}/{stored}{extension.group() if extension else ''}",
        quoted,
        quoted.replace("~", "%7E"),  # as Python 2 quoted it
    ]


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the environment sees: the environment, in which SQLite may write beside the database."""
    place = Place(item.path, writable=True)
    return Arrangement(owner_found(item.path), [place], scratch=[scratch_folder(context, item)])


def prove(proof: Proof) -> None:
    """The database as for sqlite; the files of all attachments that its dump saw."""
    proof.plain("VERSION")
    found = survey(proof, str(proof.record.get("database", _USUAL_DATABASE)))
    absent = []
    for realm, parent, filename, _ in found["attachments"]:
        paths = attachment_paths(str(realm), str(parent), str(filename))
        if not any(os.path.isfile(os.path.join(proof.path, path)) for path in paths):
            absent.append(f"{realm}/{parent}/{filename}")
    proof.compare("attachments", len(found["attachments"]), "its number of attachments")
    expected = proof.record.get("absent", 0)
    if len(absent) > int(expected):
        raise proof.fail(
            f"files of {len(absent)} attachments are missing, {expected} were at its dump: {listed(absent)}"
        )
    if absent:
        proof.notes.append(f"the files of {len(absent)} attachments are missing, as they were at its dump")


def reads(item: Item) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that a copy reads, apart from the logs."""
    return [f"{item.path}/{name}" for name in ("VERSION", "conf", "db", "attachments", "files")], ()


KIND = Kind(check, copy, arrange, prove, reads=reads, looks_like=looks_like, is_first=True, takes_in=True, differs=True)
