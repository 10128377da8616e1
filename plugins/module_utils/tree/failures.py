"""Failures as stage modules return them: one flat mapping each, the same keys everywhere."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..system.errors import AltbackupError, ToolFailed
from ..system.mounts import SECONDS, find_hung
from ..system.seeing import denied
from ..system.visible import printable, visible
from .incomplete import is_incomplete
from .layout import Tarball, Tree, newest_verified, open_tree, plain_status, read_state
from .stamps import MOMENT, moment_of

KEYS = ("node", "delegate", "stage", "category", "name", "relpath", "reason", "rc", "stderr")
"""Those that each has; `absent` is marked, and `good` told, only where it is so and known"""
_IDENTITY = (*KEYS[: KEYS.index("rc")], "tree")


def identity(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Given a failure, return what tells it from others, wherever it is told: not how a tool ended, nor what is known of good copies."""
    return tuple(str(entry.get(key) or "") for key in _IDENTITY)


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
    """Given a text or an exception, return the sentence to show: an OSError names its file and its cause, and one of permission the user."""
    if isinstance(reason, OSError) and reason.strerror:
        if reason.errno == errno.EACCES and isinstance(reason.filename, (str, bytes)):
            return denied(os.fsdecode(reason.filename))
        where = f"{reason.filename}: " if reason.filename else ""
        return f"{where}{reason.strerror}"
    return str(reason) or type(reason).__name__


def summarize(failures: list[dict[str, Any]]) -> str:
    """Given failures, return one message that holds them all, a line each."""
    lines = [entry["reason"] for entry in failures]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} failures:", *(f"- {line}" for line in lines)])


def as_failures(stage: str, empty: Mapping[str, Any], function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Given a stage, the keys of its result and what it does, return its result; where nothing could be done, one failure."""
    try:
        return function()
    except (AltbackupError, OSError) as error:
        return {**empty, "failures": [failure(stage, error)]}


def with_good(result: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Given what a module found, and its parameters, return it with the stamp of the last good copy of the item in each failure.

    That is `good`: of the newest whole tarball in the tree `base` that its sidecar vouches for, that is no suspect, unless accepted, and of
    whose bytes no failure is, empty if there is none. It is left out where it is not known, where the failure is about another node or what
    is no item, of a folder that cannot be read or does not answer, and of an item of which a tarball is asked for (`send`): that may become
    the last good copy.
    """
    base = str(options.get("base") or "")
    if not base or not any(entry["name"] for entry in result.get("failures") or ()) or find_hung([base], SECONDS):
        return result
    from .marks import marks_of  # what a call reads only where something went wrong
    from .suspects import suspects_of

    with contextlib.suppress(AltbackupError, OSError):
        tree = open_tree(base)
        latest = moment_of({**{name: MOMENT[name]["default"] for name in MOMENT}, **options}).latest
        bad = _bad_inodes(tree, [entry["relpath"] for entry in result["failures"]])
        known: dict[str, str] = {}
        coming = {"/".join(path.split("/")[:2]) for path in result.get("send") or ()}

        marks = marks_of(tree)

        def whole(tarball: Tarball) -> bool:
            return not is_incomplete(tree, tarball) and not suspects_of(tree, [tarball], marks)

        for entry in result["failures"]:
            if entry["delegate"] or entry["relpath"] in (result.get("unexpected") or []):
                continue
            with contextlib.suppress(AltbackupError, OSError):
                keys = _items_of(tree, entry, options.get("items"), result)
                for key in keys:
                    known[key] = newest_verified(tree, key, latest, bad, whole) if key not in known else known[key]
                entry.update({"good": min(known[key] for key in keys)} if keys and not coming & set(keys) else {})
    return result


def _bad_inodes(tree: Tree, relpaths: Iterable[str]) -> set[tuple[int, int]]:
    """Return (device, inode) of tarballs with which something is wrong though their sidecars vouch for them; other days may share them."""
    found = set()
    for path in map(tree.path, filter(None, relpaths)):
        with contextlib.suppress(AltbackupError, OSError, ValueError):
            status = plain_status(path)
            if status is not None and read_state(path, status.st_size)[2] == "verified":
                found.add((status.st_dev, status.st_ino))
    return found


def _items_of(tree: Tree, entry: Mapping[str, Any], items: Any, result: Mapping[str, Any]) -> list[str]:
    """Return the items (category/name) that a failure is about: of a count by name alone those of that name that did not count."""
    category, name = entry["category"], entry["name"]
    if category or not name:
        return [f"{category}/{name}"] if name and _is_plain(category) and _is_plain(name) else []
    counted = {"/".join(path.split("/")[:2]) for path in (result.get("relpaths") or {}).get(name, ())}
    given = [key for key in items or () if isinstance(key, str)]
    there = [f"{folder}/{name}" for folder in os.listdir(tree.base) if _is_plain(folder)]
    keys = [key for key in given if key.count("/") == 1 and key.endswith(f"/{name}")]
    keys = keys or [key for key in there if os.path.isdir(tree.path(key))]
    return [key for key in keys if key not in counted] if _is_plain(name) else []


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def unframed(said: str) -> str:
    """Given what ssh said, return it without the frame of @ that it draws around a warning, which then begins a line."""
    if "@@@@@@@@@" not in said:
        return said
    lines = [re.sub(r"@{9,}|^@\s+|\s+@$", "", line.strip()).strip() for line in said.splitlines()]
    return re.sub(r":\n", ": ", "\n".join(filter(None, lines)), count=1)
