"""Three nights over real ssh while every database is written to; then the source is gone, and another host gets all of it back.

What comes back is compared by means that the product does not use: pg_dump, CHECKSUM TABLE, slapcat, `hg log --debug`, SQLite's own dump.
Each writer counts, and writes each number twice, so a state is a beginning of the last one, and a number that stands in one place alone
shows that it is no state at all. What was written after the last dump is written to the restored database, too: then both are equal.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.leaks import command_lines, spoken_in
from helpers.servers import (
    Mariadb,
    Postgresql,
    mariadb,
    of_mariadb,
    of_mercurial,
    of_postgresql,
    person,
    place,
    postgresql,
    run_as_user,
    slapd,
    user_name,
)
from integration.lab_site import LabSite, stamps_of
from integration.site import Run
from lab import Host, Lab
from lab.inventory import connection
from lab.lab_fixture import needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]
NIGHTS = ["2026/11/25/013000", "2026/11/26/013000", "2026/11/27/013000"]
TABLES = ("CREATE TABLE a (n int)", "CREATE TABLE b (n int)")
SECRETS = ("averysecretpassword", "averysecretoption", "verysecretword", "treesecret", "configsecret")
PEOPLE = "dc=example,dc=org"
HG = {"HGRCPATH": ""}
PAUSE = 0.2
"""Seconds between the writes of one writer"""


@contextlib.contextmanager
def writing(*writers: Callable[[], Any]) -> Iterator[None]:
    """Let each of them write again and again while the block lasts; each must have written."""
    end, counts, errors = threading.Event(), [0] * len(writers), []

    def work(number: int) -> None:
        try:
            while not end.is_set():
                writers[number]()
                counts[number] += 1
                end.wait(PAUSE)
        except BaseException as error:  # noqa: BLE001 (told at the end)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(writers))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert not errors and all(counts), (errors, counts)


class Live:
    """Databases in use on the source, and what writes to them."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, building: Path) -> None:
        self.cluster, self.server = stack.enter_context(postgresql()), stack.enter_context(mariadb())
        self.directory, home = stack.enter_context(slapd()), stack.enter_context(place())
        self.database, self.repository, self._work = folder / "readings.db", home / "live", home / "work"
        self.counts = Counter(directory=19)
        """How often each was written to; the directory was made with people up to this number"""
        self._building = building
        self._make_tables()
        self.directory.add(f"dn: cn=pair,{PEOPLE}\nobjectClass: person\ncn: pair\nsn: 19\ndescription: 19\n\n")
        for path in (self.repository, self._work):
            run_as_user("hg", "init", path, environment=HG)
        self._push()

    def _make_tables(self) -> None:
        self.cluster.sql(
            "CREATE ROLE alice LOGIN PASSWORD 'verysecretword'",
            "CREATE DATABASE wiki OWNER alice",
            "ALTER DATABASE wiki SET work_mem = '5MB'",
            "CREATE ROLE backup LOGIN IN ROLE pg_read_all_data",
        )
        self.cluster.sql("SET ROLE alice", *TABLES, database="wiki")
        self.server.sql(
            "CREATE DATABASE wiki",
            "CREATE USER alice@localhost IDENTIFIED BY 'verysecretword'",
            "CREATE USER backup@localhost",
            "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO backup@localhost",
        )
        self.server.sql(*TABLES, database="wiki")
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.executescript(";".join(["PRAGMA journal_mode = WAL", *TABLES]))

    def items(self) -> list[dict[str, Any]]:
        """Return an item of each; the servers of SQL are a set between hooks."""
        members = [
            self.cluster.item(name="main", **self.cluster.ask_for_password("backup", "averysecretpassword")),
            self.server.item(name="tickets", **self.server.ask_for_password("backup", "averysecretoption")),
        ]
        hooks = {"before": [["/bin/true"]], "after": [["/bin/true"]]}
        return [
            {"kind": "set", "name": "wiki", "members": members, **hooks},
            self.directory.item(name="directory"),
            {"kind": "hg", "name": "project", "path": str(self.repository)},
            {"kind": "sqlite", "name": "readings", "path": str(self.database)},
            {"kind": "command", "name": "numbers", "user": user_name(), "argv": ["/usr/bin/seq", "100"]},
        ]

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Write to all of them while the block lasts; to the repository at the moment when it is copied."""
        pushed: list[bool] = []

        def push_once() -> None:
            if not pushed and self._building.exists():
                pushed.append(True)
                self._push()

        with self.directory.running() as address:
            with writing(
                lambda: self._write("cluster", lambda n: self.cluster.sql(*pair(n), database="wiki")),
                lambda: self._write("server", lambda n: self.server.sql(*pair(n), database="wiki")),
                lambda: self._write("directory", lambda n: self.directory.modify(address, person(n), both(n))),
                lambda: self._write("database", self._insert),
                push_once,
            ):
                yield
        assert pushed, "the repository was never copied"

    def _write(self, what: str, write: Callable[[int], Any]) -> None:
        write(self.counts[what] + 1)
        self.counts[what] += 1

    def _insert(self, number: int) -> None:
        with contextlib.closing(sqlite3.connect(self.database, timeout=60, isolation_level=None)) as database:
            for statement in pair(number):
                database.execute(statement)

    def _push(self) -> None:
        """Push two changesets at once."""
        settings = ("--config", "ui.username=a", "--repository", self._work)
        for number in (self.counts["repository"] + 1, self.counts["repository"] + 2):
            (self._work / f"file {number}").write_text(f"{number}\n" * 50)
            run_as_user("hg", *settings, "commit", "--addremove", "--message", str(number), environment=HG)
        run_as_user("hg", *settings, "push", "--quiet", self.repository, environment=HG)
        self.counts["repository"] += 2

    def remove(self) -> None:
        """Stop the servers and remove all data."""
        self.cluster.stop()
        self.server.stop()
        for folder in (self.cluster.data, self.server.data, self.directory.config, self.directory.folder / "db"):
            shutil.rmtree(folder)
        for path in (self.repository, self._work):
            shutil.rmtree(path)
        self.database.unlink()


def pair(number: int) -> tuple[str, ...]:
    """Return a transaction that adds a number to both tables."""
    return ("BEGIN", f"INSERT INTO a VALUES ({number})", f"INSERT INTO b VALUES ({number})", "COMMIT")


def both(number: int) -> str:
    """Return a change, in LDIF, of two attributes of one entry."""
    changes = "".join(f"replace: {name}\n{name}: {number}\n-\n" for name in ("sn", "description"))
    return f"dn: cn=pair,{PEOPLE}\nchangetype: modify\n{changes}\n"


def whole_pairs(a: Iterable[Any], b: Iterable[Any]) -> int:
    """Return up to which number both tables were filled; they must hold the same, and all of it."""
    first, second = list(map(int, a)), list(map(int, b))
    assert first == second == list(range(1, len(first) + 1))
    return len(first)


def pairs_in(server: Postgresql | Mariadb) -> int:
    """Return the same of a server."""
    asked = (server.sql(f"SELECT n FROM {table} ORDER BY n", database="wiki").stdout.split() for table in "ab")
    return whole_pairs(*asked)


def of_sqlite(path: Path, *more: int) -> list[str]:
    """Write further pairs to a database, and return all of it as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for number in more:
            database.executescript(";".join(pair(number)))
        return list(database.iterdump())


def pairs_in_sqlite(path: Path) -> int:
    """Return up to which number both tables of a database were filled."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return whole_pairs(*([n for (n,) in database.execute(f"SELECT n FROM {table} ORDER BY n")] for table in "ab"))


def entries_of(ldif: str) -> dict[str, str]:
    """Return {dn: entry} of LDIF."""
    return {entry.partition("\n")[0]: entry for entry in ldif.strip().split("\n\n")}


def people_in(entries: dict[str, str]) -> int:
    """Return the number of the last person, and remove the entry that counts them; it must be at that number, or one behind, in both attributes."""
    counted = entries.pop(f"dn: cn=pair,{PEOPLE}")
    sn, description = (int(re.findall(rf"(?m)^{name}: (\d+)$", counted)[0]) for name in ("sn", "description"))
    numbers = [int(number) for dn in entries for number in re.findall(r"cn=person (\d+),", dn)]
    assert numbers == list(range(len(numbers)))
    assert sn == description and sn in (numbers[-1] - 1, numbers[-1])
    return numbers[-1]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[LabSite]:
    """A lab in a folder that the user of servers can reach, with a source, a target and a host that is neither."""
    with place() as folder, Lab(["db01", "cms01", "db02"], folder.parent, sources=["db01"]) as hosts:
        made = LabSite(folder.parent / "site", lab=hosts)
        for path in (made.folder, folder.parent / "user"):
            path.mkdir()
        monkeypatch.setenv("HOME", str(folder.parent / "user"))
        made.add_source("db01", altbackup_targets=["cms01"])
        made.add_target("cms01")
        made.hosts["db02"] = connection(hosts, hosts["db02"])
        made.groups["ungrouped"] = ["db02"]
        yield made


def run(site: LabSite, playbook: str, *arguments: str, **extra: Any) -> Run:
    """Run a playbook, which must succeed, and look for passwords in what it says and leaves."""
    done = site.run(playbook, *arguments, **extra)
    assert done.rc == 0, done.message or done.stdout
    for secret in SECRETS:
        assert secret not in done.stdout
        assert spoken_in(site.folder.parent, secret) == []
    return done


def slapcat(host: Host, config: Path, number: str) -> str:
    """Return what slapcat says of a database of a host."""
    user = ("setpriv", f"--reuid={user_name()}", "--regid=nogroup", "--clear-groups")
    return host.run([*user, "slapcat", "-F", str(config), "-n", number], check=True).stdout


def test_databases_that_are_written_to_come_back_on_another_host(site: LabSite) -> None:
    with contextlib.ExitStack() as stack:
        seen = stack.enter_context(command_lines(0.02))
        building = site.tree("db01") / ".altbackup" / "building" / "hg" / "project"
        live = Live(stack, site.live_of("db01"), building)
        site.hosts["db01"]["altbackup_items"] = live.items()
        written = []
        for night in NIGHTS:
            before = Counter(live.counts)
            with live.written():
                run(site, "backup", stamp=night)
            written.append((before, Counter(live.counts)))
        copies = site.tree("db01", "cms01")
        assert sorted(set(stamps_of(copies))) == NIGHTS and len(stamps_of(copies)) == 7 * len(NIGHTS)
        run(site, "drill", "--limit cms01")

        db01, db02 = site.lab["db01"], site.lab["db02"]
        expected = of_postgresql(live.cluster, "wiki"), of_mariadb(live.server, "wiki"), of_mercurial(live.repository)
        rows, config = of_sqlite(live.database), live.directory.config
        ldif = [slapcat(db01, config, number) for number in ("0", "1")]
        db01.stop_sshd()
        live.remove()
        shutil.rmtree(site.place("db01"))

        other, another = stack.enter_context(postgresql()), stack.enter_context(mariadb())
        db02.small_disk(1 << 28, at=live.directory.folder)
        for folder in (config, live.directory.folder / "db"):
            db02.run(["install", "-d", "-m", "700", "-o", user_name(), "-g", "nogroup", str(folder)], check=True)
        db02.run(["chmod", "755", str(live.directory.folder)], check=True)
        back = site.place("db02") / "back"
        common = {"source": "db01", "to_host": "db02"}
        there = {"host": str(other.sockets), "user": user_name(), "login": "postgres", "globals": True}
        server = {**there, "host": str(another.socket), "login": "root"}
        entries = [
            {**common, "kind": "postgresql", "name": "main", "into": there},
            {**common, "kind": "mysql", "name": "tickets", "into": server},
            {**common, "kind": "ldap", "name": "directory", "into": {"folder": str(config), "user": user_name()}},
            {**common, "kind": "hg", "name": "project", "to": str(back / "hg")},
            {**common, "kind": "sqlite", "name": "readings", "to": str(back / "readings.db")},
            {**common, "kind": "command", "name": "numbers", "to": str(back / "numbers")},
        ]
        foreseen = run(site, "restore", "--check", restore=entries)
        assert "all databases of the PostgreSQL server at" in foreseen.text
        assert other.sql("SELECT 1 FROM pg_database WHERE datname = 'wiki'").stdout == ""
        run(site, "restore", restore=entries)

        directory = entries_of(slapcat(db02, config, "1"))
        found = Counter(
            cluster=pairs_in(other),
            server=pairs_in(another),
            directory=people_in(directory),
            repository=len(of_mercurial(back / "hg")),
            database=pairs_in_sqlite(back / "readings.db"),
        )
        (before, after), end = written[-1], live.counts
        assert before <= found <= after, (before, found, after)
        assert found["repository"] % 2 == 0
        other.sql(
            *(
                f"INSERT INTO {table} SELECT generate_series({found['cluster'] + 1}, {end['cluster']})"
                for table in "ab"
            ),
            database="wiki",
        )
        numbers = f"seq_{found['server'] + 1}_to_{end['server']}"
        another.sql(*(f"INSERT INTO {table} SELECT seq FROM {numbers}" for table in "ab"), database="wiki")
        assert of_postgresql(other, "wiki") == expected[0]
        assert of_mariadb(another, "wiki") == expected[1]
        assert of_mercurial(back / "hg") == expected[2][: found["repository"]]
        assert of_sqlite(back / "readings.db", *range(found["database"] + 1, end["database"] + 1)) == rows
        output = subprocess.run(["/usr/bin/seq", "100"], capture_output=True, check=True).stdout
        assert (back / "numbers" / "output").read_bytes() == output
        assert slapcat(db02, config, "0") == ldif[0]
        last = entries_of(ldif[1])
        assert directory == {dn: last[dn] for dn in directory}

        other.sql("DROP DATABASE wiki")
        first = {**entries[0], "at": NIGHTS[0], "into": {**there, "database": "wiki"}}
        run(site, "restore", restore=[first])
        (before, after) = written[0]
        assert before["cluster"] <= pairs_in(other) <= after["cluster"]
        again = site.run("restore", restore=[first])
        assert again.rc != 0 and "database wiki is there already" in again.text
    for program in (b"pg_dump", b"mariadb-dump", b"slapcat", b"pg_restore", b"slapadd"):
        assert any(program in line for line in seen), program
    assert [line for line in seen for secret in SECRETS if secret.encode() in line] == []
