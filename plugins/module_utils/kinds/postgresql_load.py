"""PostgreSQL: databases of a dump into a server that is in use, all of them or none.

Each is loaded under a name of its own, and they get theirs in one transaction at the end: whatever fails before that leaves
nothing, and what had such a name keeps it.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from subprocess import PIPE
from typing import IO, Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError, ToolFailed
from ..system.processes import Child, Deadline, ended_at
from ..system.programs import clean_environment
from ..system.temporary import temporary_stream
from ..system.units import counted, first_of
from .into import Load
from .items import decode_name
from .postgresql import ENDING, GLOBALS, PORT, SOCKETS, require_private
from .postgresql_client import Session, choose, installed
from .postgresql_script import identifier, literal, of_databases, roles_to_make, statements_of, under_name
from .postgresql_survey import SETTINGS, TABLES, conninfo
from .tables import rows_of

_SERVER = (
    "SELECT pg_catalog.json_build_array(pg_catalog.current_setting('server_version_num')::int, pg_catalog.current_setting('server_version'), "
    "CURRENT_USER, EXISTS (SELECT FROM pg_catalog.pg_roles p WHERE (p.rolsuper OR p.rolcreaterole OR p.rolname IN ('pg_execute_server_program', "
    "'pg_read_server_files', 'pg_write_server_files')) AND pg_catalog.pg_has_role(p.oid, 'MEMBER')), r.rolsuper, r.rolcreatedb OR r.rolsuper) "
    "FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER"
)
"""A dump can SET ROLE to each role of which the login is a member, and a role with CREATEROLE can make itself one of many (PostgreSQL 15)"""
_DATABASES = (
    "SELECT pg_catalog.json_build_array(d.datname, pg_catalog.pg_has_role(d.datdba, 'MEMBER'), "
    "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL "
    "AND a.pid <> pg_catalog.pg_backend_pid())) "
    "FROM pg_catalog.pg_database d"
)
_ENDS = (
    "SELECT pg_catalog.json_build_array(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity "
    "WHERE usesysid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() AND datname ="
)
"""A vacuum of the server's own is of no user: it is no session, gives way by itself, and may be ended by a superuser alone"""
_ROLES = "SELECT pg_catalog.json_build_array(rolname, pg_catalog.pg_has_role(oid, 'MEMBER')) FROM pg_catalog.pg_roles"
_TEMPORARY = "altbackup-restore-"
_LONGEST_NAME = 63
_FORCED = 130000
"""The version from which on a database can be dropped though there are sessions of it"""
_ATTEMPTS = 10
"""How often sessions are ended before it is given up that they come back"""
_CLEANING = 120.0
_MOST = 1 << 28
_SHOWN = 5
_GIVES = re.compile(r'ALTER DATABASE "(?:[^"]|"")*" OWNER TO ')
_LACKS = re.compile(r'role ".*" does not exist|must be (?:member of|able to SET) role|must be owner')


class _Server:
    """The server, as the login of an order sees it."""

    def __init__(self, load: Load) -> None:
        into, entry = load.into, pwd.getpwuid(load.identity.uid)
        self._load = load
        self.environment = clean_environment(
            HOME=entry.pw_dir,
            PGHOST=into.get("host", SOCKETS),
            PGPORT=str(into.get("port", PORT)),
            PGUSER=into.get("login", entry.pw_name),
            PGCONNECT_TIMEOUT="15",
            PGAPPNAME="altbackup",
            PGCLIENTENCODING="UTF8",
            **({"PGPASSFILE": into["password_file"]} if into.get("password_file") else {}),
        )
        require_private(load.title, into.get("password_file"), load.identity.uid)
        found = installed("pg_restore", load.deadline)
        choose(found, 0, "version", "pg_restore")
        self.programs = found[max(found)][0]
        self.where = ""
        """The database from which others are renamed"""
        kept = into.get("database")
        for database in [name for name in ("postgres", "template1") if name != kept] if kept else ["template1"]:
            try:
                (server,) = self.ask(_SERVER, database=database)
            except ToolFailed as error:
                if database == "template1" or f'database "{database}"' not in error.stderr:
                    raise
                continue
            self.where = database
            self.number, self.version, self.login, self.is_mighty, self.is_superuser, self.may_create = server
            break
        major = str(load.record.get("client") or "0").partition(".")[0]
        newest = max(self.number // 10000, int(major) if major.isdigit() else 0)
        self.programs, _ = choose(found, newest, self.version, "pg_restore")

    def ask(self, *statements: str, database: str = "", deadline: Deadline | None = None) -> list[Any]:
        """Return the rows, one JSON value each, of statements in a session of their own. Raise ToolFailed or AltbackupError."""
        with self.session(database or self.where, deadline) as session:
            return session.ask(*statements)

    def session(self, database: str, deadline: Deadline | None = None) -> Session:
        environment = {
            **self.environment,
            "PGDATABASE": database,
            "PGOPTIONS": "-c search_path=pg_catalog -c statement_timeout=0 -c row_security=off -c default_transaction_read_only=off",
        }
        return Session(
            self.programs, environment, deadline or self._load.deadline, self._load.title, self._load.identity
        )

    def databases(self) -> dict[str, tuple[bool, int]]:
        """Return {database: (whether its owner's rights are this login's, how many sessions it has)}."""
        return {str(name): (bool(own), int(sessions)) for name, own, sessions in self.ask(_DATABASES)}

    def run(self, program: str, *words: str, source: IO[bytes] | None, what: str, pass_fds: Sequence[int] = ()) -> str:
        """Run a program of PostgreSQL, as the order's user, with a file as its input; return what it says. Raise ToolFailed."""
        argv = self._load.identity.argv([os.path.join(self.programs, program), *words])
        with Child(
            argv, stdin=source, stdout=PIPE, environment=self.environment, name=program, pass_fds=pass_fds
        ) as child:
            with ended_at(self._load.deadline, [child]):
                output = child.stdout.read(_MOST + 1)
            if len(output) > _MOST:
                raise self._load.fail(f"{program} said more than {_MOST} bytes")
            child.check(self._load.deadline, f"{self._load.title}: {what}")
        return output.decode("utf-8", "surrogateescape")

    def script(self, statements: Sequence[str], what: str) -> None:
        """Let psql run statements of a dump, all or none, behind a restriction of our own. Raise ToolFailed."""
        token = secrets.token_hex(16)
        lines = [f"\\restrict {token}", "BEGIN;", *(f"{each};" for each in statements), "COMMIT;"]
        text = "\n".join([*lines, f"\\unrestrict {token}", ""])
        with temporary_stream(text.encode("utf-8", "surrogateescape")) as source:
            environment, self.environment = self.environment, {**self.environment, "PGDATABASE": self.where}
            try:
                self.run("psql", *SETTINGS, source=source, what=what)
            except ToolFailed as error:
                if "invalid command \\restrict" in error.stderr:
                    raise self._load.fail(
                        f"psql of {self.programs} knows no \\restrict, without which it would obey commands in a dump: nothing was done; install that "
                        "of August 2025 or newer"
                    ) from error
                raise
            finally:
                self.environment = environment

    def drop(self, names: Sequence[str]) -> None:
        """Drop databases that this restore made, where they are there. Raise AltbackupError."""
        deadline = Deadline(_CLEANING, "clearing up")
        how = " WITH (FORCE)" if self.number >= _FORCED else ""
        for name in names:
            self.ask(f"DROP DATABASE IF EXISTS {identifier(name)}{how}", deadline=deadline)


class _Loader:
    """See into.Loader."""

    def clear(self, load: Load) -> None:
        names = [name for name in map(str, load.left.get("made", ())) if name.startswith(_TEMPORARY)]
        server = _Server(load)
        there = sorted(server.databases().keys() & names)
        server.drop(there)
        load.note_made({})
        load.notes += [f"dropped {name}, which an earlier restore had left in the server" for name in there]

    def check(self, load: Load) -> None:
        server, chosen = self._checked(load, list(_recorded(load)))
        if load.into.get("owners", True) or load.into.get("globals"):
            server.script([], "looking at psql")
        if load.into.get("owners", True) and not load.into.get("globals"):
            _require_owners(load, server, chosen)

    def load(self, load: Load) -> None:
        files = {decode_name(name[: -len(ENDING)]): name for name in os.listdir(load.path) if name.endswith(ENDING)}
        server, chosen = self._checked(load, list(files))
        names = {original: f"{_TEMPORARY}{secrets.token_hex(12)}" for original in chosen}
        if load.into.get("globals"):
            _load_roles(load, server)
        load.note_made({"made": list(names.values())})
        try:
            for original, name in names.items():
                _load_one(load, server, original, os.path.join(load.path, files[original]), name)
            _give_names(load, server, {names[original]: wanted for original, wanted in chosen.items()})
        except BaseException as error:
            try:
                server.drop(list(names.values()))
                load.note_made({})
            except AltbackupError as more:
                raise load.fail(
                    f"{error}; and what had been loaded until then could not be dropped, which the next restore does: {more}"
                ) from error
            raise
        load.note_made({})

    def _checked(self, load: Load, dumped: Sequence[str]) -> tuple[_Server, dict[str, str]]:
        """Return the server and {database of the dump: its name in the server}. Raise AltbackupError."""
        server = _Server(load)
        _require_rights(load, server)
        recorded = str(load.record.get("server") or "0").partition(".")[0]
        if recorded.isdigit() and int(recorded) > server.number // 10000:
            raise load.fail(
                f"the server is PostgreSQL {server.version}, older than that of the dump, {load.record['server']}: it would not understand all of it"
            )
        there = server.databases()
        chosen = load.chosen(dumped) if dumped else {}
        for original in [name for name in chosen if name == "postgres" and not load.into.get("database")]:
            if _is_bare(_recorded(load).get(original)) and original in there:
                load.notes.append(f"database {original} was left as it is: the dump's own holds nothing")
                del chosen[original]
        if dumped and not chosen:
            raise load.fail("its dump holds no database but an empty postgres: nothing was done")
        _require_free(load, chosen.values(), there)
        return server, chosen


def _recorded(load: Load) -> Mapping[str, Any]:
    found = load.record.get("databases")
    return found if isinstance(found, Mapping) else {}


def _is_bare(known: Any) -> bool:
    return isinstance(known, Mapping) and known.get("tables") == 0 and known.get("large_objects") == 0


def _require_rights(load: Load, server: _Server) -> None:
    """Raise AltbackupError unless the login may make databases, and no more where roles are not wanted."""
    if server.is_mighty and not load.into.get("globals"):
        raise load.fail(
            f"{server.login} is a superuser, or can become one by its roles or by CREATEROLE, or may run programs and read files as the server's user: "
            "a dump could do with it what it likes. Give as login a role with CREATEDB that is a member of the owners' roles, or globals: true, if the "
            "dump may do all that"
        )
    if load.into.get("globals") and not server.is_superuser:
        raise load.fail(
            f"globals needs a superuser, which {server.login} is not: give one as login, or leave globals out"
        )
    if not server.may_create:
        raise load.fail(f"{server.login} may not make databases: ALTER ROLE {identifier(server.login)} CREATEDB")


def _require_owners(load: Load, server: _Server, names: Iterable[str]) -> None:
    """Raise AltbackupError where the login may not give databases of the dump to their owners."""
    roles = {str(name): bool(is_member) for name, is_member in server.ask(_ROLES)}
    owners = {name: str((_recorded(load).get(name) or {}).get("owner", server.login)) for name in names}
    for name, owner in owners.items():
        if not roles.get(owner):
            raise load.fail(
                f"{server.login} may not be {owner}, the owner of database {name} in the dump"
                f"{'' if owner in roles else ', a role that is not there'}: nothing was changed. {_advice_on_roles(server)}"
            )


def _advice_on_roles(server: _Server) -> str:
    return (
        f"Make the roles, with the login {server.login} as a member of them, or give globals: true, to have those of the dump, or owners: false, to have "
        "all of it belong to the login"
    )


def _require_free(load: Load, names: Any, there: Mapping[str, tuple[bool, int]]) -> None:
    """Raise AltbackupError where a name is taken, and what has it may not, or cannot, make way."""
    for name in names:
        if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
            raise load.fail(f"{name} is longer than {_LONGEST_NAME} bytes, which a name of PostgreSQL can have")
        if name not in there:
            continue
        if not load.aside:
            raise load.fail(
                f"database {name} is there already, and a restore replaces nothing by itself: give --aside (in an entry replace: "
                "move_aside) to have it renamed, or another name as database"
            )
        own, sessions = there[name]
        away = f"{name}{load.aside}"
        if name in ("template0", "template1"):
            raise load.fail(f"database {name} is the server's own, which is not renamed: give another name as database")
        if len(away.encode("utf-8", "surrogateescape")) > _LONGEST_NAME or away in there:
            why = "is there already" if away in there else f"is longer than {_LONGEST_NAME} bytes"
            raise load.fail(f"database {name} would be renamed to {away}, which {why}: rename or drop one by hand")
        if not own:
            raise load.fail(
                f"the login may not rename database {name}: it is neither its owner nor a member of that role"
            )
        if sessions and not load.consent:
            raise load.fail(
                f"{counted(sessions, 'session')} of database {name} would have to be ended for it to be renamed: stop what uses it, or give "
                "--end-sessions (in an entry consent: true)"
            )


def _load_roles(load: Load, server: _Server) -> None:
    """Make the roles of the dump that the server lacks. Raise AltbackupError."""
    with open_plain(os.path.join(load.path, GLOBALS)) as stream:
        text = stream.read().decode("utf-8", "surrogateescape")
    statements, made, tablespaces = roles_to_make(text, [str(name) for name, _ in server.ask(_ROLES)])
    server.script(statements, "making its roles")
    if tablespaces:
        load.notes.append(
            f"{counted(tablespaces, 'statement')} of tablespaces left out: make them by hand, if they are wanted"
        )
    load.notes.append(
        f"roles that were made: {first_of(made, _SHOWN) or 'none'}; those that were there are as they were"
    )


def _load_one(load: Load, server: _Server, original: str, path: str, name: str) -> None:
    """Make a database of a given name from a dump. Raise AltbackupError."""
    owners = load.into.get("owners", True)
    whose = [] if owners else ["--no-owner", "--no-privileges"]
    with open_plain(path) as source:
        listing = server.run("pg_restore", "--list", "--create", source=source, what=f"reading the dump of {original}")
    lines = "".join(f"{line}\n" for line in of_databases(listing))
    with open_plain(path) as source, temporary_stream(lines.encode("utf-8", "surrogateescape")) as wanted:
        load.identity.own_open(wanted.fileno())
        script = server.run(
            "pg_restore",
            *("--create", "--no-tablespaces", "--file=-", f"--use-list=/proc/self/fd/{wanted.fileno()}", *whose),
            source=source,
            what=f"reading the dump of {original}",
            pass_fds=[wanted.fileno()],
        )
    creation, others = under_name(statements_of(script), name)
    if not owners:
        others = [each for each in others if each.startswith(("ALTER DATABASE", "COMMENT")) and not _GIVES.match(each)]
    server.ask(creation)
    of_roles = [] if server.is_superuser else [each for each in others if each.startswith("ALTER ROLE ")]
    if of_roles:
        load.notes.append(
            f"settings that roles have in database {original} are left out, which a superuser alone can give: {first_of(of_roles, _SHOWN)}"
        )
    whose_it_is = [each for each in others if _GIVES.match(each)]
    others = [each for each in others if each not in [*whose_it_is, *of_roles]]
    words = ("--exit-on-error", "--no-tablespaces", "--no-password", f"--dbname={conninfo(name)}", *whose)
    try:
        if whose_it_is:  # first, as an owner of what is in it may have rights in it by that alone
            server.script(whose_it_is, f"giving database {original} its owner")
        with open_plain(path) as source:
            server.run("pg_restore", *words, source=source, what=f"loading database {original}")
        _compare(load, server, original, name)
        if others:
            server.script(others, f"giving database {original} its settings and grants")
    except ToolFailed as error:
        if not _LACKS.search(error.stderr):
            raise
        raise load.fail(f"{error}: nothing was changed. {_advice_on_roles(server)}") from error


def _compare(load: Load, server: _Server, original: str, name: str) -> None:
    """Compare the rows of what was loaded with the record. Raise AltbackupError."""
    start = f"{original}."
    expected = {table[len(start) :]: count for table, count in rows_of(load.record).items() if table.startswith(start)}
    try:
        tables = server.ask(TABLES, database=name)
        found = {
            f"{schema}.{table}": server_count
            for (schema, table, *_), (server_count,) in zip(
                tables, server.ask(*(query for *_, query in tables), database=name)
            )
        }
    except ToolFailed as error:
        load.notes.append(
            f"the rows of database {original} were not counted in the server: {error.stderr.strip()[:200]}"
        )
        return
    differing = sorted(table for table in {*found, *expected} if found.get(table) != expected.get(table))
    if load.record and differing:
        shown = [f"{table} ({found.get(table)} rows, expected {expected.get(table)})" for table in differing]
        raise load.fail(f"database {original}, once loaded, differs from its dump: {first_of(shown, _SHOWN)}")
    load.notes.append(f"database {original}: {counted(sum(found.values()), 'row')} in {counted(len(found), 'table')}")


def _give_names(load: Load, server: _Server, names: Mapping[str, str]) -> None:
    """Give databases their names, and those that have them others, in one transaction. Raise AltbackupError."""
    for attempt in range(1, _ATTEMPTS + 1):
        there = server.databases()
        _require_free(load, names.values(), there)
        taken = [name for name in names.values() if name in there]
        ends = [f"{_ENDS} {literal(name)}" for name in taken if load.consent]
        moves = [(name, f"{name}{load.aside}") for name in taken] + list(names.items())
        renames = [f"ALTER DATABASE {identifier(old)} RENAME TO {identifier(new)}" for old, new in moves]
        try:
            server.ask(*ends, "BEGIN", *renames, "COMMIT")
        except ToolFailed as error:
            if "is being accessed by other users" not in error.stderr or not load.consent or attempt == _ATTEMPTS:
                raise
            continue
        load.notes += [f"what was database {name} is {name}{load.aside} now" for name in taken]
        return


LOADER = _Loader()
