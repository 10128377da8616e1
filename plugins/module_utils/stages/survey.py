"""Survey of a node for a first inventory: repositories below some folders, and folders that are usually backed up.

Servers of databases: survey_servers.py.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from ..kinds.registry import DISCOVERABLE, kind_of
from ..system import mounts
from ..system.errors import AltbackupError, InvalidInput
from ..system.processes import Deadline
from ..system.visible import printable

USUAL = (
    "/srv",
    "/var/svn",
    "/var/lib/svn",
    "/var/lib/subversion",
    "/var/git",
    "/var/hg",
    "/var/lib/git",
    "/var/trac",
    "/var/lib/trac",
    "/home",
)
"""Folders that usually contain repositories"""
FOLDERS = ("/etc", "/var/www")
"""Folders that are usually backed up"""
_DEPTH = 4
_MOST_FOLDERS = 20000
_MOST_FOUND = 2000
_LEFT_OUT = ("proc", "sys", "dev", "node_modules", "lost+found", ".altbackup")


def survey(below: Sequence[str], folders: Sequence[str], deadline: Deadline) -> dict[str, Any]:
    """Return the repositories below some folders, and those of `folders` that exist.

    Keys are `repositories` ({kind, path}, by path), `folders`, `unseen` (paths that could not be read) and `cut`: whether a limit was reached. Links are not
    followed, and repositories are not searched.
    """
    seconds = mounts.answer_timeout(deadline)
    recognizers = {kind: looks for kind in DISCOVERABLE if (looks := kind_of(kind).looks_like) is not None}
    recognizers["hg"] = _is_mercurial
    found: list[dict[str, str]] = []
    unseen: list[str] = []
    count = 0
    unseen += [printable(path) for path in below if "\0" in path]
    level = [os.path.normpath(path) for path in dict.fromkeys(below) if "\0" not in path]
    for depth in range(_DEPTH + 1):
        hung = mounts.find_hung(level, seconds) if level else set()
        unseen += sorted(hung)
        following: list[str] = []
        for path in level:
            count += 1
            if path in hung or count > _MOST_FOLDERS or len(found) > _MOST_FOUND:
                continue
            kind = _kind_at(path, recognizers, unseen)
            if kind:
                found.append({"kind": kind, "path": path})
            elif depth < _DEPTH:
                following += _folders_in(path, unseen)
        level = following
    cut = count > _MOST_FOLDERS or len(found) > _MOST_FOUND
    known = [path for path in dict.fromkeys(map(os.path.normpath, folders)) if os.path.isdir(path)]
    return {
        "repositories": sorted(found, key=lambda entry: entry["path"])[:_MOST_FOUND],
        "folders": known,
        "unseen": sorted(set(unseen))[:_MOST_FOUND],
        "cut": cut,
    }


def _is_mercurial(path: str) -> bool:
    """Return whether a Mercurial repository is at a path, with a folder of its own, not a link."""
    folder = os.path.join(path, ".hg")
    return os.path.isdir(folder) and not os.path.islink(folder)


def _kind_at(path: str, recognizers: dict[str, Callable[[str], bool]], unseen: list[str]) -> str:
    """Return the kind of the repository at a path, empty for none or if its name is not UTF-8 text."""
    for kind, looks_like in recognizers.items():
        try:
            if looks_like(path):
                if printable(path) != path:
                    unseen.append(printable(path))
                    return ""
                return kind
        except (AltbackupError, InvalidInput, OSError):
            unseen.append(printable(path))
            return ""
    return ""


def _folders_in(path: str, unseen: list[str]) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(
                entry.path
                for entry in entries
                if entry.name not in _LEFT_OUT and not entry.name.startswith(".") and _is_folder(entry)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        unseen.append(printable(path))
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False
