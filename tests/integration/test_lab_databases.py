"""Databases that are written to come back on another host, by whole playbooks; compared by means that the product does not use."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import (
    live,
    mariadb,
    of_mariadb,
    of_mercurial,
    of_postgresql,
    of_slapd,
    person,
    place,
    postgresql,
    run_as_user,
    slapd,
    user_name,
)

from .site import LOCAL, Site

pytestmark = pytest.mark.full
NIGHTS = ("2026/11/25/013000", "2026/11/26/013000", "2026/11/27/013000")
PAIR = ("INSERT INTO a SELECT COALESCE(MAX(n), 0) + 1 FROM a", "INSERT INTO b SELECT MAX(n) FROM a")
"""What a writer does in one transaction: as many rows in both tables, whenever they are looked at"""


@contextlib.contextmanager
def writing(*writers: Callable[[], Any]) -> Iterator[None]:
    """Let each of them write again and again while the block lasts; each must have written."""
    end, counts, errors = threading.Event(), [0] * len(writers), []

    def work(number: int) -> None:
        try:
            while not end.is_set():
                writers[number]()
                counts[number] += 1
        except AssertionError as error:
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


@pytest.fixture
def site() -> Iterator[Site]:
    with place() as folder:
        made = Site(folder.parent / "site")
        made.folder.mkdir()
        yield made


def test_databases_that_are_written_to_come_back_on_another_host(site: Site, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        cluster, server = stack.enter_context(postgresql()), stack.enter_context(mariadb())
        directory, repository = stack.enter_context(slapd()), stack.enter_context(live("hg"))
        cluster.sql(
            "CREATE ROLE alice LOGIN", "CREATE DATABASE wiki OWNER alice", "ALTER DATABASE wiki SET work_mem = '5MB'"
        )
        tables = ("CREATE TABLE a (n int)", "CREATE TABLE b (n int)")
        cluster.sql("SET ROLE alice", *tables, database="wiki")
        server.sql("CREATE DATABASE wiki", "CREATE USER alice@localhost IDENTIFIED BY 'word'")
        server.sql(*tables, database="wiki")
        items = [
            cluster.item(name="main"),
            server.item(name="tickets"),
            directory.item(name="directory"),
            repository,
            {"kind": "command", "name": "numbers", "user": user_name(), "argv": ["/usr/bin/seq", "100"]},
        ]
        base = site.add_source("db01", altbackup_items=items, altbackup_targets=["cms01"])
        site.add_target("cms01")
        site.hosts["db02"], site.groups["others"] = dict(LOCAL), ["db02"]
        people = iter(range(100, 100000))

        def add_person() -> None:
            directory.add(person(next(people)))

        for number, night in enumerate(NIGHTS):
            with (
                writing(
                    lambda: cluster.sql("BEGIN", *PAIR, "COMMIT", database="wiki"),
                    lambda: server.sql("BEGIN", *PAIR, "COMMIT", database="wiki"),
                    add_person,
                )
                if number < 2
                else contextlib.nullcontext()
            ):
                run = site.run("backup", stamp=night)
            assert run.rc == 0, run.message or run.stdout
        repository_path = Path(str(repository["path"]))
        expected = (
            of_postgresql(cluster, "wiki"),
            of_mariadb(server, "wiki"),
            of_slapd(directory),
            of_mercurial(repository_path),
        )
        cluster.stop()
        server.stop()
        for folder in (base, cluster.data, server.data, directory.config, directory.folder / "db"):
            shutil.rmtree(folder)
        for path in repository_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run_as_user("mkdir", "-m", "700", directory.config, directory.folder / "db")
        other, another = stack.enter_context(postgresql()), stack.enter_context(mariadb())
        common = {"source": "db01", "to_host": "db02"}
        placed = {"host": str(other.sockets), "user": user_name(), "login": "postgres", "globals": True}
        entries = [
            {**common, "kind": "postgresql", "name": "main", "into": placed},
            {
                **common,
                "kind": "mysql",
                "name": "tickets",
                "into": {**placed, "host": str(another.socket), "login": "root"},
            },
            {
                **common,
                "kind": "ldap",
                "name": "directory",
                "into": {"folder": str(directory.config), "user": user_name()},
            },
            {**common, "kind": "hg", "name": "hg", "to": str(site.folder / "hg")},
            {**common, "kind": "command", "name": "numbers", "to": str(site.folder / "numbers")},
        ]
        foreseen = site.run("restore", "--check", restore=entries)
        assert foreseen.rc == 0, foreseen.message or foreseen.stdout
        assert "all databases of the PostgreSQL server at" in foreseen.stdout
        assert other.sql("SELECT 1 FROM pg_database WHERE datname = 'wiki'").stdout == ""
        run = site.run("restore", restore=entries)
        assert run.rc == 0, run.message or run.stdout
        found = (
            of_postgresql(other, "wiki"),
            of_mariadb(another, "wiki"),
            of_slapd(directory),
            of_mercurial(site.folder / "hg"),
        )
        assert found == expected
        seen = subprocess.run(["/usr/bin/seq", "100"], capture_output=True, check=True).stdout
        assert (site.folder / "numbers" / "output").read_bytes() == seen
        other.sql("DROP DATABASE wiki")
        first = {**entries[0], "at": NIGHTS[0], "into": {**placed, "database": "wiki"}}
        run = site.run("restore", restore=[first])
        assert run.rc == 0, run.message or run.stdout
        counts = other.sql("SELECT count(*) FROM a", "SELECT count(*) FROM b", database="wiki").stdout.split()
        assert counts[0] == counts[1], "what was written while the first night's dump was made is half there"
        again = site.run("restore", restore=[first])
        assert again.rc != 0 and "database wiki is there already" in again.stdout
