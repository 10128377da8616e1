"""Bounded waiting for what the kernel does asynchronously."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Return True as soon as a condition holds, or False after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def count_running(*words: str) -> int:
    """Return the number of processes whose command line consists of these words."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += path.read_bytes().rstrip(b"\0").decode().split("\0") == list(words)
        except (OSError, UnicodeDecodeError):
            continue
    return count


def is_group_gone(group: int) -> bool:
    """Return whether no process of a group is alive; zombies do not count."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group and state != "Z":
            return False
    return True


def is_running(pid: int) -> bool:
    """Return whether a process is there, and has not ended."""
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
