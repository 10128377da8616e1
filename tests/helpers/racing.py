"""Another user who changes paths continuously during the block."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.trees import NOBODY


@contextlib.contextmanager
def swapping(path: Path, target: Path) -> Iterator[None]:
    """While the block lasts, nobody repeatedly replaces his folder by a link to the target, and restores it."""
    away = path.with_name(f"{path.name}.away")

    def swap() -> None:
        with contextlib.suppress(OSError):
            path.rename(away)
            path.symlink_to(target)
        with contextlib.suppress(OSError):
            path.unlink()
        with contextlib.suppress(OSError):
            away.rename(path)

    with repeating(swap):
        yield
    if away.is_dir():
        if path.is_symlink():
            path.unlink()
        if not path.exists():
            away.rename(path)


@contextlib.contextmanager
def repeating(function: Callable[[], None]) -> Iterator[None]:
    """Call a function as nobody repeatedly while the block lasts."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            while os.getppid() != 1:
                function()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
