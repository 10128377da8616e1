"""The processes that a run starts on this machine: finds all, whatever their session, and ends them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...module_utils.system.proc import NAME, PARENT, STATE, pids, stat_of

PROC = Path("/proc")
_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.05


@dataclass(frozen=True)
class Process:
    """A living process."""

    pid: int
    parent: int
    name: str


def adopt_orphans() -> None:
    """Make this process the parent of orphans among its descendants (PR_SET_CHILD_SUBREAPER). Raise OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def living(proc: Path = PROC) -> list[Process]:
    """Return all living processes, without zombies."""
    return [found for pid in pids(str(proc)) if (found := _read(pid, proc))]


def is_alive(pid: int, proc: Path = PROC) -> bool:
    """Return whether a process is alive; a zombie is not."""
    return _read(pid, proc) is not None


def _read(pid: int, proc: Path) -> Process | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        known = stat_of(pid, str(proc))
        return Process(pid, int(known[PARENT]), known[NAME]) if known[STATE] not in "ZX" else None
    return None


def below(root: int, processes: Iterable[Process]) -> list[Process]:
    """Return the descendants of process `root` among `processes`."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found = list(children.get(root, ()))
    for process in found:
        found += children.get(process.pid, ())
    return found


def descendants() -> list[Process]:
    """Return the living descendants of this process."""
    return below(os.getpid(), living())


def bearing(mark: str, proc: Path = PROC) -> list[Process]:
    """Return the processes, except this one, whose environment holds `mark`, a `NAME=value`."""
    found = []
    for process in living(proc):
        with contextlib.suppress(OSError):
            words = (proc / str(process.pid) / "environ").read_bytes().split(b"\0")
            if os.fsencode(mark) in words and process.pid != os.getpid():
                found.append(process)
    return found


def reap(spare: int = 0) -> None:
    """Collect the exit status of dead children, adopted ones included, except `spare`, for which another part waits."""
    for path in PROC.glob("self/task/*/children"):
        with contextlib.suppress(OSError, ValueError):
            for pid in map(int, path.read_text().split()):
                if pid != spare:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)


def end(
    find: Callable[[], list[Process]],
    grace: float,
    *,
    spare: int = 0,
    impatient: Callable[[], bool] = lambda: False,
    patience: float = 20.0,
) -> list[Process]:
    """End all processes that `find` returns, with SIGTERM first, until it returns none; return those that could not be ended.

    After `grace` seconds, or once `impatient` returns true, they get SIGKILL; `patience` seconds after `grace` the attempt is given up.
    """
    asked: set[int] = set()
    kill_at = time.monotonic() + grace
    while found := find():
        now = time.monotonic()
        kindly = now < kill_at and not impatient()
        for process in found:
            if not kindly or process.pid not in asked:
                asked.add(process.pid)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGTERM if kindly else signal.SIGKILL)
        if now > kill_at + patience:
            return found
        time.sleep(_PAUSE)
        reap(spare)
    return []


def signal_name(number: int) -> str:
    """Return the name of a signal, or `signal N` for an unknown one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def memory_kills(proc: Path = PROC, groups: Path = Path("/sys/fs/cgroup")) -> dict[str, int]:
    """Return {file: the kernel's count in it of processes killed for lack of memory}."""
    files = [proc / "vmstat"]
    with contextlib.suppress(OSError):
        lines = (proc / "self" / "cgroup").read_text().splitlines()
        files += [groups / line[3:].lstrip("/") / "memory.events" for line in lines if line.startswith("0::")]
    counts: dict[str, int] = {}
    for path in files:
        with contextlib.suppress(OSError, ValueError):
            found = dict(line.split(" ", 1) for line in path.read_text().splitlines())
            counts |= {str(path): int(found["oom_kill"])} if "oom_kill" in found else {}
    return counts


def memory_verdict(before: dict[str, int], after: dict[str, int]) -> str:
    """Return a sentence on counts of `memory_kills` that rose, "" if none did."""
    moved = [
        f"{path} counts {after[path] - count} more" for path, count in before.items() if after.get(path, count) > count
    ]
    return f"in the meantime the kernel ended processes for lack of memory: {', '.join(moved)}" if moved else ""
