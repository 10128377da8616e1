"""Programs are found under short paths, and run in an environment of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    ToolMissing,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline, run
from ansible_collections.altbackup.core.plugins.module_utils.system.programs import (
    clean_environment,
    find_installed,
    find_tool,
)


def test_environment_of_children_is_not_the_login_shell_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("PATH", "relative:/opt/tools::.")
    environment = clean_environment(MORE="1")
    assert set(environment) == {"PATH", "LC_ALL", "TZ", "HOME", "MORE"}
    assert environment["PATH"].split(":")[0] == "/opt/tools"
    assert "/usr/sbin" in environment["PATH"].split(":")
    assert "." not in environment["PATH"].split(":")
    assert run(["env"], what="x", deadline=Deadline()).decode().count("SECRET") == 0


def test_tools_are_found_under_the_short_path_of_cron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert os.path.isabs(find_tool("tar"))
    monkeypatch.delenv("PATH")
    assert os.path.isabs(find_tool("tar"))


@pytest.mark.parametrize(
    ("tool", "package"), [("svnlook", "subversion"), ("setpriv", "util-linux"), ("other", "other")]
)
def test_missing_tool_names_its_package(
    tool: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=f"{tool} is not installed on this node: install the package {package}"):
        find_tool(tool)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("pg_dump", "postgresql/15/bin/pg_dump"),
        ("pg_dump", "path/pg_dump"),
        ("mariadb-dump", "path/mariadb-dump"),
        ("mariadb-dump", "path/mysqldump"),
        ("git", "path/git"),
    ],
)
def test_a_client_is_installed_wherever_those_who_need_it_look(
    wanted: str, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_PLACES", (str(tmp_path / "postgresql" / "*" / "bin"),))
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(ToolMissing):
        find_installed(wanted)
    (tmp_path / there).parent.mkdir(parents=True)
    make_tool((tmp_path / there).parent, (tmp_path / there).name, "")
    assert find_installed(wanted) == str(tmp_path / there)


def test_debians_wrapper_alone_is_no_client_of_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_PLACES", ())
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    make_tool(tmp_path, "pg_wrapper", "")
    (tmp_path / "pg_dump").symlink_to("pg_wrapper")
    with pytest.raises(ToolMissing, match="install the package postgresql-client"):
        find_installed("pg_dump")
