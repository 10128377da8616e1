"""Kind `postgresql`: each database of a cluster is dumped in one snapshot, with the shared objects, and proved by loading them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import alter, drill_one
from helpers.leaks import command_lines
from helpers.servers import Postgresql, postgresql, run_as_user
from helpers.trees import FIRST, FOURTH, SECOND, THIRD, Base, unpack
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.kinds import postgresql as kind
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed

pytestmark = pytest.mark.full
WIKI = (
    "CREATE TABLE page (id serial PRIMARY KEY, title text NOT NULL, body text)",
    "INSERT INTO page (title, body) SELECT 'page ' || n, repeat('x', n) FROM generate_series(1, 300) n",
    'CREATE TABLE "odd ""name; \\ %" (a int)',
    'INSERT INTO "odd ""name; \\ %" VALUES (1), (2)',
    "CREATE SCHEMA other",
    "CREATE TABLE other.page (a int)",
    "SELECT lo_from_bytea(0, 'a large object')",
    "CREATE TABLE part (day int) PARTITION BY RANGE (day)",
    "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10)",
    "INSERT INTO part VALUES (1), (2), (3)",
    "CREATE VIEW titles AS SELECT title FROM page",
    "CREATE EXTENSION IF NOT EXISTS plpgsql",
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Postgresql]:
    with postgresql() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Postgresql) -> Postgresql:
    """Return a cluster with two databases, roles, a membership, settings and a grant, in its initial state."""
    for name in ("wiki", "shop", "renamed", "forge/x'y"):
        shared.sql(f'DROP DATABASE IF EXISTS "{name}"')
    shared.sql("DROP ROLE IF EXISTS staff", "DROP ROLE IF EXISTS alice", "DROP ROLE IF EXISTS reader")
    shared.sql(
        "CREATE ROLE staff",
        "CREATE ROLE alice LOGIN PASSWORD 'verysecretword'",
        "GRANT staff TO alice",
        "CREATE DATABASE wiki OWNER alice",
        "ALTER DATABASE wiki SET work_mem = '5MB'",
        "GRANT CONNECT ON DATABASE wiki TO staff",
        "CREATE DATABASE shop",
    )
    shared.sql(*WIKI, database="wiki")
    shared.sql("CREATE TABLE goods (a int)", "INSERT INTO goods SELECT generate_series(1, 50)", database="shop")
    return shared


def test_a_cluster_is_dumped_and_proved(cluster: Postgresql, served_base: Base, tmp_path: Path) -> None:
    tarball = served_base.dump_one(cluster.item())
    record = tarball["record"]
    assert tarball["relpath"] == f"databases/thing/{FIRST}/thing.tar.zst"
    assert record["rows"]["wiki.public.page"] == 300 and record["rows"]["shop.public.goods"] == 50
    assert record["rows"]['wiki.public.odd "name; \\ %'] == 2 and record["rows"]["wiki.public.part1"] == 3
    assert record["databases"]["wiki"]["large_objects"] == 1 and record["databases"]["wiki"]["owner"] == "alice"
    assert ["staff", "alice"] in record["memberships"]
    top = unpack(tarball, tmp_path / "out")
    assert sorted(path.name for path in top.iterdir()) == ["globals.sql", "postgres.dump", "shop.dump", "wiki.dump"]
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert proof["facts"]["rows"] == 355 and proof["facts"]["databases"] == 3
    assert proof["notes"] == []


def test_equal_content_gives_equal_bytes_whatever_was_done_to_the_server(
    cluster: Postgresql, served_base: Base, tmp_path: Path
) -> None:
    digests = [served_base.dump_one(cluster.item(), stamp=FIRST)["dig"]]
    cluster.sql("VACUUM", "VACUUM FULL", "ANALYZE", "REINDEX DATABASE wiki", "CHECKPOINT", database="wiki")
    digests.append(served_base.dump_one(cluster.item(), stamp=SECOND)["dig"])
    cluster.stop()
    cluster.start()
    digests.append(served_base.dump_one(cluster.item(), stamp=THIRD)["dig"])
    assert len(set(digests)) == 1
    cluster.sql("INSERT INTO goods VALUES (51)", database="shop")
    assert served_base.dump_one(cluster.item(), stamp=FOURTH)["dig"] not in digests


def test_passwords_are_in_no_list_of_processes_and_in_no_record(
    cluster: Postgresql, served_base: Base, tmp_path: Path
) -> None:
    hba, password = cluster.data / "pg_hba.conf", cluster.data.parent / "pgpass"
    before = hba.read_text()
    cluster.sql("ALTER ROLE postgres PASSWORD 'averysecretpassword'")
    password.write_text("*:*:*:postgres:averysecretpassword\n")
    shutil.chown(password, "nobody") if os.geteuid() == 0 else None
    try:
        hba.write_text("local all all scram-sha-256\n")
        run_as_user(f"{cluster.programs}/pg_ctl", "reload", "-D", cluster.data)
        assert wait_until(lambda: cluster.sql("SELECT 1", check=False).returncode != 0)
        assert "password_file" in served_base.reason(cluster.item(password_file=str(password)))
        password.chmod(0o600)
        assert "no password supplied" in served_base.reason(cluster.item())
        with command_lines() as seen:
            result = served_base.dump(cluster.item(password_file=str(password)))
    finally:
        hba.write_text(before)
        run_as_user(f"{cluster.programs}/pg_ctl", "reload", "-D", cluster.data)
        assert wait_until(lambda: cluster.sql("SELECT 1", check=False).returncode == 0)
    assert not result["failures"]
    assert any(b"pg_dump" in line for line in seen)
    key = json.loads((served_base.path / ".altbackup/state/databases/thing.json").read_text())["key"]
    for secret in ("averysecretpassword", "verysecretword", key):
        assert not any(secret.encode() in line for line in seen)
        assert secret not in json.dumps(result)


def test_the_counts_are_those_of_the_snapshot_that_is_dumped(
    cluster: Postgresql, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = kind._Dump._output

    def insert_before(self: Any, program: str, *words: str, **options: Any) -> Any:
        if program == "pg_dump":
            cluster.sql("INSERT INTO goods SELECT generate_series(1, 7)", database="shop")
        return output(self, program, *words, **options)

    monkeypatch.setattr(kind._Dump, "_output", insert_before)
    tarball = served_base.dump_one(cluster.item(databases=["shop"]))
    assert tarball["record"]["rows"] == {"shop.public.goods": 50}
    assert drill_one(served_base, tarball, tmp_path / "scratch")["facts"]["rows"] == 50


def test_a_database_that_was_dropped_or_renamed_is_doubted(cluster: Postgresql, served_base: Base) -> None:
    served_base.dump_one(cluster.item())
    cluster.sql("ALTER DATABASE shop RENAME TO renamed")
    (failure,) = served_base.dump(cluster.item(), stamp=SECOND)["failures"]
    assert "is suspect" in failure["reason"] and "1 database of the dump of" in failure["reason"]
    assert "vanished: shop; renamed came" in failure["reason"]


def test_what_the_item_no_longer_names_is_not_doubted(cluster: Postgresql, served_base: Base) -> None:
    served_base.dump_one(cluster.item())
    served_base.dump_one(cluster.item(databases=["wiki"]), stamp=SECOND)


def test_tables_that_lost_their_rows_are_doubted(cluster: Postgresql, served_base: Base) -> None:
    served_base.dump_one(cluster.item())
    cluster.sql("TRUNCATE goods", database="shop")
    (failure,) = served_base.dump(cluster.item(), stamp=SECOND)["failures"]
    assert "shop.public.goods (50 rows)" in failure["reason"]


def test_a_role_that_is_no_superuser_dumps_no_passwords_and_says_so(
    cluster: Postgresql, served_base: Base, tmp_path: Path
) -> None:
    cluster.sql("CREATE ROLE reader LOGIN")
    cluster.sql("GRANT SELECT ON goods TO reader", database="shop")
    result = served_base.dump(cluster.item(login="reader", databases=["shop"]))
    assert not result["failures"], result["failures"]
    assert "may not read the passwords of roles" in " ".join(result["notes"])
    text = (unpack(result["tarballs"][0], tmp_path / "out") / "globals.sql").read_text()
    assert "PASSWORD" not in text and "GRANT staff TO alice" in text


def test_row_security_that_hides_rows_is_a_failure(cluster: Postgresql, served_base: Base) -> None:
    cluster.sql("CREATE ROLE reader LOGIN", "GRANT pg_read_all_data TO reader")
    cluster.sql("ALTER TABLE goods ENABLE ROW LEVEL SECURITY", database="shop")
    assert "row-level security" in served_base.reason(cluster.item(login="reader", databases=["shop"]))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"host": "/nonexistent"}, "No such file or directory"),
        ({"databases": ["no such"]}, "there is no database no such"),
        ({"login": "nobody-at-all"}, "does not exist"),
        ({"databases": []}, "not a list of names"),
        ({"path": "/var/lib/postgresql"}, "nothing at a path"),
        ({"password_file": "/nonexistent"}, "No such file"),
    ],
)
def test_what_cannot_be_dumped_is_told(cluster: Postgresql, served_base: Base, more: dict[str, Any], said: str) -> None:
    assert said in served_base.reason(cluster.item(**more))


def test_a_pg_dump_that_dies_leaves_nothing(
    cluster: Postgresql, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.sql(
        "INSERT INTO page (title, body) SELECT 'page', repeat('y', 50000) FROM generate_series(1, 400)",
        database="wiki",
    )
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.is_set() and not killed:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if b"pg_dump\0" in path.read_bytes() and b"--snapshot" in path.read_bytes():
                        os.kill(int(path.parent.name), signal.SIGKILL)
                        killed.append(int(path.parent.name))
                except OSError:
                    continue

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert "killed by signal 9" in served_base.reason(cluster.item(databases=["wiki"]))
    finally:
        over.set()
        killer.join()
    assert killed


def test_a_table_that_cannot_be_read_is_a_failure(cluster: Postgresql, served_base: Base) -> None:
    path = cluster.sql("SELECT pg_relation_filepath('goods')", database="shop").stdout.strip()
    cluster.stop()
    file = cluster.data / path
    content = file.read_bytes()
    try:
        file.write_bytes(b"\xff" * len(content))
        cluster.start()
        assert "invalid page" in served_base.reason(cluster.item(databases=["shop"]))
    finally:
        cluster.stop()
        file.write_bytes(content)
        cluster.start()


def test_odd_names_of_databases_come_along(cluster: Postgresql, served_base: Base, tmp_path: Path) -> None:
    cluster.sql('CREATE DATABASE "forge/x\'y"')
    cluster.sql("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)", database="forge/x'y")
    tarball = served_base.dump_one(cluster.item(databases=["forge/x'y"]))
    assert drill_one(served_base, tarball, tmp_path / "scratch")["facts"]["rows"] == 1


def lose_role(top: Path) -> None:
    path = top / "globals.sql"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "GRANT staff TO alice" not in line))


def empty_dump(top: Path) -> None:
    (top / "shop.dump").write_bytes(b"")


def lose_database(top: Path) -> None:
    (top / "shop.dump").unlink()


def cut_dump(top: Path) -> None:
    content = (top / "wiki.dump").read_bytes()
    (top / "wiki.dump").write_bytes(content[:-2000])


def run_a_shell(top: Path) -> None:
    path = top / "globals.sql"
    path.write_text(path.read_text() + "\\! touch /tmp/room/ran\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose_role, "memberships of roles differ"),
        (empty_dump, "cannot be loaded"),
        (lose_database, "databases differ"),
        (cut_dump, "cannot be loaded"),
        (run_a_shell, "restricted"),
    ],
)
def test_a_proof_finds_what_is_not_as_it_was(
    cluster: Postgresql, served_base: Base, tmp_path: Path, change: Any, said: str
) -> None:
    tarball = served_base.dump_one(cluster.item())
    alter(Path(tarball["path"]), tmp_path / "unpacked", change)
    with pytest.raises(ProofFailed, match=said):
        drill_one(served_base, tarball, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": {"shop.public.goods": 51}}, r"shop.public.goods \(50 rows, expected 51\)"),
        ({"roles": ["postgres"]}, "roles differ"),
    ],
)
def test_a_proof_compares_with_the_record(
    cluster: Postgresql, served_base: Base, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["shop"]))
    with pytest.raises(ProofFailed, match=said):
        drill_one(served_base, tarball, tmp_path / "scratch", record={**tarball["record"], **change})


def test_extensions_that_the_node_lacks_are_told_and_the_dump_is_listed(
    cluster: Postgresql, served_base: Base, tmp_path: Path
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["shop", "wiki"]))
    record = json.loads(json.dumps(tarball["record"]))
    record["databases"]["wiki"]["extensions"].append("postgis")
    proof = drill_one(served_base, tarball, tmp_path / "scratch", record=record)
    assert any("no extension postgis" in note for note in proof["notes"])
    assert proof["facts"]["rows"] == 50 and proof["facts"]["listed"] >= 4


def test_without_a_server_the_proof_lists_and_says_that_it_proved_less(
    cluster: Postgresql, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(cluster.item())
    found = kind.installed
    monkeypatch.setattr(kind, "installed", lambda name, deadline: {} if name == "postgres" else found(name, deadline))
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert any("only listed, which proves less" in note for note in proof["notes"])
    record = json.loads(json.dumps(tarball["record"]))
    record["databases"]["shop"]["tables"] = 2
    with pytest.raises(ProofFailed, match="data of 1 table,"):
        drill_one(served_base, tarball, tmp_path / "scratch", record=record)


def test_check_mode_asks_no_server(served_base: Base) -> None:
    item = {"kind": "postgresql", "name": "thing", "host": "/nonexistent", "user": "nobody"}
    result = served_base.dump(item, check_mode=True)
    assert not result["failures"] and "no server is asked in check mode" in " ".join(result["notes"])


def test_it_is_restored_by_postgresql_s_own_programs(cluster: Postgresql, served_base: Base) -> None:
    tarball = served_base.dump_one(cluster.item())
    from helpers.servers import place

    with place() as folder:
        subprocess.run(["tar", "-x", "-f", tarball["path"], "-C", folder], check=True)
        subprocess.run(["chmod", "-R", "a+rX", folder / "thing"], check=True)
        cluster.sql("DROP DATABASE wiki")
        environment = {"PGHOST": str(cluster.sockets), "PGUSER": "postgres"}
        words = ("--create", "--exit-on-error", "--dbname=postgres", folder / "thing" / "wiki.dump")
        run_as_user(f"{cluster.programs}/pg_restore", *words, environment=environment)
    assert cluster.sql("SHOW work_mem", database="wiki").stdout.strip() == "5MB"
    assert cluster.sql("SELECT count(*) FROM page", database="wiki").stdout.strip() == "300"


def test_the_operators_of_a_database_are_not_those_with_which_it_is_asked(
    cluster: Postgresql, served_base: Base
) -> None:
    """A database's owner could have his functions called by the user that queries it, usually a superuser: see CVE-2018-1058."""
    cluster.sql(
        "CREATE SCHEMA evil",
        'CREATE FUNCTION evil.eq("char", "char") RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION \'called\'; END$$',
        'CREATE OPERATOR evil.= (LEFTARG = "char", RIGHTARG = "char", FUNCTION = evil.eq)',
        "ALTER DATABASE shop SET search_path = evil, pg_catalog, public",
        "ALTER DATABASE shop SET statement_timeout = '1ms'",
        database="shop",
    )
    tarball = served_base.dump_one(cluster.item(databases=["shop"]))
    assert tarball["record"]["rows"]["shop.public.goods"] == 50
