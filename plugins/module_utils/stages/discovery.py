"""Discovery: the items below a folder. What is not there, or cannot be seen, must not pass for what nobody wants backed up."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..kinds.items import decode_name, encode_name, parse_item
from ..kinds.registry import CATEGORIES, DISCOVERABLE, kind_of
from ..system import mounts
from ..system.errors import AltbackupError, InvalidInput
from ..system.paths import is_within
from ..system.processes import Deadline
from ..system.seeing import is_folder
from ..system.values import nearest
from ..system.visible import printable
from ..tree.failures import explain, failure
from ..tree.layout import RESTORED, TEMPORARY, open_tree
from ..tree.publish import read_record
from ..tree.scan import scan

_STAGE = "preflight"
_DEPTH = 5
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_LOST_AND_FOUND = "lost+found"  # root's alone, at the top of a disk


@dataclass
class Discovery:
    """What lies below a folder: items, notes on what is none, and failures."""

    items: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def discover_items(kind: str, folder: str, base: str, deadline: Deadline) -> Discovery:
    """Given a kind, a folder and the source's base, return an item for all below that looks like a repository, be it damaged.

    What is none is a note, but a failure if the base holds tarballs of it. So is what cannot be seen or does not answer, and
    a folder without any.
    """
    found = Discovery()
    try:
        looks_like = _recognizer(kind, folder, mounts.answer_timeout(deadline))
    except InvalidInput as error:
        found.failures.append(failure(_STAGE, error))
        return found
    others = _others(_look_below(kind, folder, looks_like, deadline, found))
    stored = _stored(kind, base)
    for relative in others:
        try:
            lost = _lost(kind, folder, relative, base, stored)
        except (AltbackupError, OSError) as error:
            lost = [failure(_STAGE, error)]
        found.failures += lost
        if not lost:
            found.notes.append(f"{printable(os.path.join(folder, relative))} is no {kind} and is not backed up")
    if not (found.items or found.failures):
        reason = (
            f"altbackup_discover: {kind}: there is no {kind} below {folder}: is its disk mounted? "
            "If there is none to back up any more, remove it from altbackup_discover"
        )
        found.failures.append(failure(_STAGE, reason))
    return found


def _look_below(
    kind: str, folder: str, looks_like: Callable[[str], bool], deadline: Deadline, found: Discovery
) -> dict[str, list[str]]:
    """Find what lies below a folder; return {path from there at which there is no repository: the paths of what it holds}.

    What is at no path of it is an item, is of a restore, or has a failure that says why this is not known. All that is equally deep is asked
    for an answer at once.
    """
    below: dict[str, list[str]] = {}
    items: dict[str, dict[str, Any]] = {}
    failures: dict[str, dict[str, Any]] = {}
    level = [""]
    for depth in range(_DEPTH + 1):
        limit = mounts.answer_timeout(deadline)
        silent = mounts.find_hung([os.path.join(folder, relative) for relative in level if relative], limit)
        for relative in level:
            path = os.path.join(folder, relative)
            try:
                if path in silent:
                    raise InvalidInput(mounts.hung_message(path, limit))
                if relative and is_of_restore(path):
                    continue
                if relative and looks_like(path):
                    items[relative] = _as_item(kind, relative, path)
                else:
                    entries = [os.path.join(relative, entry) for entry in _entries(path)]
                    below[relative] = entries if depth < _DEPTH else []
            except (InvalidInput, OSError) as error:
                if isinstance(error, PermissionError) and os.path.basename(relative) == _LOST_AND_FOUND:
                    below[relative] = []
                else:
                    failures[relative] = failure(_STAGE, f"altbackup_discover: {kind}: {explain(error)}")
        level = [entry for relative in level for entry in below.get(relative, ())]
    found.items += _in_order(items)
    found.failures += _in_order(failures)
    return below


def _in_order(by_path: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return values as a walk from folder to folder meets their paths."""
    return [by_path[path] for path in sorted(by_path, key=lambda path: path.split("/"))]


def _others(below: Mapping[str, list[str]]) -> list[str]:
    """Given what was looked into, return the topmost paths at and below which nothing was found."""
    others: list[str] = []

    def is_known(relative: str) -> bool:
        if relative not in below:
            return True
        unknown = [entry for entry in below[relative] if not is_known(entry)]
        if relative and len(unknown) == len(below[relative]):
            return False
        others.extend(unknown)
        return True

    is_known("")
    return others


def _recognizer(kind: str, folder: str, limit: float) -> Callable[[str], bool]:
    """Given a kind and a folder to look in, which answers within a limit, return what tells such a thing. Raise InvalidInput."""
    looks_like = kind_of(kind).looks_like if kind in DISCOVERABLE else None
    if looks_like is None:
        hint = nearest(kind, DISCOVERABLE, DISCOVERABLE if kind in CATEGORIES else ())
        raise InvalidInput(f"altbackup_discover: kind {kind!r} cannot be discovered, {hint}")
    if mounts.find_hung([folder], limit):
        raise InvalidInput(f"altbackup_discover: {kind}: {mounts.hung_message(folder, limit)}")
    try:
        there = is_folder(folder)
    except AltbackupError as error:
        raise InvalidInput(f"altbackup_discover: {kind}: {error}") from error
    if not there:
        raise InvalidInput(f"altbackup_discover: {kind}: folder {folder} does not exist: is its disk mounted?")
    return looks_like


def _as_item(kind: str, relative: str, path: str) -> dict[str, Any]:
    """Return a repository as an item. Raise InvalidInput if its path cannot be the name of one."""
    if printable(relative) != relative:
        raise InvalidInput(f"{path} is not backed up: its name is not UTF-8 text: rename it")
    item = {"kind": kind, "name": encode_name(relative), "path": path}
    try:
        parse_item(item)
    except InvalidInput as error:
        raise InvalidInput(f"{path} is not backed up: {error}") from error
    return item


def _entries(path: str) -> list[str]:
    """Return what is to be looked at in a folder: nothing if it is something else, or a link. Raise OSError if that cannot be seen."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return []
        names = os.listdir(path)
        os.stat(os.path.join(path, os.curdir))  # what can be listed, but not searched, hides what its entries are
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise OSError(error.errno, error.strerror, path) from error
    return [] if os.path.islink(path) else sorted(names)


def _stored(kind: str, base: str) -> dict[str, str]:
    """Return {path below the folder of its kind: name} of the items of a kind that a base has; that it cannot be read is told elsewhere."""
    try:
        return {decode_name(name): name for name in os.listdir(open_tree(base).path(CATEGORIES[kind]))}
    except (AltbackupError, OSError):
        return {}


def _lost(kind: str, folder: str, relative: str, base: str, stored: Mapping[str, str]) -> list[dict[str, Any]]:
    """Given a path at and below which there is no repository, return a failure for each that was backed up from there."""
    failures = []
    for place, name in sorted(stored.items()):
        if not is_within(place, relative):
            continue
        key, path = f"{CATEGORIES[kind]}/{name}", os.path.normpath(os.path.join(folder, place))
        tree = open_tree(base)
        stamps = [tarball.stamp for tarball in scan(tree, keys=[key], tolerate_unreadable=True).verified()]
        if not stamps or read_record(tree, key, max(stamps)).get("path", path) != path:
            continue
        reason = (
            f"altbackup_discover: {path} is no {kind} any more: it was backed up as {key} until {max(stamps)}. Restore it. "
            f"If it was given up, remove {os.path.join(folder, relative)}, and name {key} in altbackup_retired"
        )
        failures.append(failure(_STAGE, reason, key=key))
    return failures


def is_of_restore(path: str) -> bool:
    """Return whether a restore put what is at a path there: a marker, or the private folder of one under way. Raise OSError."""
    name = os.path.basename(path)
    if not name.endswith(RESTORED) and not name.startswith(TEMPORARY):
        return False
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        return name.endswith(RESTORED)
    return name.startswith(TEMPORARY) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
