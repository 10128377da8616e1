"""Priorities: how far a call, and all that it starts, yields to others on its node."""

from __future__ import annotations

import contextlib
import os
import re

from .errors import AltbackupError, InvalidInput
from .processes import Deadline, run
from .programs import find_tool

_before: list[int] = []
"""The niceness of this process before it was lowered"""
_CLASSES = {"best-effort": "2", "idle": "3"}


def ionice_words(ionice: str) -> list[str]:
    """Return the options of ionice for a class: `idle`, `best-effort` or `best-effort:0` to `best-effort:7`.

    Raise InvalidInput.
    """
    match = re.fullmatch(r"(idle)|(best-effort)(?::([0-7]))?", ionice)
    if not match:
        raise InvalidInput(f"ionice {ionice!r} is not idle, best-effort, or best-effort:0 to best-effort:7")
    words = ["-c", _CLASSES[match[1] or match[2]]]
    return [*words, "-n", match[3]] if match[3] else words


def lower_priority(nice: int, ionice: str) -> None:
    """Lower the priority of this process and its children; `nice` is 0 to 19, `ionice` a class as in ionice_words, or empty.

    Raise InvalidInput, ToolMissing or ToolFailed.
    """
    if not 0 <= nice <= 19:
        raise InvalidInput(f"nice {nice} is not a whole number from 0 to 19")
    _before[:] = [os.getpriority(os.PRIO_PROCESS, 0)]
    if nice:
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    if ionice:
        words = [find_tool("ionice"), *ionice_words(ionice), "-p", str(os.getpid())]
        run(words, what=f"setting ionice {ionice}", deadline=Deadline(60, "setting of ionice"))


def restore_priority() -> None:
    """Give this process back what lower_priority took, as far as its user may: programs that it starts may be services that stay."""
    with contextlib.suppress(PermissionError):
        if _before:
            os.setpriority(os.PRIO_PROCESS, 0, _before[0])
    with contextlib.suppress(AltbackupError):
        words = [find_tool("ionice"), "-c", "none", "-p", str(os.getpid())]
        run(words, what="taking back ionice", deadline=Deadline(10, "taking back of ionice"))


def priority_words(nice: int, ionice: str) -> list[str]:
    """Return the words before a command that start it with these priorities on another machine, which finds the programs itself."""
    words = ["nice", "-n", str(nice)] if nice else []
    return [*words, "ionice", *ionice_words(ionice)] if ionice else words
