"""Kind `trac`: a Trac environment with its database, SQLite's or in a server; needs no Trac on the node."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..archive.write import Part
from ..system.conversation import NeedsPlace, NeedsServer
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
from ..tree.publish import remove_folder
from . import trac_server
from .base import (
    BESIDE_A_DATABASE,
    SERVED,
    Arrangement,
    Context,
    Kind,
    Snapshot,
    Verdict,
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
from .trac_server import KIND_OF, Server

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
    """Return whether a Trac environment is at a path, or what is left of one."""
    return members_of(path, ("conf/trac.ini", _USUAL_DATABASE)) >= 1


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput or ToolMissing unless the item's path is a Trac environment whose database can be dumped."""
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
    setting = _database_setting(item, context)
    server = _server_of(item, context, setting)
    if server:
        trac_server.check(item, context, server)
        return
    database = _database_path(item, setting)
    require_inside(item, context, (os.path.dirname(database) or ".", database), folders=True)
    live = os.path.realpath(os.path.join(item.path, database))
    check_database(live, f"item trac {item.name!r}", context.identity)


@dataclass(frozen=True)
class _Setting:
    """The setting `database` of an environment."""

    value: str
    path: str = ""
    """The file that has it"""
    owner: int = -1
    """Whose the file was that was read"""
    is_shared: bool = False
    """Whether others could write it"""


def _server_of(item: Item, context: Context, setting: _Setting) -> Server | None:
    """Return the server in which a database is, None for one of SQLite's. Raise InvalidInput."""
    scheme, colon, _ = setting.value.partition(":")
    if scheme in KIND_OF:
        if os.geteuid() == context.identity.uid == setting.owner == 0 and setting.is_shared:
            raise InvalidInput(
                f"item trac {item.name!r}: {setting.path}, which names the server of its database, is root's, and others can write it: "
                "no server is asked as root by what others say; give the environment or that file to its user, or take the right away (chmod go-w)"
            )
        return trac_server.parse(setting.value, f"item trac {item.name!r}")
    if scheme != "sqlite":
        what = scheme if colon and scheme.isalnum() else "of no known form"
        raise InvalidInput(
            f"item trac {item.name!r}: its database is {what}, not sqlite, postgres or mysql: "
            "back up the environment as kind folder and the database as a kind of its own"
        )
    return None


def _database_path(item: Item, setting: _Setting) -> str:
    """Return the path of the item's database, which is SQLite's, inside the environment. Raise InvalidInput."""
    path = setting.value.partition(":")[2]
    path = os.path.relpath(os.path.join(item.path, path.partition("?")[0]), item.path)
    if path == ".." or path.startswith("../"):
        path = os.path.normpath(os.path.join(item.path, path))
        raise InvalidInput(
            f"item trac {item.name!r}: its database {path} lies outside the environment: "
            "back up the environment as kind folder and the database as kind sqlite"
        )
    return path


def _database_setting(item: Item, context: Context) -> _Setting:
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
                status = os.fstat(stream.fileno())
            if len(text) > _LONGEST:
                raise InvalidInput(
                    f"item trac {item.name!r}: {path} has {readable(status.st_size)}, and is not read: no file of settings has more than "
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
            return _Setting(database, real, status.st_uid, bool(status.st_mode & 0o022))
        inherited = (parser.get("inherit", "file", fallback=None) or "").split(",")
        waiting[:0] = [os.path.join(os.path.dirname(path), name.strip()) for name in inherited if name.strip()]
    return _Setting(f"sqlite:{_USUAL_DATABASE}")


@dataclass(frozen=True)
class _Copied:
    """A database, as of one committed state, in the folder of copies."""

    rows: Mapping[str, int | None]
    notes: list[str]
    record: Mapping[str, Any]
    """What is recorded of it beside its rows"""
    attachments: list[list[Any]]
    """[type, id, filename, size in bytes] of all attachments that it knows"""
    still: Callable[[list[list[Any]]], list[list[Any]]]
    """The same, as they are now, given those whose files are not as they should be"""
    beside: frozenset[str] = field(default_factory=frozenset)
    """Paths in the environment that are not archived, as they are what was copied"""
    folder: str = ""
    """The folder in the environment whose time reading moves"""


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Yield the environment with its database as of one committed state, copied before the attachments."""
    setting = _database_setting(item, context)
    server = _server_of(item, context, setting)
    folder = scratch_folder(context, item)
    copied = (
        _copy_served(item, context, server, setting.owner)
        if server
        else _copy_file(item, context, _database_path(item, setting))
    )
    if "system" not in copied.rows:
        where = (
            f"database {server.database}"
            if server
            else os.path.realpath(os.path.join(item.path, copied.record["database"]))
        )
        raise InvalidInput(f"item trac {item.name!r}: {where} is no Trac database: it has no table system")
    _copy_logs(item.path, folder)
    for parent, _, _ in os.walk(folder, topdown=False):
        path = os.path.relpath(parent, folder)
        if path != SERVED or not server:
            _copy_attributes(os.path.join(item.path, path), parent, path == copied.folder or _is_below_logs(path))
    staged = walk(folder)[0]

    def excluded(path: str, is_folder: bool) -> bool:
        return path in copied.beside or (
            not is_folder and _is_below_logs(path) and _is_log(os.path.join(item.path, path))
        )

    def look() -> tuple[dict[bytes, tuple[int, ...]], list[str]]:
        tree, notes = walk(item.path, excluded, context.deadline)
        return {name: value for name, value in tree.items() if name not in staged}, notes

    before, left_out = look()
    files, absent = _check_attachments(item, copied, before)
    notes = [*copied.notes, *left_out, *_note_absent(item, absent)]
    if os.geteuid() != 0:
        notes.append(f"read as uid {os.geteuid()}, not root: the database and the logs are archived as its own")
    settle()
    parts = [Part(folder, list(staged)), Part(item.path, list(before))]
    may_empty = (*_PASSING_TABLES, *item.may_empty)
    doubts, more = judge_tables(rows_of(context.good), copied.rows, stamp_of(context.good), may_empty)
    notes += more
    measured = measure(copied.rows, may_empty)
    record = {
        "rows": copied.rows,
        **copied.record,
        "attachments": files,
        "absent": len(absent),
        **measured,
        "measures": {**measured["measures"], "attachments": files - len(absent)},
        "doubts": doubts + _doubt_absent(absent, context),
    }
    yield Snapshot(parts, record, notes=notes, confirm=lambda: compare(before, look()[0]))


def _copy_file(item: Item, context: Context, database: str) -> _Copied:
    """Copy a database of SQLite's. Raise AltbackupError."""
    live = os.path.realpath(os.path.join(item.path, database))
    folder = scratch_folder(context, item)
    staged = os.path.join(folder, database)
    os.makedirs(os.path.dirname(staged), exist_ok=True)
    if context.identity.viewed:  # nobody else comes here, and the owner of the database may be another one
        set_mode(folder, 0o711)
    rows, notes = copy_database(live, staged, context.deadline, context.identity)
    _copy_attributes(live, staged, moving=True)
    above = os.path.dirname(database)
    if os.path.islink(os.path.join(item.path, above)):
        notes.append(f"{above} is a symbolic link: of what lies behind it only the database is archived")
    return _Copied(
        rows,
        notes,
        {"database": database},
        as_owner_of(staged, context.identity).call(_staged_attachments, item, staged),
        lambda odd: list(as_owner_of(live, context.identity).call(_live_attachments, item, live, context.deadline)),
        frozenset((database, *(database + ending for ending in BESIDE_A_DATABASE))),
        above or ".",
    )


def _copy_served(item: Item, context: Context, server: Server, owner: int) -> _Copied:
    """Return what another reader dumped of a server. Raise NeedsServer until there is such a thing."""
    told = context.known.get("served")
    message = f"item trac {item.name!r}: its database is in a server"
    if not isinstance(told, Mapping) or told["digest"] != server.digest:
        raise NeedsServer(message, trac_server.request_of(server, owner))

    def still(odd: list[list[Any]]) -> list[list[Any]]:
        found = context.known.get("still")
        if not isinstance(found, list):
            raise NeedsServer(message, trac_server.request_of(server, owner, odd))
        if context.known.get("odd") != odd:  # since the server was asked
            raise SourceChanged(f"item trac {item.name!r}: attachments were deleted or replaced while it was read")
        return found

    notes = list(told["notes"])
    if os.path.lexists(os.path.join(item.path, SERVED)):
        notes.append(f"{SERVED} of the environment is left out: in the archive the dump of its database has that place")
    record, attachments = told["record"], list(told["attachments"])
    return _Copied(trac_server.plain_rows(record), notes, {"served": record}, attachments, still, frozenset([SERVED]))


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
    remove_folder(os.path.join(folder, _LOGS))  # of the try before the server was asked
    for parent, _, files in os.walk(os.path.join(environment, _LOGS)):
        destination = os.path.join(folder, os.path.relpath(parent, environment))
        os.makedirs(destination, exist_ok=True)
        for name in files:
            source = os.path.join(parent, name)
            if is_plain_file(source):
                with contextlib.suppress(FileNotFoundError):  # rotated meanwhile
                    copy_file(source, os.path.join(destination, name))
                    _copy_attributes(source, os.path.join(destination, name), moving=False)


def _check_attachments(item: Item, copied: _Copied, tree: dict[bytes, tuple[int, ...]]) -> tuple[int, list[str]]:
    """Return the number of attachments in the copied database, and those whose file the live environment has lost.

    Raise SourceChanged if one was deleted or replaced while the environment was read.
    """
    rows = [tuple(row) for row in copied.attachments]
    sizes = {
        row: [tree[name][_SIZE] for name in map(os.fsencode, attachment_paths(*row[:3])) if name in tree]
        for row in rows
    }
    odd = [row for row in rows if row[3] not in sizes[row]]
    still = copied.still([list(row) for row in odd]) if odd else []
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
    """Return the paths in the tree that Trac 1.0 and newer, and older ones, give the file of an attachment."""
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
    """The database as for its kind; the files of all attachments that its dump saw."""
    proof.plain("VERSION")
    is_served = "served" in proof.record or (
        not proof.record and os.path.isdir(os.path.join(proof.path, SERVED)) and not _has_file(proof)
    )
    rows = (
        trac_server.prove(proof)
        if is_served
        else survey(proof, str(proof.record.get("database", _USUAL_DATABASE)))["attachments"]
    )
    if rows is None:
        proof.notes.append("the files of its attachments were not looked for: what there are is in the database alone")
        return
    absent = []
    for realm, parent, filename, _ in rows:
        paths = attachment_paths(str(realm), str(parent), str(filename))
        if not any(os.path.isfile(os.path.join(proof.path, path)) for path in paths):
            absent.append(f"{realm}/{parent}/{filename}")
    proof.compare("attachments", len(rows), "its number of attachments")
    expected = proof.record.get("absent", 0)
    if len(absent) > int(expected):
        raise proof.fail(
            f"files of {counted(len(absent), 'attachment')} are missing, {expected} were at its dump: {listed(absent)}"
        )
    if absent:
        proof.notes.append(f"the files of {counted(len(absent), 'attachment')} are missing, as they were at its dump")


def _has_file(proof: Proof) -> bool:
    return os.path.lexists(os.path.join(proof.path, _USUAL_DATABASE))


def foresee(item: Item, context: Context) -> Verdict:
    """Say that no server is asked in check mode, where one would be."""
    if _server_of(item, context, _database_setting(item, context)) is None:
        return Verdict()
    return Verdict(
        ["its database is in a server, which is not asked in check mode: whether a dump succeeds is not known"]
    )


def reads(item: Item) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that a copy reads, apart from the logs."""
    return [f"{item.path}/{name}" for name in ("VERSION", "conf", "db", "attachments", "files")], ()


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    serve=trac_server.serve,
    restored=trac_server.restored,
    foresee=foresee,
    reads=reads,
    looks_like=looks_like,
    is_first=True,
    takes_in=True,
    differs=True,
)
