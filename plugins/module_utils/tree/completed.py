"""What this user's restores brought to their end, remembered where nobody else can write: what stands as they put it there is done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..system.errors import AltbackupError
from ..system.opened import walk_open, walked
from ..system.own_state import has_state, opened_state
from .failures import explain
from .publish import write_text

_STATES = "restored"
_KEPT_SECONDS = 90 * 86400


def look_of(folder: int, name: str) -> str:
    """Given an open folder and a name in it, return what differs once that, or anything below it, was changed. Raise OSError.

    It sees inode, type, mode, owner, size and times of each, and no content. Of the top it leaves out what a rename changes.
    """
    total = 0  # a sum, as folders tell their entries in any order
    for path, status in _all_below(folder, os.fsencode(name)):
        seen = (status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns)
        changed = status.st_ctime_ns if path else 0
        line = path + b"\0" + repr((*seen, changed)).encode()
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return f"{total % (1 << 256):064x}"


def _all_below(folder: int, name: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield (path below it, status) of something in an open folder and of all below it; follow no link."""
    top = os.stat(name, dir_fd=folder, follow_symlinks=False)
    yield b"", top
    if stat.S_ISDIR(top.st_mode):
        for path, folders, others, descriptor in walk_open(name, folder):
            for each in [*folders, *others]:
                yield os.path.join(path, each)[len(name) + 1 :], os.stat(each, dir_fd=descriptor, follow_symlinks=False)


def describe(folder: int, name: str, order: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Given something that is about to get its place, what was ordered (plain JSON values) and its title, return what is to be remembered."""
    try:
        return {"order": dict(order), "title": title, "look": look_of(folder, name)}
    except (OSError, RecursionError) as error:
        return {"order": dict(order), "title": title, "look": "", "problem": explain(error)}


def remember(folder: int, path: str, entry: Mapping[str, Any]) -> list[str]:
    """Given the open folder of a path, the path, and what describe returned of what stands there now, keep it.

    Return a note where that is not possible: the restore is done all the same.
    """
    try:
        if not entry["look"]:
            raise AltbackupError(str(entry.get("problem")))
        status = os.stat(os.path.basename(path), dir_fd=folder, follow_symlinks=False)
        known = {**entry, "path": path, "id": [status.st_dev, status.st_ino], "changed": status.st_ctime_ns}
        with opened_state(_STATES) as (state, _):
            _forget_old(state)
            write_text(f"/proc/self/fd/{state}/{_key(path)}", json.dumps(known) + "\n")
    except (AltbackupError, OSError) as error:
        return [f"{path} is restored, but a rerun will not know that: {explain(error)}"]
    return []


def _key(path: str) -> str:
    return f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _forget_old(state: int) -> None:
    """Remove what was remembered long ago: nobody reruns that."""
    for name in os.listdir(state):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.stat(name, dir_fd=state, follow_symlinks=False).st_mtime > _KEPT_SECONDS:
                os.unlink(name, dir_fd=state)


def recall(path: str) -> dict[str, Any] | None:
    """Given a path, return what is remembered of it, None for nothing that can be understood. Raise AltbackupError."""
    if not has_state(_STATES):
        return None
    with opened_state(_STATES) as (state, _):
        try:
            with open(f"/proc/self/fd/{state}/{_key(path)}", encoding="utf-8") as stream:
                known = json.load(stream)
        except (FileNotFoundError, ValueError):
            return None
    return known if isinstance(known, dict) and known.get("path") == path else None


def compare(path: str, order: Mapping[str, Any], known: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Given a path, what is ordered to stand there and what is remembered of it, return whether that is done.

    If what was remembered stands there, but does not count, say why. Raise InvalidInput or OSError where the path cannot be walked.
    """
    if known is None:
        return False, ""
    with walked(os.path.dirname(path)) as (steps, missing):
        if missing:
            return False, ""
        folder, name = steps[-1].descriptor, os.path.basename(path)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False, ""
        if [status.st_dev, status.st_ino] != known.get("id"):
            return False, ""
        other = [key for key, value in order.items() if (known.get("order") or {}).get(key) != value]
        if other:
            return (
                False,
                f"an earlier restore put {known.get('title')} there: this order has another {', '.join(other)}",
            )
        try:
            same = known.get("changed") in (None, status.st_ctime_ns) and look_of(folder, name) == known.get("look")
        except (OSError, RecursionError) as error:
            return (
                False,
                f"an earlier restore put it there, but it cannot be seen whether it was changed since: {explain(error)}",
            )
    return same, "" if same else "an earlier restore put it there, but it was changed since"
