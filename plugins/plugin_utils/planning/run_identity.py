"""Identity of a run and its controller, by which nodes tell runs apart, and dead ones from live ones."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.opened import user_name
from ...module_utils.system.proc import BEGAN, PARENT, boot_id, pids, stat_of
from ..report.command_line import command_line


def identify_run(now: float, proc: Path = Path("/proc")) -> dict[str, Any]:
    """Return the description of this run as in module_utils.tree.locks.Run, without `seconds`; `now` is in seconds since 1970.

    Without /proc no other run is ever known to be dead.
    """
    pid = main_process(os.getpid(), proc)
    return {
        "controller": platform.node(),
        "user": user_name(),
        "command": command_line(_words(pid, proc) or sys.argv),
        "started": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "host": f"{_text(Path('/etc/machine-id'))}/{platform.node()}",
        "boot": boot_id(str(proc)),
        "namespace": _namespace(proc),
        "pid": pid,
        "ticks": _ticks(pid, proc),
        "alive": sorted(_alive(proc)),
    }


def main_process(pid: int, proc: Path = Path("/proc")) -> int:
    """Return the first process of a run, by the pid of one: Ansible evaluates tasks in forks of itself."""
    words = _words(pid, proc)
    parent = _stat(pid, proc)[1]
    while words and parent > 1 and _words(parent, proc) == words:
        pid, parent = parent, _stat(parent, proc)[1]
    return pid


def _alive(proc: Path) -> Iterator[str]:
    for pid in pids(str(proc)):
        if any("ansible" in word for word in _words(pid, proc)[:3]):
            yield f"{pid}/{_ticks(pid, proc)}"


def _words(pid: int, proc: Path) -> list[str]:
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode("utf-8", "backslashreplace").split("\0")[:-1]
    except OSError:
        return []


def _stat(pid: int, proc: Path) -> tuple[int, int]:
    """Return a process's start, in clock ticks since the boot, and its parent; zeros if they are not known."""
    try:
        fields = stat_of(pid, str(proc))
    except OSError:
        return 0, 0
    return int(fields[BEGAN]), int(fields[PARENT])


def _ticks(pid: int, proc: Path) -> int:
    return _stat(pid, proc)[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _namespace(proc: Path) -> str:
    try:
        return os.readlink(proc / "self/ns/pid")
    except OSError:
        return ""
