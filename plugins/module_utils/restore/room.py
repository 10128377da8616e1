"""Free space for a restore."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from ..archive.rules import TooLarge
from ..system.errors import AltbackupError
from ..system.units import readable, shortage, told_apart
from .order import Order
from .work_folder import Work, nearest_folder


def require_space(order: Order) -> dict[str, int]:
    """Return `needed`, the least bytes that the restore takes, and `free`. Raise AltbackupError if that is not enough."""
    sizes = sum(archive.dna.size for archive in order.archives)
    needed = sizes + (0 if order.base else sizes)  # the unpacked size does not count: files may be sparse
    return require_free(order, needed, "at least ")


def require_free(order: Order, needed: int, about: str = "") -> dict[str, int]:
    """Return `needed` and `free` bytes of the destination's file system. Raise AltbackupError if that is not enough; `about` precedes the number."""
    there = nearest_folder(order.destination)
    free = there.free
    if needed > free:
        short = shortage(needed, free, purpose=f" below {there.path} to restore {order.title}")
        raise AltbackupError(f"{about}{short}: nothing was done")
    return {"needed": needed, "free": free}


def require_arriving_space(order: Order, work: Work) -> None:
    """Raise AltbackupError if the folder in which the tarballs arrive has no room for them."""
    sizes, free = sum(archive.dna.size for archive in order.archives), shutil.disk_usage(work.arrived).free
    if sizes > free:
        wanted, left = told_apart(sizes, free)
        raise AltbackupError(
            f"{wanted} are to arrive in {work.arriving}, since others can write beside {order.destination}, but only {left} are free "
            "there: nothing was done; make room there, or give another path as to"
        )


def require_room(order: Order, needed: int) -> None:
    require_free(order, needed)


@contextlib.contextmanager
def explain_too_large(order: Order, free: int) -> Iterator[None]:
    """Let TooLarge in the block name the folder that lacks room. Raise AltbackupError."""
    try:
        yield
    except TooLarge as error:
        there = nearest_folder(order.destination).path
        raise AltbackupError(
            f"more than {readable(free)} are needed below {there} to restore {order.title}, but only that is free: nothing was done"
        ) from error
