"""However ansible-playbook ends, its end is known, and none of its processes is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A process of its own: it ends all of its descendants.
PLAY = """
import json, os, sys, time
from pathlib import Path
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import playbook_run, processes
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import Job
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.run_store import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.runner_events import Listener
here = Path(sys.argv[1])
processes.adopt_orphans()
listener = Listener(here / "log", [])
ended = playbook_run.play(Job(here / "x.yml"), Run(here / "run"), {"PATH": os.environ["PATH"]}, listener, float(sys.argv[2]), playbook_run.SignalInbox())
until = time.monotonic() + 20  # what writes to a terminal that is gone ends by itself
while processes.descendants() and time.monotonic() < until:
    time.sleep(0.05)
print(json.dumps([ended.code, ended.reason, ended.detail, len(processes.descendants())]))
"""


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("script", "limit", "expected"),
    [
        ("echo one; echo two; exit 3", 60, [3, "", "", 0]),
        ("echo one; (sleep 1000 &) ; echo two; kill -9 $$", 60, [None, "killed", "SIGKILL", 0]),
        ("echo one; trap '' HUP; setsid sleep 1000 & echo two; sleep 1000", 1, [None, "time limit", "", 0]),
        ("echo one; echo two; (while echo; do sleep 0.1; done &) ; exit 0", 60, [0, "", "", 0]),
    ],
)
def test_end_of_ansible_playbook_is_known(script: str, limit: float, expected: list[object], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "x.yml").write_text("[]")
    program = tmp_path / "ansible-playbook"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    started = time.monotonic()
    command = [sys.executable, "-c", PLAY, str(tmp_path), str(limit)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    assert time.monotonic() - started < 100
    assert (tmp_path / "log").read_text().split()[:2] == ["one", "two"]


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": str(tmp_path)}
    command = [sys.executable, "-c", PLAY, str(tmp_path), "60"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    code, reason, detail, _ = json.loads(done.stdout)
    assert (code, reason) == (None, "broken")
    assert "ansible-playbook" in detail
