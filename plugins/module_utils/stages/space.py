"""Whether the disks have room for what a night makes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from ..kinds.items import Item
from ..kinds.registry import KEPT, KINDS, MADE
from ..system.errors import AltbackupError
from ..system.seeing import is_folder
from ..system.units import readable, told_apart
from ..system.view import open_thing
from ..tree.failures import failure
from ..tree.layout import Scan, open_tree, scan
from ..tree.scan_failures import unreadable

_STAGE = "preflight"


def estimate(
    base: str, items: Sequence[Item], trees: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[str, int, int]], list[dict[str, Any]]]:
    """Return an estimate (base, bytes of tarballs, bytes of scratch copies) for items and each tree, and failures of what it does not know."""
    estimates: list[tuple[str, int, int]] = []
    failures: list[dict[str, Any]] = []
    places = [(base, None)] if items else []
    for where, keys in [*places, *((str(tree["base"]), tree["keys"]) for tree in trees)]:
        try:
            found = scan(open_tree(where), keys=keys, tolerate_unreadable=True)
        except (AltbackupError, OSError) as error:
            failures.append(failure(_STAGE, error))
            continue
        failures += unreadable(found, _STAGE)
        sizes = newest_sizes(found)
        needed = (sum(sizes.values()), 0) if keys is not None else estimate_source(where, items, sizes)
        estimates.append((where, *needed))
    return estimates, failures


def estimate_source(base: str, items: Sequence[Item], previous: Mapping[str, int]) -> tuple[int, int]:
    """Given a source's base, its items and {item: bytes of its previous tarball}, return (bytes of tonight's tarballs, bytes of scratch copies).

    An item without a tarball yet is taken at its size on disk, and so is a scratch copy that is not there yet.
    """
    tree = open_tree(base)
    tarballs = scratch = 0
    for item in items:
        size = previous.get(item.key)
        if size is None:
            size = size_on_disk(item.path)
        tarballs += size
        copy = KINDS[item.kind].scratch
        if copy == KEPT and not is_folder(tree.private_path("scratch", item.category, item.name)):
            scratch += size_on_disk(item.path)
        elif copy == MADE:
            scratch += size
    return tarballs, scratch


def newest_sizes(found: Scan) -> dict[str, int]:
    """Given what a tree holds, return the size of the newest verified tarball of each item."""
    return {tarball.key: tarball.size for tarball in sorted(found.verified(), key=lambda tarball: tarball.stamp)}


def size_on_disk(path: str) -> int:
    """Return the bytes that a file or a folder takes on disk, as far as it can be read; a link of somebody else's is not followed."""
    try:
        top = open_thing(path)
    except (AltbackupError, OSError):
        return 0  # the dump reports it
    try:
        status = os.fstat(top)
        return _size_below(top) if stat.S_ISDIR(status.st_mode) else status.st_blocks * 512
    finally:
        os.close(top)


def _size_below(top: int) -> int:
    """Return the bytes that all files below an open folder take, as far as it can be read."""
    total = 0
    for parent, _, names in os.walk(f"/proc/self/fd/{top}/."):
        for name in names:
            with contextlib.suppress(OSError):  # the dump reports it
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def missing_space(estimates: Sequence[tuple[str, int, int]]) -> list[str]:
    """Given (base, bytes of tarballs, bytes of scratch copies), return a sentence for each disk that has too little room for all on it."""
    disks: dict[int, list[tuple[str, int, int]]] = {}
    for base, tarballs, scratch in estimates:
        tree = open_tree(base)
        disks.setdefault(os.stat(tree.private).st_dev, []).append((base, tarballs, scratch))
    sentences = []
    for several in disks.values():
        tarballs, scratch = sum(entry[1] for entry in several), sum(entry[2] for entry in several)
        free = shutil.disk_usage(open_tree(several[0][0]).private).free
        if tarballs + scratch > free:
            bases = " and ".join(entry[0] for entry in several)
            needed, left = told_apart(tarballs + scratch, free)
            sentences.append(
                f"{bases}: {needed} are needed ({readable(tarballs)} for tonight's tarballs, as much as the previous ones took, "
                f"{readable(scratch)} for scratch copies), but only {left} are free"
            )
    return sentences
