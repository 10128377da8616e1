"""Programs of MySQL and MariaDB, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql_client
from ansible_collections.altbackup.core.plugins.module_utils.kinds.mysql_client import (
    any_client,
    disobedient_client,
    is_mariadb,
    options_of,
    programs_for,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ToolMissing
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which programs are looked for."""

    def find(name: str) -> str:
        if not (tmp_path / name).exists():
            raise ToolMissing(f"needs {name}")
        return str(tmp_path / name)

    monkeypatch.setattr(mysql_client, "find_tool", find)
    return tmp_path


def test_a_server_needs_the_dump_program_of_its_own_make() -> None:
    versions = {
        "/usr/bin/mysqldump": "mysqldump  Ver 8.0.36 for Linux",
        "/usr/bin/mariadb-dump": "mariadb-dump from 10.11.6-MariaDB",
    }
    assert programs_for("8.0.36", versions) == "/usr/bin/mysqldump"
    assert programs_for("10.11.6-MariaDB-1", versions) == "/usr/bin/mariadb-dump"
    with pytest.raises(ToolMissing, match=r"the server is MySQL 8\.0\.36.*install the package mysql-client"):
        programs_for("8.0.36", {"/usr/bin/mysqldump": "mysqldump from 10.11.6-MariaDB"})
    assert is_mariadb("5.5.5-10.11-MariaDB") and not is_mariadb("8.0.36-0ubuntu")


def test_a_client_for_statements_of_our_own_is_of_either_make(tools: Path) -> None:
    with pytest.raises(ToolMissing, match="needs mysql"):
        any_client()
    make_tool(tools, "mysql", "")
    assert any_client() == str(tools / "mysql")
    make_tool(tools, "mariadb", "")
    assert any_client() == str(tools / "mariadb")


def test_a_client_for_a_dump_is_one_with_a_sandbox(tools: Path) -> None:
    make_tool(tools, "mysql", "echo --sandbox")
    with pytest.raises(ToolMissing, match="needs mariadb"):
        disobedient_client(Deadline(30, "a test"))
    make_tool(tools, "mariadb", "echo --local-infile")
    with pytest.raises(ToolMissing, match=r"no --sandbox, .*install 10\.11\.8 or newer"):
        disobedient_client(Deadline(30, "a test"))
    make_tool(tools, "mariadb", "echo --sandbox")
    assert disobedient_client(Deadline(30, "a test")) == str(tools / "mariadb")


def test_programs_come_to_a_server_by_a_socket_or_a_port_and_read_options_of_its_file_alone(tmp_path: Path) -> None:
    login = {"login": "backup"}
    assert options_of({**login, "host": "/s"}) == ["--no-defaults", "--user=backup", "--protocol=socket", "--socket=/s"]
    assert options_of({**login, "host": "db01", "password_file": "/p"}) == [
        "--defaults-file=/p",
        "--user=backup",
        "--protocol=tcp",
        "--host=db01",
        "--port=3306",
    ]
    assert options_of({**login, "host": "db01", "port": 3307})[-1] == "--port=3307"
    assert options_of(login)[-1].startswith("--socket=/")
