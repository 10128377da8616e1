"""Processes, identified by pid and start, so that a reused pid is never taken for the old process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError


@dataclass(frozen=True)
class Process:
    """A process of this machine: its pid, when it started, and since which boot."""

    pid: int
    start: str

    @property
    def alive(self) -> bool:
        """Return whether it still runs."""
        return start_of(self.pid) == self.start


@dataclass(frozen=True)
class Running:
    """A process on a host, by its pid outside of the host's namespaces."""

    pid: int
    argv: tuple[str, ...]


def start_of(pid: int) -> str | None:
    """Return boot id and start time of a process, or None if it does not run or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def identify(pid: int) -> Process:
    """Return the identity of a running process. Raise LabError if it does not run."""
    start = start_of(pid)
    if start is None:
        raise LabError(f"no process {pid} is running")
    return Process(pid, start)


def end(process: Process, number: signal.Signals = signal.SIGKILL, patience: float = 10) -> bool:
    """Send a signal to a process and wait; return whether it has ended within `patience` seconds."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        if not process.alive:
            return True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(handle)


def command_line(pid: int) -> tuple[str, ...]:
    """Return the argv of a process, empty if it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in text.removesuffix(b"\0").split(b"\0"))


def in_namespace(pid: int) -> list[Running]:
    """Return the processes in the PID namespace of an init, without that init."""
    space = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != pid:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{entry}/ns/pid") == space and start_of(int(entry)):
                    found.append(Running(int(entry), command_line(int(entry))))
    return found


def descendants(pid: int) -> list[int]:
    """Return the pids of a process's descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found.extend(below)
        queue.extend(below)
    return found


def wait_until(condition: Callable[[], bool], patience: float, what: str) -> None:
    """Wait until a condition holds. Raise LabError naming `what` after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {patience:g} s in vain: {what}")
        time.sleep(0.01)
