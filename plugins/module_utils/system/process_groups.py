"""The process groups that this process has started: what they inherit from it, and how they end with it."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import itertools
import os
import signal
import struct
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

from .confine import check, libc
from .errors import DeadlineExceeded

_PR_SET_PDEATHSIG = 1
GRACE = 2.0
PATIENCE = 20.0
"""Seconds that a process told to end has to do so by itself; Ansible's own limit is a minute later"""
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

running: dict[int, Any] = {}
"""{process group: object with `poll`}"""
running_lock = threading.Lock()
starting: list[bool] = []
"""One entry while a child is being started: whether by the main thread, in which signals are handled"""
_watching: list[int] = []
"""The pipe through which signals wake the watching thread"""
inherited_files: list[int] = []
"""Open files that every child inherits: the lock on them lasts as long as one child lives"""
lifeline_files: list[int] = []
"""Open files that all processes of this call have, also those that close all else: who has the other ends sees when all of them have ended."""
left_alone: list[subprocess.Popen[bytes]] = []
"""Children that survived SIGKILL: they wait in the kernel for a disk or a server, and do nothing more when that answers"""
guard_pipe: list[int] = []
"""The pipe that tells the guard of this process which groups run"""
_GROUP = struct.Struct("qq")
"""What it is told: the number of a start, and the process group of that, 0 where it has ended"""
starts = itertools.count(1)
told_to_end: list[int] = []
"""The signal that told this process to end: after it no child is started"""


@contextlib.contextmanager
def inherited(descriptor: int) -> Iterator[None]:
    """Let all children that are started while the block lasts inherit an open file.

    At the end a lock on the file is released if a child could not be killed, which would keep it.
    """
    inherited_files.append(descriptor)
    try:
        yield
    finally:
        inherited_files.remove(descriptor)
        if any(child.poll() is None for child in left_alone):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def with_lifeline(descriptor: int) -> Iterator[None]:
    """Let all processes of this call have an open file while they live, those that are started while the block lasts."""
    lifeline_files.append(descriptor)
    try:
        yield
    finally:
        lifeline_files.remove(descriptor)


def lifelines() -> list[int]:
    """Return what with_lifeline was given."""
    return list(lifeline_files)


def require_go_on() -> None:
    """Raise DeadlineExceeded if a signal told this process to end: nothing new is to be begun then."""
    if told_to_end:
        raise DeadlineExceeded(f"signal {told_to_end[0]} told this process to end: nothing more was begun")


def end_with_children() -> None:
    """Make SIGTERM, SIGINT and SIGHUP end all children before this process, including one that is just being started.

    After SIGKILL, which cannot be handled, a guard process ends them. Call it in the main thread, before other threads are started.
    """
    start_guard()

    def handle(number: int, _frame: Any) -> None:
        told_to_end.append(number)
        if True not in starting:  # else the main thread ends as soon as it knows the child that it is starting
            raise SystemExit(128 + number)

    if not _watching:
        _watching.extend(os.pipe())
        os.set_blocking(_watching[1], False)
        threading.Thread(target=_watch, args=(_watching[0],), daemon=True).start()
        atexit.register(end_all)
    signal.set_wakeup_fd(_watching[1], warn_on_full_buffer=False)
    for number in _ENDING:
        signal.signal(number, handle)


def start_guard() -> None:
    """Fork the guard, which kills the running groups when this process is gone, however it ended.

    The kernel's signal at a parent's death (PR_SET_PDEATHSIG) follows the thread that forked, is lost with a change of user, and does not
    reach grandchildren such as rsync's ssh.
    """
    if guard_pipe:
        return
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads that only wait hold no lock
        pid = os.fork()
    if pid == 0:
        try:
            _guard_groups(reading)
        finally:
            os._exit(0)
    os.close(reading)
    guard_pipe.append(writing)


def _guard_groups(reading: int) -> None:
    """Read which groups run until the pipe is closed, and kill those."""
    signal.set_wakeup_fd(-1)
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    os.chdir("/")
    with open(os.devnull, "r+b", buffering=0) as null:
        for descriptor in range(3):
            os.dup2(null.fileno(), descriptor)
    os.dup2(reading, 3)
    os.closerange(4, 1 << 16)
    groups: dict[int, int] = {}
    while record := os.read(3, _GROUP.size):
        start, group = _GROUP.unpack(record)
        groups[start] = group
        if not group:
            del groups[start]
    for group in groups.values():
        signal_group(group, signal.SIGKILL)


def tell_guard(start: int, group: int) -> None:
    """Tell the guard which group runs since a start, or, with 0, that it has ended."""
    if guard_pipe:
        with contextlib.suppress(OSError):  # the guard was killed
            os.write(guard_pipe[0], _GROUP.pack(start, group))


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that forked it ends. A later change of user undoes that. Raise OSError."""
    check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "an end with its parent")


def _watch(descriptor: int) -> None:
    """End all children when a signal arrives: a main thread that just began to wait for others would not notice it.

    A process that still runs after that waits for a file that never comes: it is ended, too, and with it its lock.
    """
    while True:
        number = os.read(descriptor, 1)[0]
        if number in _ENDING:
            told_to_end.append(number)
            _signal_all(signal.SIGTERM)
            time.sleep(GRACE)
            _signal_all(signal.SIGKILL)
            time.sleep(PATIENCE)
            os._exit(128 + number)


def register(group: int, process: Any) -> None:
    """Let a process group end with this process; `process.poll()` must be None while it runs."""
    with running_lock:
        running[group] = process
        tell_guard(-group, group)


def unregister(group: int) -> None:
    """Forget a process group that has ended."""
    with running_lock:
        running.pop(group, None)
        tell_guard(-group, 0)


def forget_all() -> None:
    """Forget, in a fork, the children and signals of the parent process."""
    for descriptor in guard_pipe:
        os.close(descriptor)
    for known in (running, starting, _watching, inherited_files, left_alone, guard_pipe, told_to_end):
        known.clear()


def end_all() -> None:
    """End what still runs as this process ends, such as children whose clean-up a signal interrupted."""
    _signal_all(signal.SIGTERM)
    end = time.monotonic() + GRACE
    while any(process.poll() is None for process in list(running.values())) and time.monotonic() < end:
        time.sleep(0.02)
    _signal_all(signal.SIGKILL)


def _signal_all(number: int) -> None:
    for group in list(running):
        signal_group(group, number)


def signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
