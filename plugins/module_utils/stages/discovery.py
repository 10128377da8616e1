"""Discovery of the items below a folder. What is missing or cannot be read is a failure, as it may be an item that is backed up."""

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
_LOST_AND_FOUND = "lost+found"  # made by mkfs at the top of a file system, readable by root only


@dataclass
class Discovery:
    """The result of a discovery."""

    items: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def discover_items(kind: str, folder: str, base: str, deadline: Deadline) -> Discovery:
    """Return an item for each path below a folder that looks like a repository of the kind, even a damaged one.

    Another path is a note, but a failure if the base has tarballs of it. A path that cannot be read or does not answer is a failure, and so is a folder
    without any repository.
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
    """Add items and failures below a folder to `found`; return {relative path of each other folder: relative paths of its entries}.

    Repositories, what restores left, and paths with a failure are no keys. All paths of one depth are tested for hung mounts at once.
    """
    below: dict[str, list[str]] = {}
    items: dict[str, dict[str, Any]] = {}
    failures: dict[str, dict[str, Any]] = {}
    level = [""]
    for depth in range(_DEPTH + 1):
        limit = mounts.answer_timeout(deadline)
        hung = mounts.find_hung([os.path.join(folder, relative) for relative in level if relative], limit)
        for relative in level:
            path = os.path.join(folder, relative)
            try:
                if path in hung:
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
    """Return the values sorted by path, component by component."""
    return [by_path[path] for path in sorted(by_path, key=lambda path: path.split("/"))]


def _others(below: Mapping[str, list[str]]) -> list[str]:
    """Return the topmost of the paths at and below which no repository was found."""
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
    """Return the function that recognizes a repository of a kind; the folder has to answer within `limit` seconds. Raise InvalidInput."""
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
    """Return a repository as an item as declared. Raise InvalidInput if its path gives no valid name."""
    if printable(relative) != relative:
        raise InvalidInput(f"{path} is not backed up: its name is not UTF-8 text: rename it")
    item = {"kind": kind, "name": encode_name(relative), "path": path}
    try:
        parse_item(item)
    except InvalidInput as error:
        raise InvalidInput(f"{path} is not backed up: {error}") from error
    return item


def _entries(path: str) -> list[str]:
    """Return the sorted names in a folder, none for a link or anything else than a folder. Raise OSError if it cannot be read."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return []
        names = os.listdir(path)
        os.stat(
            os.path.join(path, os.curdir)
        )  # a folder that can be listed but not searched hides the types of its entries
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise OSError(error.errno, error.strerror, path) from error
    return [] if os.path.islink(path) else sorted(names)


def _stored(kind: str, base: str) -> dict[str, str]:
    """Return {path below the discovered folder: name} of a kind's items in a base; a base that cannot be read is reported elsewhere."""
    try:
        return {decode_name(name): name for name in os.listdir(open_tree(base).path(CATEGORIES[kind]))}
    except (AltbackupError, OSError):
        return {}


def _lost(kind: str, folder: str, relative: str, base: str, stored: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a failure for each item that was backed up from a path at or below one where there is no repository now."""
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
    """Return whether a path is a marker of a restore, or the private folder of one in progress. Raise OSError."""
    name = os.path.basename(path)
    if not name.endswith(RESTORED) and not name.startswith(TEMPORARY):
        return False
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        return name.endswith(RESTORED)
    return name.startswith(TEMPORARY) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
