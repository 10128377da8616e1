"""Process groups end with this process, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.waiting import is_running, wait_until

_PARENT = r"""
import sys
from ansible_collections.altbackup.core.plugins.module_utils.system import process_groups
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import in_parallel
from ansible_collections.altbackup.core.plugins.module_utils.system.process_groups import end_with_children
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child, Deadline

process_groups.GRACE = 0.2

def work(number):
    for attempt in range(2):
        try:
            with Child(["sh", "-c", "trap '' TERM; echo started; sleep 1000; sleep 1000"], stdout=sys.stdout) as child:
                child.check(Deadline(60), "sleeping")
        except Exception as error:
            print(error, flush=True)

end_with_children()
in_parallel(work, list(range(int(sys.argv[1]))), 2)
"""


@pytest.mark.sampled(5)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("items", [1, 2, 5])
def test_signal_ends_the_children_and_starts_no_more(items: int, number: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _PARENT, str(items)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        parent.send_signal(number)
        try:
            printed, _ = parent.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            parent.kill()
            raise
    assert parent.returncode == 128 + number
    assert printed.splitlines().count("started") <= 1
    if items > 1:
        assert f"signal {number} told this process to end: sh was not started" in printed


_KILLED = r"""
import os, sys, threading
from ansible_collections.altbackup.core.plugins.module_utils.system.process_groups import end_with_children
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child, Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.programs import find_tool

end_with_children()
folder = sys.argv[1]
shell = f"sh -c 'echo $$ >>{folder}/pids; exec sleep 1000'"
open(f"{folder}/shell", "w").write(f"#!/bin/sh\n{shell}\n")
os.chmod(f"{folder}/shell", 0o755)
commands = [
    ["sh", "-c", f"trap '' TERM HUP INT; {shell}; sleep 1000"],
    ["sh", "-c", f"{shell} & exec sleep 1000"],
    ["tar", "--create", "--file=-", f"--use-compress-program={folder}/shell", "/etc/hostname"],
    ["rsync", "-e", f"{folder}/shell", "/etc/hostname", "nowhere:/x"],
]
if os.geteuid() == 0:
    commands.append(["setpriv", "--reuid=65534", "--clear-groups", "sleep", "1000"])

def work(argv):
    with Child([find_tool(argv[0]), *argv[1:]]) as child:
        with open(f"{folder}/pids", "a") as stream:
            stream.write(f"{child.process.pid}\n")
        child.wait(Deadline())

with Child(["true"]) as ended:
    ended.wait(Deadline())
for argv in commands:
    threading.Thread(target=work, args=(argv,)).start()
print(len(commands) + 4, flush=True)
"""


def test_children_and_their_own_die_with_a_process_that_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "pids").touch()

    def pids() -> list[int]:
        return [int(line) for line in (tmp_path / "pids").read_text().split()]

    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        count = int(parent.stdout.readline())
        try:
            assert wait_until(lambda: len(pids()) == count)
            assert all(map(is_running, pids()))
        finally:
            parent.kill()
        assert parent.stdout.read() == ""  # nobody holds it any more
    assert wait_until(lambda: not any(map(is_running, pids())))


_KILLED_AT_A_START = r"""
import os, signal, subprocess, sys
from ansible_collections.altbackup.core.plugins.module_utils.system.process_groups import end_with_children
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child

class Started(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

end_with_children()
subprocess.Popen = Started
Child(["sleep", "1000"])
"""


def test_child_dies_with_a_process_that_is_killed_before_it_knows_the_child() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _KILLED_AT_A_START]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False).stdout
    assert wait_until(lambda: not is_running(int(told)))


_WITHOUT_ITS_GUARD = r"""
import os, signal, sys
from ansible_collections.altbackup.core.plugins.module_utils.system.process_groups import end_with_children
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline, run

end_with_children()
kept = open("/proc/self/task/%d/children" % os.getpid()).read().split()
for guard in kept:
    os.kill(int(guard), signal.SIGKILL)
    os.waitpid(int(guard), 0)
try:
    run(["/nonexistent"], what="x", deadline=Deadline(5))
except FileNotFoundError:
    print("missing")
piped = ["sh", "-c", "yes | true; grep SigIgn /proc/self/status"]
print(len(kept), run(piped, what="x", deadline=Deadline(5)).decode())
"""


def test_child_runs_though_the_guard_was_killed_and_has_no_signal_ignored() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _WITHOUT_ITS_GUARD]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True).stdout
    assert told.split()[:2] == ["missing", "1"]
    assert int(told.split()[-1], 16) & 1 << (signal.SIGPIPE - 1) == 0
