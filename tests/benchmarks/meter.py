"""Measures whole processes from outside: time, processor, bytes read and written, bytes on the wire, memory.

The measuring process is the ancestor of all, including the lab's hosts with their sshd's, and adopts orphans. The kernel adds what a
process has read, written and computed to its parent's account when that collects it. So the difference of the sums over all processes below
this one, before and after, is what was done in between, on any host.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import Lab
from lab.namespaced import NamespacedHost

COUNTED = {
    "seconds": "from the start of the first process to the end of the last",
    "cpu": "processor seconds, user and system, of all processes on all hosts",
    "read": "bytes that these processes got by read calls, from files, pipes and sockets alike, cached or not; mapped files are not in it",
    "written": "bytes that they gave to write calls",
    "wire": "bytes that source, target and controller sent over the lab's links, headers included; each packet once",
    "memory": "the most that a single process had in memory, on whichever host; looked at four times a second, and exact for one "
    "that ended on the near side of ssh with more than what measures takes itself; unknown of what is small and quick",
}
_CHILD_SUBREAPER = 36
_TICK = os.sysconf("SC_CLK_TCK")
_LOOK = 0.25


class StepFailed(Exception):
    """A measured process failed."""


@dataclass(frozen=True)
class Step:
    """A process to be measured, with its environment and folder."""

    title: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


def adopt_orphans() -> None:
    """Make this process the parent of orphans below it."""
    if ctypes.CDLL(None, use_errno=True).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: cannot adopt orphans")


def below(pid: int) -> Iterator[int]:
    """Yield the pids of all processes below one."""
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for word in Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split():
                yield int(word)
                yield from below(int(word))


def parse_io(text: str) -> tuple[int, int]:
    """Return the bytes of read calls and of write calls from the text of a /proc `io` file."""
    fields = dict(line.split(": ") for line in text.splitlines())
    return int(fields["rchar"]), int(fields["wchar"])


def parse_cpu(stat: str) -> tuple[float, float]:
    """Return the processor seconds of a process and its collected children, from the text of a /proc `stat` file."""
    user, system, childrens_user, childrens_system = map(int, stat.rpartition(")")[2].split()[11:15])
    return (user + system) / _TICK, (childrens_user + childrens_system) / _TICK


def parse_peak(status: str) -> int:
    """Return the peak of a process's memory in bytes, from the text of a /proc `status` file; 0 if it has ended."""
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def parse_sent(devices: str, name: str) -> int:
    """Return the bytes that a device sent, from the text of /proc `net/dev`. Raise StepFailed if there is no such device."""
    for line in devices.splitlines():
        device, _, counters = line.partition(":")
        if device.strip() == name:
            return int(counters.split()[8])
    raise StepFailed(f"there is no device {name}")


def _account() -> dict[str, float]:
    """Return the totals of all processes below this one, including those that have ended."""
    own, me = os.getpid(), Path("/proc/self")
    read, written = parse_io((me / "io").read_text(encoding="ascii"))
    mine = parse_io(Path(f"/proc/self/task/{own}/io").read_text(encoding="ascii"))
    read, written = read - mine[0], written - mine[1]
    cpu = parse_cpu((me / "stat").read_text(encoding="utf-8"))[1]
    for pid in below(own):
        with contextlib.suppress(OSError):  # it has just ended
            found = parse_io(Path(f"/proc/{pid}/io").read_text(encoding="ascii"))
            cpu += sum(parse_cpu(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")))
            read, written = read + found[0], written + found[1]
    return {"cpu": cpu, "read": read, "written": written}


def sent(lab: Lab) -> dict[str, float]:
    """Return the bytes sent so far by the ends of the lab's network; unknown for a lab without namespaces."""
    hosts = [host for host in lab.hosts.values() if isinstance(host, NamespacedHost)]
    if lab.record.device is None or not hosts:
        return {}
    controller = parse_sent(Path("/proc/self/net/dev").read_text(encoding="ascii"), lab.record.device)
    return {"wire": controller + sum(host.bytes_sent() for host in hosts)}


def measure(steps: Sequence[Step], lab: Lab, log: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Run processes one after the other; return their total figures, and the seconds of each. Raise StepFailed.

    What they leave running, such as open connections, ends before this returns, so that the next one starts equally cold.
    """
    os.sync()
    others = set(below(os.getpid()))
    before = {**_account(), **sent(lab)}
    parts: dict[str, float] = {}
    peak = 0
    began = time.monotonic()
    for step in steps:
        start = time.monotonic()
        peak = max(peak, _run(step, others, log))
        parts[step.title] = parts.get(step.title, 0.0) + time.monotonic() - start
    seconds = time.monotonic() - began
    end_all_but(others)
    after = {**_account(), **sent(lab)}
    figures = {"seconds": seconds, **{name: after[name] - before[name] for name in before}}
    return {**figures, **({"memory": peak} if peak else {})}, parts


def _run(step: Step, others: set[int], log: Path) -> int:
    """Run a process to its end; return the peak memory in bytes of the largest one. Raise StepFailed with the end of its output."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            step.argv,
            env=dict(step.env),
            cwd=step.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    handle = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    peak = 0
    while not poll.poll(_LOOK * 1000):
        peak = max([peak, *(_peak(pid) for pid in below(os.getpid()) if pid not in others)])
    os.close(handle)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        words = log.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise StepFailed(f"{step.title}: {' '.join(step.argv)} ended with {process.returncode}:\n{words}")
    # a new process is a copy of its parent, so its memory before exec means nothing
    exact = used.ru_maxrss * 1024
    return max(peak, exact if exact > _peak(os.getpid()) else 0)


def call(step: Step) -> None:
    """Run a step without measuring it. Raise StepFailed with the end of its output."""
    done = subprocess.run(
        step.argv,
        env=dict(step.env),
        cwd=step.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StepFailed(f"{step.title} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")


def _peak(pid: int) -> int:
    try:
        return parse_peak(Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return 0


def end_all_but(others: set[int]) -> None:
    """End and collect what still runs below this process, except some."""
    deadline = time.monotonic() + 20
    while left := [pid for pid in below(os.getpid()) if pid not in others]:
        if time.monotonic() > deadline:
            raise StepFailed(f"these processes do not end: {left}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if time.monotonic() < deadline - 10 else signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)
