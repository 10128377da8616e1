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

from ..synchronize.peers import Peer
from ..synchronize.rsync import PARTIAL, carry
from ..system.errors import AltbackupError, InvalidInput, ToolFailed
from ..system.opened import require_kept, require_own
from ..system.process_groups import inherited
from ..system.processes import Deadline
from ..system.units import told_apart
from ..tree.failures import failure
from ..tree.layout import TEMPORARY, split_relpath
from ..tree.publish import remove_folder

_ATTEMPTS = 3
_CUT = (10, 12, 30, 35, 255)
"""Exit codes of rsync where the way between the two may have been cut"""
_PAUSE = 2.0
"""Seconds between attempts: each goes on where the one before was cut"""


def bring(
    origin: Peer,
    destination: Peer,
    relpaths: Sequence[str],
    size: int,
    deadline: Deadline,
    folder: str,
    *,
    tree: bool = False,
) -> dict[str, Any]:
    """Given a peer with a tree, one with an empty folder, and tarballs of the tree, bring these into the folder; return the result.

    `folder` is where the controller puts what it fetches, `size` their bytes. Each arrives by its last name. As a `tree` they
    keep their paths, and what cannot be read is one of the `failures` that holds up no other. Raise AltbackupError or OSError.
    """
    start = time.monotonic()
    for relpath in relpaths:
        split_relpath(relpath)
    notes: list[str] = []
    move = _Mover(deadline, tree, size)
    if not origin.host:
        move.persist(destination, origin.folder, relpaths, fetch=False)
    elif not destination.host:
        move.persist(origin, destination.folder, relpaths, fetch=True)
    else:
        with _spool(os.path.expanduser(folder), size, notes) as spool:
            move.persist(origin, spool, relpaths, fetch=True)
            names = relpaths if tree else [relpath.rsplit("/", 1)[-1] for relpath in relpaths]
            there = [name for name in names if os.path.lexists(os.path.join(spool, name))]
            move.persist(destination, spool, there, fetch=False)
    failures = [failure("drill", error) for error in move.errors]
    return {"changed": True, "seconds": round(time.monotonic() - start, 3), "notes": notes, "failures": failures}


class _Mover:
    """How files go from one end to the other: a cut is tried again, and costs no more than what was not there yet."""

    def __init__(self, deadline: Deadline, tree: bool, size: int) -> None:
        self.errors: list[ToolFailed] = []
        self._deadline = deadline
        self._tree = tree
        self._size = size

    def persist(self, peer: Peer, here: str, relpaths: Sequence[str], *, fetch: bool) -> None:
        """Carry files. Raise ToolFailed, but keep what some of a tree's met in `errors`."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                carry(peer, here, relpaths, self._deadline, fetch=fetch, relative=self._tree, size=self._size)
                return
            except ToolFailed as error:
                if self._tree and error.rc in PARTIAL:
                    self.errors.append(error)
                    return
                if error.rc not in _CUT or attempt == _ATTEMPTS or self._deadline.is_over():
                    raise
                time.sleep(_PAUSE)


@contextlib.contextmanager
def _spool(folder: str, size: int, notes: list[str]) -> Iterator[str]:
    """Yield an empty private folder with room for so many bytes, held by this call; it is removed at the end."""
    os.makedirs(folder, 0o700, exist_ok=True)
    require_kept(folder, "what travels through the controller")
    with _locked(folder):
        notes += _remove_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if size > free:
            needed, left = told_apart(size, free)
            raise AltbackupError(
                f"{needed} are needed below {folder} on the controller, through which they travel, but only {left} are free"
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
    """Remove this user's folders of calls that were killed: nobody holds these. Return a note on each."""
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
