"""Failures as stage modules return them: one flat mapping each, the same keys everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import AltbackupError, ToolFailed
from .layout import printable
from .visible import visible

KEYS = ("node", "delegate", "stage", "category", "name", "relpath", "reason", "rc", "stderr")


def failure(
    stage: str, reason: str | BaseException, *, key: str = "", relpath: str = "", absent: bool = False
) -> dict[str, Any]:
    """Given a stage, a reason (text or exception) and what it is about, return a failure; the controller adds the node.

    `absent` marks one that says no more than that a tarball is not there, of which another failure may be the cause.
    """
    category, _, name = (key or "/".join(relpath.split("/")[:2])).partition("/")
    return {
        "node": "",
        "delegate": "",
        "stage": stage,
        "category": category,
        "name": name,
        "relpath": printable(relpath),
        "reason": visible(explain(reason)),
        "rc": reason.rc if isinstance(reason, ToolFailed) else None,
        "stderr": visible(reason.stderr) if isinstance(reason, ToolFailed) else "",
        **({"absent": True} if absent else {}),
    }


def explain(reason: str | BaseException) -> str:
    """Given a text or an exception, return the sentence to show: an OSError names its file and its cause."""
    if isinstance(reason, OSError) and reason.strerror:
        where = f"{reason.filename}: " if reason.filename else ""
        return f"{where}{reason.strerror}"
    return str(reason) or type(reason).__name__


def summarize(failures: list[dict[str, Any]]) -> str:
    """Given failures, return one message that holds them all, a line each."""
    lines = [entry["reason"] for entry in failures]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} failures:", *(f"- {line}" for line in lines)])


def attempt(stage: str, empty: Mapping[str, Any], function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Given a stage, the keys of its result and what it does, return its result; where nothing could be done, one failure."""
    try:
        return function()
    except (AltbackupError, OSError) as error:
        return {**empty, "failures": [failure(stage, error)]}


def unframed(said: str) -> str:
    """Given what ssh said, return it without the frame of @ that it draws around a warning, which then begins a line."""
    if "@@@@@@@@@" not in said:
        return said
    lines = [re.sub(r"@{9,}|^@\s+|\s+@$", "", line.strip()).strip() for line in said.splitlines()]
    return re.sub(r":\n", ": ", "\n".join(filter(None, lines)), count=1)
