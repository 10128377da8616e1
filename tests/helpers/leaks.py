"""Where a secret could be read: the command lines of all processes, as everybody on a machine sees them, and files that runs leave."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_FRESH, _ROUND = 50, 100
"""Rounds in which a new process is looked at each time, as it becomes another program; and every how many it is later"""


@contextlib.contextmanager
def command_lines(pause: float = 0.002) -> Iterator[set[bytes]]:
    """Yield a set that grows by the command lines of all processes every `pause` seconds while the block lasts."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        ages: dict[str, int] = {}
        while not over.wait(pause):
            ages = {name: ages.get(name, -1) + 1 for name in os.listdir("/proc") if name.isdigit()}
            for name, age in ages.items():
                if age < _FRESH or age % _ROUND == 0:
                    with contextlib.suppress(OSError):
                        seen.add(Path("/proc", name, "cmdline").read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def spoken_in(folder: Path, part: str) -> list[str]:
    """Return the paths below a folder, but for the inventory, that have a text in their name or content, also in JSON's spelling.

    What a tarball holds is its item's own.
    """
    spellings = [part.encode(), json.dumps(part)[1:-1].encode()]
    return [
        str(path)
        for path in folder.rglob("*")
        if "inventory" not in path.parts
        and (
            part in path.name
            or (
                path.is_file()
                and not path.name.endswith(".tar.zst")
                and any(form in path.read_bytes() for form in spellings)
            )
        )
    ]
