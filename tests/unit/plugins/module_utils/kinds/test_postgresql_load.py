"""Databases of a dump of PostgreSQL come into a server that is in use: all of it, or nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.loads import ASIDE, foresee, load
from helpers.servers import Postgresql, place, postgresql, run_as_user
from helpers.trees import SECOND, Base, make_tool
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.kinds import postgresql_load as kind
from ansible_collections.altbackup.core.plugins.module_utils.kinds.postgresql_client import Session
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

pytestmark = pytest.mark.full
ROLES = ("alice", "staff", "loader", "boss")
NAMES = "SELECT datname FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate ORDER BY 1"


@pytest.fixture(scope="module")
def shared() -> Iterator[Postgresql]:
    with postgresql() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: Postgresql) -> Postgresql:
    """Return a cluster with a database of a role's, its settings, a grant, and a role that may restore."""
    for name in shared.sql(NAMES).stdout.splitlines():
        quoted = name.replace('"', '""')
        shared.sql(f'DROP DATABASE "{quoted}" WITH (FORCE)')
    shared.sql(*(f"DROP ROLE IF EXISTS {role}" for role in ROLES))
    shared.sql(
        "CREATE ROLE staff",
        "CREATE ROLE alice LOGIN PASSWORD 'verysecretword'",
        "GRANT staff TO alice",
        "CREATE ROLE loader LOGIN CREATEDB IN ROLE alice",
        "CREATE DATABASE wiki OWNER alice",
        "ALTER DATABASE wiki SET work_mem = '5MB'",
        "COMMENT ON DATABASE wiki IS 'a comment''s; own'",
        "REVOKE CONNECT ON DATABASE wiki FROM PUBLIC",
        "GRANT CONNECT ON DATABASE wiki TO staff",
    )
    shared.sql(
        "SET ROLE alice",
        "CREATE TABLE page (id serial PRIMARY KEY, body text)",
        "INSERT INTO page (body) SELECT repeat('x', n) FROM generate_series(1, 300) n",
        "GRANT SELECT ON page TO staff",
        "SELECT lo_from_bytea(0, 'a large object')",
        database="wiki",
    )
    return shared


def into(cluster: Postgresql, database: str | None = "wiki2", **more: Any) -> dict[str, Any]:
    """Return where a test restores to, as the role without superuser."""
    return {"host": str(cluster.sockets), "login": "loader", **({"database": database} if database else {}), **more}


def databases(cluster: Postgresql) -> list[str]:
    return list(cluster.sql(NAMES).stdout.splitlines())


def dumped(cluster: Postgresql, database: str) -> str:
    """Return what pg_dump says of a database, without what tells of when and what it is called."""
    environment = {"PGHOST": str(cluster.sockets), "PGUSER": "postgres"}
    said = run_as_user(f"{cluster.programs}/pg_dump", "--create", database, environment=environment).stdout
    return re.sub(rf"\\(un)?restrict .*|(?<![\w/])\"?{re.escape(database)}\"?(?!\w)", "", said)


def test_a_database_comes_back_under_another_name_with_all_that_is_its_own(
    cluster: Postgresql, served_base: Base
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    notes = load(served_base, tarball, into(cluster, original="wiki"))
    assert dumped(cluster, "wiki2") == dumped(cluster, "wiki")
    assert "work_mem=5MB" in cluster.sql("SELECT setconfig FROM pg_db_role_setting").stdout
    assert databases(cluster) == ["wiki", "wiki2"]
    assert any("300 rows in 1 table" in note for note in notes)


def test_all_databases_and_roles_come_back_into_an_empty_server(cluster: Postgresql, served_base: Base) -> None:
    cluster.sql('CREATE DATABASE "odd \'name"""', "ALTER ROLE alice IN DATABASE wiki SET statement_timeout = '5min'")
    cluster.sql("CREATE TABLE t AS SELECT 1 a", database="odd 'name\"")
    tarball = served_base.dump_one(cluster.item())
    with postgresql() as other:
        with pytest.raises(AltbackupError, match='role "loader" does not exist'):
            load(served_base, tarball, {"host": str(other.sockets), "login": "loader"})
        notes = load(served_base, tarball, {"host": str(other.sockets), "login": "postgres", "globals": True})
        for name in ("wiki", "odd 'name\""):
            assert dumped(other, name) == dumped(cluster, name)
        assert databases(other) == databases(cluster)
        members = "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members ORDER BY 1, 2"
        passwords = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1"
        for query in (members, passwords):
            assert other.sql(query).stdout == cluster.sql(query).stdout
    assert any("roles that were made: alice, loader, staff" in note for note in notes)
    assert any("database postgres was left as it is" in note for note in notes)


def test_nothing_is_replaced_unless_that_is_said_and_then_it_is_renamed(cluster: Postgresql, served_base: Base) -> None:
    cluster.sql("INSERT INTO page (body) VALUES ('newer')", database="wiki")
    cluster.sql("ALTER ROLE alice IN DATABASE wiki SET statement_timeout = '5min'")
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]), stamp=SECOND)
    with pytest.raises(
        AltbackupError, match="database wiki is there already, and a restore replaces nothing by itself"
    ):
        load(served_base, tarball, into(cluster, "wiki"))
    notes = load(served_base, tarball, into(cluster, "wiki"), replace="move_aside")
    assert databases(cluster) == ["wiki", f"wiki{ASIDE}"]
    counts = [cluster.sql("SELECT count(*) FROM page", database=name).stdout.strip() for name in databases(cluster)]
    assert counts == ["301", "301"]
    assert any("a superuser alone can give: ALTER ROLE alice IN DATABASE" in note for note in notes)
    assert any(f"what was database wiki is wiki{ASIDE} now" in note for note in notes)
    with pytest.raises(AltbackupError, match=f"renamed to wiki{ASIDE}, which is there already"):
        load(served_base, tarball, into(cluster, "wiki"), replace="move_aside")


def test_sessions_are_ended_only_with_consent(cluster: Postgresql, served_base: Base) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    environment = {"PGHOST": str(cluster.sockets), "PGUSER": "alice", "PGDATABASE": "wiki", "PATH": os.environ["PATH"]}
    argv = [f"{cluster.programs}/psql", "-X", "-q", "-A", "-t"]
    session = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert session.stdin and session.stdout
    session.stdin.write("SELECT 'here';\n")
    session.stdin.flush()
    assert session.stdout.readline().strip() == "here"
    try:
        with pytest.raises(AltbackupError, match="1 session of database wiki would have to be ended"):
            load(served_base, tarball, into(cluster, "wiki"), replace="move_aside")
        session.stdin.write("SELECT 'still here';\n")
        session.stdin.flush()
        assert session.stdout.readline().strip() == "still here"
        load(served_base, tarball, into(cluster, "wiki"), replace="move_aside", consent=True)
    finally:
        session.kill()
        session.communicate()
    assert databases(cluster) == ["wiki", f"wiki{ASIDE}"]


def test_a_superuser_is_refused_unless_roles_are_wanted(cluster: Postgresql, served_base: Base) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    with pytest.raises(AltbackupError, match="postgres is a superuser"):
        load(served_base, tarball, into(cluster, original="wiki", login="postgres"))
    cluster.sql("GRANT pg_execute_server_program TO loader")
    with pytest.raises(AltbackupError, match="may run programs"):
        load(served_base, tarball, into(cluster, original="wiki"))
    cluster.sql("REVOKE pg_execute_server_program FROM loader", "ALTER ROLE loader NOCREATEDB")
    with pytest.raises(AltbackupError, match="may not make databases"):
        load(served_base, tarball, into(cluster, original="wiki"))
    assert databases(cluster) == ["wiki"]


@pytest.mark.parametrize(
    "might",
    [
        "GRANT postgres TO loader",
        "GRANT boss TO alice",
        "ALTER ROLE loader CREATEROLE",
        "GRANT pg_write_server_files TO alice",
    ],
)
def test_a_login_that_can_become_more_by_set_role_is_refused_like_a_superuser(
    cluster: Postgresql, served_base: Base, might: str
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    cluster.sql("CREATE ROLE boss SUPERUSER", might)
    with pytest.raises(AltbackupError, match="loader is a superuser, or can become one"):
        foresee(served_base, tarball, into(cluster, original="wiki"))


def test_what_the_login_lacks_is_told_before_anything_travels(
    cluster: Postgresql, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    assert foresee(served_base, tarball, into(cluster, original="wiki")) == []
    with pytest.raises(AltbackupError, match="globals needs a superuser, which loader is not"):
        foresee(served_base, tarball, into(cluster, original="wiki", globals=True))
    cluster.sql("REVOKE alice FROM loader")
    with pytest.raises(
        AltbackupError, match=r"alice, the owner of database wiki.* Make the roles, with the login loader"
    ):
        foresee(served_base, tarball, into(cluster, original="wiki"))
    assert foresee(served_base, tarball, into(cluster, original="wiki", owners=False)) == []
    with place() as folder:
        tools = folder.parent / "tools"
        make_tool(tools, "psql", f"sed -u 's/^\\\\restrict /\\\\restrict_ /' | exec {cluster.programs}/psql \"$@\"")
        (tools / "pg_restore").symlink_to(f"{cluster.programs}/pg_restore")
        monkeypatch.setattr(kind, "installed", lambda *_: {15: (str(tools), "15.1")})
        cluster.sql("GRANT alice TO loader")
        with pytest.raises(AltbackupError, match=r"knows no \\restrict, without which it would obey commands"):
            foresee(served_base, tarball, into(cluster, original="wiki"))


def test_rows_that_their_owner_does_not_see_are_no_difference(cluster: Postgresql, served_base: Base) -> None:
    policy = ("ALTER TABLE page ENABLE ROW LEVEL SECURITY", "ALTER TABLE page FORCE ROW LEVEL SECURITY")
    cluster.sql(*policy, "CREATE POLICY p ON page USING (id < 3)", database="wiki")
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    notes = load(served_base, tarball, into(cluster, original="wiki"))
    assert any("rows of database wiki were not counted in the server" in note for note in notes)
    assert cluster.sql("SELECT count(*) FROM page", database="wiki2").stdout.strip() == "300"


def test_a_vacuum_of_the_server_s_own_is_no_session(cluster: Postgresql, served_base: Base) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    slow = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 0"
    cluster.sql("UPDATE page SET body = repeat('y', 900)", f"ALTER TABLE page SET ({slow})", database="wiki")
    cluster.sql("ALTER SYSTEM SET autovacuum_naptime = 1", "SELECT pg_reload_conf()")
    try:
        seen = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'wiki' AND backend_type = 'autovacuum worker'"
        assert wait_until(lambda: cluster.sql(seen).stdout.strip() == "1", 60)
        assert foresee(served_base, tarball, into(cluster, "wiki"), replace="move_aside") == []
        assert cluster.sql(seen).stdout.strip() == "1"
        load(served_base, tarball, into(cluster, "wiki"), replace="move_aside", consent=True)
    finally:
        cluster.sql("ALTER SYSTEM RESET autovacuum_naptime", "SELECT pg_reload_conf()")
    assert databases(cluster) == ["wiki", f"wiki{ASIDE}"]


def test_a_server_answers_more_questions_than_have_room_in_a_pipe(cluster: Postgresql) -> None:
    environment = {"PATH": os.environ["PATH"], "PGHOST": str(cluster.sockets), "PGUSER": "postgres"}
    with Session(cluster.programs, environment, Deadline(60, "test"), "thing") as session:
        rows = session.ask(*(f"SELECT pg_catalog.json_build_array({number})" for number in range(30_000)))
    assert rows == [[number] for number in range(30_000)]


def test_roles_that_are_there_keep_what_they_are(cluster: Postgresql, served_base: Base) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    cluster.sql("ALTER ROLE alice PASSWORD 'another' CONNECTION LIMIT 7", "REVOKE CONNECT ON DATABASE wiki FROM staff")
    known = cluster.sql("SELECT rolpassword, rolconnlimit FROM pg_authid WHERE rolname = 'alice'").stdout
    load(served_base, tarball, into(cluster, original="wiki", login="postgres", globals=True))
    assert cluster.sql("SELECT rolpassword, rolconnlimit FROM pg_authid WHERE rolname = 'alice'").stdout == known


def test_what_the_login_may_not_give_away_is_told_and_can_be_its_own(cluster: Postgresql, served_base: Base) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))
    cluster.sql("REVOKE alice FROM loader")
    with pytest.raises(AltbackupError, match="Make the roles, with the login loader as a member of them"):
        load(served_base, tarball, into(cluster, original="wiki"))
    assert databases(cluster) == ["wiki"]
    load(served_base, tarball, into(cluster, original="wiki", owners=False))
    query = "SELECT tableowner FROM pg_tables WHERE tablename = 'page'"
    assert cluster.sql(query, database="wiki2").stdout.strip() == "loader"


@pytest.mark.parametrize("step", ["_load_one", "_compare", "_give_names"])
def test_a_load_that_fails_leaves_the_former_database_under_its_own_name(
    cluster: Postgresql, served_base: Base, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))

    def fail(*arguments: Any) -> None:
        raise ToolFailed("it failed here")

    monkeypatch.setattr(kind, step, fail)
    before = dumped(cluster, "wiki")
    with pytest.raises(AltbackupError, match="it failed here"):
        load(served_base, tarball, into(cluster, "wiki"), replace="move_aside")
    assert databases(cluster) == ["wiki"] and dumped(cluster, "wiki") == before


def test_names_change_all_or_none(cluster: Postgresql, served_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.sql("CREATE DATABASE shop OWNER alice")
    tarball = served_base.dump_one(cluster.item(databases=["wiki", "shop"]))
    take = kind._require_free
    seen: list[int] = []

    def take_a_name(given: Any, names: Any, there: Any) -> None:
        take(given, names, there)
        if there and any(name.startswith("altbackup-restore-") for name in there) and not seen:
            seen.append(1)
            cluster.sql(f'CREATE DATABASE "wiki{ASIDE}"')

    monkeypatch.setattr(kind, "_require_free", take_a_name)
    with pytest.raises(AltbackupError, match="already exists"):
        load(served_base, tarball, into(cluster, None), replace="move_aside")
    assert databases(cluster) == ["shop", "wiki", f"wiki{ASIDE}"] and seen


def test_what_a_killed_restore_left_in_the_server_is_dropped_by_the_next(
    cluster: Postgresql, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(cluster.item(databases=["wiki"]))

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(kind, "_give_names", die)
        try:
            load(served_base, tarball, into(cluster, "wiki"), folder=tmp_path, replace="move_aside")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    left = databases(cluster)
    assert len(left) == 2 and left[0].startswith("altbackup-restore-") and left[1] == "wiki"
    notes = load(served_base, tarball, into(cluster, "wiki"), folder=tmp_path, replace="move_aside")
    assert databases(cluster) == ["wiki", f"wiki{ASIDE}"]
    assert any(f"dropped {left[0]}, which an earlier restore had left" in note for note in notes)
