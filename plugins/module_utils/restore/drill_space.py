"""Free space for drills."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator

from ..system.errors import AltbackupError
from ..system.processes import Deadline
from ..system.units import readable, shortage

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
        purpose, where = " to unpack it", f" in {self.folder}"
        if self.limit and (size or self.capacity + 1) + MARGIN <= self.free:
            needed = f"more than {readable(self.capacity)}" if size is None else readable(size)
            return (
                f"{needed} are needed{purpose}, but altbackup_drill_limit is {readable(self.limit)}: it was not drilled"
            )
        if size is not None:
            return f"{shortage(size, self.free, MARGIN, purpose=purpose, where=where)}: it was not drilled"
        return (
            f"more than {readable(self.capacity)} are needed{purpose}, and {readable(MARGIN)} have to stay free, but only {readable(self.free)} are "
            f"free{where}: it was not drilled"
        )
