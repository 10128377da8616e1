"""Destination of a restore: whether what is there may be replaced."""

from __future__ import annotations

import os
import stat
import time

from ..system.errors import AltbackupError
from ..system.opened import inode_of, mount_of, walked
from ..system.units import readable


def require_place(destination: str, aside: str) -> None:
    """Raise AltbackupError if what is at the destination may not be moved to `aside`; with an empty `aside` nothing may be there."""
    with walked(os.path.dirname(destination)) as (steps, missing):
        if not missing:
            require_place_in(steps[-1].descriptor, destination, aside)


def exists_beside(destination: str, suffix: str) -> bool:
    """Return whether there is a file with the destination's path and a suffix."""
    with walked(os.path.dirname(destination)) as (steps, missing):
        return not missing and inode_of(steps[-1].descriptor, os.path.basename(destination) + suffix) is not None


def require_place_in(parent: int, destination: str, aside: str) -> None:
    """Check the destination as require_place does, in its folder, which `parent` holds open."""
    name = os.path.basename(destination)
    if inode_of(parent, name) is None:
        return
    if not aside:
        raise AltbackupError(
            f"{destination} is there already, and a restore replaces nothing by itself: "
            f"give --aside (in an entry replace: move_aside) to have it moved aside, or another path ({_described(parent, name)} stands there)"
        )
    if _is_mount(parent, name):
        raise AltbackupError(f"{destination} is a mount point, which cannot be moved aside: give another path")
    if inode_of(parent, os.path.basename(aside)) is not None:
        raise AltbackupError(f"{aside} is there already, so what stands at {destination} cannot be moved there")


def _described(parent: int, name: str) -> str:
    """Return type, size and time of what is there, for a message."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    changed = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(status.st_mtime))
    what = f"a file of {readable(status.st_size)}" if stat.S_ISREG(status.st_mode) else "something special"
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "a link" if stat.S_ISLNK(status.st_mode) else what
    return f"{what}, changed {changed},"


def _is_mount(parent: int, name: str) -> bool:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        return mount_of(descriptor)[1] != mount_of(parent)[1]
    finally:
        os.close(descriptor)
