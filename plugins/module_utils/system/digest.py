"""Digests of files, several at once: hashlib releases the interpreter's lock."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from . import progress
from .errors import name_os_errors
from .processes import Deadline

DIGEST_LENGTHS = {"md5": 32, "sha256": 64, "sha512": 128}
CHUNK = 1 << 20
_AHEAD = 4 << 20
"""Bytes of a file that are read ahead of the part whose digest is computed"""
_ZEROS = memoryview(bytes(CHUNK))


_limits: list[Deadline] = []


@contextlib.contextmanager
def limited(deadline: Deadline) -> Iterator[None]:
    """End all reading for digests in this process at the deadline while the block lasts."""
    _limits.append(deadline)
    try:
        yield
    finally:
        _limits.remove(deadline)


def within_limits() -> None:
    """Raise DeadlineExceeded if a deadline for the reading of this process has passed."""
    for limit in _limits:
        limit.remaining()


def time_left(most: float) -> float:
    """Return the seconds until the first deadline for the reading of this process, but at most `most`. Raise DeadlineExceeded if none are left."""
    return min([limit.at_most(most) for limit in _limits], default=most)


def new_hash(algorithm: str) -> Any:
    """Return a hashlib object of an algorithm; md5 works on hardened systems, too."""
    try:
        return hashlib.new(algorithm, usedforsecurity=False)
    except TypeError:  # Python 3.8
        return hashlib.new(algorithm)


def add_zeros(digest: Any, count: int) -> None:
    """Feed a number of zero bytes to a hashlib object without reading them. Raise DeadlineExceeded."""
    for done in range(0, count, CHUNK):
        within_limits()
        digest.update(_ZEROS[: count - done])


def open_plain(path: str, dir_fd: int | None = None) -> IO[bytes]:
    """Open a plain file for reading. Raise OSError for anything else, including links and pipes.

    With `dir_fd` the path is relative to that open folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", path)
    return os.fdopen(descriptor, "rb")


def digest_file(
    path: str, algorithm: str, *, from_disk: bool = False, go_on: Callable[[], None] = within_limits
) -> tuple[str, int]:
    """Return the digest (hex) of a plain file and the number of bytes read. Raise OSError, or what `go_on` raises.

    With `from_disk` the file is flushed and its cached pages are dropped first, so that the medium is read. `go_on` is called before each part of it; by
    default it raises DeadlineExceeded.
    """
    digest = new_hash(algorithm)
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    size = 0
    with name_os_errors(path), open_plain(path) as stream, progress.reading("read", stream):
        if from_disk:
            os.fsync(stream.fileno())  # rsync did not flush it, and unwritten pages are not dropped
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)  # the kernel reads further ahead
        while True:
            go_on()
            if size % _AHEAD == 0:  # while this part is digested, the disk reads the next one
                os.posix_fadvise(stream.fileno(), size + _AHEAD, _AHEAD, os.POSIX_FADV_WILLNEED)
            count = stream.readinto(buffer)  # type: ignore[attr-defined]
            if not count:
                return digest.hexdigest(), size
            digest.update(view[:count])
            size += count


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def in_parallel(function: Callable[[Any], Any], values: Sequence[Any], workers: int | None = None) -> list[Any]:
    """Return the results of a function for all values, in order; it is called in threads, by default one for each core."""
    if len(values) < 2:
        return [function(value) for value in values]
    with ThreadPoolExecutor(max_workers=workers or cores()) as pool:
        return list(pool.map(function, values))
