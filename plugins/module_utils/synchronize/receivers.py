"""Processes that still write into an incoming folder, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from ..system.errors import AltbackupError
from ..system.proc import open_files, pids, position, title_of

_GRACE = 5.0
"""Seconds after which a killed receiver must be gone"""


def end_receivers(incoming: str) -> list[str]:
    """Kill the processes that still write into a pair's incoming folder; return a note on each.

    Raise AltbackupError if one does not end within 5 seconds.
    """
    notes = []
    end = time.monotonic() + _GRACE
    while found := dict(_receivers(incoming)):
        if time.monotonic() > end:
            raise AltbackupError(f"{incoming} is still written to by {', '.join(found.values())}, which does not end")
        for pid, title in found.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if (note := f"ended {title}, which still wrote into {incoming}") not in notes:
                notes.append(note)
        time.sleep(0.05)
    return notes


def _receivers(incoming: str) -> Iterator[tuple[int, str]]:
    """Yield (pid, title) of processes that have a file below a folder open for writing, as far as this user can see them."""
    prefix = os.path.realpath(incoming) + "/"
    for pid in set(pids()) - {os.getpid()}:
        with contextlib.suppress(OSError):
            below = [descriptor for descriptor, path in open_files(pid) if path.startswith(prefix)]
            if any(position(pid, descriptor)[0] != os.O_RDONLY for descriptor in below):
                yield pid, f"process {pid} ({title_of(pid)})"
