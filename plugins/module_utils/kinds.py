"""What every kind of item has in common: a prepared copy that archives as one committed state."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from .archive import Part
from .errors import InvalidInput, SourceChanged
from .items import Item
from .layout import Tree, printable
from .processes import Deadline
from .publish import make_folders, remove_folder


@dataclass(frozen=True)
class Context:
    """Where and how a dump works: the tree, this run's stamp, its deadline, and how often scratch copies are rebuilt."""

    tree: Tree
    stamp: str
    deadline: Deadline
    verify_every: int = 7
    clock: str = ""
    """The latest stamp that the controller's clock had shown when the run began, if that is known"""


_TICK = 0.02
"""Seconds; the clock that file times are taken from moves at least every 10 ms."""


def unchanged() -> None:
    """Confirm nothing: the parts are private copies, which nobody else changes."""


@dataclass
class Prepared:
    """A consistent copy, ready to be archived."""

    parts: Sequence[Part]
    record: dict[str, Any]
    revision: int | None = None
    owner: tuple[int, int] | None = None
    fixed_times: bool = False
    sparse: bool = False
    """Whether holes of sparse files are kept; whether a fresh copy has holes is up to its file system, even for equal content."""
    listed: bool = False
    """Whether the archive's manifest is recorded."""
    notes: list[str] = field(default_factory=list)
    """What an operator should know: left out, rebuilt, ignored."""
    confirm: Callable[[], None] = unchanged
    """Called after archiving; raises SourceChanged if what was read is not one state."""

    def top(self, name: str) -> str:
        """Return the top folder in the archive."""
        return name if self.revision is None else f"{name}-{self.revision}"


@dataclass(frozen=True)
class Kind:
    """One kind of item: how it is recognized and how it is copied while in use."""

    check: Callable[[Item], None]
    """Given an item, raise InvalidInput or ToolMissing if it cannot be dumped; reads little, changes nothing."""
    copy: Callable[[Item, Context], AbstractContextManager[Prepared]]
    revision: Callable[[Item, Deadline], int | None] = lambda item, deadline: None
    """The revision a dump would have now, for check mode."""
    looks_like: Callable[[str], bool] | None = None
    """Whether a path looks like such a thing, be it damaged or of a form that cannot be dumped; None if it cannot be discovered."""


def members_of(path: str, members: Sequence[str]) -> int:
    """Given a path and members of a folder, return how many of them are there, be they readable or not."""
    return sum(os.path.lexists(os.path.join(path, member)) for member in members)


def require_folder(item: Item) -> None:
    """Raise InvalidInput unless the item's path is a folder that can be read."""
    where = f"item {item.kind} {item.name!r}: path {item.path}"
    if not os.path.lexists(item.path):
        raise InvalidInput(f"{where} does not exist")
    if not os.path.isdir(item.path):
        raise InvalidInput(f"{where} is not a folder")
    if not os.access(item.path, os.R_OK | os.X_OK):
        raise InvalidInput(f"{where} cannot be read by uid {os.geteuid()}")


def walk(
    root: str,
    excluded: Callable[[str, bool], bool] = lambda path, folder: False,
    deadline: Deadline | None = None,
) -> tuple[dict[bytes, tuple[int, ...]], list[str]]:
    """Given a folder, or a link to one, return ({path as tar wants it: identity}, notes on what cannot be archived).

    The content of a folder follows it, before any sibling: GNU tar settles mode and time of a folder once it has left it.
    `excluded` is asked with the path below the root and whether it is a folder. Raise InvalidInput where something
    cannot be read, SourceChanged where it vanishes meanwhile, DeadlineExceeded.
    """
    found: dict[bytes, tuple[int, ...]] = {}
    notes: list[str] = []
    waiting = [""]
    while waiting:
        path = waiting.pop()
        full = os.path.join(root, path) if path else root
        try:
            status = os.lstat(full) if path else os.stat(full)
            if stat.S_ISSOCK(status.st_mode):
                notes.append(f"left out {printable(path)}: a socket has no content")
                continue
            found[os.fsencode(f"./{path}") if path else b"."] = identity(status)
            if stat.S_ISREG(status.st_mode) and not os.access(full, os.R_OK):
                raise PermissionError
            if stat.S_ISDIR(status.st_mode):
                if deadline is not None:
                    deadline.remaining()
                with os.scandir(full) as entries:
                    for entry in entries:
                        below = f"{path}/{entry.name}" if path else entry.name
                        if not excluded(below, entry.is_dir(follow_symlinks=False)):
                            waiting.append(below)
        except FileNotFoundError as error:
            raise SourceChanged(f"{printable(full)} vanished while it was read") from error
        except PermissionError as error:
            raise InvalidInput(
                f"{printable(full)} cannot be read by uid {os.geteuid()}: nothing of this item is stored"
            ) from error
    return {name: found[name] for name in sorted(found, key=_parts)}, sorted(notes)


def _parts(name: bytes) -> bytes:
    """Return what sorts a path by its parts."""
    return name.replace(b"/", b"\0")


def settle() -> None:
    """Wait until the clock of file times has moved: a second change of a file in the tick of its walk would leave no trace."""
    time.sleep(_TICK)


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Given a stat result, return (mode, uid, gid, size, mtime, ctime, inode): content and attributes do not change without it."""
    return (
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size if not stat.S_ISDIR(status.st_mode) else 0,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def compare(before: dict[bytes, tuple[int, ...]], after: dict[bytes, tuple[int, ...]]) -> None:
    """Given two walks of a folder, raise SourceChanged, naming what changed between them."""
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        some = ", ".join(printable(os.fsdecode(name)) for name in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise SourceChanged(f"changed while it was read: {some}{more}")


def scratch_folder(context: Context, item: Item) -> str:
    """Make an empty private folder for copies of an item, removing what a killed run left there."""
    path = context.tree.private_path("scratch", item.category, item.name)
    remove_folder(path)
    make_folders(path, context.tree.private)
    return path


def owner_of(path: str) -> tuple[int, int]:
    """Return (uid, gid) of a path."""
    status = os.stat(path)
    return status.st_uid, status.st_gid
