"""MySQL and MariaDB: databases of a dump into a server that is in use, by a client that obeys no command of a dump.

These servers can rename no database. So each is made under its own name, which must be free, and holds a table that tells
that it is being restored until it is whole: whatever fails drops it, and what a killed restore left is known by that table.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
from collections.abc import Mapping, Sequence
from subprocess import PIPE
from typing import IO, Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError, ToolFailed, ToolMissing
from ..system.processes import Child, Deadline, ended_at
from ..system.programs import clean_environment
from ..system.temporary import temporary_stream
from ..system.units import counted, first_of
from .into import Load
from .items import decode_name
from .mysql import ENDING, USERS_FILE, VIEWS_ENDING
from .mysql_client import disobedient_client, is_mariadb, options_of
from .mysql_survey import DISOBEDIENT, OBJECTS, SETTINGS, TABLES, USERS, Failed, identifier, rows_from, text_of
from .postgresql import require_private
from .tables import rows_of

_SERVER = "SELECT JSON_ARRAY(VERSION(), CURRENT_USER())"
_DATABASES = "SELECT JSON_QUOTE(schema_name) FROM information_schema.schemata"
_NAMES = "SELECT JSON_QUOTE(table_name) FROM information_schema.tables WHERE BINARY table_schema = {database}"
_MARK = "altbackup_restoring"
"""The table of a database that is being restored"""
_HARMLESS = (
    "USAGE",
    "SELECT",
    "REFERENCES",
    "SHOW DATABASES",
    "SHOW VIEW",
    "PROCESS",
    "LOCK TABLES",
    "CREATE TEMPORARY TABLES",
    "REPLICATION CLIENT",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
    "REPLICA MONITOR",
)
"""Rights on a whole server, or on its own tables of users, with which a dump changes nothing beyond its database; with any other it could do what it likes"""
_GRANT = re.compile(r"GRANT (.+?) ON (\*\.\*|`(?:[^`]|``)*`\.\S+) TO ")
_OWN_SCHEMA = "mysql"
_CLEANING = 120.0
_MOST = 1 << 26
_SHOWN = 5
_LACKS = re.compile(r"ERROR (?:1227|1142|1419) ")
_TAKEN, _DENIED = "ERROR 1007 ", "ERROR 1044 "


class _Server:
    """The server, as the login of an order sees it."""

    def __init__(self, load: Load) -> None:
        into, entry = load.into, pwd.getpwuid(load.identity.uid)
        self._load = load
        require_private(load.title, into.get("password_file"), load.identity.uid)
        try:
            self._client = disobedient_client(load.deadline)
        except ToolMissing as error:
            raise load.fail(f"{error}; the client of MySQL would obey commands in a dump: nothing was done") from error
        self._options = options_of({"login": entry.pw_name, **into})
        self._environment = clean_environment(HOME=entry.pw_dir)
        ((version, login),) = self.ask(_SERVER)
        self.version, self.login = str(version), str(login)
        if not is_mariadb(self.version):
            raise load.fail(
                f"the server is MySQL {self.version}, whose own client would obey commands in a dump: nothing was done; "
                "restore it to a path, and load it by hand"
            )

    def feed(self, source: IO[bytes], what: str, database: str = "", deadline: Deadline | None = None) -> bytes:
        """Let the client run statements of a file, and return what it says. Raise ToolFailed."""
        argv = [
            self._client,
            *self._options,
            *DISOBEDIENT,
            *SETTINGS,
            *([f"--database={database}"] if database else []),
        ]
        deadline = deadline or self._load.deadline
        with Child(
            self._load.identity.argv(argv), stdin=source, stdout=PIPE, environment=self._environment, name="mariadb"
        ) as child:
            with ended_at(deadline, [child]):
                output = child.stdout.read(_MOST)
                while child.stdout.read(_MOST):
                    pass
            child.check(deadline, f"{self._load.title}: {what}")
        return output

    def say(self, *statements: str, deadline: Deadline | None = None) -> str:
        """Run statements of our own. Raise ToolFailed."""
        text = "".join(f"{each};\n" for each in statements)
        with temporary_stream(text.encode("utf-8", "surrogateescape")) as source:
            return self.feed(source, "asking the server", deadline=deadline).decode("utf-8", "surrogateescape")

    def ask(self, *queries: str, deadline: Deadline | None = None) -> list[Any]:
        """Return the rows, one JSON value each, of queries. Raise AltbackupError."""
        try:
            return rows_from(self.say(*queries, deadline=deadline))
        except Failed as error:
            raise self._load.fail(str(error)) from error

    def drop(self, names: Sequence[str]) -> None:
        """Drop databases that this restore made. Raise AltbackupError."""
        if names:
            deadline = Deadline(_CLEANING, "clearing up")
            self.say(*(f"DROP DATABASE IF EXISTS {identifier(name)}" for name in names), deadline=deadline)


class _Loader:
    """See into.Loader."""

    def clear(self, load: Load) -> None:
        server = _Server(load)
        ours = _left_of(load, server)
        server.drop(ours)
        load.note_made({})
        load.notes += [f"dropped database {name}, which an earlier restore had left half done" for name in ours]

    def check(self, load: Load) -> None:
        self._checked(load, list(_recorded(load)))

    def load(self, load: Load) -> None:
        files = {
            decode_name(name[: -len(ENDING)]): name
            for name in os.listdir(load.path)
            if name.endswith(ENDING) and not name.endswith(VIEWS_ENDING) and name != USERS_FILE
        }
        server, chosen = self._checked(load, list(files))
        made = {name: secrets.token_hex(16) for name in chosen.values()}
        load.note_made({"made": made})
        began: list[str] = []
        try:
            for original, name in chosen.items():
                began.append(name)
                try:
                    _make(load, server, original, name, made[name])
                except ToolFailed as error:
                    if _TAKEN in error.stderr:
                        began.remove(name)
                    raise
                _load_one(load, server, original, os.path.join(load.path, files[original]), name)
            if load.into.get("globals"):
                _load_users(load, server)
            server.say(f"DROP TABLE IF EXISTS {', '.join(f'{identifier(name)}.{_MARK}' for name in made)}")
        except BaseException as error:
            _clear_after(load, server, {name: made[name] for name in began}, error)
            raise
        load.note_made({})

    def _checked(self, load: Load, dumped: Sequence[str]) -> tuple[_Server, dict[str, str]]:
        """Return the server and {database of the dump: its name in the server}. Raise AltbackupError."""
        server = _Server(load)
        if not load.into.get("globals"):
            _require_no_might(load, server)
        chosen = load.chosen(dumped) if dumped else {}
        there = {str(name).lower() for name in server.ask(_DATABASES)}
        for original, name in chosen.items():
            objects = (_recorded(load).get(original) or {}).get("objects") or {}
            if name != original and objects.get("views"):
                raise load.fail(
                    f"{counted(objects['views'], 'view')} of {original} name that database, and would show its rows rather than those of {name}: "
                    "restore it under its own name, to another server, or to a path"
                )
        left = _left_of(load, server)
        taken = [name for name in chosen.values() if name.lower() in there and name not in left]
        if taken and load.aside:
            raise load.fail(
                f"database {first_of(taken, _SHOWN)} is there already, and MySQL and MariaDB cannot rename a database, so "
                "--aside (in an entry replace: move_aside) is not for them: give another name as database, or dump and drop that one by hand"
            )
        if taken:
            raise load.fail(
                f"database {first_of(taken, _SHOWN)} is there already, and a restore replaces nothing: give another name as database, or dump and drop "
                "that one by hand"
            )
        for name in [name for name in chosen.values() if name not in left]:
            _require_rights(load, server, name)
        return server, chosen


def _require_rights(load: Load, server: _Server, name: str) -> None:
    """Raise AltbackupError where the login has no right on a database that is not there yet; one who has any is told that it is not there."""
    try:
        server.say(f"SHOW CREATE DATABASE {identifier(name)}")
    except ToolFailed as error:
        if _DENIED in error.stderr:
            raise load.fail(
                f"{server.login} may not make database {name}: GRANT ALL ON {identifier(name)}.* TO it, or give another login"
            ) from error


def _clear_after(load: Load, server: _Server, made: Mapping[str, str], error: BaseException) -> None:
    """Drop what was made before an error. Raise AltbackupError, which tells both, where that fails: the next restore does it."""
    try:
        server.drop([name for name, token in made.items() if _is_ours(server, name, token)])
        load.note_made({})
    except AltbackupError as more:
        raise load.fail(
            f"{error}; and database {first_of(list(made), _SHOWN)}, which is half done, could not be dropped: {more}"
        ) from error


def _left_of(load: Load, server: _Server) -> list[str]:
    """Return the databases that a killed restore left half done. Raise AltbackupError."""
    left = load.left.get("made")
    return [
        name for name, token in (left.items() if isinstance(left, Mapping) else ()) if _is_ours(server, name, token)
    ]


def _recorded(load: Load) -> Mapping[str, Any]:
    found = load.record.get("databases")
    return found if isinstance(found, Mapping) else {}


def _is_ours(server: _Server, name: str, token: str) -> bool:
    """Return whether a database is one that a restore noted that it would make: it has the mark, or nothing at all until now."""
    deadline = Deadline(_CLEANING, "clearing up")
    if name not in server.ask(_DATABASES, deadline=deadline):
        return False
    tables = server.ask(_NAMES.format(database=text_of(name)), deadline=deadline)
    if _MARK in tables:
        tokens = server.ask(f"SELECT JSON_QUOTE(token) FROM {identifier(name)}.{_MARK}", deadline=deadline)  # noqa: S608 (quoted)
        if tokens:
            return tokens == [token]
    others = dict(server.ask(OBJECTS.format(database=text_of(name)), deadline=deadline))
    return {*tables} <= {_MARK} and not any(others.values())


def _require_no_might(load: Load, server: _Server) -> None:
    """Raise AltbackupError where the login has, itself or by a role that a dump could take on, rights beyond databases that a dump could use."""
    roles = server.ask(
        "SELECT JSON_QUOTE(role_name) FROM information_schema.applicable_roles WHERE grantee = CURRENT_USER()"
    )
    texts = [
        server.say("SHOW GRANTS"),
        *(server.say(f"SET ROLE {identifier(str(role))}", "SHOW GRANTS") for role in roles),
    ]
    found = mighty_in("\n".join(texts))
    if found:
        raise load.fail(
            f"{server.login} has {first_of(found, _SHOWN)}: a dump could do with it what it likes. Give as login a user that has all rights on the "
            "database alone (GRANT ALL ON the database), or globals: true, if the dump may do all that"
        )


def mighty_in(grants: str) -> list[str]:
    """Return the rights in the output of SHOW GRANTS with which a dump could do what it likes with the server, and where."""
    found: dict[str, None] = {}
    for line in grants.split("\n"):
        match = _GRANT.match(line)
        if match is None:
            continue
        everywhere, schema = match[2] == "*.*", match[2].rpartition("`.")[0][1:].replace("``", "`")
        if not everywhere and not _covers(schema, _OWN_SCHEMA):
            continue
        rights = re.sub(r" \([^)]*\)", "", match[1]).split(", ")
        more = ["GRANT OPTION"] if everywhere and line.rstrip().endswith("WITH GRANT OPTION") else []
        where = "the whole server" if everywhere else schema
        found.update(dict.fromkeys(f"{right} on {where}" for right in [*rights, *more] if right not in _HARMLESS))
    return list(found)


def _covers(pattern: str, schema: str) -> bool:
    """Return whether the name of a database in a grant, which may have wildcards, means one."""
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return bool(re.fullmatch("".join(wild.get(piece) or re.escape(piece[-1]) for piece in pieces), schema, re.DOTALL))


def _make(load: Load, server: _Server, original: str, name: str, token: str) -> None:
    """Make a database, with the table that tells that it is being restored. Raise AltbackupError."""
    known = _recorded(load).get(original) or {}
    charset, collation = (str(known.get(word) or "") for word in ("charset", "collation"))
    how = f" CHARACTER SET {identifier(charset)} COLLATE {identifier(collation)}" if charset and collation else ""
    mark = f"{identifier(name)}.{_MARK}"
    server.say(
        f"CREATE DATABASE {identifier(name)}{how}",
        f"CREATE TABLE {mark} (token char(32))",
        f"INSERT INTO {mark} VALUES ('{token}')",  # noqa: S608 (a number of our own)
    )


def _load_one(load: Load, server: _Server, original: str, path: str, name: str) -> None:
    """Load a dump into a database that was made, and compare its rows with the record. Raise AltbackupError."""
    try:
        with open_plain(path) as source:
            server.feed(source, f"loading database {original}", name)
    except ToolFailed as error:
        if not _LACKS.search(error.stderr):
            raise
        raise load.fail(
            f"{error}: nothing was changed. What is of another user, such as a view, trigger or routine, is made by an administrator alone: "
            "give such a login, with globals: true, if the dump may do all that"
        ) from error
    tables = [str(table) for table, _ in server.ask(TABLES.format(database=text_of(name))) if table != _MARK]
    counts = server.ask(
        *(f"SELECT COUNT(*) FROM {identifier(name)}.{identifier(table)}" for table in tables)  # noqa: S608 (quoted)
    )
    found, start = dict(zip(tables, counts)), f"{original}."
    expected = {table[len(start) :]: count for table, count in rows_of(load.record).items() if table.startswith(start)}
    differing = sorted(table for table in {*found, *expected} if found.get(table) != expected.get(table))
    if load.record and differing:
        shown = [f"{table} ({found.get(table)} rows, expected {expected.get(table)})" for table in differing]
        raise load.fail(f"database {original}, once loaded, differs from its dump: {first_of(shown, _SHOWN)}")
    load.notes.append(f"database {name}: {counted(sum(counts), 'row')} in {counted(len(tables), 'table')}")


def users_to_make(text: str, there: Sequence[str]) -> tuple[str, int]:
    """Return (a dump of users without what is of the users `there`, name@host, that a server has; number of lines left out)."""
    words = []
    for user, _, host in (name.rpartition("@") for name in there):
        words += [f"{quote}{user}{quote}@{quote}{host}{quote}" for quote in "'`"]
        words += [f"ROLE {quote}{user}{quote}" for quote in "'`" if not host]
    lines = text.split("\n")
    kept = [line for line in lines if not any(word in line for word in words)]
    return "\n".join(kept), len(lines) - len(kept)


def _load_users(load: Load, server: _Server) -> None:
    """Make the users and roles of the dump that the server lacks, with their grants. Raise AltbackupError."""
    path = os.path.join(load.path, USERS_FILE)
    if not os.path.lexists(path):
        load.notes.append("the dump holds no users: its login could not read them")
        return
    there = [str(name) for name in server.ask(USERS.rstrip(";\n"))]
    with open_plain(path) as stream:
        text, left_out = users_to_make(stream.read().decode("utf-8", "surrogateescape"), there)
    with temporary_stream(text.encode("utf-8", "surrogateescape")) as source:
        server.feed(source, "making its users")
    made = [str(name) for name in server.ask(USERS.rstrip(";\n")) if name not in there]
    more = f"; {counted(left_out, 'line')} of those that were there left out" if left_out else ""
    load.notes.append(f"users that were made: {first_of(made, _SHOWN) or 'none'}{more}")


LOADER = _Loader()
