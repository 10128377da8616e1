"""Which run of which controller this is, so that nodes can tell it from others, and a dead one from one that goes on."""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..report.command_line import command_line

PROC = Path("/proc")
_BEGAN = 19
"""Position of `starttime` among the fields of /proc/PID/stat that follow the name; see proc(5)"""


def identify_run(now: float, proc: Path = PROC) -> dict[str, Any]:
    """Given the time (seconds since 1970), return what describes this run to nodes, as module_utils.tree.locks.Run has it, but `seconds`.

    Where there is no /proc, no other run is ever known to be dead.
    """
    pid = main_process(os.getpid(), proc)
    return {
        "controller": platform.node(),
        "user": _user(),
        "command": command_line(_words(pid, proc) or sys.argv),
        "started": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "host": f"{_text(Path('/etc/machine-id'))}/{platform.node()}",
        "boot": _text(proc / "sys/kernel/random/boot_id"),
        "namespace": _namespace(proc),
        "pid": pid,
        "ticks": _ticks(pid, proc),
        "alive": sorted(_alive(proc)),
    }


def main_process(pid: int, proc: Path = PROC) -> int:
    """Given a process of a run, return the one that it all began with: Ansible evaluates tasks in copies of itself."""
    words = _words(pid, proc)
    parent = _stat(pid, proc)[1]
    while words and parent > 1 and _words(parent, proc) == words:
        pid, parent = parent, _stat(parent, proc)[1]
    return pid


def _user() -> str:
    """Return the name of this process's user, whatever the environment says, or its number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _alive(proc: Path) -> Iterator[str]:
    for name in os.listdir(proc) if proc.is_dir() else ():
        if name.isdigit() and any("ansible" in word for word in _words(int(name), proc)[:3]):
            with contextlib.suppress(OSError):
                yield f"{name}/{_ticks(int(name), proc)}"


def _words(pid: int, proc: Path) -> list[str]:
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode("utf-8", "backslashreplace").split("\0")[:-1]
    except OSError:
        return []


def _stat(pid: int, proc: Path) -> tuple[int, int]:
    """Return when a process began, in clock ticks since the boot, and its parent; zeros where that is not known."""
    try:
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(fields[_BEGAN]), int(fields[1])


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
