"""Child processes end with their groups, in time, and their stderr is in the failure."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.dead_mount import dead_mount
from helpers.waiting import is_running, wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system import process_groups, processes
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    DeadlineExceeded,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.process_groups import inherited
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import (
    Child,
    Deadline,
    Pace,
    output_of,
    run,
)


def test_run_returns_what_a_tool_prints() -> None:
    said: list[str] = []
    printed = run(
        ["sh", "-c", "cat; echo careful >&2"], what="x", deadline=Deadline(), input=b"given\0\xff", stderr_lines=said
    )
    assert (printed, said) == (b"given\0\xff", ["careful"])


def test_output_of_a_program_is_read_while_it_runs_and_its_failure_told_after_it() -> None:
    stderr_lines: list[str] = []
    script = "echo first; echo careful >&2; exit $1"
    with output_of(["sh", "-c", script, "sh", "0"], what="x", deadline=Deadline(), stderr_lines=stderr_lines) as output:
        assert output.read() == b"first\n"
    assert stderr_lines == ["careful"]
    read = b""
    with pytest.raises(ToolFailed, match="doing it: tool failed with exit code 7: careful"):
        with output_of(
            ["sh", "-c", script, "sh", "7"],
            what="doing it",
            deadline=Deadline(),
            stderr_lines=stderr_lines,
            name="tool",
        ) as output:
            read = output.read()
    assert (read, stderr_lines) == (b"first\n", ["careful", "careful"])
    with pytest.raises(DeadlineExceeded):
        with output_of(["sleep", "100"], what="x", deadline=Deadline(0.2)) as output:
            output.read()


def test_arguments_never_meet_a_shell() -> None:
    odd = "$(id) `id` ; | & * ' \" \\ \n"
    assert run(["printf", "%s", odd], what="x", deadline=Deadline()).decode() == odd


def test_failure_bears_code_and_words() -> None:
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", "echo line one >&2; echo line two >&2; exit 7"], what="doing it", deadline=Deadline())
    assert str(caught.value) == "doing it: sh failed with exit code 7: line one\nline two"
    assert (caught.value.rc, caught.value.stderr) == (7, "line one\nline two")


def test_lines_that_end_as_those_of_ssh_do_are_lines() -> None:
    with Child(["sh", "-c", r"printf 'refused\r\nclosed\r\n' >&2"]) as child:
        child.check(Deadline(10), "saying it")
        assert (child.stderr(), list(child.lines())) == ("refused\nclosed", ["refused", "closed"])


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


def test_end_of_a_child_is_not_looked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_seconds: float) -> None:
        raise AssertionError("it slept")

    monkeypatch.setattr(subprocess, "time", SimpleNamespace(sleep=sleep))
    with Child(["sh", "-c", "sleep 0.2; exit 3"]) as child:
        assert child.wait(Deadline(20)) == 3
        assert child.wait(Deadline(20)) == 3
    with Child(["sleep", "100"]) as child, pytest.raises(DeadlineExceeded):
        child.wait(Deadline(0.2))


def test_end_of_a_child_is_found_where_the_kernel_does_not_tell_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_process(_pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", open_process, raising=False)
    with Child(["sh", "-c", "sleep 0.2; exit 3"]) as child:
        assert child.wait(Deadline(20)) == 3
    with Child(["sleep", "100"]) as child, pytest.raises(DeadlineExceeded):
        child.wait(Deadline(0.2))


def test_killed_child_is_told() -> None:
    with pytest.raises(ToolFailed, match="sh was killed by signal 9: it said nothing") as caught:
        run(["sh", "-c", "kill -9 $$"], what="x", deadline=Deadline())
    assert caught.value.rc == -9


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM;"], ids=["kind", "stubborn"])
def test_deadline_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: str) -> None:
    monkeypatch.setattr(process_groups, "GRACE", 0.2)
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


def test_child_leaves_nothing_behind_when_an_error_interrupts() -> None:
    with pytest.raises(ZeroDivisionError), Child(["sleep", "1000"]) as child:
        raise ZeroDivisionError
    assert child.process.returncode == -signal.SIGTERM
    assert child.process.pid not in process_groups.running


def test_child_that_cannot_be_ended_is_left_alone_and_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_groups, "GRACE", 0.2)
    monkeypatch.setattr(process_groups, "left_alone", [])
    with dead_mount(tmp_path / "dead") as dead:
        start = time.monotonic()
        with open(tmp_path / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with inherited(lock.fileno()):
                with pytest.raises(DeadlineExceeded, match=r"stat .* cannot be ended: process \d+ waits for a disk"):
                    run(["stat", dead], what="x", deadline=Deadline(0.3, "dump"))
        assert time.monotonic() - start < 5
        (process,) = process_groups.left_alone
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


@pytest.mark.full
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
