"""Facts about processes from /proc, as far as this user may see them; see proc(5)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from .paths import is_within

PROC = "/proc"
NAME, STATE, PARENT, SESSION, BEGAN = 0, 1, 2, 4, 20
"""Positions of fields in the result of `stat_of`; BEGAN is in clock ticks since boot"""


def pids(proc: str = PROC) -> list[int]:
    """Return the pids of all processes; empty without /proc."""
    return [int(name) for name in os.listdir(proc) if name.isdigit()] if os.path.isdir(proc) else []


def stat_of(pid: int, proc: str = PROC) -> list[str]:
    """Return the fields of a process's `stat`, beginning with its name. Raise OSError if it is gone."""
    with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as stream:
        head, _, fields = stream.read().rpartition(")")
    return [head.partition("(")[2], *fields.split()]


def title_of(pid: int) -> str:
    """Return the first 200 bytes of a process's command line. Raise OSError if it is gone."""
    with open(f"{PROC}/{pid}/cmdline", "rb") as stream:
        return stream.read(200).replace(b"\0", b" ").decode("utf-8", "backslashreplace").strip()


def open_files(pid: int) -> Iterator[tuple[str, str]]:
    """Yield (descriptor, path) of the open files of a process. Raise OSError if it is gone or another user's."""
    for descriptor in os.listdir(f"{PROC}/{pid}/fd"):
        with contextlib.suppress(OSError):
            yield descriptor, os.readlink(f"{PROC}/{pid}/fd/{descriptor}")


def position(pid: int, descriptor: str) -> tuple[int, int]:
    """Return access mode (os.O_RDONLY, os.O_WRONLY or os.O_RDWR) and offset of an open file. Raise OSError if it is closed."""
    with open(f"{PROC}/{pid}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as stream:
        told = dict(line.split(None, 1) for line in stream if line.startswith(("pos:", "flags:")))
    return int(told["flags:"], 8) & os.O_ACCMODE, int(told["pos:"])


def boot_id(proc: str = PROC) -> str:
    """Return the id of this boot; empty if the kernel does not tell it."""
    try:
        with open(f"{proc}/sys/kernel/random/boot_id", encoding="ascii", errors="replace") as stream:
            return stream.read(64).strip()
    except OSError:
        return ""


def is_at_work_in(folder: str) -> bool:
    """Return whether a process has its working folder or an open file in a folder or below, as far as this user can see."""
    top = os.path.realpath(folder)
    return any(is_within(path, top) for path in _places())


def _places() -> Iterator[str]:
    """Yield the working folders and open files of all processes that this user can see."""
    for pid in pids():
        with contextlib.suppress(OSError):
            yield os.readlink(f"{PROC}/{pid}/cwd")
            yield from (path for _, path in open_files(pid))
