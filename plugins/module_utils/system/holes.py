"""Holes of sparse files: found where the file system reports them, and kept when files are copied."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from .digest import CHUNK, open_plain
from .errors import InvalidInput, name_os_errors
from .processes import Deadline
from .units import readable
from .visible import printable

MOST = 64 << 20
"""Most bytes of holes, in all files of an item, that a program may copy as zeros: programs that do so make no sparser files"""


def parts_of(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, bytes) of the data between the holes of an open file of that size. Raise OSError."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            start, end = end, size  # this file system reports no holes
        if start < end:
            yield start, end - start


def holes_in(path: str | bytes, status: os.stat_result | None = None) -> int:
    """Return the bytes of a path that are holes, 0 unless it is a sparse plain file. Raise OSError."""
    status = os.lstat(path) if status is None else status
    if not stat.S_ISREG(status.st_mode) or status.st_blocks * 512 >= status.st_size:
        return 0
    with open_plain(os.fsdecode(path)) as stream:
        size = os.fstat(stream.fileno()).st_size
        return size - sum(length for _, length in parts_of(stream.fileno(), size))


def copy_file(source: str, destination: str, deadline: Deadline | None = None) -> None:
    """Copy the data of a plain file to a new one, keeping its holes. Raise OSError or DeadlineExceeded."""
    with open_plain(source) as stream, open(destination, "xb") as copy, name_os_errors(destination):
        size = os.fstat(stream.fileno()).st_size
        for start, length in parts_of(stream.fileno(), size):
            stream.seek(start)
            copy.seek(start)
            left = length
            while left > 0 and (block := stream.read(min(CHUNK, left))):
                copy.write(block)
                left -= len(block)
                if deadline is not None:
                    deadline.remaining()
        copy.truncate(size)


class Holes:
    """Adds up the holes of files that a program reads or writes whole, as zeros."""

    def __init__(self, title: str, program: str) -> None:
        self._title = title
        self._program = program
        self._total = 0

    def add(self, path: str, status: os.stat_result) -> None:
        """Add the holes of a file. Raise InvalidInput if the sum is above MOST, or OSError."""
        found = holes_in(path, status)
        self._total += found
        if self._total > MOST:
            raise InvalidInput(
                f"{self._title}: {printable(path)} is sparse: {readable(found)} of its {readable(status.st_size)} are holes, which "
                f"{self._program} would read and write as zeros. No more than {readable(MOST)} are (in all files together), since no program "
                "leaves holes there: see where they come from, and put the file right or away"
            )
