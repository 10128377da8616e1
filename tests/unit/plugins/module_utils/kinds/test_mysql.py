"""Kind `mysql`: databases of MariaDB are dumped with their users, counted in the dump's stream, and proved by loading them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import alter, drill_one
from helpers.leaks import command_lines
from helpers.servers import Mariadb, mariadb, place
from helpers.trees import FIRST, FOURTH, SECOND, THIRD, Base, unpack

from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql as kind
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed, ToolMissing

pytestmark = pytest.mark.full
WIKI = (
    "CREATE TABLE page (id int PRIMARY KEY AUTO_INCREMENT, title varchar(200), body longblob, twice int GENERATED ALWAYS AS (id * 2))",
    "INSERT INTO page (id, title, body) SELECT seq, CONCAT('page (', seq, ')\\n it''s; \\\\'), X'00FF27' FROM seq_1_to_300",
    "CREATE TABLE `odd ``name (` (a int)",
    "INSERT INTO `odd ``name (` VALUES (1), (2)",
    "CREATE VIEW titles AS SELECT title FROM page",
    "CREATE PROCEDURE p() INSERT INTO page (title) VALUES ('x')",
    "CREATE TRIGGER t BEFORE INSERT ON page FOR EACH ROW SET new.title = UPPER(new.title)",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM page WHERE id = 0",
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Mariadb]:
    with mariadb() as server:
        yield server


@pytest.fixture
def server(shared: Mariadb) -> Mariadb:
    """Return a server with two databases and a user with a role, in its initial state."""
    shared.sql(
        *(f"DROP DATABASE IF EXISTS {name}" for name in ("wiki", "shop", "another")),
        *(f"DROP USER IF EXISTS {name}@localhost" for name in ("alice", "gone", "backup", "poor")),
        "DROP ROLE IF EXISTS staff",
        "CREATE DATABASE wiki CHARACTER SET utf8mb4",
        "CREATE DATABASE shop",
        "CREATE USER alice@localhost IDENTIFIED BY 'verysecretword'",
        "CREATE ROLE staff",
        "GRANT SELECT ON wiki.* TO staff",
        "GRANT staff TO alice@localhost",
    )
    shared.sql(*WIKI, database="wiki")
    shared.sql("CREATE TABLE goods (a int)", "INSERT INTO goods SELECT seq FROM seq_1_to_50", database="shop")
    return shared


def test_databases_are_dumped_and_proved(server: Mariadb, served_base: Base, tmp_path: Path) -> None:
    tarball = served_base.dump_one(server.item())
    record = tarball["record"]
    assert tarball["relpath"] == f"databases/thing/{FIRST}/thing.tar.zst"
    assert record["rows"] == {"shop.goods": 50, "wiki.page": 300, "wiki.odd `name (": 2}
    assert record["databases"]["wiki"]["objects"] == {
        "sequences": 0,
        "views": 1,
        "triggers": 1,
        "routines": 1,
        "events": 1,
    }
    assert "alice@localhost" in record["users"] and "verysecretword" not in json.dumps(record)
    top = unpack(tarball, tmp_path / "out")
    assert sorted(path.name for path in top.iterdir()) == ["shop.sql", "users.sql", "wiki.sql"]
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert proof["facts"]["rows"] == 352 and proof["notes"] == [] and "mariadbd" in proof["versions"]


def test_equal_content_gives_equal_bytes_whatever_was_done_to_the_server(server: Mariadb, served_base: Base) -> None:
    digests = [served_base.dump_one(server.item(), stamp=FIRST)["dig"]]
    upkeep = (
        "ANALYZE TABLE page PERSISTENT FOR ALL",
        "OPTIMIZE TABLE page",
        "ALTER TABLE page FORCE",
        "CHECK TABLE page",
    )
    server.sql(*upkeep, "FLUSH TABLES", "FLUSH PRIVILEGES", "FLUSH LOGS", database="wiki")
    digests.append(served_base.dump_one(server.item(), stamp=SECOND)["dig"])
    server.stop()
    server.start()
    digests.append(served_base.dump_one(server.item(), stamp=THIRD)["dig"])
    assert len(set(digests)) == 1
    server.sql("INSERT INTO goods VALUES (51)", database="shop")
    assert served_base.dump_one(server.item(), stamp=FOURTH)["dig"] not in digests


def test_a_password_is_read_from_a_file_of_the_user_s_alone_and_is_in_no_list_of_processes(
    server: Mariadb, served_base: Base
) -> None:
    server.sql(
        "CREATE USER backup@localhost IDENTIFIED BY 'averysecretpassword'",
        "GRANT ALL PRIVILEGES ON *.* TO backup@localhost",
    )
    password = server.data.parent / "options"
    password.write_text("[client]\npassword=averysecretpassword\n")
    password.chmod(0o644)
    if os.geteuid() == 0:
        shutil.chown(password, "nobody")
    item = server.item(login="backup", password_file=str(password))
    assert "alone can read" in served_base.reason(item)
    password.chmod(0o600)
    with password.open("a") as stream:  # what its user has for dumps by hand
        stream.write("loose-where=1=0\n[mysqldump]\nwhere=1=0\n[mariadb-dump]\nno-data\nan-option-of-another-version\n")
    with command_lines() as seen:
        result = served_base.dump(item)
    assert not result["failures"], result["failures"]
    assert result["tarballs"][0]["record"]["rows"] == served_base.dump_one(server.item(), stamp=THIRD)["record"]["rows"]
    assert any(b"mariadb-dump" in line for line in seen)
    assert not any(b"averysecretpassword" in line for line in seen) and "averysecretpassword" not in json.dumps(result)
    assert "Access denied" in served_base.reason(server.item(login="backup"), stamp=SECOND)


def test_tables_without_transactions_are_named_unless_they_are_locked(
    server: Mariadb, served_base: Base, tmp_path: Path
) -> None:
    server.sql("CREATE TABLE old (a int) ENGINE=MyISAM", "INSERT INTO old VALUES (1)", database="shop")
    notes = served_base.dump(server.item(databases=["shop"]))["notes"]
    assert any("know no transactions" in note and "old" in note for note in notes)
    result = served_base.dump(server.item(databases=["shop"], lock=True), stamp=SECOND)
    assert not result["failures"] and not result["notes"]


def test_tables_that_change_meanwhile_are_read_again(
    server: Mariadb, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = kind._Dump._stream
    changed = server.data.parent / "changed"

    def alter_meanwhile(self: Any, filename: str, *words: Any, **options: Any) -> Any:
        told = stream(self, filename, *words, **options)
        if filename == "shop.sql" and not changed.exists():
            changed.touch()
            server.sql("CREATE TABLE made (a int) ENGINE=MyISAM", database="shop")
        return told

    monkeypatch.setattr(kind._Dump, "_stream", alter_meanwhile)
    assert served_base.dump_one(server.item(databases=["shop"]))["record"]["rows"] == {"shop.goods": 50, "shop.made": 0}
    assert changed.exists()


def test_a_view_on_a_dropped_table_is_stored_as_its_definition_and_told(
    server: Mariadb, served_base: Base, tmp_path: Path
) -> None:
    server.sql(
        "CREATE TABLE dropped (a int)",
        "CREATE VIEW broken AS SELECT * FROM dropped",
        "DROP TABLE dropped",
        database="shop",
    )
    result = served_base.dump(server.item(databases=["shop"]))
    assert not result["failures"]
    assert any("views of shop that do not work" in note and "broken" in note for note in result["notes"])
    (tarball,) = result["tarballs"]
    assert "VIEW `shop`.`broken`" in (unpack(tarball, tmp_path / "out") / "shop.views.sql").read_text()
    assert drill_one(served_base, tarball, tmp_path / "scratch")["facts"]["rows"] == 50


def test_objects_of_a_user_that_is_gone_come_along(server: Mariadb, served_base: Base, tmp_path: Path) -> None:
    server.sql(
        "CREATE USER gone@localhost",
        "GRANT ALL PRIVILEGES ON shop.* TO gone@localhost",
        "CREATE DEFINER=gone@localhost VIEW seen AS SELECT a FROM goods",
        "CREATE DEFINER=gone@localhost PROCEDURE p() SELECT 1",
        "DROP USER gone@localhost",
        database="shop",
    )
    result = served_base.dump(server.item(databases=["shop"]))
    assert not result["failures"], result["failures"]
    drill_one(served_base, result["tarballs"][0], tmp_path / "scratch")


def test_the_least_rights_are_enough_and_what_they_hide_is_told(
    server: Mariadb, served_base: Base, tmp_path: Path
) -> None:
    server.sql(
        "CREATE USER poor@localhost", "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON shop.* TO poor@localhost"
    )
    result = served_base.dump(server.item(login="poor"))
    assert not result["failures"], result["failures"]
    assert any("users and grants are not in the dump" in note for note in result["notes"])
    assert not any("has not the right" in note for note in result["notes"])
    assert list(result["tarballs"][0]["record"]["databases"]) == ["shop"]
    assert drill_one(served_base, result["tarballs"][0], tmp_path / "scratch")["facts"]["rows"] == 50


def test_users_that_the_server_does_not_use_are_told_and_the_others_stored(
    server: Mariadb, served_base: Base, tmp_path: Path
) -> None:
    server.sql("CREATE USER IF NOT EXISTS far@'host.example.org'")
    server.stop()
    try:
        server.start("--skip-name-resolve")
        result = served_base.dump(server.item(databases=["shop"]))
    finally:
        server.stop()
        server.start()
        server.sql("DROP USER far@'host.example.org'")
    assert not result["failures"], result["failures"]
    assert any("does not use" in note and "far@host.example.org" in note for note in result["notes"])
    assert "CREATE USER `alice`" in (unpack(result["tarballs"][0], tmp_path / "out") / "users.sql").read_text()
    drill_one(served_base, result["tarballs"][0], tmp_path / "scratch")


def test_a_database_that_was_dropped_and_tables_that_lost_their_rows_are_doubted(
    server: Mariadb, served_base: Base
) -> None:
    served_base.dump_one(server.item())
    server.sql("TRUNCATE shop.goods")
    (failure,) = served_base.dump(server.item(), stamp=SECOND)["failures"]
    assert "shop.goods (50 rows)" in failure["reason"]
    server.sql("DROP DATABASE shop")
    (failure,) = served_base.dump(server.item(), stamp=THIRD)["failures"]
    assert "1 database of the dump of" in failure["reason"] and "vanished: shop" in failure["reason"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"host": "/nonexistent"}, "Can't connect"),
        ({"databases": ["no such"]}, "there is no database no such"),
        ({"lock": "yes"}, "neither true nor false"),
    ],
)
def test_what_cannot_be_dumped_is_told(server: Mariadb, served_base: Base, more: dict[str, Any], said: str) -> None:
    assert said in served_base.reason(server.item(**more))


def test_a_dump_without_its_last_line_is_a_failure(
    server: Mariadb, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place() as folder:
        program = folder / "dump"
        program.write_text('#!/bin/sh\nmariadb-dump "$@" | head -n 20\n')
        program.chmod(0o755)
        monkeypatch.setattr(kind._Dump, "_dump_program", lambda self: str(program))
        assert "are no whole dump" in served_base.reason(server.item())


def cut(top: Path) -> None:
    path = top / "wiki.sql"
    path.write_bytes(path.read_bytes()[:-30])


def lose_rows(top: Path) -> None:
    path = top / "shop.sql"
    path.write_text(path.read_text().replace("(7),\n", ""))


def change_row(top: Path) -> None:
    path = top / "shop.sql"
    path.write_text(path.read_text().replace("(7),\n", "(8),\n"))


def lose_user(top: Path) -> None:
    path = top / "users.sql"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "alice" not in line))


def lose_routine(top: Path) -> None:
    path = top / "wiki.sql"
    path.write_text(
        "".join(line for line in path.read_text().splitlines(True) if "PROCEDURE" not in line or "CREATE" not in line)
    )


def run_a_shell(top: Path) -> None:
    path = top / "shop.sql"
    path.write_text(path.read_text().replace("UNLOCK TABLES;", "UNLOCK TABLES;\n\\! touch /tmp/room/ran\n"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut, "no whole dump"),
        (lose_rows, r"shop.goods \(49 rows, expected 50\)"),
        (change_row, "rows of its tables are others"),
        (lose_user, "users differ"),
        (lose_routine, "cannot be loaded|other objects|differ"),
        (run_a_shell, "Unknown command"),
    ],
)
def test_a_proof_finds_what_is_not_as_it_was(
    server: Mariadb, served_base: Base, tmp_path: Path, change: Any, said: str
) -> None:
    tarball = served_base.dump_one(server.item())
    alter(Path(tarball["path"]), tmp_path / "unpacked", change)
    with pytest.raises(ProofFailed, match=said):
        drill_one(served_base, tarball, tmp_path / "scratch")


def test_without_a_server_the_proof_reads_and_says_that_it_proved_less(
    server: Mariadb, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(server.item())
    found = kind.find_tool

    def without(name: str) -> str:
        if name == "mariadbd":
            raise ToolMissing("mariadbd is not installed")
        return found(name)

    monkeypatch.setattr(kind, "find_tool", without)
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert any("only read, which proves less" in note for note in proof["notes"]) and proof["facts"]["rows"] == 352


def test_rights_without_which_a_dump_is_silently_less_are_told(server: Mariadb, served_base: Base) -> None:
    server.sql("CREATE USER less@localhost", "GRANT SELECT, LOCK TABLES, SHOW VIEW, EVENT ON shop.* TO less@localhost")
    result = served_base.dump(server.item(login="less"))
    assert not result["failures"], result["failures"][0]["reason"]
    assert any("has not the right TRIGGER" in note for note in result["notes"])


def test_a_view_that_does_not_work_is_stored_whole_with_the_tabs_in_it(
    server: Mariadb, served_base: Base, tmp_path: Path
) -> None:
    server.sql(
        "CREATE TABLE gone_soon (a int)",
        "CREATE VIEW tabbed AS SELECT CONCAT(a, '\t', 'the end') AS x FROM gone_soon",
        "DROP TABLE gone_soon",
        database="shop",
    )
    folder = unpack(served_base.dump_one(server.item()), tmp_path / "out")
    text = (folder / "shop.views.sql").read_text()
    assert "the end" in text and oct((folder / "shop.views.sql").stat().st_mode & 0o777) == "0o600"
