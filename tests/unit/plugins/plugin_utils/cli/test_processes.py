"""Finding and ending the processes of a run, and the kernel's counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import processes
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.processes import Process

# A supervisor of its own, as being a subreaper cannot be undone for the process of the tests.
SUPERVISE = """
import json, subprocess, sys, time
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import processes
processes.adopt_orphans()
subprocess.run(["sh", "-c", sys.argv[1]])
while len(processes.descendants()) < int(sys.argv[2]):
    time.sleep(0.01)
left = processes.end(processes.descendants, float(sys.argv[3]))
print(json.dumps([left, [process.name for process in processes.descendants()]]))
"""


def supervise(script: str, count: int, grace: float) -> tuple[float, str]:
    """Run a script that leaves processes, and end these; return the seconds that took, and what was left."""
    started = time.monotonic()
    command = [sys.executable, "-c", SUPERVISE, script, str(count), str(grace)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started, done.stdout


def test_orphans_in_sessions_of_their_own_are_ended() -> None:
    script = "setsid sh -c 'setsid sleep 1000 & sleep 1000 & wait' >/dev/null 2>&1 & (sleep 1000 >/dev/null 2>&1 &)"
    assert supervise(script, 4, 20)[1] == "[[], []]\n"


def test_what_does_not_listen_is_killed_after_the_grace() -> None:
    script = "setsid sh -c \"trap '' TERM; while :; do sleep 0.05; done\" >/dev/null 2>&1 &"
    took, said = supervise(script, 2, 0.5)
    assert said == "[[], []]\n"
    assert 0.5 < took < 20


def test_what_cannot_be_ended_is_returned() -> None:
    mine = Process(2**22 + 1, 1, "ghost")  # a number that the kernel never gives
    assert processes.end(lambda: [mine], 0.0, patience=0.1) == [mine]


def test_impatience_leaves_no_grace() -> None:
    with subprocess.Popen(["sh", "-c", "trap '' TERM; echo ready; exec sleep 1000"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        mine = Process(child.pid, os.getpid(), "sh")
        processes.end(lambda: [mine] if child.poll() is None else [], 60.0, spare=child.pid, impatient=lambda: True)
        assert child.wait(10) == -signal.SIGKILL


def test_descendants_are_found_through_all_generations() -> None:
    table = [Process(2, 1, "a"), Process(3, 2, "b"), Process(4, 3, "c"), Process(5, 1, "d"), Process(1, 0, "init")]
    assert [process.pid for process in processes.below(2, table)] == [3, 4]
    assert sorted(process.pid for process in processes.below(1, table)) == [2, 3, 4, 5]


def test_processes_are_read_whatever_their_names(tmp_path: Path) -> None:
    for pid, name, state in ((10, "a) R 7 (b", "S"), (11, "dead", "Z"), (12, "", "R")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {state} 1 1 1\n")
    (tmp_path / "13").mkdir()
    (tmp_path / "13" / "stat").write_text("nonsense")
    assert sorted(processes.living(tmp_path), key=lambda process: process.pid) == [
        Process(10, 1, "a) R 7 (b"),
        Process(12, 1, ""),
    ]
    assert [processes.is_alive(pid, tmp_path) for pid in (10, 11, 14)] == [True, False, False]


def test_processes_are_found_by_their_mark() -> None:
    with subprocess.Popen(["sleep", "1000"], env={"MARK": "one", "PATH": "/usr/bin:/bin"}) as child:
        try:
            deadline = time.monotonic() + 10
            while not processes.bearing("MARK=one") and time.monotonic() < deadline:
                time.sleep(0.01)
            assert [process.pid for process in processes.bearing("MARK=one")] == [child.pid]
            assert processes.bearing("MARK=on") == []
        finally:
            child.kill()


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (15, "SIGTERM"), (99, "signal 99")])
def test_signals_have_names(number: int, name: str) -> None:
    assert processes.signal_name(number) == name


def test_counts_of_the_kernel_are_read_and_compared(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
    (tmp_path / "self" / "cgroup").write_text("0::/user.slice/x\n")
    group = tmp_path / "groups" / "user.slice" / "x"
    group.mkdir(parents=True)
    (group / "memory.events").write_text("low 0\noom 1\noom_kill 0\n")
    before = processes.memory_kills(tmp_path, tmp_path / "groups")
    assert sorted(before.values()) == [0, 3]
    (tmp_path / "vmstat").write_text("oom_kill 5\n")
    after = processes.memory_kills(tmp_path, tmp_path / "groups")
    assert processes.memory_verdict(before, before) == ""
    assert processes.memory_verdict(before, after) == (
        f"in the meantime the kernel ended processes for lack of memory: {tmp_path}/vmstat counts 2 more"
    )
    assert processes.memory_kills(tmp_path / "nowhere", tmp_path) == {}
