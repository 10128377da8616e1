"""Giving a restored thing its place, beside which it was made: by one rename, so that what stood there is there, or the new one is.

What is under way is told by a journal in the work folder, so that the next attempt puts right what a killed one left: the thing
that is to take the place, what is to become of the one that stood there, and the marker as it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .errors import AltbackupError, InvalidInput, Locked
from .layout import TEMPORARY, printable
from .processes import Deadline, find_tool, inherited, run
from .publish import flush_folder, prune_empty, remove_folder, remove_if_there, write_text
from .restored import marker_path

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_JOURNAL = "journal"
_MADE = "made"
_MARKER = "marker"
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Work:
    """The private folder beside a destination in which it is restored, held by this call alone."""

    path: str
    destination: str
    descriptor: int
    """The folder as an open file: who may write to the one above can rename it, but not what is in it"""

    def folder(self, name: str) -> str:
        """Make an empty folder in it, and return its path."""
        path = os.path.join(self.path, name)
        remove_folder(path)
        os.mkdir(path, 0o700)
        return path


def work_path(destination: str) -> str:
    """Return the work folder of a destination: the same at each attempt, so that the next one finds what is left."""
    parent, name = os.path.split(destination)
    own = f"{TEMPORARY}restore-{name}"
    if len(os.fsencode(own)) > _LONGEST_NAME:
        own = f"{TEMPORARY}restore-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
    return os.path.join(parent, own)


def existing_parent(path: str) -> str:
    """Return the nearest folder above a path that is there. Raise InvalidInput if something else is in the way."""
    parent = os.path.dirname(path)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise InvalidInput(f"{path} cannot be made: {parent} is no folder")
    return parent


@contextlib.contextmanager
def working(destination: str) -> Iterator[Work]:
    """Given a destination, hold its work folder while the block lasts; it and its parents are made where they are missing.

    Raise Locked if another restore is at work on it, or OSError.
    """
    path, above = work_path(destination), existing_parent(destination)
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    descriptor = _open_work(path)
    try:
        with inherited(descriptor):
            made = os.path.join(path, _MADE)
            if not os.path.lexists(made):
                write_text(made, json.dumps(above))
            yield Work(path, destination, descriptor)
    finally:
        os.close(descriptor)


def _open_work(path: str) -> int:
    """Make the work folder if it is not there, and lock it; whoever held it before may have removed it meanwhile."""
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Locked(f"another restore is at work in {path}: let it end; nothing was done here") from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return descriptor
        os.close(descriptor)


def clear(work: Work, *, keep: str = "") -> list[str]:
    """Given a work folder, put right what a killed attempt left in it and empty it, but for `keep`; return notes.

    Raise AltbackupError or OSError: what stood at the destination may then be in the work folder, in which nothing was touched.
    """
    notes = _settle(work, _read_journal(work)) if _is_under_way(work) else []
    for name in sorted(os.listdir(work.path)):
        if name not in (_MADE, keep):
            path = os.path.join(work.path, name)
            notes.append(f"removed {printable(name)}, which an earlier restore had left in {work.path}")
            _remove(path)
    return notes


def discard(work: Work) -> None:
    """Remove a work folder, and the parents of the destination that were made for it and are still empty.

    One in which a replacement could not be brought to its end stays, since what stood at the destination may be in it.
    """
    if _is_under_way(work):
        return
    made = _read_json(os.path.join(work.path, _MADE))
    remove_folder(work.path)
    if isinstance(made, str) and made:
        prune_empty(os.path.dirname(work.path), made)
    with contextlib.suppress(FileNotFoundError):
        flush_folder(os.path.dirname(work.path))


def _is_under_way(work: Work) -> bool:
    return os.path.lexists(os.path.join(work.path, _JOURNAL))


def _read_journal(work: Work) -> dict[str, Any]:
    journal = _read_json(os.path.join(work.path, _JOURNAL))
    if not isinstance(journal, dict):
        raise AltbackupError(
            f"{work.path}/{_JOURNAL} cannot be read: a restore was ended there, and what stood at {work.destination} may be in that folder. "
            "Nothing was touched: look at both, put the one that is wanted in its place, and remove the folder"
        )
    return journal


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_folder(path)
    else:
        remove_if_there(path)


def _read_json(path: str) -> Any:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def require_place(destination: str, aside: str) -> None:
    """Given a destination and the path for what stands there, or none, raise AltbackupError if that may not be replaced."""
    if not os.path.lexists(destination):
        return
    if not aside:
        raise AltbackupError(
            f"{destination} is there already, and a restore replaces nothing by itself: "
            "give the entry replace: move_aside to have it moved aside, or another path as to"
        )
    if os.path.ismount(destination):
        raise AltbackupError(f"{destination} is a mount point, which cannot be moved aside: give another path as to")
    if os.path.lexists(aside):
        raise AltbackupError(f"{aside} is there already, so what stands at {destination} cannot be moved there")


def place(work: Work, new: str, *, aside: str = "", marker: str, deadline: Deadline) -> None:
    """Given something in a work folder, give it its place at the destination, with its marker, all of it flushed.

    What stands there goes to the path `aside`; without that nothing may stand there. Raise AltbackupError or OSError: then
    what stood there still does, or the work folder stays for the next attempt to put that right.
    """
    destination = work.destination
    require_place(destination, aside)
    there = os.path.lexists(destination)
    run([find_tool("sync"), "-f", new], what=f"flushing {new}", deadline=deadline)
    journal = {
        "new": _inode(new),
        "path": os.path.relpath(new, work.path),
        "old": _inode(destination) if there else None,
        "aside": aside,
        "marker": _read_text(marker_path(destination)),
    }
    write_text(os.path.join(work.path, _JOURNAL), json.dumps(journal))
    try:
        _write_marker(work, marker)
        if there:
            _exchange(new, destination, aside)
        else:
            _rename_to_nothing(new, destination)
        flush_folder(os.path.dirname(destination))
    except BaseException:
        _settle(work, journal)
        raise
    _settle(work, journal)


def _write_marker(work: Work, text: str) -> None:
    path = os.path.join(work.path, _MARKER)
    write_text(path, text)
    os.replace(path, marker_path(work.destination))


def _inode(path: str) -> list[int]:
    status = os.lstat(path)
    return [status.st_dev, status.st_ino]


def _read_text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _is(path: str, inode: object) -> bool:
    return os.path.lexists(path) and _inode(path) == inode


def _settle(work: Work, journal: dict[str, Any]) -> list[str]:
    """Bring what a journal tells of to its end: the new thing in its place and the old one aside, or all as it was; return notes."""
    destination, aside = work.destination, str(journal.get("aside") or "")
    swapped = os.path.join(work.path, str(journal.get("path")))
    notes = []
    if _is(destination, journal.get("new")):
        if aside and _is(swapped, journal.get("old")):
            os.rename(swapped, aside)
            flush_folder(work.path)
        notes.append(
            f"{destination} was restored by an attempt that was killed at its end{f'; what stood there is {aside}' if aside else ''}"
        )
    else:
        if aside and not os.path.lexists(destination) and _is(aside, journal.get("old")):
            os.rename(aside, destination)
            notes.append(f"moved {aside} back to {destination}, where a killed restore had taken it away")
        before = journal.get("marker")
        if isinstance(before, str):
            _write_marker(work, before)
        else:
            remove_if_there(marker_path(destination))
    flush_folder(os.path.dirname(destination))
    remove_if_there(os.path.join(work.path, _JOURNAL))
    return notes


def _exchange(new: str, destination: str, aside: str) -> None:
    """Put the new thing where the old one stands, in one step where the file system can do that, else in two."""
    try:
        _renameat2(new, destination, _EXCHANGE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        os.rename(destination, aside)
        os.rename(new, destination)


def _rename_to_nothing(new: str, destination: str) -> None:
    try:
        _renameat2(new, destination, _NOREPLACE)
    except FileExistsError:
        require_place(destination, "")
        raise
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        os.rename(new, destination)


def _renameat2(old: str, new: str, flags: int) -> None:
    """Rename as renameat2(2) does. Raise OSError, with ENOSYS where the C library has no such function."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), old)
    if function(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)
