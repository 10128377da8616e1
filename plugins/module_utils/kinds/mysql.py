"""Kind `mysql`: databases of a MySQL or MariaDB server, by its own dump program, with users and grants of their own form.

Rows are counted in the dump's own stream. A proof loads all of it into a scratch server of MariaDB in the sandbox, by a
client that obeys no command of a dump; where the node has none, what the dumps hold is counted again.
MariaDB is what this was tried with. For MySQL it follows its manual.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.digest import open_plain
from ..system.errors import AltbackupError, SourceChanged, ToolFailed, ToolMissing, name_os_errors
from ..system.opened import user_home
from ..system.processes import output_of, run
from ..system.programs import clean_environment, find_tool
from ..system.units import first_of
from . import mysql_survey
from .base import Arrangement, Context, Kind, Snapshot, scratch_folder, walk
from .command import uid_of
from .items import Item, decode_name, encode_name
from .mysql_client import (
    any_client,
    client_lines,
    disobedient_client,
    is_mariadb,
    option_file,
    options_of,
    programs_for,
)
from .mysql_stream import Stream, read
from .mysql_survey import OBJECTS, SETTINGS, TABLES, USERS, identifier, rows_from, text_of
from .postgresql import Share, require_private
from .tables import judge_databases, measure_databases, rows_of

if TYPE_CHECKING:
    from .proofs import Proof

USERS_FILE, ENDING, VIEWS_ENDING = "users.sql", ".sql", ".views.sql"
_OWN_SCHEMAS = ("information_schema", "mysql", "performance_schema", "sys")
_SHOWN = 5
_MOVED = ("Table definition has changed", "(1146)", "(1412)")
"""How a dump program tells that a table was changed or dropped while it was read"""
_UNSEEN = re.compile(r"Couldn't execute 'SHOW (?:CREATE USER|GRANTS FOR) .*\((?:1133|1141)\)$")
_NAMED_USER = re.compile(r"SHOW (?:CREATE USER|GRANTS FOR) ['`](.*?)['`]@['`](.*?)['`]'")
"""How a dump program tells of users that are in the server's table, but that it does not use"""
_SERVER = "SELECT JSON_ARRAY(VERSION())"
_DATABASES = "SELECT JSON_ARRAY(schema_name, default_character_set_name, default_collation_name) FROM information_schema.schemata ORDER BY schema_name"
_ENGINES = "SELECT JSON_QUOTE(engine) FROM information_schema.engines WHERE transactions = 'YES'"
_VIEWS = "SELECT JSON_QUOTE(table_name) FROM information_schema.views WHERE BINARY table_schema = {database} ORDER BY table_name"
_COMMON = (
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--skip-dump-date",
    "--order-by-primary",
    "--no-tablespaces",
)


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput or ToolMissing unless there are programs, and an option file that is its user's alone."""
    any_client()
    require_private(f"item {item.kind} {item.name!r}", item.option("password_file"))


def file_of(name: str) -> str:
    """Return the file name of a database's dump, which is that of no other file here."""
    file = f"{encode_name(name)}{ENDING}"
    return (
        f"%{ord(file[0]):02X}{file[1:]}" if file == USERS_FILE else file.replace(VIEWS_ENDING, f"%2E{VIEWS_ENDING[1:]}")
    )


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Dump the item's databases and yield the dumps."""
    with _as_client(item) as asked:
        work = _Dump(asked, context)
        work.run()
    asked = item.option("databases")
    doubts, notes = judge_databases(context.good, work.databases, work.rows, asked, item.may_empty)
    record: dict[str, Any] = {
        "server": work.version,
        "databases": work.databases,
        "users": work.users,
        "rows": work.rows,
        "digests": work.digests,
        **measure_databases(work.rows, {"databases": len(work.databases)}, asked, item.may_empty),
        "doubts": doubts,
    }
    parts = [Part(work.folder, list(walk(work.folder)[0]))]
    yield Snapshot(parts, record, fixed_times=True, notes=[*work.notes, *notes])


@contextlib.contextmanager
def _as_client(item: Item) -> Iterator[Item]:
    """Yield an item with an option file that has of its own one what is for all programs alone. Raise InvalidInput or OSError."""
    path = item.option("password_file")
    if path is None:
        yield item
        return
    with open_plain(path) as stream:
        lines = client_lines(stream, f"item mysql {item.name!r}: password_file {path}")
    with option_file(lines) as alone:
        yield replace(item, options=tuple({**dict(item.options), "password_file": alone}.items()))


def dump_share(item: Item, context: Context, share: Share) -> tuple[dict[str, Any], list[Any], list[str]]:
    """Dump the one database, without users, of an item with the options of this kind; return (record, answers, notes).

    Queries are asked before and after. Raise AltbackupError, or SourceChanged where their answers differ.
    """
    work = _Dump(item, context, share)
    work.run()
    record = {"server": work.version, "databases": work.databases, "rows": work.rows, "digests": work.digests}
    return record, work.answers, work.notes


def ask(item: Item, context: Context, share: Share) -> list[Any]:
    """Return the answers of the queries of such an item's share. Raise AltbackupError."""
    return _Dump(item, context, share).answers_of(list(share.queries))


class _Dump:
    """One dump of a server's databases into the private folder."""

    def __init__(self, item: Item, context: Context, share: Share | None = None) -> None:
        self._item, self._context, self._share = item, context, share
        self._title = f"item {item.kind} {item.name!r}"
        self._program = ""
        self._transactional: set[str] = set()
        self.folder = share.folder if share else scratch_folder(context, item)
        self.version = ""
        self.databases: dict[str, dict[str, Any]] = {}
        self.users: list[str] | None = None
        self.rows: dict[str, int | None] = {}
        self.digests: dict[str, str] = {}
        self.notes: list[str] = []
        self.answers: list[Any] = []

    def run(self) -> None:
        """Dump all of it. Raise AltbackupError, or SourceChanged where tables were changed meanwhile."""
        (server,), listed = self._ask(_SERVER), self._ask(_DATABASES)
        self.version = str(server[0])
        self._program = self._dump_program()
        self._transactional = set(self._ask(_ENGINES))
        there = {str(name): (str(charset), str(collation)) for name, charset, collation in listed}
        asked = self._item.option("databases")
        missing = [name for name in asked or () if name not in there]
        if missing:
            raise AltbackupError(
                f"{self._title}: there is no database {first_of(missing, _SHOWN)} on the server, or it is not to be seen"
            )
        names = sorted(asked or (name for name in there if name not in _OWN_SCHEMAS))
        if not names:
            raise AltbackupError(f"{self._title}: the server shows no database but its own: nothing was dumped")
        for name in names:
            self._dump_database(name, *there[name])
        self._note_rights()
        if self._share is None:
            self._dump_users()

    def _note_rights(self) -> None:
        """Tell that the login lacks TRIGGER: the dump is good by its exit code then, and has no trigger; all other rights are missed aloud."""
        grants = self._say("SHOW GRANTS").decode("utf-8", "replace").upper()
        if not re.search(r"\bTRIGGER\b|\bALL PRIVILEGES ON\b", grants):
            self.notes.append(
                "its login has not the right TRIGGER: triggers are not in the dump, nor known to be missing; see docs/mysql.md"
            )

    def _dump_program(self) -> str:
        versions = {}
        for name in ("mariadb-dump", "mysqldump"):
            with contextlib.suppress(ToolMissing):
                path = find_tool(name)
                output = run(
                    [path, "--version"], what=f"asking {name} for its version", deadline=self._context.deadline
                )
                versions[path] = output.decode("utf-8", "replace")
        return programs_for(self.version, versions)

    def _options(self) -> list[str]:
        return options_of({"login": self._item.option("user"), **dict(self._item.options)})

    def _environment(self) -> dict[str, str]:
        return clean_environment(HOME=user_home())

    def _say(self, *statements: str) -> bytes:
        """Return what the client says to statements. Raise ToolFailed."""
        text = "".join(f"{statement};\n" for statement in statements).encode("utf-8", "surrogateescape")
        return run(
            [any_client(), *self._options(), *SETTINGS],
            what=self._title,
            deadline=self._context.deadline,
            input=text,
            environment=self._environment(),
        )

    def _ask(self, *queries: str, database: str = "") -> list[Any]:
        """Return the rows, one JSON value each, of queries. Raise AltbackupError."""
        output = self._say(*(query.format(database=text_of(database)) if database else query for query in queries))
        try:
            return rows_from(output.decode("utf-8", "surrogateescape"))
        except mysql_survey.Failed as error:
            raise AltbackupError(f"{self._title}: {error}") from error

    def _look(self, name: str) -> tuple[list[Any], Any]:
        """Return ([table, engine], numbers of other objects) of a database, as they are now."""
        return self._ask(TABLES, database=name), dict(self._ask(OBJECTS, database=name))

    def answers_of(self, tables: Sequence[Any]) -> list[Any]:
        """Return the answers of the share's queries on the tables of a database, as they are now. Raise AltbackupError."""
        queries = self._share.queries if self._share else {}
        return [row for name in tables if name in queries for row in self._ask(queries[name])]

    def _dump_database(self, name: str, charset: str, collation: str) -> None:
        """Dump one database. Raise AltbackupError, or SourceChanged."""
        before = self._look(name)
        self.answers = self.answers_of([table for table, _ in before[0]])
        broken = self._broken_views(name)
        plain = sorted(table for table, engine in before[0] if engine not in self._transactional)
        locked = bool(self._item.option("lock"))
        if plain and not locked:
            how = "" if self._share else " (lock: true does that)"
            self.notes.append(
                f"tables of {name} whose engines know no transactions were read as they changed, and may not be consistent{how}: {first_of(plain, _SHOWN)}"
            )
        filename = file_of(name)
        words = [*_COMMON, "--lock-all-tables" if locked else "--single-transaction"]
        words += [] if is_mariadb(self.version) else ["--set-gtid-purged=OFF", "--column-statistics=0"]
        words += [f"--ignore-table={name}.{view}" for view in broken]
        stream = self._stream(filename, [*words, "--", name], f"{self._title}: dumping database {name!r}")
        after = self._look(name)
        if before != after:
            raise SourceChanged(f"{self._title}: tables of {name} were made, changed or dropped while it was dumped")
        if self.answers != self.answers_of([table for table, _ in after[0]]):
            raise SourceChanged(f"{self._title}: what belongs to files of it was changed in {name} while it was dumped")
        lacking = [table for table, _ in before[0] if table not in stream.rows]
        if lacking:
            raise AltbackupError(f"{self._title}: the dump of {name} lacks its tables {first_of(lacking, _SHOWN)}")
        if broken:
            self._keep_broken_views(name, broken)
        rows = {table: stream.rows[table] for table, _ in before[0]}
        self.rows.update({f"{name}.{table}": count for table, count in rows.items()})
        self.digests.update({f"{name}.{table}": stream.digests[table] for table in rows})
        objects = {**after[1], "views": int(after[1]["views"]) - len(broken)}
        self.databases[name] = {"file": filename, "charset": charset, "collation": collation, "objects": objects}

    def _broken_views(self, name: str) -> dict[str, str]:
        """Return {view: why} of those that a dump program would fail at, as what they are of, or their definer, is gone."""
        found = {}
        for view in self._ask(_VIEWS, database=name):
            try:
                self._say(f"SHOW FIELDS FROM {identifier(name)}.{identifier(view)}")
            except ToolFailed as error:
                if not re.search(r"ERROR (?:1356|1449|1143|1146) ", error.stderr):
                    raise
                found[str(view)] = error.stderr.rpartition("ERROR ")[2]
        return found

    def _keep_broken_views(self, name: str, broken: Mapping[str, str]) -> None:
        """Store the definitions of views that cannot be dumped, and tell of them."""
        texts = []
        for view in broken:
            output = self._say(f"SHOW CREATE VIEW {identifier(name)}.{identifier(view)}").decode(
                "utf-8", "surrogateescape"
            )
            texts.append(output.split("\t", 1)[1].rsplit("\t", 2)[0] + ";\n")  # a definition may hold tabs
        path = os.path.join(self.folder, f"{encode_name(name)}{VIEWS_ENDING}")
        with name_os_errors(path), open(path, "x", encoding="utf-8", errors="surrogateescape") as out:
            os.chmod(out.fileno(), 0o600)
            out.write("".join(texts))
        shown = [f"{view} ({why[:200]})" for view, why in broken.items()]
        self.notes.append(
            f"views of {name} that do not work are stored as their definitions alone: {first_of(shown, _SHOWN)}"
        )

    def _dump_users(self) -> None:
        """Store users, roles and grants, where this login may see them; else that is told."""
        try:
            self.users = [str(name) for name in self._ask(USERS.rstrip(";\n"))]
        except ToolFailed as error:
            if not re.search(r"ERROR (?:1142|1044|1227) ", error.stderr):
                raise
            self.notes.append(
                "users and grants are not in the dump: its login may not read them, which SELECT on mysql.* lets it"
            )
            return
        if is_mariadb(self.version):
            words = ["--system=users", "--skip-dump-date", "--force"]
            self._stream(USERS_FILE, words, f"{self._title}: dumping users", tolerated=_UNSEEN)
            return
        lines = []
        for name in self.users:
            user, _, host = name.rpartition("@")
            for what in ("CREATE USER", "GRANTS FOR"):
                output = self._say(f"SHOW {what} {identifier(user)}@{identifier(host)}").decode(
                    "utf-8", "surrogateescape"
                )
                lines += [f"{line};\n" for line in output.splitlines()]
        path = os.path.join(self.folder, USERS_FILE)
        with name_os_errors(path), open(path, "x", encoding="utf-8", errors="surrogateescape") as out:
            os.chmod(out.fileno(), 0o600)
            out.write("".join(sorted(lines, key=lambda line: not line.startswith("CREATE"))))

    def _leave_out(self, lines: Sequence[str]) -> None:
        """Add a note on users that the server does not use, as their hosts are names that it does not resolve; `lines` are what a dump program told of them.

        What else it wrote of them, without making them, goes.
        """
        unseen = {named for line in lines for named in _NAMED_USER.findall(line)}
        names = sorted(f"{user}@{host}" for user, host in unseen)
        self.users = [name for name in self.users or () if name not in names]
        words = [f"{quote}{user}{quote}@{quote}{host}{quote}" for user, host in unseen for quote in "'`"]
        path = os.path.join(self.folder, USERS_FILE)
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            kept = [line for line in stream if not any(word in line for word in words)]
        with name_os_errors(path), open(path, "w", encoding="utf-8", errors="surrogateescape") as out:
            out.writelines(kept)
        self.notes.append(
            f"users that the server itself does not use, such as those of host names under skip_name_resolve, are not in the dump: "
            f"{first_of(names, _SHOWN)}"
        )

    def _stream(
        self, filename: str, words: Sequence[str], what: str, tolerated: re.Pattern[str] | None = None
    ) -> Stream:
        """Write what the dump program says to a file, and return what stands in it. Raise AltbackupError where that is not whole.

        Failures of which all lines are `tolerated` are those of users that are left out.
        """
        argv = [self._program, *self._options(), "--default-character-set=utf8mb4", *words]
        stream = Stream()
        left_out: list[str] = []
        stderr_lines: list[str] = []
        path = os.path.join(self.folder, filename)
        try:
            with name_os_errors(path), open(path, "xb") as out, output_of(
                argv,
                what=what,
                deadline=self._context.deadline,
                environment=self._environment(),
                stderr_lines=stderr_lines,
                name=os.path.basename(self._program),
            ) as output:
                os.chmod(out.fileno(), 0o600)
                for line in output:
                    stream.take(line)
                    out.write(line)
        except ToolFailed as error:
            if any(word in error.stderr for word in _MOVED):
                raise SourceChanged(str(error)) from error
            left_out = stderr_lines
            if tolerated is None or not all(map(tolerated.search, left_out)):
                raise
        if not stream.completed:
            raise AltbackupError(f"{what}: it ended with exit code 0, but its {stream.bytes} bytes are no whole dump")
        if left_out:
            self._leave_out(left_out)
        return stream


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what the programs have: all that their user has, and an empty folder."""
    return Arrangement(uid_of(item, item.option("user")), [], scratch=[scratch_folder(context, item)], confined=False)


def prove(proof: Proof) -> None:
    """All of it loaded into a scratch server: rows, objects, users; and the rows as they stand in the dumps, as recorded."""
    prove_share(proof, {})


def prove_share(proof: Proof, queries: Mapping[str, str]) -> list[Any] | None:
    """As `prove`; return the answers of queries, {table: query}, as its dump had them, None where it was not loaded."""
    names = sorted(name for name in os.listdir(proof.path) if name.endswith(ENDING) and not name.endswith(VIEWS_ENDING))
    files = {decode_name(name[: -len(ENDING)]): name for name in names if name != USERS_FILE}
    recorded = proof.record.get("databases")
    known: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    if not files:
        raise proof.fail("it holds no dump of a database")
    if known and set(files) != set(known):
        raise proof.fail(f"its databases differ from its dump's: {first_of(sorted(set(files) ^ set(known)), _SHOWN)}")
    rows: dict[str, int] = {}
    digests: dict[str, str] = {}
    for name, file in [*files.items(), *([("", USERS_FILE)] if USERS_FILE in names else [])]:
        with open_plain(proof.plain(file)) as source:
            stream = read(source)
        proof.deadline.remaining()
        if not stream.completed and (name or is_mariadb(str(proof.record.get("server", "mariadb")))):
            raise proof.fail(f"{file} is no whole dump: its last line is missing")
        if name:
            rows.update({f"{name}.{table}": count for table, count in stream.rows.items()})
            digests.update({f"{name}.{table}": digest for table, digest in stream.digests.items()})
    _compare_rows(proof, rows, "as they stand in the dump")
    if "digests" in proof.record and proof.record["digests"] != digests:
        differing = sorted(table for table, digest in digests.items() if proof.record["digests"].get(table) != digest)
        raise proof.fail(f"rows of its tables are others than its dump recorded: {first_of(differing, _SHOWN)}")
    proof.facts.update(databases=len(files), tables=len(rows), rows=sum(rows.values()))
    if proof.record.get("users") is not None and USERS_FILE not in names:
        raise proof.fail(f"{USERS_FILE} is missing")
    return _load(proof, files, known, USERS_FILE if USERS_FILE in names else "", queries)


def _compare_rows(proof: Proof, found: Mapping[str, int], how: str) -> None:
    expected = rows_of(proof.record)
    differing = sorted(table for table in {*found, *expected} if found.get(table) != expected.get(table))
    if proof.record and differing:
        shown = [f"{table} ({found.get(table)} rows, expected {expected.get(table)})" for table in differing]
        raise proof.fail(f"its tables, {how}, differ from its dump's: {first_of(shown, _SHOWN)}")


def _programs(proof: Proof) -> dict[str, str]:
    """Return the programs of a scratch server. Raise ToolMissing where there is none, or a client that would obey a dump."""
    if not is_mariadb(str(proof.record.get("server", "mariadb"))):
        raise ToolMissing("it is of MySQL, of which no scratch server is made")
    return {
        "server": find_tool("mariadbd"),
        "install": find_tool("mariadb-install-db"),
        "client": disobedient_client(proof.deadline),
    }


def _load(
    proof: Proof, files: Mapping[str, str], known: Mapping[str, Any], users: str, queries: Mapping[str, str]
) -> list[Any] | None:
    """Compare what a scratch server holds with the record; return what it answers, None where there is none. Raise ProofFailed."""
    try:
        programs = _programs(proof)
    except ToolMissing as error:
        proof.notes.append(f"it was not loaded, only read, which proves less: {error}")
        return None
    proof.keep_version("mariadbd", "--version")
    databases = {
        name: {"file": file, **{word: str(known.get(name, {}).get(word, "")) for word in ("charset", "collation")}}
        for name, file in files.items()
    }
    order = {"databases": databases, "users": users, "queries": queries}
    with proof.opened() as path:
        text = proof.sandbox.run(
            [json.dumps(programs), proof.inside(path), json.dumps(order)],
            proof.scratch,
            what=f"{proof.title}: loading it into a scratch server",
            deadline=proof.deadline,
            program=mysql_survey,
        )
    found = proof.told(text)
    if found["problem"]:
        raise proof.fail(f"it cannot be loaded: {found['problem']}")
    rows = {
        f"{name}.{table}": count for name, entry in found["databases"].items() for table, count in entry["rows"].items()
    }
    _compare_rows(proof, rows, "as they were loaded")
    for name, entry in found["databases"].items():
        expected = known.get(name, {}).get("objects")
        if expected is not None and entry["objects"] != expected:
            raise proof.fail(
                f"other objects of its database {name} are {entry['objects']}, but its dump recorded {expected}"
            )
    if found["users"] is not None and proof.record.get("users") not in (None, found["users"]):
        lacking = [name for name in proof.record["users"] if name not in found["users"]]
        raise proof.fail(f"its users differ from its dump's: missing are {first_of(lacking, _SHOWN) or 'none'}")
    return list(found["answers"])


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    clients=("mariadb-dump",),
    unforeseen="no server is asked in check mode, so whether a dump succeeds is not known",
)
