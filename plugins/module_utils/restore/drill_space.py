"""Free space for drills."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator

from ..system.errors import AltbackupError
from ..system.processes import Deadline
from ..system.units import readable, told_apart

MARGIN = 64 << 20
"""Bytes of the disk that the planned size of a drill leaves free"""


class SpaceAllowance:
    """Allowance of bytes that are unpacked at a time: a larger request waits for others to end, or is refused."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.free = shutil.disk_usage(folder).free
        self.capacity = max(0, min(self.free - MARGIN, limit or self.free))
        self._reserved = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserved(self, size: int, deadline: Deadline) -> Iterator[None]:
        """Reserve `size` bytes while the block lasts. Raise AltbackupError if there is never that much room, or DeadlineExceeded."""
        if size > self.capacity:
            raise AltbackupError(self.refusal(size))
        with self._changed:
            while self._reserved + size > self.capacity:
                self._changed.wait(deadline.remaining())
                deadline.remaining()
            self._reserved += size
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= size
                self._changed.notify_all()

    def refusal(self, size: int | None = None) -> str:
        """Return the message of a request of `size` bytes that does not fit; None: larger than the capacity."""
        needed, free = (f"more than {readable(self.capacity)}", readable(self.free))
        if size is not None:
            needed, free = told_apart(size, self.free)
        limited = f" and altbackup_drill_limit is {readable(self.limit)}" if self.limit else ""
        return (
            f"{needed} are needed to unpack it, but {free} are free in {self.folder}, of which {readable(MARGIN)} stay free{limited}: "
            "it was not drilled"
        )
