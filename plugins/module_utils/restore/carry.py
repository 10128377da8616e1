"""Transfer of tarballs from the node that holds them to the host that needs them, through the controller.

The two hosts need no keys for each other, since the controller reaches both. Tarballs pass through a private folder on the controller,
which is removed at the end; one that a killed call left is removed by the next call.
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

from ..synchronize.peers import Peer
from ..synchronize.rsync import PARTIAL, carry
from ..system.errors import AltbackupError, InvalidInput, ToolFailed
from ..system.opened import require_kept, require_own
from ..system.process_groups import inherited
from ..system.processes import Deadline
from ..system.units import shortage
from ..tree.failures import failure
from ..tree.layout import TEMPORARY, split_relpath
from ..tree.publish import remove_folder

_ATTEMPTS = 3
_RETRIED = (10, 12, 30, 35, 255)
"""Exit codes of rsync after which a transfer is tried again: the connection may have been lost"""
_PAUSE = 2.0
"""Seconds between attempts; each resumes where the one before was cut"""


def transfer(
    origin: Peer,
    destination: Peer,
    relpaths: Sequence[str],
    size: int,
    deadline: Deadline,
    folder: str,
    *,
    tree: bool = False,
) -> dict[str, Any]:
    """Copy tarballs (paths below the origin's folder) into the destination's empty folder; return `seconds`, `notes` and `failures`.

    A peer without `host` is this host. `folder` is where the controller keeps its private folder, `size` the sum of the tarballs in
    bytes. Files arrive under their final names, flat; as a `tree` they keep their paths, and a file that cannot be read is one of the
    `failures` while the others arrive. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    for relpath in relpaths:
        split_relpath(relpath)
    notes: list[str] = []
    move = _Transfer(deadline, tree, size)
    if not origin.host:
        move.run(destination, origin.folder, relpaths, fetch=False)
    elif not destination.host:
        move.run(origin, destination.folder, relpaths, fetch=True)
    else:
        with _spool(os.path.expanduser(folder), size, notes) as spool:
            move.run(origin, spool, relpaths, fetch=True)
            names = relpaths if tree else [relpath.rsplit("/", 1)[-1] for relpath in relpaths]
            there = [name for name in names if os.path.lexists(os.path.join(spool, name))]
            move.run(destination, spool, there, fetch=False)
    failures = [failure("drill", error) for error in move.errors]
    return {"changed": True, "seconds": round(time.monotonic() - start, 3), "notes": notes, "failures": failures}


class _Transfer:
    """Transfers with retries: an interrupted transfer is resumed, and only the missing part is sent again."""

    def __init__(self, deadline: Deadline, tree: bool, size: int) -> None:
        self.errors: list[ToolFailed] = []
        self._deadline = deadline
        self._tree = tree
        self._size = size

    def run(self, peer: Peer, here: str, relpaths: Sequence[str], *, fetch: bool) -> None:
        """Transfer files, up to _ATTEMPTS times. Raise ToolFailed; that a tree arrived in part is kept in `errors` instead."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                carry(peer, here, relpaths, self._deadline, fetch=fetch, relative=self._tree, size=self._size)
                return
            except ToolFailed as error:
                if self._tree and error.rc in PARTIAL:
                    self.errors.append(error)
                    return
                if error.rc not in _RETRIED or attempt == _ATTEMPTS or self._deadline.is_over():
                    raise
                time.sleep(_PAUSE)


@contextlib.contextmanager
def _spool(folder: str, size: int, notes: list[str]) -> Iterator[str]:
    """Yield an empty private folder with `size` free bytes, locked by this call; it is removed at the end. Raise AltbackupError or OSError."""
    os.makedirs(folder, 0o700, exist_ok=True)
    require_kept(folder, "what travels through the controller")
    with _locked(folder):
        notes += _remove_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if size > free:
            purpose = f" below {folder} on the controller, through which they travel"
            raise AltbackupError(shortage(size, free, purpose=purpose))
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
    """Lock a folder, and yield its descriptor. Raise BlockingIOError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, flags)
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: str) -> list[str]:
    """Remove this user's unlocked folders, which killed calls left; return a note on each."""
    notes = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not name.startswith(TEMPORARY) or os.path.islink(path) or not os.path.isdir(path):
            continue
        with contextlib.suppress(BlockingIOError, InvalidInput), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
            require_own(path)
            remove_folder(path)
            notes.append(f"removed {path}, which a killed call had left")
    return notes
