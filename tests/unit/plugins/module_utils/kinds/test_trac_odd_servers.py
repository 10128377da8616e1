"""Kind `trac` with its database in a server: settings that lead elsewhere, users and names that are odd, and what is told of them."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers.drills import drill_one
from helpers.servers import place, run_as_user
from helpers.trac_servers import PASSWORD, Site, belongs_to_nobody, trac_site
from helpers.trees import SECOND, Base, item, needs_root, unpack

from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql, trac, trac_server
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import decode_name
from ansible_collections.altbackup.core.plugins.module_utils.kinds.trac_server import parse, restored
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput

full = pytest.mark.full


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return what is left of an environment whose settings name a server."""
    (tmp_path / "env" / "conf").mkdir(parents=True)
    (tmp_path / "env" / "VERSION").write_text("Trac Environment Version 1\n")
    (tmp_path / "env" / "conf" / "trac.ini").write_text("[trac]\ndatabase = postgres://trac:geheim@/trac\n")
    return tmp_path / "env"


def serve_nobody(item: Any, context: Any, request: Any) -> Any:
    """Say who asks."""
    raise InvalidInput(f"asked as uid {os.geteuid()}")


@needs_root
def test_no_server_is_asked_as_root_by_settings_that_others_can_write(
    bare: Path, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=serve_nobody))
    ini = bare / "conf" / "trac.ini"
    assert "asked as uid 0" in served_base.reason(item("trac", bare))
    for mode in (0o664, 0o646):
        ini.chmod(mode)
        for check_mode in (False, True):
            reason = served_base.reason(item("trac", bare), check_mode=check_mode)
            assert "is root's, and others can write it" in reason and "geheim" not in reason
    os.chown(ini, 65534, 65534)
    assert "asked as uid 65534" in served_base.reason(item("trac", bare))


@needs_root
def test_the_owner_of_the_settings_is_that_of_the_file_that_was_read(
    bare: Path, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini, other = bare / "conf" / "trac.ini", bare / "conf" / "other.ini"
    other.write_text("")
    os.chown(ini, 65534, 65534)
    request_of = trac_server.request_of

    def exchange_and_ask(*arguments: Any, **more: Any) -> dict[str, Any]:
        os.replace(other, ini)
        return request_of(*arguments, **more)

    monkeypatch.setattr(trac_server, "request_of", exchange_and_ask)
    monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=serve_nobody))
    assert "asked as uid 65534" in served_base.reason(item("trac", bare))
    assert ini.stat().st_uid == 0


@pytest.mark.parametrize(
    "setting",
    ["postgres://u:ge@heim@h/d", "mysql://u:12/heim@h/d", "postgres://u:ge%40@he@im/d"],
)
def test_what_may_be_a_piece_of_a_password_is_taken_for_no_host_and_no_database(setting: str) -> None:
    with pytest.raises(InvalidInput, match="is written %40") as error:
        parse(setting, "item")
    assert "heim" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["wiki", "-h evil", "host=evil", "postgres://evil/d", "a b'c\"d", "$(touch evil)", "x; touch evil", "users"]
)
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_the_command_of_a_restore_takes_the_name_of_a_database_for_nothing_else(
    kind: str, name: str, tmp_path: Path
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("createdb", "pg_restore", "mariadb"):
        (programs / program).write_text('#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\n')
        (programs / program).chmod(0o755)
    entry = {"file": "/etc/passwd", "charset": "utf8mb4; DROP", "collation": "utf8mb4_bin"}
    (todo,) = restored({"served": {"kind": kind, "databases": {name: entry}}}, str(tmp_path))
    (tmp_path / "altbackup").mkdir()
    for file in (mysql.file_of(name), f"{name}.dump"):
        (tmp_path / "altbackup" / file.replace("/", "%2F")).touch()
    done = subprocess.run(
        ["/bin/sh", "-c", todo.partition("names: ")[2]],
        env={"PATH": str(programs)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not (tmp_path / "evil").exists() and "/etc/passwd" not in todo
    words = done.stdout.splitlines()
    if kind == "postgresql":
        assert words[:3] == ["createdb", "--", name]
        (where,) = [word for word in words if word.startswith("--dbname=")]
        assert where in (f"--dbname={name}", "--dbname=dbname='{}'".format(name.replace("'", "\\'")))
        assert where == f"--dbname={name}" or name not in ("wiki", "users")
        assert where != f"--dbname={name}" or not set("=:") & set(name)
    else:
        assert words[2] == f"CREATE DATABASE `{name}` CHARACTER SET `utf8mb4; DROP` COLLATE `utf8mb4_bin`"
        assert words[-1] == f"--database={name}"


@pytest.mark.parametrize("databases", [None, [], {"d": None}, {"d": []}, {"d": {}}, "d"])
@pytest.mark.parametrize("kind", ["postgresql", "mysql", None])
def test_a_record_that_tells_little_ends_no_restore(kind: Any, databases: Any) -> None:
    found = restored({"served": {"kind": kind, "databases": databases}}, "/srv/x")
    assert all("change that before Trac starts" in note for note in found)
    assert len(found) == (1 if isinstance(databases, dict) else 0)


@pytest.mark.parametrize("name", ["users", "x.views", "wiki", "users.views", ".x"])
def test_the_dump_of_a_database_is_taken_for_no_other_file(name: str) -> None:
    file = mysql.file_of(name)
    assert file != mysql.USERS_FILE and not file.endswith(mysql.VIEWS_ENDING)
    assert decode_name(file[: -len(mysql.ENDING)]) == name


@pytest.fixture(scope="module")
def postgresql_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with trac_site("postgresql", tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def mysql_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with trac_site("mysql", tmp_path_factory.mktemp("site")) as made:
        yield made


def owned(site: Site, path: Path) -> Path:
    """Return a new environment, nobody's where that can be."""
    made = site.environment(path)
    return belongs_to_nobody(made) if os.geteuid() == 0 else made


@full
def test_logs_and_an_attachment_that_is_lost(postgresql_site: Site, served_base: Base, tmp_path: Path) -> None:
    with place() as folder:
        env = postgresql_site.environment(folder / "env")
        (env / "log" / "trac.log").write_text("a line\n")
        (env / trac.attachment_paths("ticket", "1", "plain.txt")[0]).unlink()
        belongs_to_nobody(env) if os.geteuid() == 0 else None
        tarball = served_base.dump_one(item("trac", env))
    assert tarball["record"]["absent"] == 1
    assert (unpack(tarball, tmp_path / "out") / "log" / "trac.log").read_text() == "a line\n"


@full
def test_an_attachment_that_is_deleted_once_the_server_was_asked_again_is_not_taken_for_lost(
    postgresql_site: Site, served_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place() as folder:
        env = owned(postgresql_site, folder / "env")
        (env / trac.attachment_paths("ticket", "1", "plain.txt")[0]).unlink()
        other = env / trac.attachment_paths("wiki", "Page1", "no-extension")[0]
        serve = trac_server.serve

        def serve_and_delete(*arguments: Any) -> dict[str, Any]:
            found = serve(*arguments)
            if "still" in found and other.exists():
                postgresql_site.sql("DELETE FROM attachment WHERE filename = 'no-extension'")
                other.unlink()
            return found

        monkeypatch.setattr(trac, "KIND", replace(trac.KIND, serve=serve_and_delete))
        tarball = served_base.dump_one(item("trac", env))
    assert (tarball["record"]["attachments"], tarball["record"]["absent"]) == (3, 1)


@full
@needs_root
def test_the_owner_may_be_nobody_that_the_node_knows(postgresql_site: Site, served_base: Base) -> None:
    with place() as folder:
        env = postgresql_site.environment(folder / "env")
        subprocess.run(["chown", "-R", "54321:54321", env], check=True)
        assert served_base.dump_one(item("trac", env))["record"]["rows"]["ticket"] == 30


@full
def test_a_database_that_is_gone_is_named_though_its_login_comes_to_no_other(
    postgresql_site: Any, served_base: Base
) -> None:
    hba = postgresql_site.server.data / "pg_hba.conf"
    before = hba.read_text()
    reload = (f"{postgresql_site.server.programs}/pg_ctl", "reload", "-D", postgresql_site.server.data)
    with place() as folder:
        env = owned(postgresql_site, folder / "env")
        ini = env / "conf" / "trac.ini"
        ini.write_text(ini.read_text().replace("@/trac?", "@/gone?"))
        hba.write_text("local trac,gone trac scram-sha-256\nlocal all postgres trust\n")
        run_as_user(*reload)
        try:
            reason = served_base.reason(item("trac", env))
        finally:
            hba.write_text(before)
            run_as_user(*reload)
    assert 'database "gone" does not exist' in reason


@full
def test_a_file_of_options_tells_where_the_server_is(mysql_site: Any, served_base: Base) -> None:
    with place() as folder:
        env = owned(mysql_site, folder / "env")
        word = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        (folder / "my.cnf").write_text(
            f'[client]\nuser=trac\npassword="{word}"\nsocket={mysql_site.server.socket}\n'
            "[mysqldump]\nwhere=1=0\n[mariadb-dump]\nno-data\n[client-server]\nno-such=geheim\n",
            encoding="utf-8",
        )
        ini = env / "conf" / "trac.ini"
        options = quote(str(folder / "my.cnf"))
        ini.write_text(ini.read_text().replace(mysql_site.url, f"mysql:///trac?read_default_file={options}"))
        tarball = served_base.dump_one(item("trac", env))
        assert tarball["record"]["rows"]["ticket"] == 30
        modes = [0o646]
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "0:0", env], check=True)
            modes.append(0o664)
        for mode in modes:
            (folder / "my.cnf").chmod(mode)
            assert "no server is asked by what they say" in served_base.reason(item("trac", env), stamp=SECOND)


@full
def test_tables_without_transactions_are_told_without_an_option_that_is_none_of_this_kind(
    mysql_site: Site, served_base: Base
) -> None:
    with place() as folder:
        env = owned(mysql_site, folder / "env")
        mysql_site.sql("ALTER TABLE ticket ENGINE = MyISAM")
        result = served_base.dump(item("trac", env))
    (note,) = [note for note in result["notes"] if "know no transactions" in note]
    assert note.endswith("may not be consistent: ticket")


@full
def test_a_database_named_as_another_file_of_its_kind(mysql_site: Any, served_base: Base, tmp_path: Path) -> None:
    with place() as folder:
        env = owned(mysql_site, folder / "env")
        mysql_site.server.sql("CREATE DATABASE users", "GRANT ALL ON users.* TO trac@localhost")
        names = mysql_site.sql("SHOW TABLES").split()
        for name in names:
            mysql_site.sql(f"CREATE TABLE users.`{name}` LIKE trac.`{name}`")
            mysql_site.sql(f"INSERT INTO users.`{name}` SELECT * FROM trac.`{name}`")
        ini = env / "conf" / "trac.ini"
        ini.write_text(ini.read_text().replace("localhost/trac?", "localhost/users?"))
        tarball = served_base.dump_one(item("trac", env), stamp=SECOND)
        assert tarball["record"]["rows"]["ticket"] == 30
        assert drill_one(served_base, tarball, tmp_path / "scratch")["facts"]["attachments"] == 4
        (todo,) = restored(tarball["record"], "/srv/x")
        assert shlex.quote(f"/srv/x/altbackup/{mysql.file_of('users')}") in todo
