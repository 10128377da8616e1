"""Programs of MySQL and MariaDB, without a server."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.kinds import mysql_client
from ansible_collections.altbackup.core.plugins.module_utils.kinds.mysql_client import (
    any_client,
    client_lines,
    disobedient_client,
    is_mariadb,
    option_file,
    options_of,
    programs_for,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.mysql_survey import SETTINGS
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput, ToolMissing
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


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"password=none of a group\n[client]\npassword=x\n# mine\n", ["password=x", "# mine", ""]),
        (b"[mysqldump]\nwhere=1=0\n [client] \r\nhost=db01\r\n[mariadb-dump]\nno-data\n", ["host=db01\r"]),
        (b"[client]\n!include /etc/other\n loose-where=1=0\nloose_no-data\nport=1\n[client-other]\nport=2", ["port=1"]),
    ],
)
def test_of_an_option_file_what_is_for_all_programs_is_read_alone(text: bytes, lines: list[str]) -> None:
    assert client_lines(io.BytesIO(text), "options") == lines
    with option_file(lines) as path:
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert client_lines(io.BytesIO(Path(path).read_bytes()), "options") == [*lines, ""]
    assert not Path(path).exists()


def test_an_option_file_without_end_is_not_read() -> None:
    with pytest.raises(InvalidInput, match="options has more than 65536 bytes"):
        client_lines(io.BytesIO(b"x" * 70000), "options")


def test_a_client_ends_at_the_first_error_whatever_an_option_file_says(tmp_path: Path) -> None:
    client = shutil.which("mariadb") or pytest.skip("needs mariadb: install the package mariadb-client")
    (tmp_path / "options").write_text("[client]\nforce\n")
    words = [client, f"--defaults-file={tmp_path / 'options'}"]
    told = [
        next(line.split() for line in said.splitlines() if line.startswith("force "))
        for more in ((), SETTINGS)
        for said in [subprocess.run([*words, *more, "--help"], capture_output=True, text=True, check=True).stdout]
    ]
    assert told == [["force", "TRUE"], ["force", "FALSE"]]
