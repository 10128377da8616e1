"""Carrying tarballs from the node that holds them to the host that needs them, by way of the controller.

The two know nothing of each other and have no keys, but the controller reaches both. What it fetches lies in a private folder
of its own, which is removed at the end; one that a killed call left is removed by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import AltbackupError, ToolFailed
from .layout import TEMPORARY, split_relpath
from .processes import Deadline, inherited
from .publish import remove_folder
from .transfer import Peer, carry

_ATTEMPTS = 3
_CUT = (10, 12, 30, 35, 255)
"""Exit codes of rsync where the way between the two may have been cut"""
_PAUSE = 2.0
"""Seconds between attempts: each goes on where the one before was cut"""


def bring(
    origin: Peer, destination: Peer, relpaths: Sequence[str], size: int, deadline: Deadline, folder: str
) -> dict[str, Any]:
    """Given a peer with a tree, one with an empty folder, and tarballs of the tree, bring these into the folder; return the result.

    `folder` is where the controller puts what it fetches, `size` their bytes. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    for relpath in relpaths:
        split_relpath(relpath)
    names = [relpath.rsplit("/", 1)[-1] for relpath in relpaths]
    notes: list[str] = []
    if not origin.host:
        _persist(destination, origin.folder, relpaths, deadline, fetch=False)
    elif not destination.host:
        _persist(origin, destination.folder, relpaths, deadline, fetch=True)
    else:
        with _spool(os.path.expanduser(folder), size, notes) as spool:
            _persist(origin, spool, relpaths, deadline, fetch=True)
            _persist(destination, spool, names, deadline, fetch=False)
    return {"changed": True, "seconds": round(time.monotonic() - start, 3), "notes": notes}


def _persist(peer: Peer, here: str, relpaths: Sequence[str], deadline: Deadline, *, fetch: bool) -> None:
    """Carry files; a cut is tried again, and costs no more than what was not there yet."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            carry(peer, here, relpaths, deadline, fetch=fetch)
            return
        except ToolFailed as error:
            if error.rc not in _CUT or attempt == _ATTEMPTS or deadline.is_over():
                raise
            time.sleep(_PAUSE)


@contextlib.contextmanager
def _spool(folder: str, size: int, notes: list[str]) -> Iterator[str]:
    """Yield an empty private folder with room for so many bytes, held by this call; it is removed at the end."""
    os.makedirs(folder, 0o700, exist_ok=True)
    with _locked(folder):
        notes += _remove_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise AltbackupError(
                f"{size} bytes are needed below {folder} on the controller, through which they travel, but only {free} are free"
            )
        path = tempfile.mkdtemp(prefix=TEMPORARY, dir=folder)
        held = contextlib.ExitStack()
        descriptor = held.enter_context(_locked(path))
    with held, inherited(descriptor):
        try:
            yield path
        finally:
            remove_folder(path)


@contextlib.contextmanager
def _locked(path: str, flags: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Hold a folder, and yield it as an open file. Raise BlockingIOError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, flags)
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: str) -> list[str]:
    """Remove the folders of calls that were killed: nobody holds these. Return a note on each."""
    notes = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.startswith(TEMPORARY) or os.path.islink(path) or not os.path.isdir(path):
            continue
        with contextlib.suppress(BlockingIOError), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            remove_folder(path)
            notes.append(f"removed {path}, which a killed restore had left")
    return notes
