"""Kind `postgresql`: one cluster, by pg_dump of each database and pg_dumpall of what they share, as an unprivileged user.

Rows are counted in the very snapshot that pg_dump reads. A proof loads all of it into a scratch cluster in the sandbox, or
where the node has no server, compares what pg_restore lists.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.digest import new_hash, open_plain
from ..system.errors import AltbackupError, InvalidInput, ToolFailed, ToolMissing, name_os_errors
from ..system.opened import user_home
from ..system.processes import output_of, run
from ..system.programs import clean_environment
from ..system.units import counted, first_of
from ..tree.publish import make_folders, write_text
from . import postgresql_survey
from .base import Arrangement, Context, Kind, Snapshot, scratch_folder, walk
from .command import uid_of
from .items import Item, decode_name, encode_name
from .kept import state_path
from .postgresql_client import Session, choose, data_in, installed, knows, pin, restricted
from .postgresql_script import identifier
from .postgresql_survey import EXTENSIONS, LARGE_OBJECTS, MEMBERS, OWNER, ROLES, TABLES, facts_of
from .tables import judge_databases, measure_databases, rows_of

if TYPE_CHECKING:
    from .proofs import Proof

GLOBALS, ENDING = "globals.sql", ".dump"
SOCKETS = "/var/run/postgresql"
PORT = 5432
_PATIENCE = "60s"
"""How long it waits for locks of others"""
_MOST = 1 << 26
_LONGEST_KEY = 128
_SHOWN = 5
_TABLES_ALONE = (
    "SELECT pg_catalog.json_build_array(pg_catalog.set_config(name, 'view, foreign-table', false)) FROM pg_catalog.pg_settings "
    "WHERE name = 'restrict_nonsystem_relation_kind'"
)
"""What keeps a table from being exchanged for a view before its rows are counted, where the server knows that: see CVE-2024-7348"""
_SNAPSHOT = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SELECT pg_catalog.json_build_array(pg_catalog.pg_export_snapshot())",
)
_SERVER = (
    "SELECT pg_catalog.json_build_array(pg_catalog.current_setting('server_version_num')::int, pg_catalog.current_setting('server_version'), "
    "pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select'), "
    "(SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10))"
)
_DATABASES = "SELECT pg_catalog.json_build_array(datname, datallowconn) FROM pg_catalog.pg_database WHERE NOT datistemplate ORDER BY datname"


def environment_of(item: Item) -> dict[str, str]:
    """Return the environment of PostgreSQL's programs for an item, as the user that this process is. The password is in a file alone."""
    password = item.option("password_file")
    return clean_environment(
        HOME=user_home(),
        PGHOST=item.option("host", SOCKETS),
        PGPORT=str(item.option("port", PORT)),
        PGUSER=item.option("login", item.option("user")),
        PGCONNECT_TIMEOUT="15",
        PGAPPNAME="altbackup",
        PGCLIENTENCODING="UTF8",
        **({"PGPASSFILE": password} if password else {}),
    )


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput or ToolMissing unless there are programs, and a password file that is its user's alone."""
    title = f"item {item.kind} {item.name!r}"
    if not installed("pg_dump", context.deadline):
        choose({}, 0, "version", "pg_dump")
    if "," in item.option("host", ""):
        raise InvalidInput(f"{title}: host {item.option('host')} has a comma, at which libpq would split it")
    require_private(title, item.option("password_file"))


def require_private(title: str, path: str | None, uid: int | None = None) -> None:
    """Raise InvalidInput where a file that holds a password can be read by others than a user, by default this one, or is not there."""
    if path is None:
        return
    uid = os.geteuid() if uid is None else uid
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidInput(f"{title}: password_file {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode) or status.st_uid != uid or status.st_mode & 0o077:
        raise InvalidInput(
            f"{title}: password_file {path} is not a file that user uid {uid} alone can read: give it to that user, with mode 0600"
        )


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Dump the item's cluster and yield the dumps."""
    work = _Dump(item, context)
    work.run()
    rows, asked = work.rows, item.option("databases")
    doubts, notes = judge_databases(context.good, work.databases, rows, asked, item.may_empty)
    large = sum(int(entry["large_objects"]) for entry in work.databases.values())
    more = {"databases": len(work.databases), **({"large objects": large} if large else {})}
    record: dict[str, Any] = {
        **work.record,
        "rows": rows,
        **measure_databases(rows, more, asked, item.may_empty),
        "doubts": doubts,
    }
    yield Snapshot(
        [Part(work.folder, list(walk(work.folder)[0]))],
        record,
        fixed_times=True,
        notes=[*work.notes, *notes],
        noted={"key": work.key},
    )


@dataclass(frozen=True)
class Share:
    """The share that an application has of a server: of one database all, or a schema; without roles, and whose it is."""

    folder: str
    """Where its dump goes"""
    schema: str = ""
    """Empty for all of it"""
    queries: Mapping[str, str] = field(default_factory=dict)
    """{table, `schema.table`: query} of what is asked in the snapshot that is dumped, where there is such a table"""


def dump_share(item: Item, context: Context, share: Share) -> tuple[dict[str, Any], list[Any], list[str]]:
    """Dump the share in the one database of an item with the options of this kind; return (record, answers, notes). Raise AltbackupError."""
    work = _Dump(item, context, share.folder)
    work.run(share)
    return {**work.record, "rows": work.rows}, work.answers, work.notes


def ask(item: Item, context: Context, query: str) -> list[Any]:
    """Return the answers of a query in the database of such an item. Raise AltbackupError."""
    return _Dump(item, context).ask(query)


def _known_databases(record: Mapping[str, Any]) -> Mapping[str, Any]:
    found = record.get("databases")
    return found if isinstance(found, Mapping) else {}


class _Dump:
    """One dump of a cluster into the private folder."""

    def __init__(self, item: Item, context: Context, folder: str = "") -> None:
        self._item, self._context = item, context
        self._title = f"item {item.kind} {item.name!r}"
        self._environment = environment_of(item)
        self._programs = ""
        self.folder = folder or scratch_folder(context, item)
        self.key = str(context.known.get("key") or secrets.token_hex(24))
        """What restricts psql in the script of what databases share: one of the item's own, so that equal scripts have equal bytes"""
        self.databases: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, int | None] = {}
        self.record: dict[str, Any] = {}
        self.notes: list[str] = []
        self.answers: list[Any] = []

    def run(self, share: Share | None = None) -> None:
        """Dump all of it, or a share of one database. Raise AltbackupError."""
        found = installed("pg_dump", self._context.deadline)
        self._programs = found[max(found)][0]
        (number, version, whole, bootstrap), names, roles, members = self._survey()
        self._programs, client = choose(found, number // 10000, version, "pg_dump")
        if share is None:
            self._dump_globals(whole)
        for name in names:
            self._dump_database(name, share)
        self.record = {"server": version, "client": client, "bootstrap": bootstrap, "databases": self.databases}
        if share is None:
            self.record.update(roles=[name for (name,) in roles], memberships=members)

    def ask(self, query: str) -> list[Any]:
        """Return the answers of a query in the first database that is asked for. Raise AltbackupError."""
        found = installed("psql", self._context.deadline)
        self._programs, _ = choose(found, max(found, default=0), "version", "psql")
        with self._session(self._item.option("databases")[0]) as session:
            return session.ask(query)

    def _survey(self) -> tuple[Any, list[str], list[Any], list[Any]]:
        """Return what the server is, the databases to dump, roles and memberships."""
        asked = self._item.option("databases")
        first: ToolFailed | None = None
        for database in dict.fromkeys([*(asked or ())[:1], "postgres", "template1"]):
            try:
                with self._session(database) as session:
                    (server,), listed = session.ask(_SERVER), session.ask(_DATABASES)
                    roles, members = session.ask(ROLES), session.ask(MEMBERS)
                break
            except ToolFailed as error:
                first = first if first and asked else error
                if database == "template1" or f'database "{database}"' not in error.stderr:
                    raise first from None
        there = {name for name, connectable in listed if connectable}
        if closed := sorted(name for name, connectable in listed if not connectable and asked is None):
            self.notes.append(f"databases that allow no connections are not dumped: {first_of(closed, _SHOWN)}")
        missing = [name for name in asked or () if name not in there]
        if missing:
            raise AltbackupError(f"{self._title}: there is no database {first_of(missing, _SHOWN)} on the server")
        names = sorted(asked or there)
        if not names:
            raise AltbackupError(f"{self._title}: the server has no databases but templates: nothing was dumped")
        return server, names, roles, members

    def _session(self, database: str) -> Session:
        environment = {
            **self._environment,
            "PGDATABASE": database,
            "PGOPTIONS": f"-c search_path=pg_catalog -c statement_timeout=0 -c lock_timeout={_PATIENCE} -c row_security=off "
            "-c default_transaction_read_only=on",
        }
        return Session(self._programs, environment, self._context.deadline, f"{self._title}: database {database!r}")

    def _dump_globals(self, whole: bool) -> None:
        """Write roles, memberships and tablespaces. Raise AltbackupError."""
        path = os.path.join(self.folder, GLOBALS)
        words = ["--globals-only", f"--lock-wait-timeout={_PATIENCE}"]
        if not whole:
            words.append("--no-role-passwords")
            self.notes.append(
                f"{self._environment['PGUSER']} may not read the passwords of roles (pg_authid): the dump has none of them"
            )
        with self._output("pg_dumpall", *words, what=f"{self._title}: dumping roles into {path}") as output:
            text = output.read(_MOST + 1)
            if len(text) > _MOST:
                raise AltbackupError(f"{self._title}: what pg_dumpall tells of roles has more than {_MOST} bytes")
        if not text:
            raise AltbackupError(f"{self._title}: pg_dumpall ended with exit code 0, but told nothing")
        with name_os_errors(path), open(path, "x", encoding="utf-8", errors="surrogateescape", newline="") as out:
            out.write(restricted(text.decode("utf-8", "surrogateescape"), self.key))
        os.chmod(path, 0o600)

    def _dump_database(self, name: str, share: Share | None = None) -> None:
        """Dump one database, and count its rows in the same snapshot. Raise AltbackupError."""
        filename = f"{encode_name(name)}{ENDING}"
        path = os.path.join(self.folder, filename)
        with self._session(name) as session:
            session.ask(_TABLES_ALONE)
            ((snapshot,),) = session.ask(*_SNAPSHOT)
            tables = session.ask(TABLES)
            if share and share.schema:
                tables = [row for row in tables if row[0] == share.schema]
            counts = session.ask(*(query for *_, query in tables))
            facts = facts_of(
                tables,
                [count for (count,) in counts],
                *(session.ask(query) for query in (OWNER, EXTENSIONS, LARGE_OBJECTS)),
            )
            words = [
                "--format=custom",
                "--compress=0",
                f"--snapshot={snapshot}",
                f"--lock-wait-timeout={_PATIENCE}",
            ]
            if share:
                self.answers = [
                    row
                    for table, query in share.queries.items()
                    if table in facts["rows"]
                    for row in session.ask(query)
                ]
                words += [f"--schema={identifier(share.schema)}"] if share.schema else []
            if knows(self._programs, "pg_dump", "--no-statistics", self._context.deadline):
                words.append("--no-statistics")
            what = f"{self._title}: dumping database {name!r} into {path}"
            with name_os_errors(path), open(path, "xb") as out, self._output(
                "pg_dump", *words, what=what, database=name
            ) as output:
                os.chmod(out.fileno(), 0o600)
                shutil.copyfileobj(output, out)
        pin(path)
        self._require_data(name, path, len(tables))
        rows = {f"{name}.{table}": count for table, count in facts["rows"].items()}
        self.rows.update(rows)
        self.databases[name] = {"file": filename, "tables": len(tables)}
        if not (share and share.schema):
            self.databases[name].update({word: facts[word] for word in ("extensions", "large_objects")})
        if share is None:
            self.databases[name].update(owner=facts["owner"], owners=digest_of(facts["owners"]))

    def _require_data(self, name: str, path: str, tables: int) -> None:
        """Raise AltbackupError unless a dump has the data of so many tables, as pg_restore lists it."""
        listing = run(
            [os.path.join(self._programs, "pg_restore"), "--list", path],
            what=f"{self._title}: reading the dump of database {name!r}",
            deadline=self._context.deadline,
            environment=self._environment,
            name="pg_restore",
        )
        found = data_in(listing.decode("utf-8", "replace"))
        if found < tables:
            raise AltbackupError(
                f"{self._title}: the dump of database {name!r} has data of {counted(found, 'table')}, expected {tables}"
            )

    def _output(
        self, program: str, *words: str, what: str, database: str = ""
    ) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Yield the output of a program that connects, as processes.output_of."""
        environment = {**self._environment, **({"PGDATABASE": database} if database else {})}
        argv = [os.path.join(self._programs, program), "--no-password", *words]
        return output_of(argv, what=what, deadline=self._context.deadline, environment=environment, name=program)


def digest_of(owners: Mapping[str, str]) -> str:
    """Return one digest of {table: its owner}."""
    total = new_hash("sha256")
    total.update(json.dumps(owners, sort_keys=True).encode("utf-8", "surrogateescape"))
    return str(total.hexdigest())


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what PostgreSQL's programs have: all that their user has, and an empty folder."""
    key = ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError), open_plain(
        state_path(context.tree, item)
    ) as stream:
        key = str(json.loads(stream.read(_LONGEST_KEY))["key"])
    uid = uid_of(item, item.option("user"))
    return Arrangement(
        uid, [], scratch=[scratch_folder(context, item)], known={"key": key if key.isalnum() else ""}, confined=False
    )


def keep(item: Item, context: Context, noted: Mapping[str, Any]) -> None:
    """Keep the key of its scripts for later dumps."""
    path = state_path(context.tree, item)
    make_folders(os.path.dirname(path), context.tree.private)
    write_text(path, json.dumps({"key": str(noted["key"])}) + "\n")


def prove(proof: Proof) -> None:
    """All of it loaded into a scratch cluster: rows, owners, extensions, roles; where there is no server, what pg_restore lists."""
    proof.plain(GLOBALS)
    _prove(proof, GLOBALS, {})


def prove_share(proof: Proof, queries: Mapping[str, str]) -> list[Any] | None:
    """As `prove`, of a share; return the answers of queries as its dump had them, None where it was not loaded."""
    return _prove(proof, "", queries)


def _prove(proof: Proof, roles: str, queries: Mapping[str, str]) -> list[Any] | None:
    names = sorted(name for name in os.listdir(proof.path) if name.endswith(ENDING))
    recorded = _known_databases(proof.record)
    files = {decode_name(name[: -len(ENDING)]): name for name in names}
    for name in files.values():
        proof.plain(name)
    if recorded and set(files) != set(recorded):
        differing = sorted(set(files) ^ set(recorded))
        raise proof.fail(f"its databases differ from its dump's: {first_of(differing, _SHOWN)}")
    if not files:
        raise proof.fail("it holds no dump of a database")
    version = str(proof.record.get("server", "0"))
    servers = installed("postgres", proof.deadline)
    major = int(version.partition(".")[0]) if version.partition(".")[0].isdigit() else 0
    try:
        folder, own = choose(servers, major, version, "postgres")
        proof.versions["postgresql"] = own
    except ToolMissing as error:
        proof.notes.append(f"it was not loaded, only listed, which proves less: {error}")
        _compare_listings(proof, files, recorded)
        return None
    return _load(proof, folder, files, recorded, {"globals": roles, "queries": queries})


def _load(
    proof: Proof, folder: str, files: Mapping[str, str], recorded: Mapping[str, Any], how: Mapping[str, Any]
) -> list[Any] | None:
    """Compare what a scratch cluster holds with the record; return what it answers, None where a database was not loaded. Raise ProofFailed."""
    order = {
        **how,
        "bootstrap": str(proof.record.get("bootstrap") or "postgres"),
        "databases": {
            name: {"file": file, "extensions": list(recorded.get(name, {}).get("extensions", ()))}
            for name, file in files.items()
        },
    }
    with proof.opened() as path:
        text = proof.sandbox.run(
            [folder, proof.inside(path), json.dumps(order)],
            proof.scratch,
            what=f"{proof.title}: loading it into a scratch cluster",
            deadline=proof.deadline,
            program=postgresql_survey,
        )
    found = proof.told(text)
    if found["problem"]:
        raise proof.fail(f"it cannot be loaded: {found['problem']}")
    proof.notes += map(str, found["notes"])
    for name, absent in found["unloaded"].items():
        proof.notes.append(
            f"database {name} was not loaded, only listed, which proves less: this node has no extension {first_of(list(map(str, absent)), _SHOWN)}"
        )
    _compare_listings(proof, {name: files[name] for name in found["unloaded"]}, recorded)
    rows: dict[str, Any] = {}
    for name, entry in found["databases"].items():
        rows.update({f"{name}.{table}": count for table, count in entry["rows"].items()})
        known = recorded.get(name) or {}
        told = {**entry, "owners": digest_of(entry["owners"])}
        for word in ("owner", "owners", "extensions", "large_objects"):
            if word in known and told[word] != known.get(word):
                raise proof.fail(
                    f"{word} of its database {name} are {told[word]}, but its dump recorded {known.get(word)}"
                )
    proof.facts.update(databases=len(files), tables=len(rows), rows=sum(rows.values()))
    expected = {table: count for table, count in rows_of(proof.record).items() if _is_loaded(table, found["databases"])}
    differing = sorted(table for table in {*rows, *expected} if rows.get(table) != expected.get(table))
    if proof.record and differing:
        shown = [f"{table} ({rows.get(table)} rows, expected {expected.get(table)})" for table in differing]
        raise proof.fail(f"its tables differ from its dump's: {first_of(shown, _SHOWN)}")
    for word, what in (("roles", "roles"), ("memberships", "memberships of roles")):
        if word in proof.record and list(proof.record[word]) != found[word]:
            raise proof.fail(f"its {what} differ from its dump's: {_differing(proof.record[word], found[word])}")
    return None if found["unloaded"] else list(found["answers"])


def _is_loaded(table: str, names: Sequence[str] | Mapping[str, Any]) -> bool:
    return any(table.startswith(f"{name}.") for name in names)


def _differing(expected: Sequence[Any], found: Sequence[Any]) -> str:
    lacking = [str(entry) for entry in expected if entry not in found]
    more = [str(entry) for entry in found if entry not in expected]
    return f"missing are {first_of(lacking, _SHOWN) or 'none'}, and not expected {first_of(more, _SHOWN) or 'none'}"


def _compare_listings(proof: Proof, files: Mapping[str, str], recorded: Mapping[str, Any]) -> None:
    """Compare of how many tables dumps have data with the record. Raise ProofFailed, or ToolMissing where nothing can read them."""
    for name, file in files.items():
        found = installed("pg_restore", proof.deadline)
        folder, proof.versions["pg_restore"] = choose(
            found, max(found, default=0), str(proof.record.get("server", "")), "pg_restore"
        )
        with proof.opened(proof.plain(file)) as path:
            listing = proof.look(os.path.join(folder, "pg_restore"), "--list", proof.inside(path))
        tables = data_in(listing.decode("utf-8", "replace"))
        expected = recorded.get(name, {}).get("tables", 0)
        if tables < expected:
            raise proof.fail(
                f"its database {name} has data of {counted(tables, 'table')}, but its dump recorded {expected}"
            )
        proof.facts["listed"] = int(proof.facts.get("listed", 0)) + tables


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    clients=("pg_dump",),
    provers=("pg_restore",),
    keep=keep,
    unforeseen="no server is asked in check mode, so whether a dump succeeds is not known",
)
