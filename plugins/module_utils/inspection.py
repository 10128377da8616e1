"""Preflight: what a node must have before anything is touched, and what it discovers. Nothing is written."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .archive import Form, compressor
from .dump import KINDS
from .errors import AltbackupError, InvalidInput
from .failures import failure
from .items import CATEGORIES, Item, encode_name, nearest, parse_item
from .layout import open_tree, printable
from .processes import find_tool
from .publish import require_writable

_STAGE = "preflight"
_DEPTH = 5
_CLOCK_TOLERANCE = 60.0  # seconds


def inspect(
    bases: Sequence[str],
    *,
    discover: Mapping[str, str] | None = None,
    ext: str = "",
    tools: Sequence[str] = (),
    now: float | None = None,
    writable: bool = True,
) -> dict[str, Any]:
    """Given a node's bases and what it will do, return `failures`, `items` (discovered), `notes` `free` ({base: bytes}),
    and `usable`: whether all bases are there.

    `now` is the controller's clock (seconds since 1970); more than a minute's difference is a failure.
    """
    result: dict[str, Any] = {"changed": False, "items": [], "notes": [], "free": {}, "usable": True, "failures": []}
    for base in bases:
        try:
            tree = require_writable(base) if writable else open_tree(base)
            status = os.statvfs(tree.private)
            result["free"][base] = status.f_bavail * status.f_frsize
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(_STAGE, error))
            result["usable"] = False
    for check in [lambda tool=tool: find_tool(tool) for tool in tools] + ([lambda: compressor(Form(ext))] if ext else []):  # type: ignore[misc]
        try:
            check()
        except AltbackupError as error:
            result["failures"].append(failure(_STAGE, error))
    if now is not None and abs(time.time() - now) > _CLOCK_TOLERANCE:
        result["failures"].append(failure(_STAGE, f"this node's clock is {time.time() - now:+.0f} s off the controller's: set it, for instance by NTP"))
    for kind, folder in (discover or {}).items():
        try:
            found, notes = discover_items(kind, folder)
            result["items"] += found
            result["notes"] += notes
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(_STAGE, error))
    return result


def discover_items(kind: str, folder: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Given a kind and a folder, return (an item for every repository below, notes on what is none). Raise InvalidInput."""
    if kind not in CATEGORIES:
        raise InvalidInput(f"altbackup_discover: unknown kind {kind!r}, {nearest(kind, tuple(CATEGORIES))}")
    if not os.path.isdir(folder):
        raise InvalidInput(f"altbackup_discover: {kind}: folder {folder} does not exist: is its disk mounted?")
    items: list[dict[str, Any]] = []
    notes: list[str] = []

    def visit(relative: str, depth: int) -> bool:
        """Return whether there is a repository at or below a path."""
        path = os.path.join(folder, relative)
        if relative and is_kind(kind, path):
            if printable(relative) != relative:
                notes.append(f"{printable(path)} is no item: its name is not UTF-8 text")
                return True
            item = {"kind": kind, "name": encode_name(relative), "path": path}
            parse_item(item)
            items.append(item)
            return True
        descends = os.path.isdir(path) and not os.path.islink(path) and depth < _DEPTH and kind != "folder"
        if relative and not descends:
            return False
        entries = sorted(os.listdir(path))
        inside = {entry: visit(os.path.join(relative, entry), depth + 1) for entry in entries}
        if relative and not any(inside.values()):
            return False
        notes.extend(f"{printable(os.path.join(path, entry))} is no {kind} and is not backed up" for entry, found in inside.items() if not found)
        return True

    visit("", 0)
    return items, notes


def is_kind(kind: str, path: str) -> bool:
    """Given a kind and a path, return whether a thing of that kind is there."""
    try:
        KINDS[kind].check(Item(kind, "discovered", path))
    except AltbackupError:
        return False
    return True
