"""Estimates of the disk space that a night needs."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from ..kinds.items import Item
from ..kinds.registry import KEPT, KINDS, MADE
from ..system.errors import AltbackupError
from ..system.seeing import is_folder
from ..system.units import readable, shortage
from ..system.view import open_thing
from ..tree.failures import failure
from ..tree.layout import Tarball, Tree, open_tree
from ..tree.locks import Run
from ..tree.rulings import parse_ruling
from ..tree.scan import Scan, scan
from ..tree.scan_failures import unreadable
from ..tree.steady import filled
from ..tree.trash import kept_ones, last_links, make_room, spare_room

_STAGE = "preflight"


def estimate(
    base: str, items: Sequence[Item], trees: Sequence[Mapping[str, Any]], kept: Mapping[str, Any]
) -> tuple[list[tuple[str, int, int]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Estimate the space for a dump of items to a base, and for what `trees` receive.

    `kept` and each tree have the retention in `keeps` and `rules`. Return (base, bytes of tarballs, bytes of scratch copies) of each, failures, and for each
    a mapping of `base`, and of `needed`, `held` and `free` (bytes) and `device`, see `steady_need`.
    """
    estimates: list[tuple[str, int, int]] = []
    failures: list[dict[str, Any]] = []
    steady: list[dict[str, Any]] = []
    places: list[tuple[str, Any, Mapping[str, Any]]] = [(base, None, kept)] if items else []
    for where, keys, purged_by in [*places, *((str(tree["base"]), tree["keys"], tree) for tree in trees)]:
        try:
            found = scan(open_tree(where), keys=keys, tolerate_unreadable=True)
            steady.append({"base": where, **_steady(open_tree(where), found.verified(), purged_by)})
        except (AltbackupError, OSError) as error:
            failures.append(failure(_STAGE, error))
            continue
        failures += unreadable(found, _STAGE)
        sizes = newest_sizes(found)
        needed = (sum(sizes.values()), 0) if keys is not None else estimate_source(where, items, sizes)
        estimates.append((where, *needed))
    return estimates, failures, steady


def estimate_source(base: str, items: Sequence[Item], previous: Mapping[str, int]) -> tuple[int, int]:
    """Return (bytes of tonight's tarballs, bytes of scratch copies) of a source; `previous` is {item: bytes of its last tarball}.

    An item without a tarball, and a scratch copy that is yet to be made, are estimated by their size on disk.
    """
    tree = open_tree(base)
    tarballs = scratch = 0
    for item in items:
        size = previous.get(item.key)
        if size is None:
            size = size_on_disk(item.path) if item.path else 0
        tarballs += size
        copy = KINDS[item.kind].scratch
        if copy == KEPT and not is_folder(tree.private_path("scratch", item.category, item.name)):
            scratch += size_on_disk(item.path)
        elif copy == MADE:
            scratch += size
    return tarballs, scratch


def _steady(tree: Tree, tarballs: Sequence[Tarball], purged_by: Mapping[str, Any]) -> dict[str, int]:
    """Return the bytes that a tree needs once its retention rules are filled, those that it and its trash hold, those free, and the device."""
    keeps, rules = purged_by.get("keeps") or {}, purged_by.get("rules") or {}
    ruling = parse_ruling(keeps, rules, _STAGE) if keeps else None
    copies = {key: filled(own) for key in keeps if (own := ruling and ruling.of(key))}
    held, needed = steady_need(tarballs, copies)
    trash = last_links(links for one in kept_ones(tree) for links in one.tarballs)
    free = shutil.disk_usage(tree.private).free
    return {"needed": needed, "held": held + trash, "free": free, "device": os.stat(tree.private).st_dev}


def steady_need(tarballs: Sequence[Tarball], copies: Mapping[str, int]) -> tuple[int, int]:
    """Return the bytes that verified tarballs take now, and those once `copies`, {item: number kept}, are there.

    An item needs its newest tarball once for each kept one, reduced by the fraction of its tarballs that are hard links so far.
    """
    inodes = {tarball.inode: tarball.size for tarball in tarballs}
    needed = 0
    items: dict[str, list[Tarball]] = {}
    for tarball in tarballs:
        items.setdefault(tarball.key, []).append(tarball)
    for key, several in items.items():
        own = len({tarball.inode for tarball in several})
        needed += _size_of_one(several) * max(1, math.ceil(copies.get(key, len(several)) * own / len(several)))
    return sum(inodes.values()), needed


def _size_of_one(tarballs: Sequence[Tarball]) -> int:
    """Return the bytes of one file of an item: the newest's, or the average if there are differentials."""
    if any(tarball.dna and tarball.dna.base for tarball in tarballs):
        sizes = {tarball.inode: tarball.size for tarball in tarballs}
        return sum(sizes.values()) // len(sizes)
    return max(tarballs, key=lambda tarball: tarball.stamp).size


def newest_sizes(found: Scan) -> dict[str, int]:
    """Return {item: bytes of its newest verified tarball}; for a differential those of its full tarball, as the next may be full."""
    sizes: dict[str, int] = {}
    for tarball in sorted(found.verified(), key=lambda tarball: tarball.stamp):
        differs = tarball.dna is not None and tarball.dna.base is not None
        sizes[tarball.key] = max(tarball.size, sizes.get(tarball.key, 0) if differs else 0)
    return sizes


def size_on_disk(path: str) -> int:
    """Return the bytes that a file or folder takes on disk, as far as it can be read; links of other users are not followed."""
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
    """Return the bytes that all files below an open folder take on disk, as far as they can be read."""
    total = 0
    for parent, _, names in os.walk(f"/proc/self/fd/{top}/."):
        for name in names:
            with contextlib.suppress(OSError):  # the dump reports it
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def missing_space(
    estimates: Sequence[tuple[str, int, int]], run: Run | None = None, *, may_empty: bool = False
) -> tuple[list[str], list[str]]:
    """Return a message for each disk with too little space for `estimates`, (base, bytes of tarballs, bytes of scratch copies), and notes.

    Trash counts as free space; with `may_empty` it is emptied if it is needed, the oldest first.
    """
    disks: dict[int, list[tuple[str, int, int]]] = {}
    for base, tarballs, scratch in estimates:
        tree = open_tree(base)
        disks.setdefault(os.stat(tree.private).st_dev, []).append((base, tarballs, scratch))
    sentences, notes = [], []
    for several in disks.values():
        tarballs, scratch = sum(entry[1] for entry in several), sum(entry[2] for entry in several)
        trees = {tree.private: tree for tree in (open_tree(entry[0]) for entry in several)}
        free = shutil.disk_usage(next(iter(trees))).free
        spare = sum(map(spare_room, trees.values())) if tarballs + scratch > free else 0
        if spare and may_empty and tarballs + scratch <= free + spare:
            for tree in trees.values():
                notes += make_room(tree, tarballs + scratch, run, is_held=False)[1]
        free += spare
        if tarballs + scratch > free:
            bases = " and ".join(entry[0] for entry in several)
            purpose = f" ({readable(tarballs)} for tonight's tarballs, as much as the previous ones took, {readable(scratch)} for scratch copies)"
            sentences.append(
                f"{bases}: {shortage(tarballs + scratch, free, purpose=purpose)}. Make room on that disk, or keep less there (altbackup_keep)"
            )
    return sentences, notes
