"""Abilities of a base's file system: links of both kinds, and modes. Preflight tries them, and reports what is missing."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..system.errors import FULL, UNABLE
from ..system.mounts import file_system
from .layout import TEMPORARY, Tree
from .publish import remove_folder

_BARE = ("exfat", "msdos", "vfat")
"""File systems known to have neither links nor modes, however they are mounted"""
_ABLE = (
    "bcachefs",
    "btrfs",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "jfs",
    "nfs",
    "nfs4",
    "overlay",
    "ramfs",
    "reiserfs",
    "tmpfs",
    "xfs",
    "zfs",
)
"""File systems known to have both"""
_MODE = 0o600
_PROBE = f"{TEMPORARY}probe-"
_OLD = 3600.0  # seconds
_NOBODY = 65534


@dataclass(frozen=True)
class Abilities:
    """The abilities of a file system."""

    hard_links: bool = True
    symbolic_links: bool = True
    mode: int = _MODE
    """Mode of a file after chmod to 0600"""


def probe(tree: Tree) -> Abilities | None:
    """Try the abilities of a tree's file system in its private folder, and leave nothing there; None on a full disk. Raise OSError."""
    _remove_old(tree.private)
    folder = os.path.join(tree.private, f"{_PROBE}{secrets.token_hex(8)}")
    try:
        os.mkdir(folder, 0o700)
        return _tried(folder)
    except OSError as error:
        if error.errno in FULL:
            return None
        raise
    finally:
        remove_folder(folder)


def _remove_old(private: str) -> None:
    """Remove what killed probes left; newer files may belong to a running probe, since each source probes its targets."""
    for name in os.listdir(private):
        path = os.path.join(private, name)
        with contextlib.suppress(FileNotFoundError):
            if name.startswith(_PROBE) and time.time() - os.lstat(path).st_mtime > _OLD:
                remove_folder(path)


def _tried(folder: str) -> Abilities:
    path = os.path.join(folder, "file")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    return Abilities(
        _can(lambda: os.link(path, f"{path}-link")),
        _can(lambda: os.symlink("file", f"{path}-symlink")),
        _mode(path),
    )


def _can(make: Callable[[], None]) -> bool:
    try:
        make()
    except OSError as error:
        if error.errno in UNABLE:
            return False
        raise
    return True


def _mode(path: str) -> int:
    _can(lambda: os.chmod(path, _MODE))
    return stat.S_IMODE(os.lstat(path).st_mode)


def keeps_owners(folder: str) -> bool:
    """Return whether files in a private folder can change owners; always true unless this is root; nothing stays. Raise OSError."""
    if os.geteuid() != 0:
        return True
    path = os.path.join(folder, f"{_PROBE}{secrets.token_hex(8)}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE))
    try:
        _can(lambda: os.chown(path, _NOBODY, _NOBODY))
        return os.lstat(path).st_uid == _NOBODY
    finally:
        os.unlink(path)


def describe_base(tree: Tree, *, trying: bool) -> str:
    """Return a sentence on what a tree's file system lacks; empty if it lacks nothing.

    Without `trying` nothing is written, and the type of the file system decides; types known to have everything are never tried. Raise
    OSError.
    """
    kind = file_system(tree.private)
    if kind in _ABLE:
        found = None
    elif trying:
        found = probe(tree)
    elif kind in _BARE:
        found = Abilities(False, False, stat.S_IMODE(os.stat(tree.private).st_mode))
    else:
        return f"{tree.base}: whether its file system ({kind or 'of unknown type'}) has links and keeps modes is found out by a run that may write"
    lacks = _lacks(found) if found is not None else []
    return f"{tree.base}: its file system{f' ({kind})' if kind else ''} has {'; '.join(lacks)}" if lacks else ""


def _lacks(found: Abilities) -> list[str]:
    lacks = []
    if not found.hard_links:
        lacks.append("no hard links: what did not change shares its blocks, or is a copy that takes its room again")
    if not found.symbolic_links:
        lacks.append("no symbolic links: there are no links called last")
    if found.mode != _MODE:
        lacks.append(
            f"no modes that can be set: files have {found.mode:04o}, so who may read them is for the mount to say (such as umask=077), and copies "
            "of repositories made there have modes of that disk, not their own"
        )
    return lacks
