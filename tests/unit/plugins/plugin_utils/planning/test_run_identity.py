"""A run is identified by the process that began it; its forks, in which Ansible evaluates tasks, are the same run."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import parse_run
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.run_identity import identify_run, main_process

COPY = """
import os, sys
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.run_identity import identify_run
first = identify_run(0)
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(writer, repr((identify_run(0)["pid"], identify_run(0)["ticks"])).encode())
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
print(os.read(reader, 100).decode() == repr((first["pid"], first["ticks"])), first["pid"] == os.getpid())
"""


def test_copies_of_a_process_are_the_same_run() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", COPY], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_run_is_one_that_modules_understand() -> None:
    run = parse_run({**identify_run(0), "seconds": 600})
    assert run is not None
    assert (run.pid, run.started) == (main_process(os.getpid()), "1970-01-01 00:00:00 UTC")
    assert run.ticks > 0
    assert run.is_same(run)


def test_alive_are_processes_of_ansible(tmp_path: Path) -> None:
    for pid, words in (
        ("10", "python\0/usr/bin/ansible-playbook\0x.yml\0"),
        ("11", "vim\0x\0y\0ansible.cfg\0"),
        ("self", ""),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_text(words)
        (tmp_path / pid / "stat").write_text(f"{pid} (an (odd) name) S 1 {' '.join('0' * 17)} 4711 0\n")
    assert identify_run(0, tmp_path)["alive"] == ["10/4711"]


def test_where_there_is_no_proc_nothing_is_known_of_others(tmp_path: Path) -> None:
    run = identify_run(0, tmp_path / "none")
    assert (run["ticks"], run["boot"], run["namespace"], run["alive"]) == (0, "", "", [])


def test_user_is_the_one_that_runs_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    assert identify_run(0)["user"] == pwd.getpwuid(os.geteuid()).pw_name
