"""Kind `trac` with its database in a server: one tarball with its environment, and proved by loading it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import alter, drill_one
from helpers.environments import trac_admin
from helpers.leaks import command_lines
from helpers.servers import place, run_as_user
from helpers.trac_servers import PASSWORD, Site, belongs_to_nobody, text_below, trac_site
from helpers.trees import FIRST, FOURTH, SECOND, THIRD, Base, forbid_views, item, list_archive, needs_root, unpack

from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql, postgresql, proofs, trac, trac_server
from ansible_collections.altbackup.core.plugins.module_utils.kinds.trac_server import Server, parse
from ansible_collections.altbackup.core.plugins.module_utils.restore.order import parse_order
from ansible_collections.altbackup.core.plugins.module_utils.restore.restore import prepare, restore
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    InvalidInput,
    ProofFailed,
    ToolMissing,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

FILES = {"postgresql": "trac.dump", "mysql": "trac.sql"}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("postgres://u:p@h/d", Server("postgresql", "d", "", "h", 0, "u", "p")),
        ("postgres://u:p@h:5433/d?schema=public", Server("postgresql", "d", "", "h", 5433, "u", "p")),
        ("postgres://u@h/d?schema=one", Server("postgresql", "d", "one", "h", 0, "u")),
        ("postgres://u:p%40%3A%2f@/d?host=/run/x", Server("postgresql", "d", "", "/run/x", 0, "u", "p@:/")),
        ("postgres:///d", Server("postgresql", "d")),
        ("postgres:/d", Server("postgresql", "d")),
        ("mysql://u:p@localhost/d", Server("mysql", "d", "", "localhost", 0, "u", "p")),
        ("mysql://u@localhost:3307/d?unix_socket=/s&charset=utf8mb4", Server("mysql", "d", "", "/s", 3307, "u")),
        ("mysql://u@h/d?read_default_file=/o", Server("mysql", "d", "", "h", 0, "u", "", "/o")),
    ],
)
def test_connection_string(setting: str, expected: Server) -> None:
    assert parse(setting, "item") == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("postgres:d", "not of the form postgres://"),
        ("postgres://u:geheim@h", "names no database"),
        ("postgres://u:geheim@h/", "names no database"),
        ("postgres://u:geheim@h:geheim/d", "a port that is none"),
        ("postgres://u:geheim@h:99999/d", "a port that is none"),
        ("postgres://u:geheim@h/d?sslmode=geheim", "other than schema, host"),
        ("mysql://u:geheim@h/d?geheim", "other than unix_socket"),
        ("mysql://u:geheim%0a@h/d", "has a password with a character"),
    ],
)
def test_connection_string_that_is_none_is_refused_and_not_quoted(setting: str, expected: str) -> None:
    with pytest.raises(InvalidInput, match=r"item: the setting database of its trac.ini") as error:
        parse(setting, "item")
    assert expected in str(error.value)
    assert "geheim" not in str(error.value)


def test_where_programs_are_missing_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "installed", lambda name, deadline: {})
    monkeypatch.setattr(programs, "search_path", lambda: "/nonexistent")
    one = trac.Item("trac", "thing", "/srv/thing")
    context: Any = type("Context", (), {"deadline": None})
    with pytest.raises(ToolMissing, match=r"pg_dump.*install the package postgresql-client for"):
        trac_server.check(one, context, Server("postgresql", "d"))
    with pytest.raises(ToolMissing, match="install the package mariadb-client"):
        trac_server.check(one, context, Server("mysql", "d"))


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with trac_site(request.param, tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def env(site: Site) -> Iterator[Path]:
    """Return an environment that is nobody's, as a web server's is."""
    with place() as folder:
        made = site.environment(folder / "env")
        yield belongs_to_nobody(made) if os.geteuid() == 0 else made


full = pytest.mark.full


@full
def test_environment_and_database_are_one_tarball_and_proved(
    site: Site, env: Path, served_base: Base, tmp_path: Path
) -> None:
    tarball = served_base.dump_one(item("trac", env))
    record = tarball["record"]
    assert tarball["relpath"] == f"tracs/thing/{FIRST}/thing.tar.zst"
    assert record["rows"]["ticket"] == 30 and record["rows"]["wiki"] > 10 and record["attachments"] == 4
    assert record["served"]["kind"] == site.kind
    top = unpack(tarball, tmp_path / "out")
    assert [path.name for path in (top / "altbackup").iterdir()] == [FILES[site.kind]]
    assert (top / "altbackup" / FILES[site.kind]).stat().st_mode & 0o777 == 0o600
    assert {path.name for path in top.iterdir()} == {path.name for path in env.iterdir()} | {"altbackup"}
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert proof["facts"]["rows"] == sum(record["rows"].values()) and proof["facts"]["attachments"] == 4
    assert proof["notes"] == []


@full
def test_equal_content_gives_equal_bytes(site: Site, env: Path, served_base: Base) -> None:
    digests = [served_base.dump_one(item("trac", env), stamp=FIRST)["dig"]]
    trac_admin(env, "wiki", "list")
    digests.append(served_base.dump_one(item("trac", env), stamp=SECOND)["dig"])
    upkeep = {"postgresql": ("VACUUM FULL", "ANALYZE"), "mysql": ("OPTIMIZE TABLE ticket, wiki", "FLUSH TABLES")}
    site.sql(*upkeep[site.kind])
    site.server.stop()
    site.server.start()
    digests.append(served_base.dump_one(item("trac", env), stamp=THIRD)["dig"])
    assert len(set(digests)) == 1
    site.sql("UPDATE ticket SET summary = 'new' WHERE id = 3")
    assert served_base.dump_one(item("trac", env), stamp=FOURTH)["dig"] not in digests


@full
def test_the_password_is_in_trac_ini_of_the_archive_and_nowhere_else(
    site: Site, env: Path, served_base: Base, tmp_path: Path
) -> None:
    with command_lines() as seen:
        result = served_base.dump(item("trac", env))
    assert not result["failures"]
    program = b"pg_dump" if site.kind == "postgresql" else b"mariadb-dump"
    assert any(program in line for line in seen)
    top = unpack(result["tarballs"][0], tmp_path / "out")
    holders = [path for path in top.rglob("*") if path.is_file() and site.url.encode() in path.read_bytes()]
    assert holders == [top / "conf" / "trac.ini"]
    for secret in (PASSWORD, site.url.split(":")[2].partition("@")[0]):
        assert not any(secret.encode() in line for line in seen)
        assert secret not in json.dumps(result) and json.dumps(secret)[1:-1] not in json.dumps(result)
        assert secret.encode() not in text_below(served_base)
    assert not list((served_base.path / ".altbackup" / "tmp").glob("*"))
    assert not (served_base.path / ".altbackup" / "scratch" / "tracs" / "thing").exists()


@full
def test_a_wrong_password_fails_with_the_words_of_the_server(site: Site, env: Path, served_base: Base) -> None:
    ini = env / "conf" / "trac.ini"
    ini.write_text(ini.read_text().replace("word", "wurd"))
    reason = served_base.reason(item("trac", env))
    assert "password authentication failed" in reason or "Access denied" in reason
    assert "wurd" not in reason and "very" not in reason


@full
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DELETE FROM ticket_change", "lost all rows"),
        ("DROP TABLE ticket_change", "vanished"),
    ],
)
def test_tables_that_lost_their_rows_are_suspect(
    site: Site, env: Path, served_base: Base, change: str, expected: str
) -> None:
    served_base.dump_one(item("trac", env), stamp=FIRST)
    site.sql("DELETE FROM session", "DELETE FROM cache")
    assert "suspect" not in served_base.dump_one(item("trac", env), stamp=SECOND)["record"]
    site.sql(change)
    result = served_base.dump(item("trac", env), stamp=THIRD)
    assert "is suspect: 1 table ticket_change (60 rows)" in result["failures"][0]["reason"]
    assert expected in result["failures"][0]["reason"]


@full
def test_tables_that_may_empty_are_named_as_those_of_sqlite(site: Site, env: Path, served_base: Base) -> None:
    thing = item("trac", env, may_empty=["ticket_*"])
    served_base.dump_one(thing, stamp=FIRST)
    site.sql("DELETE FROM ticket_change")
    served_base.dump_one(thing, stamp=SECOND)


@full
def test_attachment_whose_file_is_lost_is_noted_and_doubtful(
    site: Site, env: Path, served_base: Base, tmp_path: Path
) -> None:
    served_base.dump_one(item("trac", env), stamp=FIRST)
    lost = env / trac.attachment_paths("ticket", "1", "plain.txt")[0]
    lost.unlink()
    result = served_base.dump(item("trac", env), stamp=SECOND)
    assert "the files of 1 attachment are missing, and were of 0" in result["failures"][0]["reason"]
    assert any("ticket/1/plain.txt" in note for note in result["notes"])
    assert result["tarballs"][0]["record"]["absent"] == 1
    proof = drill_one(served_base, result["tarballs"][0], tmp_path / "scratch")
    assert proof["notes"] == ["the files of 1 attachment are missing, as they were at its dump"]


@full
def test_attachment_that_is_deleted_meanwhile_means_that_it_is_read_again(
    site: Site, env: Path, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = trac_server.serve
    lost = env / trac.attachment_paths("ticket", "1", "plain.txt")[0]

    def serve_and_delete(*arguments: Any) -> dict[str, Any]:
        found = serve(*arguments)
        if lost.exists():
            site.sql("DELETE FROM attachment WHERE filename = 'plain.txt'")
            lost.unlink()
        return found

    monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=serve_and_delete))
    tarball = served_base.dump_one(item("trac", env))
    assert tarball["record"]["attachments"] == 3 and tarball["record"]["absent"] == 0


@full
def test_what_was_changed_in_the_archive_is_found(site: Site, env: Path, served_base: Base, tmp_path: Path) -> None:
    tarball = served_base.dump_one(item("trac", env))
    path = Path(tarball["path"])

    def lose_file(top: Path) -> None:
        (top / trac.attachment_paths("wiki", "Page1", "no-extension")[0]).unlink()

    def lose_dump(top: Path) -> None:
        (top / "altbackup" / FILES[site.kind]).unlink()

    def cut_dump(top: Path) -> None:
        dump = top / "altbackup" / FILES[site.kind]
        dump.write_bytes(dump.read_bytes()[:-2000])

    for number, (change, expected) in enumerate(
        [(lose_file, "files of 1 attachment are missing"), (lose_dump, "thing: "), (cut_dump, "thing: ")]
    ):
        whole = path.read_bytes()
        alter(path, tmp_path / f"altered{number}", change)
        with pytest.raises(ProofFailed, match=expected):
            drill_one(served_base, tarball, tmp_path / f"scratch{number}")
        path.write_bytes(whole)
    record = json.loads(json.dumps(tarball["record"]))
    (table,) = [name for name in record["served"]["rows"] if name.endswith(".ticket")]
    record["served"]["rows"][table] += 1
    with pytest.raises(ProofFailed, match=r"its tables.* differ from its dump's"):
        drill_one(served_base, tarball, tmp_path / "scratch", record=record)


@full
def test_without_a_server_on_the_node_it_is_said_that_less_is_proved(
    site: Site, env: Path, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = served_base.dump_one(item("trac", env))
    installed = postgresql.installed
    monkeypatch.setattr(
        postgresql, "installed", lambda name, deadline: {} if name == "postgres" else installed(name, deadline)
    )

    def no_server(proof: proofs.Proof) -> dict[str, str]:
        raise ToolMissing("mariadbd is not installed on this node: install the package mariadb-server-core")

    monkeypatch.setattr(mysql, "_programs", no_server)
    proof = drill_one(served_base, tarball, tmp_path / "scratch")
    assert "which proves less" in proof["notes"][0] and "install the package" in proof["notes"][0]
    assert "the files of its attachments were not looked for" in proof["notes"][1]


@full
def test_without_a_record_the_dump_is_found(site: Site, env: Path, served_base: Base, tmp_path: Path) -> None:
    tarball = served_base.dump_one(item("trac", env))
    proof = drill_one(served_base, tarball, tmp_path / "scratch", record={})
    assert proof["facts"]["attachments"] == 4


@full
def test_a_restored_environment_is_dumped_again_without_the_dump_of_before(
    site: Site, env: Path, served_base: Base, tmp_path: Path
) -> None:
    first = served_base.dump_one(item("trac", env))
    top = unpack(first, tmp_path / "out")
    shutil.copytree(top / "altbackup", env / "altbackup")
    (env / "altbackup" / "more").write_text("something")
    belongs_to_nobody(env) if os.geteuid() == 0 else None
    result = served_base.dump(item("trac", env), stamp=SECOND)
    assert not result["failures"]
    assert any("altbackup of the environment is left out" in note for note in result["notes"])
    with_folder = unpack(result["tarballs"][0], tmp_path / "again")
    assert [path.name for path in (with_folder / "altbackup").iterdir()] == [FILES[site.kind]]
    (todo,) = trac_server.restored(result["tarballs"][0]["record"], "/srv/my trac")
    assert f"'/srv/my trac/altbackup/{FILES[site.kind]}'" in todo


@full
def test_the_dump_comes_back_by_the_command_that_is_said(
    site: Site, env: Path, served_base: Base, tmp_path: Path
) -> None:
    tarball = served_base.dump_one(item("trac", env))
    tickets = site.sql("SELECT count(*) FROM ticket", "SELECT summary FROM ticket ORDER BY id")
    with place() as folder:
        place_of_it = str(folder / "it's back")
        values = {"base": str(served_base.path), "record": tarball["record"], "tarballs": [tarball], "kind": "trac"}
        origin = {"item": "tracs/thing", "source": "dayabay", "stamp": FIRST, "node": "dayabay"}
        order = parse_order({**values, "destination": place_of_it, "origin": origin}, SECOND)
        prepare(order)
        (todo,) = restore(order, Deadline(120, "restore"))["notes"]
        assert place_of_it in todo.replace("'\"'\"'", "'") and PASSWORD not in todo
        command = todo.partition("names: ")[2]
        if site.kind == "postgresql":
            environment = {"PGHOST": str(site.server.sockets), "PGUSER": "postgres"}
            site.server.sql("DROP DATABASE trac")
        else:
            environment = {"MYSQL_UNIX_PORT": str(site.server.socket)}
            command = command.replace("mariadb ", "mariadb --no-defaults --user=root ")
            site.server.sql("DROP DATABASE trac")
        run_as_user("sh", "-c", command, environment=environment)
    assert site.sql("SELECT count(*) FROM ticket", "SELECT summary FROM ticket ORDER BY id") == tickets


@full
def test_a_differential_holds_the_dump_that_changed(site: Site, env: Path, served_base: Base) -> None:
    served_base.dump_one(item("trac", env), stamp=FIRST, full_every=3)
    site.sql("UPDATE ticket SET summary = 'new' WHERE id = 3")
    tarball = served_base.dump_one(item("trac", env), stamp=SECOND, full_every=3)
    assert tarball["record"]["base"]
    names = list_archive(tarball["path"])
    assert f"thing/altbackup/{FILES[site.kind]}" in names and "thing/VERSION" not in names


@full
def test_check_mode_asks_no_server_and_says_so(site: Site, env: Path, served_base: Base) -> None:
    site.server.stop()
    try:
        result = served_base.dump(item("trac", env), check_mode=True)
        assert not result["failures"]
        assert any("is in a server, which is not asked in check mode" in note for note in result["notes"])
        assert "failed" in served_base.reason(item("trac", env))
    finally:
        site.server.start()


@full
def test_where_there_are_no_views(
    site: Site, env: Path, served_base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_views(monkeypatch)
    tarball = served_base.dump_one(item("trac", env))
    assert drill_one(served_base, tarball, tmp_path / "scratch")["notes"] == []


@full
@needs_root
def test_the_server_is_asked_as_the_owner_of_the_environment_and_of_trac_ini_where_that_is_root(
    site: Site, env: Path, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = trac_server.serve

    def note_user(*arguments: Any) -> dict[str, Any]:
        answer = serve(*arguments)
        answer["served"]["notes"].append(f"asked as uid {os.geteuid()}")
        return answer

    monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=note_user))
    for stamp, roots, expected in (
        (FIRST, [], 65534),
        (SECOND, [env], 65534),
        (THIRD, [env, env / "conf" / "trac.ini"], 0),
    ):
        for path in roots:
            os.chown(path, 0, 0)
        result = served_base.dump(item("trac", env), stamp=stamp)
        assert not result["failures"]
        assert any(f"asked as uid {expected}" in note for note in result["notes"])


@full
def test_writes_during_a_dump_are_all_in_it_or_not(site: Site, env: Path, served_base: Base, tmp_path: Path) -> None:
    over = threading.Event()

    def write() -> None:
        number = 1000
        while not over.is_set():
            number += 1
            values = f"({number}, 1, 'c', 'a', 'b')"
            site.sql(
                "BEGIN",
                f"INSERT INTO ticket (id, summary) VALUES ({number}, 'pair')",
                f"INSERT INTO ticket_change (ticket, time, author, field, newvalue) VALUES {values}",
                "COMMIT",
            )

    before = served_base.dump_one(item("trac", env), stamp=FIRST)["record"]["rows"]
    writer = threading.Thread(target=write)
    writer.start()
    try:
        tarball = served_base.dump_one(item("trac", env), stamp=SECOND)
    finally:
        over.set()
        writer.join()
    rows = tarball["record"]["rows"]
    assert rows["ticket"] - before["ticket"] == rows["ticket_change"] - before["ticket_change"]
    assert drill_one(served_base, tarball, tmp_path / "scratch")["notes"] == []


@full
def test_a_schema_of_its_own_is_dumped_alone(
    served_base: Base, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with trac_site("postgresql", tmp_path_factory.mktemp("schemas")) as site, place() as folder:
        site.sql("CREATE TABLE secret (a int)", 'CREATE SCHEMA "My one" AUTHORIZATION trac')
        site.sql("ALTER SCHEMA public OWNER TO postgres")
        for table in site.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split():
            if table != "secret":
                site.sql(f'ALTER TABLE public."{table}" SET SCHEMA "My one"')
        env = Path(shutil.copytree(site.template, folder / "env"))
        ini = env / "conf" / "trac.ini"
        ini.write_text(ini.read_text().replace(site.url, f"{site.url}&schema=My%20one"))
        tarball = served_base.dump_one(item("trac", belongs_to_nobody(env) if os.geteuid() == 0 else env))
        assert tarball["record"]["rows"]["ticket"] == 30 and "secret" not in json.dumps(tarball["record"])
        proof = drill_one(served_base, tarball, tmp_path / "scratch")
        assert proof["facts"]["attachments"] == 4 and proof["notes"] == []
