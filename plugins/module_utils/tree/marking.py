"""The marker of a base: set-up makes it, and removes it if nothing else lies there."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from typing import Any

from ..system.errors import AltbackupError, InvalidInput, ToolMissing
from ..system.mounts import file_system
from ..system.programs import find_installed
from ..system.units import counted
from .layout import MARKER

_OF_SETUP = ("bin", "trust", "receive", "lend", "incoming", "outgoing")
"""Folders that set-up makes in a marker, and those for what comes and goes"""
_OTHERS_WRITE = 0o022


def mark_base(
    base: str,
    *,
    owner: str = "",
    allow_root: bool = False,
    tools: Sequence[str] = (),
    write: bool = True,
    root: str = "/",
) -> dict[str, Any]:
    """Make a base and its marker; return `changed`, `free`, `size`, `file_system`, and those of `tools` that are `missing`.

    `root` is the mount point of the file system on which no base may lie without `allow_root`. Raise AltbackupError for a base there, one
    that is not the owner's, or one to which others can write; or OSError.
    """
    if not os.path.isabs(base):
        raise InvalidInput(f"base {base!r} is not an absolute path")
    marker = os.path.join(base, MARKER)
    changed = not os.path.isdir(marker)
    # A prediction may come before the user is made.
    uid, gid = _identity(owner) if write or not changed else (-1, -1)
    above = _nearest(base)
    if changed:
        if os.stat(above).st_dev == os.stat(root).st_dev and not allow_root:
            raise AltbackupError(
                f"{base} would lie on the root file system: is its disk not mounted on {above}? Mount it; or, if that is where it is to lie, set "
                "altbackup_allow_root_filesystem: true for this node"
            )
        if write:
            _make(base, marker, uid, gid)
    for path in (base, marker) if os.path.isdir(marker) else ():
        status = os.stat(path)
        if status.st_uid != uid:
            raise AltbackupError(
                f"{path} is uid {status.st_uid}'s, not uid {uid}'s: find out whose it is; chown -R {uid} {path} hands it over"
            )
        if status.st_mode & _OTHERS_WRITE:
            raise AltbackupError(
                f"{path} can be written to by others (mode {stat.S_IMODE(status.st_mode):04o}): chmod go-w {path}"
            )
    usage = shutil.disk_usage(above)
    return {
        "changed": changed,
        "free": usage.free,
        "size": usage.total,
        "file_system": file_system(above),
        "missing": [tool for tool in tools if not _is_there(tool)],
    }


def _identity(owner: str) -> tuple[int, int]:
    """Return uid and gid of a user, or of this process. Raise AltbackupError for an unknown user, or one whose folders it cannot make."""
    if not owner:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(owner)
    except KeyError:
        raise InvalidInput(f"user {owner!r} does not exist on this node") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise AltbackupError(f"what is {owner}'s cannot be made by uid {os.geteuid()}: use become")
    return entry.pw_uid, entry.pw_gid


def _nearest(path: str) -> str:
    """Return the folder itself, or the nearest existing one above it."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _make(base: str, marker: str, uid: int, gid: int) -> None:
    """Make missing folders: those above the base with the system's usual mode, base and marker private. Raise OSError."""
    os.makedirs(os.path.dirname(base), 0o755, exist_ok=True)
    made = []
    for path in (base, marker):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            made.append(path)
    for path in (
        reversed(made) if uid != os.geteuid() else ()
    ):  # the inner one first: its owner cannot exchange what is in it meanwhile
        os.chown(path, uid, gid, follow_symlinks=False)


def _is_there(tool: str) -> bool:
    try:
        find_installed(tool)
    except ToolMissing:
        return False
    return True


def clear_base(base: str, *, write: bool = True) -> tuple[bool, list[str]]:
    """Remove a base and its marker if only what set-up makes lies there; return whether it was, or would be, and a note if not.

    No file is ever removed by this. Raise OSError.
    """
    marker = os.path.join(base, MARKER)
    if not os.path.isdir(marker):
        return False, []
    others = [name for name in os.listdir(base) if name != MARKER]
    kept = [os.path.join(above, name) for above, _, names in os.walk(marker) for name in names]
    kept = [path for path in kept if os.path.relpath(path, marker).split(os.sep)[0] not in _OF_SETUP[:4]]
    if others or kept:
        what = (
            f"{counted(len(others), 'folder or file', 'folders and files')}"
            if others
            else os.path.relpath(kept[0], base)
        )
        return False, [
            f"{base} stays, with its marker: {what} lie there"
            if others
            else f"{base} stays, with its marker: {what} lies there"
        ]
    if write:
        for name in os.listdir(marker):
            if not os.path.islink(os.path.join(marker, name)):
                with contextlib.suppress(OSError):
                    _remove_empty(os.path.join(marker, name))
        try:
            os.rmdir(marker)
        except OSError:
            return False, [f"{base} stays: {marker} is not empty"]
        with contextlib.suppress(OSError):
            os.rmdir(base)
    return True, []


def _remove_empty(path: str) -> None:
    for above, _, _ in os.walk(path, topdown=False):
        os.rmdir(above)
