"""Loads dumps of PostgreSQL into a scratch cluster, and says what it then holds.

It needs nothing but Python's standard library, so that Sandbox can run it, as a program of its own: what is loaded may be
hostile, and whatever its functions and triggers do, they do as a user without rights, without network, in an empty folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

ROLES = "SELECT pg_catalog.json_build_array(rolname) FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname"
MEMBERS = (
    "SELECT pg_catalog.json_build_array(r.rolname, m.rolname) FROM pg_catalog.pg_auth_members a "
    "JOIN pg_catalog.pg_roles r ON r.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member ORDER BY r.rolname, m.rolname"
)
OWNER = (
    "SELECT pg_catalog.json_build_array(pg_catalog.pg_get_userbyid(datdba)) FROM pg_catalog.pg_database "
    "WHERE datname = pg_catalog.current_database()"
)
EXTENSIONS = "SELECT pg_catalog.json_build_array(extname) FROM pg_catalog.pg_extension ORDER BY extname"
LARGE_OBJECTS = "SELECT pg_catalog.json_build_array(pg_catalog.count(*)) FROM pg_catalog.pg_largeobject_metadata"
TABLES = (
    "SELECT pg_catalog.json_build_array(n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner), pg_catalog.format("
    "'SELECT pg_catalog.json_build_array(pg_catalog.count(*)) FROM ONLY %I.%I', n.nspname, c.relname)) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d "
    "WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY n.nspname, c.relname"
)
"""What is asked of a cluster and of each database: rows of one JSON array each. Those of an extension are not dumped"""
SETTINGS = ("-X", "-A", "-t", "-q", "--no-password", "--set=ON_ERROR_STOP=1")
RESTRICTED = re.compile(r"\\restrict ([A-Za-z0-9]+)")
"""The first command of a script that pg_dumpall wrote, if it knows that: see CVE-2025-8714"""
TABLESPACES = re.compile(r"(?:CREATE|ALTER|DROP|COMMENT ON|SECURITY LABEL .*ON|GRANT .* ON|REVOKE .* ON) TABLESPACE ")
_QUOTES = re.compile(r"'|\"|--")
_LOCALE = re.compile(r"locale|collation|encoding", re.IGNORECASE)
_PATIENCE = 120.0
"""Seconds for the scratch server to start"""
_SAID = 2000


class Failed(Exception):
    """What was loaded, or a program, failed; the message says how."""


def rows_from(text: str) -> list[Any]:
    """Return the value of each line of JSON that psql printed. Raise Failed."""
    try:
        return [json.loads(line) for line in text.split("\n") if line]
    except (ValueError, RecursionError) as error:
        raise Failed(f"psql said what is no JSON: {error}") from error


def script_of(text: str, bootstrap: str, token: str) -> tuple[str, int]:
    """Return (the script of pg_dumpall to load behind a restriction of our own, number of statements of tablespaces left out).

    The role of that name, quoted, which a cluster has from the beginning, is not made again. psql obeys no command of the script.
    """
    lines = text.split("\n")
    key = next((match[1] for match in map(RESTRICTED.fullmatch, lines[:40]) if match), "")
    dropped = {f"\\restrict {key}", f"\\unrestrict {key}"} if key else set()
    dropped.add(f"CREATE ROLE {bootstrap};")
    plain: list[str] = []
    left_out, quote, is_left_out = 0, "", False
    for line in lines:
        if not quote:  # else it goes on with a text of the statement before
            if line in dropped:
                continue
            is_left_out = bool(TABLESPACES.match(line))
            left_out += is_left_out
        quote = _quote_after(line, quote)
        if not is_left_out:
            plain.append(line)
    return "\n".join([f"\\restrict {token}", *plain, f"\\unrestrict {token}", ""]), left_out


def _quote_after(line: str, quote: str) -> str:
    """Return the quote that is open after a line of a script, "" for none; `quote` is the one open before it."""
    for match in _QUOTES.finditer(line):
        if not quote and match[0] == "--":
            return ""
        if not quote or match[0] == quote:
            quote = "" if quote else match[0]
    return quote


class _Cluster:
    """A scratch cluster in the folder that this program can write to."""

    def __init__(self, programs: str, owner: str, folder: str) -> None:
        self._programs = programs
        self._data, self._sockets = os.path.join(folder, "cluster"), os.path.join(folder, "sockets")
        self.environment = {
            **os.environ,
            "PGHOST": self._sockets,
            "PGPORT": "5432",
            "PGUSER": owner,
            "PGDATABASE": "template1",
            "PGTZ": "UTC",
        }
        self._log = os.path.join(folder, "log")
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, name: str, *arguments: str, text: str = "", database: str = "") -> str:
        """Run a program of PostgreSQL and return what it says. Raise Failed."""
        environment = {**self.environment, **({"PGDATABASE": database} if database else {})}
        done = subprocess.run(
            [os.path.join(self._programs, name), *arguments],
            env=environment,
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            stderr_text = done.stderr.decode("utf-8", "backslashreplace").strip()[:_SAID]
            raise Failed(f"{name} failed with exit code {done.returncode}: {stderr_text}")
        return done.stdout.decode("utf-8", "surrogateescape")

    def ask(self, *queries: str, database: str = "") -> list[Any]:
        """Return the rows of queries. Raise Failed."""
        return rows_from(
            self.run("psql", *SETTINGS, text="".join(f"{query};\n" for query in queries), database=database)
        )

    def start(self) -> None:
        """Make the cluster and start its server, on a socket alone. Raise Failed."""
        os.mkdir(self._sockets, 0o700)
        words = ("--no-locale", "--encoding=UTF8", "--auth=trust", "--no-sync")
        self.run("initdb", *words, f"--username={self.environment['PGUSER']}", f"--pgdata={self._data}")
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self._sockets,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "dynamic_shared_memory_type": "mmap",
            "shared_buffers": "32MB",
            "max_connections": "20",
            "autovacuum": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
        }
        given = [f"--{name}={value}" for name, value in settings.items()]
        with open(self._log, "wb") as log:
            command = [os.path.join(self._programs, "postgres"), "-D", self._data, *given]
            self._server = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.run("psql", *SETTINGS, text="SELECT;\n")
                return
            except Failed as error:
                if self._server.poll() is not None or time.monotonic() > end:
                    with open(self._log, encoding="utf-8", errors="backslashreplace") as stream:
                        raise Failed(f"the scratch server did not start: {stream.read()[-_SAID:]}") from error
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()


def load(cluster: _Cluster, name: str, path: str, notes: list[str], *more: str) -> None:
    """Restore one database from its dump, with more options. Raise Failed."""
    common = ("--exit-on-error", "--no-tablespaces", *more)
    try:
        cluster.run("pg_restore", *common, "--create", "--dbname=template1", path)
    except Failed as error:
        first = str(error).partition("Command was:")[2]
        if "CREATE DATABASE" not in first or not _LOCALE.search(str(error)):
            raise
        quoted = '"' + name.replace('"', '""') + '"'
        cluster.run("psql", *SETTINGS, text=f"CREATE DATABASE {quoted} TEMPLATE template0;\n")
        cluster.run("pg_restore", *common, f"--dbname={conninfo(name)}", path)
        notes.append(
            f"the locale of database {name} is none of this node's: it was loaded with another one, without its own settings"
        )


def conninfo(name: str) -> str:
    """Return the name of a database as a connection string, so that nothing in it is taken for one."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def look(cluster: _Cluster, name: str) -> dict[str, Any]:
    """Return what a database holds. Raise Failed."""
    tables = cluster.ask(TABLES, database=name)
    counts = cluster.ask(*(query for *_, query in tables), database=name) if tables else []
    return facts_of(
        tables,
        [count for (count,) in counts],
        *(cluster.ask(query, database=name) for query in (OWNER, EXTENSIONS, LARGE_OBJECTS)),
    )


def facts_of(
    tables: Iterable[Any], counts: Iterable[int], owner: Iterable[Any], extensions: Iterable[Any], large: Iterable[Any]
) -> dict[str, Any]:
    """Return `rows`, `owners` ({table: whose it is}), `owner`, `extensions` and `large_objects` from a database's answers to the questions above."""
    names = [(f"{schema}.{table}", whose) for schema, table, whose, _ in tables]
    return {
        "rows": {name: count for (name, _), count in zip(names, counts)},
        "owners": dict(names),
        "owner": next(iter(owner))[0],
        "extensions": [name for (name,) in extensions],
        "large_objects": next(iter(large))[0],
    }


def survey(programs: str, folder: str, order: Mapping[str, Any], room: str) -> dict[str, Any]:
    """Return what dumps in a folder hold once loaded by the PostgreSQL in the folder `programs`; `order` is what is known of them. Raise Failed."""
    notes: list[str] = []
    bootstrap = str(order["bootstrap"])
    cluster = _Cluster(programs, bootstrap, room)
    try:
        cluster.start()
        (available,) = cluster.ask("SELECT pg_catalog.json_agg(name) FROM pg_catalog.pg_available_extensions")
        (quoted,) = cluster.ask("SELECT pg_catalog.json_build_array(pg_catalog.quote_ident(CURRENT_USER))")
        cluster.run("psql", *SETTINGS, text="DROP DATABASE postgres;\n")
        if order["globals"]:
            _make_roles(cluster, os.path.join(folder, order["globals"]), quoted[0], notes)
        whose = () if order["globals"] else ("--no-owner", "--no-privileges")
        answers: list[Any] = []
        databases: dict[str, Any] = {}
        unloaded: dict[str, list[str]] = {}
        for name, entry in order["databases"].items():
            absent = sorted(set(entry["extensions"]) - set(available or ()))
            if absent:
                unloaded[name] = absent
                continue
            load(cluster, name, os.path.join(folder, entry["file"]), notes, *whose)
            databases[name] = look(cluster, name)
            for table, query in order["queries"].items():
                answers += cluster.ask(query, database=name) if table in databases[name]["rows"] else []
        roles, members = cluster.ask(ROLES), cluster.ask(MEMBERS)
        return {
            "problem": "",
            "databases": databases,
            "unloaded": unloaded,
            "roles": [name for (name,) in roles],
            "memberships": members,
            "notes": notes,
            "answers": answers,
        }
    finally:
        cluster.stop()


def _make_roles(cluster: _Cluster, path: str, bootstrap: str, notes: list[str]) -> None:
    """Make what databases share, by the script of pg_dumpall. Raise Failed."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
        script, left_out = script_of(stream.read(), bootstrap, secrets.token_hex(16))
    if left_out:
        notes.append(
            f"{left_out} statement{' of tablespaces was' if left_out == 1 else 's of tablespaces were'} left out: here is one disk alone"
        )
    cluster.run("psql", *SETTINGS, text=script)


def main(argv: list[str]) -> int:
    """Print what dumps hold as JSON; `argv` is the folder of PostgreSQL's programs, the folder of the dumps and JSON that tells of them."""
    try:
        found = survey(argv[0], argv[1], json.loads(argv[2]), os.getcwd())
    except Failed as error:
        found = {"problem": str(error)}
    sys.stdout.write(json.dumps(found))
    return 0
