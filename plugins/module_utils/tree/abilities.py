"""What the file system of a base can do: links of both kinds, and modes. Preflight finds it out, and tells what is not there."""

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
"""Those of which it is known, whatever is mounted, that they have neither"""
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
"""Those of which it is known that they have both"""
_MODE = 0o600
_PROBE = f"{TEMPORARY}probe-"
_OLD = 3600.0  # seconds
_NOBODY = 65534


@dataclass(frozen=True)
class Abilities:
    """What a file system has."""

    hard_links: bool = True
    symbolic_links: bool = True
    mode: int = _MODE
    """That of a file to which 0600 was given"""


def probe(tree: Tree) -> Abilities | None:
    """Try what the file system of a tree can do, in its private folder, of which nothing stays; None on a full disk. Raise OSError."""
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
    """Remove what killed probes left; what is new may be at work, as each source looks at its targets."""
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
    """Given a private folder, return whether what is in it can belong to another user, if it is root who asks; nothing stays. Raise OSError."""
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
    """Given a tree, return what a person should know of its file system, in one sentence; nothing where it has all.

    Without `trying` nothing is written, and what its type tells is said; so it is for types of which it is known that they have all. Raise OSError.
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
