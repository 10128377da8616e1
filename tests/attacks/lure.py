"""The watch over one named pipe, in a process of its own, because a process with an open pipe in an incoming folder is ended as a receiver.

    python -m attacks.lure PIPE

releases any process that waits at the pipe, until its standard input ends; then it prints whether one had opened it for reading, and
waited.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import time

_PATIENCE = 4.0
"""Seconds after which a reader counts as waiting"""


def main() -> None:
    """Watch a pipe."""
    path = sys.argv[1]
    caught = False
    held: tuple[int, float] | None = None
    while not select.select([0], [], [], 0.3)[0]:
        if held is None:
            with contextlib.suppress(OSError):  # nobody reads it, or it is gone
                held = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW), time.monotonic()
            if held is not None and not stat.S_ISFIFO(os.fstat(held[0]).st_mode):
                break  # another file has its name now
            continue
        descriptor, since = held
        has_reader = not _is_broken(descriptor)
        if has_reader and time.monotonic() - since < _PATIENCE:
            continue
        caught = caught or has_reader
        os.close(descriptor)
        held = None
    print("waited" if caught else "")


def _is_broken(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLERR)
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    main()
