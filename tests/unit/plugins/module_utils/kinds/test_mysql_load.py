"""Databases of a dump of MariaDB come into a server that is in use: all of it, or nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.loads import foresee, load
from helpers.servers import Mariadb, mariadb, run_as_user
from helpers.trees import Base, make_tool

from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql_client
from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql_load as kind
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

pytestmark = pytest.mark.full
OURS = ("wiki", "wiki2", "shop")
USERS = "SELECT CONCAT(user, '@', host, IFNULL(authentication_string, '')) FROM mysql.user WHERE user <> 'mariadb.sys' ORDER BY 1"


@pytest.fixture(scope="module")
def shared() -> Iterator[Mariadb]:
    with mariadb() as server:
        yield server


@pytest.fixture
def server(shared: Mariadb) -> Mariadb:
    """Return a server with a database, a user and a role of it, and one who may restore to another one."""
    shared.sql(
        *(f"DROP DATABASE IF EXISTS {name}" for name in OURS),
        *(f"DROP USER IF EXISTS {name}@localhost" for name in ("alice", "loader")),
        *(f"DROP ROLE IF EXISTS {name}" for name in ("staff", "boss")),
        "CREATE DATABASE wiki CHARACTER SET latin1",
        "CREATE TABLE wiki.page (id int PRIMARY KEY, body longblob)",
        "CREATE USER alice@localhost IDENTIFIED BY 'verysecretword'",
        "CREATE ROLE staff",
        "GRANT SELECT ON wiki.* TO staff",
        "GRANT staff TO alice@localhost",
        "CREATE USER loader@localhost",
        "GRANT ALL ON wiki2.* TO loader@localhost",
    )
    shared.sql("INSERT INTO page SELECT seq, X'00FF27' FROM seq_1_to_300", database="wiki")
    return shared


def into(server: Mariadb, database: str | None = "wiki2", **more: Any) -> dict[str, Any]:
    """Return where a test restores to, as a user without rights on the server."""
    return {"host": str(server.socket), "login": "loader", **({"database": database} if database else {}), **more}


def databases(server: Mariadb) -> list[str]:
    return [name for name in server.sql("SHOW DATABASES").stdout.splitlines() if name in OURS]


def dumped(server: Mariadb, database: str) -> str:
    words = ("--no-defaults", f"--socket={server.socket}", "--user=root", "--routines", "--hex-blob", "--compact")
    return run_as_user("mariadb-dump", *words, database).stdout


def test_a_database_comes_back_under_another_name(server: Mariadb, served_base: Base) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    notes = load(served_base, tarball, into(server, original="wiki"))
    assert dumped(server, "wiki2") == dumped(server, "wiki") and "page" in dumped(server, "wiki2")
    charset = "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'wiki2'"
    assert server.sql(charset).stdout.strip() == "latin1"
    assert any("300 rows in 1 table" in note for note in notes)


def test_all_databases_and_users_come_back_into_an_empty_server(server: Mariadb, served_base: Base) -> None:
    server.sql(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.goods (a int)",
        "CREATE DEFINER=alice@localhost VIEW shop.v AS SELECT a FROM shop.goods",
        "GRANT ALL ON shop.* TO loader@localhost",
    )
    tarball = served_base.dump_one(server.item())
    server.sql("DROP DATABASE shop")
    with pytest.raises(AltbackupError, match="is made by an administrator alone"):
        load(served_base, tarball, into(server, "shop"))
    assert databases(server) == ["wiki"]
    with mariadb() as other:
        other.sql("CREATE USER loader@localhost IDENTIFIED BY 'of its own'")
        known = other.sql("SELECT authentication_string FROM mysql.user WHERE user = 'loader'").stdout
        notes = load(served_base, tarball, {"host": str(other.socket), "login": "root", "globals": True})
        assert databases(other) == ["shop", "wiki"] and dumped(other, "wiki") == dumped(server, "wiki")
        found = other.sql(USERS).stdout.splitlines()
        assert [line for line in server.sql(USERS).stdout.splitlines() if "loader" not in line] == [
            line for line in found if "loader" not in line
        ]
        assert other.sql("SELECT authentication_string FROM mysql.user WHERE user = 'loader'").stdout == known
        grants = "SHOW GRANTS FOR alice@localhost"
        assert other.sql(grants).stdout == server.sql(grants).stdout and "staff" in other.sql(grants).stdout
    assert any("users that were made: alice@localhost" in note for note in notes)


def test_a_database_that_is_there_is_never_replaced(server: Mariadb, served_base: Base) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    server.sql("CREATE DATABASE wiki2")
    with pytest.raises(AltbackupError, match="wiki2 is there already, and a restore replaces nothing"):
        load(served_base, tarball, into(server, original="wiki"))
    with pytest.raises(AltbackupError, match="MySQL and MariaDB cannot rename a database"):
        load(served_base, tarball, into(server, original="wiki"), replace="move_aside")
    with pytest.raises(AltbackupError, match="holds no database wiki2, but wiki"):
        load(served_base, tarball, into(server))


def test_a_database_with_views_which_name_it_keeps_its_name(server: Mariadb, served_base: Base) -> None:
    server.sql("CREATE VIEW wiki.v AS SELECT id FROM wiki.page")
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    with pytest.raises(AltbackupError, match="1 view of wiki name that database"):
        load(served_base, tarball, into(server, original="wiki"))


@pytest.mark.parametrize("when", ["in time", "at the limit"])
def test_a_load_that_fails_leaves_nothing(
    server: Mariadb, served_base: Base, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))

    def fail(given: Any, *arguments: Any) -> None:
        assert "wiki2" in databases(server)
        if when == "at the limit":
            given.deadline = Deadline(0, "restore")
            given.deadline.remaining()
        raise ToolFailed("it failed here")

    monkeypatch.setattr(kind, "_load_one", fail)
    with pytest.raises(AltbackupError, match=r"it failed here|limit of 0 s"):
        load(served_base, tarball, into(server, original="wiki"))
    assert databases(server) == ["wiki"]


def test_a_database_that_another_makes_meanwhile_stays(
    server: Mariadb, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    make = kind._make

    def late(*arguments: Any) -> None:
        server.sql("CREATE DATABASE wiki2")
        make(*arguments)

    monkeypatch.setattr(kind, "_make", late)
    with pytest.raises(AltbackupError, match="database exists"):
        load(served_base, tarball, into(server, original="wiki"))
    assert databases(server) == ["wiki", "wiki2"]


@pytest.mark.parametrize("right", ["FILE", "SUPER", "SET USER", "ALL PRIVILEGES", "CREATE USER"])
def test_a_login_with_rights_on_the_server_is_refused_unless_users_are_wanted(
    server: Mariadb, served_base: Base, right: str
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    server.sql(f"GRANT {right} ON *.* TO loader@localhost")
    with pytest.raises(AltbackupError, match=f"has {right} on the whole server"):
        load(served_base, tarball, into(server, original="wiki"))
    assert databases(server) == ["wiki"]


@pytest.mark.parametrize(
    ("grants", "told"),
    [
        (["INSERT ON *.* TO loader@localhost"], "INSERT on the whole server"),
        (["UPDATE ON mysql.* TO loader@localhost"], "UPDATE on mysql"),
        (["INSERT ON mysql.global_priv TO loader@localhost"], "INSERT on mysql"),
        (["DELETE ON `m%`.* TO loader@localhost"], "DELETE on m%"),
        (["ALL ON *.* TO boss", "boss TO staff", "staff TO loader@localhost"], "ALL PRIVILEGES on the whole server"),
    ],
)
def test_a_login_that_can_make_itself_an_administrator_is_refused_like_one(
    server: Mariadb, served_base: Base, grants: list[str], told: str
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    server.sql("CREATE ROLE boss", *(f"GRANT {grant}" for grant in grants))
    with pytest.raises(AltbackupError, match=f"has {told}"):
        foresee(served_base, tarball, into(server, original="wiki"))


def test_a_login_that_reads_the_whole_server_may_restore(server: Mariadb, served_base: Base) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    server.sql("GRANT SELECT, PROCESS, SHOW VIEW ON *.* TO loader@localhost", "GRANT staff TO loader@localhost")
    assert foresee(served_base, tarball, into(server, original="wiki")) == []


def test_a_database_on_which_the_login_has_no_rights_is_told_before_anything_travels(
    server: Mariadb, served_base: Base
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    with pytest.raises(AltbackupError, match=r"may not make database wiki3: GRANT ALL ON `wiki3`.\* TO it"):
        foresee(served_base, tarball, into(server, "wiki3", original="wiki"))


@pytest.mark.parametrize(
    "command", ["connect wiki 127.0.0.1", "\\r wiki 127.0.0.1", "SELECT 1; \\r wiki 127.0.0.1", "use wiki"]
)
def test_the_client_obeys_no_command_of_a_dump_to_turn_to_another_server(
    server: Mariadb, served_base: Base, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    load_one = kind._load_one

    def hostile(given: Any, target: Any, original: str, path: str, name: str) -> None:
        with open(path, "r+") as stream:
            text = stream.read()
            stream.seek(0)
            stream.write(f"{command}\n{text}")
        load_one(given, target, original, path, name)

    monkeypatch.setattr(kind, "_load_one", hostile)
    with pytest.raises(AltbackupError, match=r"error in your SQL syntax|Unknown command"):
        load(served_base, tarball, into(server, original="wiki"))
    assert databases(server) == ["wiki"]


def test_a_client_that_knows_no_sandbox_refuses(
    server: Mariadb, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))
    make_tool(tmp_path, "mariadb", "echo an older one")
    monkeypatch.setattr(mysql_client, "find_tool", lambda name: str(tmp_path / name))
    with pytest.raises(AltbackupError, match="has no --sandbox, without which it would obey commands in a dump"):
        load(served_base, tarball, into(server, original="wiki"))


def test_what_a_killed_restore_left_is_dropped_by_the_next_and_nothing_else_of_that_name(
    server: Mariadb, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(server.item(databases=["wiki"]))

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def killed(instead_of: str = "_load_one", what: Callable[..., None] = die) -> None:
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(kind, instead_of, what)
            try:
                load(served_base, tarball, into(server, original="wiki"), folder=tmp_path)
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL

    killed()
    assert databases(server) == ["wiki", "wiki2"]
    notes = load(served_base, tarball, into(server, original="wiki"), folder=tmp_path)
    assert any("dropped database wiki2, which an earlier restore had left half done" in note for note in notes)
    assert dumped(server, "wiki2") == dumped(server, "wiki")
    server.sql("DROP DATABASE wiki2")
    killed()
    server.sql("DROP DATABASE wiki2", "CREATE DATABASE wiki2", "CREATE TABLE wiki2.other (a int)")
    with pytest.raises(AltbackupError, match="wiki2 is there already"):
        load(served_base, tarball, into(server, original="wiki"), folder=tmp_path)
    assert "other" in server.sql("SHOW TABLES", database="wiki2").stdout
    server.sql("DROP DATABASE wiki2")
    for more in ((), (f"CREATE TABLE wiki2.{kind._MARK} (token char(32))",)):

        def begin(*_: Any, more: Sequence[str] = more) -> None:
            server.sql("CREATE DATABASE wiki2", *more)
            die()

        killed("_make", begin)
        load(served_base, tarball, into(server, original="wiki"), folder=tmp_path)
        server.sql("DROP DATABASE wiki2")


def test_lines_of_users_that_are_there_are_left_out() -> None:
    text = "CREATE USER `a`@`h`;\nGRANT USAGE ON *.* TO `a`@`h`;\nCREATE ROLE `r`;\nGRANT `r` TO 'b'@'h';\n"
    assert kind.users_to_make(text, ["a@h"]) == ("CREATE ROLE `r`;\nGRANT `r` TO 'b'@'h';\n", 2)
    assert kind.users_to_make(text, ["r@"])[0].count("ROLE") == 0
