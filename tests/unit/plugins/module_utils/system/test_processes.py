"""Child processes end with their groups, in time, and their stderr is in the failure."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.dead_mount import dead_mount
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system import processes
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    DeadlineExceeded,
    ToolFailed,
    ToolMissing,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import (
    Child,
    Deadline,
    Pace,
    clean_environment,
    find_tool,
    inherited,
    run,
)

_PARENT = r"""
import sys
from ansible_collections.altbackup.core.plugins.module_utils.system import processes
from ansible_collections.altbackup.core.plugins.module_utils.system.digest import in_parallel
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child, Deadline, end_with_children

processes._GRACE = 0.2

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


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_run_returns_what_a_tool_prints() -> None:
    said: list[str] = []
    printed = run(
        ["sh", "-c", "cat; echo careful >&2"], what="x", deadline=Deadline(), input=b"given\0\xff", stderr_lines=said
    )
    assert (printed, said) == (b"given\0\xff", ["careful"])


def test_arguments_never_meet_a_shell() -> None:
    odd = "$(id) `id` ; | & * ' \" \\ \n"
    assert run(["printf", "%s", odd], what="x", deadline=Deadline()).decode() == odd


def test_failure_bears_code_and_words() -> None:
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", "echo line one >&2; echo line two >&2; exit 7"], what="doing it", deadline=Deadline())
    assert str(caught.value) == "doing it: sh failed with exit code 7: line one\nline two"
    assert (caught.value.rc, caught.value.stderr) == (7, "line one\nline two")


def test_long_stderr_is_cut_to_its_end() -> None:
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", "yes noise | head -c 1000000 >&2; echo the reason >&2; exit 1"], what="x", deadline=Deadline())
    assert caught.value.stderr.endswith("the reason")
    assert len(caught.value.stderr) <= 4096


def test_tail_of_a_long_stderr_begins_with_a_whole_line() -> None:
    with Child(["sh", "-c", "seq -f 'warning: %g of many' 1000 >&2"]) as child:
        child.check(Deadline(10), "warning")
        lines = child.stderr().splitlines()
    assert 100 < len(lines) < 300
    assert all(line.startswith("warning: ") for line in lines)


def test_killed_child_is_told() -> None:
    with pytest.raises(ToolFailed, match="sh was killed by signal 9: it said nothing") as caught:
        run(["sh", "-c", "kill -9 $$"], what="x", deadline=Deadline())
    assert caught.value.rc == -9


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM;"], ids=["kind", "stubborn"])
def test_deadline_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: str) -> None:
    monkeypatch.setattr(processes, "_GRACE", 0.2)
    script = f"({stubborn} echo $(exec sh -c 'echo $PPID') > {tmp_path}/below; sleep 1000; sleep 1000) & wait"
    with pytest.raises(DeadlineExceeded, match=r"the dump took longer than its limit of 0.5 s and was ended"):
        run(["sh", "-c", script], what="x", deadline=Deadline(0.5, "dump"))
    assert wait_until(lambda: not is_running(int((tmp_path / "below").read_text())))


def test_deadline_that_is_over_starts_nothing(tmp_path: Path) -> None:
    deadline = Deadline(0)
    assert deadline.is_over()
    with pytest.raises(DeadlineExceeded):
        deadline.remaining()
    assert not Deadline().is_over()
    assert Deadline().remaining() is None
    assert 50 < (Deadline(60).remaining() or 0) <= 60


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
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child, Deadline, end_with_children, find_tool

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
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Child, end_with_children

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
from ansible_collections.altbackup.core.plugins.module_utils.system import processes
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline, end_with_children, run

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


def test_child_leaves_nothing_behind_when_an_error_interrupts() -> None:
    with pytest.raises(ZeroDivisionError), Child(["sleep", "1000"]) as child:
        raise ZeroDivisionError
    assert child.process.returncode == -signal.SIGTERM
    assert child.process.pid not in processes._running


def test_child_that_cannot_be_ended_is_left_alone_and_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_GRACE", 0.2)
    monkeypatch.setattr(processes, "_left", [])
    with dead_mount(tmp_path / "dead") as dead:
        start = time.monotonic()
        with open(tmp_path / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with inherited(lock.fileno()):
                with pytest.raises(DeadlineExceeded, match=r"stat .* cannot be ended: process \d+ waits for a disk"):
                    run(["stat", dead], what="x", deadline=Deadline(0.3, "dump"))
        assert time.monotonic() - start < 5
        (process,) = processes._left
        assert is_running(process.pid)
        with open(tmp_path / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert process.wait(10) < 0


def test_child_that_is_not_locking_keeps_no_lock(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as lock:
        with inherited(lock.fileno()):
            path = f"/proc/self/fd/{lock.fileno()}"
            with Child(["test", "-e", path]) as child, Child(["test", "-e", path], locking=False) as other:
                assert (child.wait(Deadline(10)), other.wait(Deadline(10))) == (0, 1)


def test_end_of_a_finished_child_is_at_once() -> None:
    with Child(["true"]) as child:
        child.check(Deadline(), "x")
        start = time.monotonic()
        child.end()
    assert time.monotonic() - start < 1


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
    monkeypatch.setattr(processes, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=f"{tool} is not installed on this node: install the package {package}"):
        find_tool(tool)


def test_child_that_was_stopped_is_ended_after_its_silence() -> None:
    with Child(["sh", "-c", "cat /dev/zero | cat > /dev/null"]) as child:
        assert wait_until(lambda: processes._bytes_moved(child.process.pid) > 1_000_000)
        os.killpg(child.process.pid, signal.SIGSTOP)
        with pytest.raises(DeadlineExceeded, match=r"sh neither read nor wrote anything for 0\.5 s and was ended"):
            child.wait(Deadline(60), silence=0.5)
        assert child.process.returncode == -signal.SIGKILL


def test_child_whose_own_children_work_is_not_silent() -> None:
    with Child(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; echo $i; done"]) as child:
        assert child.wait(Deadline(60), silence=1.5) == 0


def test_child_that_is_too_slow_is_ended_and_its_rate_told() -> None:
    slow = "while true; do echo a word; sleep 0.05; done"
    with Child(["bash", "-c", slow]) as child:
        said = r"bash read and wrote [\d.]+ (bytes|KiB) a second over 1 s, less than its limit of 977 KiB a second \(min_rate\), and was ended"
        with pytest.raises(DeadlineExceeded, match=said):
            child.wait(Deadline(60), silence=0.4, pace=Pace(1e6, 1))


def test_child_that_keeps_its_pace_is_left_alone_and_what_is_past_does_not_count() -> None:
    with Child(["sh", "-c", "timeout 2.5 cat /dev/zero > /dev/null"]) as child:
        assert child.wait(Deadline(60), silence=1, pace=Pace(1e6, 0.5)) == 124
    with (
        Child(["sh", "-c", "timeout 0.5 cat /dev/zero > /dev/null; while true; do echo; sleep 0.05; done"]) as child,
        pytest.raises(DeadlineExceeded, match="less than"),
    ):
        child.wait(Deadline(60), silence=1, pace=Pace(1e6, 1))


def test_silence_does_not_put_off_the_deadline() -> None:
    with Child(["sleep", "60"]) as child, pytest.raises(DeadlineExceeded, match="the step took longer"):
        child.wait(Deadline(0.3), silence=30)
