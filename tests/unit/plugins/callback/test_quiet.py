"""Output of ansible-playbook: little of this collection's playbooks, everything of others, and with -v everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
OWN = [{"name": "Mine", "hosts": "all", "gather_facts": False, "tasks": [{"name": "Say", "ansible.builtin.debug": {}}]}]


@pytest.fixture
def play(tmp_path: Path) -> Any:
    """Run ansible-playbook with the settings of the checkout on an inventory that lacks its groups; return its output."""
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"one": LOCAL}}}))

    def run(*arguments: str, program: str = "ansible-playbook", **more: str) -> str:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ALTBACKUP_MAIL_TO": "none",
            "LANG": "C.UTF-8",
            **more,
        }
        command = [str(Path(sys.executable).with_name(program)), "-i", str(tmp_path / "hosts.yml"), *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        ).stdout

    return run


def test_own_playbook_tells_its_failure_once_and_no_task(play: Any) -> None:
    said = play(str(ROOT / "playbooks" / "backup.yml"))
    assert said.count("group sources is missing or empty") == 1, said
    assert "TASK" not in said and "PLAY" not in said and "Origin:" not in said, said
    assert said.startswith("backup.yml of ")
    assert len(said.splitlines()) < 12, said


@pytest.mark.full
def test_verbose_shows_what_the_default_shows(play: Any) -> None:
    playbook = str(ROOT / "playbooks" / "backup.yml")
    default = play(playbook, ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default")
    verbose = play(playbook, "-v")
    assert "TASK [altbackup.core.altbackup : Read the plan of this run from the inventory]" in default

    def tasks(said: str) -> list[str]:
        return [line for line in said.splitlines() if line.startswith(("PLAY", "TASK", "ok:", "fatal:"))]

    assert sorted(tasks(verbose)) == sorted(tasks(default)), "hosts answer in any order"


@pytest.mark.full
def test_other_playbooks_and_commands_are_shown_as_by_default(play: Any, tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(yaml.safe_dump(OWN))
    default = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    assert play("own.yml") == play("own.yml", **default)
    command = ("one", "-m", "ansible.builtin.ping", "-v")
    assert play(*command, program="ansible") == play(*command, program="ansible", **default)


def test_own_tasks_of_a_playbook_that_imports_are_shown_beside_the_stages(play: Any, tmp_path: Path) -> None:
    whole = [*OWN, {"import_playbook": str(ROOT / "playbooks" / "check.yml")}]
    (tmp_path / "own.yml").write_text(yaml.safe_dump(whole))
    said = play("own.yml")
    assert "TASK [Say]" in said and "Hello world!" in said
    assert "TASK [altbackup.core" not in said
    assert said.count("group sources is missing or empty") == 1, said
    assert "PLAY RECAP" in said


def test_an_inventory_that_is_no_yaml_is_named_and_not_called_good(play: Any, tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("altbackup_base: /x\n altbackup_keep: 3\n")
    said = play(str(ROOT / "playbooks" / "backup.yml"))
    assert f"no YAML: {tmp_path}/group_vars/all.yml: line 2, column 16" in said
    assert "nothing failed" not in said
