"""Reading ahead: a dump reads the full tarballs of its differentials, which the check after it has to read, while it is at work on something else."""

from __future__ import annotations

import itertools
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ..system.digest import CHUNK, digest_file, time_left, within_limits
from ..system.errors import AltbackupError
from ..tree.layout import Tarball, Tree
from ..tree.read_ahead import Reading
from ..tree.sidecar import Dna


class NotWanted(AltbackupError):
    """The dump is over before the reading is."""


class ReadAhead:
    """Reads one tarball after the other in a thread; a context manager, at whose end no reading goes on.

    At the end of the dump the tarball of which half is read is read to its end, since the check would have to begin anew. What is not read then is
    left to the check, as is all that cannot be read, or is not what its dna says.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._dumped = threading.Event()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._begun: dict[tuple[int, int], tuple[str, Future[Reading | None]]] = {}
        self._since = 0.0
        """When the last reading began"""

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._dumped.set()
        self._over.set()
        self._pool.shutdown()

    def begin(self, tarball: Tarball) -> None:
        """Let a tarball be read, unless it was begun already."""
        if tarball.dna and tarball.inode not in self._begun:
            self._begun[tarball.inode] = (tarball.relpath, self._pool.submit(self._read, tarball.relpath, tarball.dna))

    def found(self) -> dict[str, Reading]:
        """End the reading; return {relpath: what reading it found} of what was read and is what its dna says. Raise DeadlineExceeded.

        What is read to its end gets at most as long again as its reading has lasted, and half of the time that is left.
        """
        self._dumped.set()
        lasted = time.monotonic() - self._since
        wait([reading for _, reading in self._begun.values()], time_left(2 * lasted) / 2)
        self._over.set()
        done = {relpath: reading for relpath, reading in self._begun.values() if reading.done()}
        found = {relpath: reading.result() for relpath, reading in done.items() if reading.exception() is None}
        return {relpath: read for relpath, read in found.items() if read is not None}

    def _read(self, relpath: str, dna: Dna) -> Reading | None:
        self._since = time.monotonic()
        chunks = itertools.count()

        def go_on() -> None:
            within_limits()
            read = next(chunks) * CHUNK
            if self._over.is_set() or (self._dumped.is_set() and 2 * read < dna.size):
                raise NotWanted("the dump is over")

        if self._dumped.is_set():
            return None  # before the file is opened, and flushed
        path = self._tree.path(relpath)
        status = os.lstat(path)
        found = digest_file(path, dna.alg, from_disk=True, go_on=go_on)
        return Reading(status, dna.alg, dna.dig) if found == (dna.dig, dna.size) else None
