"""Failures as stage modules return them: flat mappings with the same keys everywhere."""

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
from .layout import Tarball, Tree, item_key, open_tree, plain_status, read_state
from .scan import newest_verified
from .stamps import MOMENT, moment_of

KEYS = ("node", "delegate", "stage", "category", "name", "relpath", "reason", "rc", "stderr")
"""Keys of every failure; `absent` and `good` are there only if they apply and are known"""
_IDENTITY = (*KEYS[: KEYS.index("rc")], "tree")


def identity(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the identity of a failure, wherever it is reported: without exit code, stderr, and what is known of good copies."""
    return tuple(str(entry.get(key) or "") for key in _IDENTITY)


def failure(
    stage: str, reason: str | BaseException, *, key: str = "", relpath: str = "", absent: bool = False
) -> dict[str, Any]:
    """Return a failure of a stage, of an item (`key`, category/name) or a tarball (`relpath`); the controller adds the node.

    `absent` marks one that says only that a tarball is missing, of which another failure may be the cause.
    """
    category, _, name = (key or item_key(relpath)).partition("/")
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
    """Return the sentence to show: an OSError with its file and cause, one of permission with the user, too."""
    if isinstance(reason, OSError) and reason.strerror:
        if reason.errno == errno.EACCES and isinstance(reason.filename, (str, bytes)):
            return denied(os.fsdecode(reason.filename))
        where = f"{reason.filename}: " if reason.filename else ""
        return f"{where}{reason.strerror}"
    return str(reason) or type(reason).__name__


def summarize(failures: list[dict[str, Any]]) -> str:
    """Return one message of all failures, a line each."""
    lines = [entry["reason"] for entry in failures]
    return lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} failures:", *(f"- {line}" for line in lines)])


def as_failures(stage: str, empty: Mapping[str, Any], function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a stage's result, or `empty` with one failure if nothing could be done."""
    try:
        return function()
    except (AltbackupError, OSError) as error:
        return {**empty, "failures": [failure(stage, error)]}


def with_good(result: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a module's result with `good` in each failure: the stamp of the last good copy of the item; `options` are its parameters.

    A good copy is the newest complete tarball in the tree `base` that has a matching sidecar, is no unaccepted suspect, and whose bytes
    have no failure; `good` is empty if there is none. It is left out if it is unknown, if the failure is about another node or about no
    item, if a folder cannot be read or does not answer, and if a tarball of the item is requested (`send`), which may become the last good
    copy.
    """
    base = str(options.get("base") or "")
    if not base or not any(entry["name"] for entry in result.get("failures") or ()) or find_hung([base], SECONDS):
        return result
    from .marks import marks_of  # imported only if something went wrong
    from .suspects import suspects_of

    with contextlib.suppress(AltbackupError, OSError):
        tree = open_tree(base)
        latest = moment_of({**{name: MOMENT[name]["default"] for name in MOMENT}, **options}).latest
        bad = _bad_inodes(tree, [entry["relpath"] for entry in result["failures"]])
        known: dict[str, str] = {}
        coming = {item_key(path) for path in result.get("send") or ()}

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
    """Return (device, inode) of tarballs that have a failure despite a matching sidecar; other days may share them."""
    found = set()
    for path in map(tree.path, filter(None, relpaths)):
        with contextlib.suppress(AltbackupError, OSError, ValueError):
            status = plain_status(path)
            if status is not None and read_state(path, status.st_size)[2] == "verified":
                found.add((status.st_dev, status.st_ino))
    return found


def _items_of(tree: Tree, entry: Mapping[str, Any], items: Any, result: Mapping[str, Any]) -> list[str]:
    """Return the items (category/name) that a failure is about; of a count by name, those of that name that did not count."""
    category, name = entry["category"], entry["name"]
    if category or not name:
        return [f"{category}/{name}"] if name and _is_plain(category) and _is_plain(name) else []
    counted = {item_key(path) for path in (result.get("relpaths") or {}).get(name, ())}
    given = [key for key in items or () if isinstance(key, str)]
    there = [f"{folder}/{name}" for folder in os.listdir(tree.base) if _is_plain(folder)]
    keys = [key for key in given if key.count("/") == 1 and key.endswith(f"/{name}")]
    keys = keys or [key for key in there if os.path.isdir(tree.path(key))]
    return [key for key in keys if key not in counted] if _is_plain(name) else []


def _is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def unframed(text: str) -> str:
    """Return output of ssh without the frame of @ around a warning."""
    if "@@@@@@@@@" not in text:
        return text
    lines = [re.sub(r"@{9,}|^@\s+|\s+@$", "", line.strip()).strip() for line in text.splitlines()]
    return re.sub(r":\n", ": ", "\n".join(filter(None, lines)), count=1)
