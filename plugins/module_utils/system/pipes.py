"""Pipes that hold more than usual, and of which is known that all was read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
from typing import IO

_SET_SIZE = 1031
"""F_SETPIPE_SZ of Linux, see fcntl(2), which Python has since 3.10"""
_SIZE = 1 << 20
"""Bytes that an unprivileged process may let a pipe hold"""
_LOOK_AGAIN = 2
"""Milliseconds"""


def widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold 1 MiB instead of 64 KiB, if the kernel allows it: its writer and its reader wait less often for each other."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.fileno(), _SET_SIZE, _SIZE)


def wide_pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Return the unbuffered reading and writing end of a new pipe."""
    reader, writer = os.pipe()
    ends = os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb", buffering=0)
    widen(ends[1])
    return ends


def wait_until_read(pipe: IO[bytes]) -> None:
    """Wait until all that was written to a pipe, given by its writing end, was read. Raise BrokenPipeError if its readers left some of it."""
    ends = select.poll()
    ends.register(pipe.fileno(), 0)  # POLLERR alone: there is no reader
    while _unread(pipe):
        if ends.poll(_LOOK_AGAIN) and _unread(pipe):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _unread(pipe: IO[bytes]) -> int:
    """Return the bytes in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4)))[0])
