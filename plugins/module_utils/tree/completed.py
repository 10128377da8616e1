"""Completed restores of this user, remembered where nobody else can write: what stands as a restore put it there is done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError
from ..system.opened import walk_open, walked
from ..system.own_state import has_state, opened_state
from .failures import explain
from .publish import write_text

_STATES = "restored"
_KEPT_SECONDS = 90 * 86400
_LONGEST = 1 << 20
_HEAD = b"HEAD"
_WRITTEN_BY_LOOKING = re.compile(rb"index|sharedindex\.[0-9a-f]+|gitk\.cache")
"""File names beside a HEAD: of a repository, a submodule, or a linked worktree's private folder"""


def look_of(folder: int, name: str, *, kind: str = "") -> str:
    """Return a fingerprint of a name in an open folder and all below it, which changes if any of it is changed. Raise OSError.

    It covers inode, type, mode, owner, size and times of each, but no content. For the top it omits what a rename changes. For kind `git`
    it omits the files that git writes when somebody merely looks, and what their coming and going changes in their folder.
    """
    total = 0  # a sum, because folders list their entries in any order
    for path, status, kept in _all_below(folder, os.fsencode(name), kind == "git"):
        content = (0, 0) if kept else (status.st_size, status.st_mtime_ns)
        changed = status.st_ctime_ns if path and not kept else 0
        line = (
            path
            + b"\0"
            + repr((status.st_ino, status.st_mode, status.st_uid, status.st_gid, *content, changed)).encode()
        )
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return f"{total % (1 << 256):064x}"


def _all_below(folder: int, name: bytes, git: bool) -> Iterator[tuple[bytes, os.stat_result, bool]]:
    """Yield (path below it, status, whether it is a git folder with ignored files) of a name in an open folder and of all below it.

    No link is followed. Ignored files are left out.
    """
    top = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(top.st_mode):
        yield b"", top, False
        return
    for path, _, others, descriptor in walk_open(name, folder):
        keeps = git and _HEAD in others
        yield path[len(name) + 1 :], os.fstat(descriptor), keeps
        for each in others:
            status = os.stat(each, dir_fd=descriptor, follow_symlinks=False)
            if not (keeps and stat.S_ISREG(status.st_mode) and _WRITTEN_BY_LOOKING.fullmatch(each)):
                yield os.path.join(path, each)[len(name) + 1 :], status, False


def describe(folder: int, name: str, order: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Return what to remember of a restored thing that is about to get its place; `order` holds plain JSON values."""
    try:
        kind = str(order.get("kind", ""))
        return {"order": dict(order), "title": title, "look": look_of(folder, name, kind=kind), "kind": kind}
    except (OSError, RecursionError) as error:
        return {"order": dict(order), "title": title, "look": "", "problem": explain(error)}


def remember(folder: int, path: str, entry: Mapping[str, Any]) -> list[str]:
    """Store what `describe` returned of the thing that now stands at a path; `folder` is the open folder of the path.

    Return a note if that is not possible: the restore itself is done.
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
    """Remove entries older than 90 days, which no rerun needs."""
    for name in os.listdir(state):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.stat(name, dir_fd=state, follow_symlinks=False).st_mtime > _KEPT_SECONDS:
                os.unlink(name, dir_fd=state)


def recall(path: str) -> dict[str, Any] | None:
    """Return what is remembered of a path, None if there is nothing or it is damaged. Raise AltbackupError."""
    if not has_state(_STATES):
        return None
    with opened_state(_STATES) as (state, _):
        try:
            with open_plain(_key(path), state) as stream:
                known = json.loads(stream.read(_LONGEST).decode("utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
    return known if isinstance(known, dict) and known.get("path") == path else None


def compare(path: str, order: Mapping[str, Any], known: Mapping[str, Any] | None) -> tuple[bool, str]:
    """Return whether a path already holds what is ordered, and why not, if what stands there is what an earlier restore put there.

    Raise InvalidInput or OSError if the path cannot be walked.
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
            same = _is_same(folder, name, status, known)
        except (OSError, RecursionError) as error:
            return (
                False,
                f"an earlier restore put it there, but it cannot be seen whether it was changed since: {explain(error)}",
            )
    return same, "" if same else "an earlier restore put it there, but it was changed since"


def _is_same(folder: int, name: str, status: os.stat_result, known: Mapping[str, Any]) -> bool:
    """Return whether a thing is unchanged since it was remembered; entries of older versions have no kind."""
    kind = str(known.get("kind", ""))
    unmoved = known.get("changed") in (None, status.st_ctime_ns) or (kind == "git" and _is_head_in(folder, name))
    return unmoved and look_of(folder, name, kind=kind) == known.get("look")


def _is_head_in(folder: int, name: str) -> bool:
    """Return whether a thing is itself a folder in which git keeps its files."""
    try:
        os.stat(os.path.join(os.fsencode(name), _HEAD), dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
