"""Packs of a Git repository as files: which objects are in them, and which are to be put together."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Mapping, Sequence

PACK, INDEX = ".pack", ".idx"
_LAST_OF_FANOUT = 8 + 255 * 4
"""Where the index of a pack, of version 2, has the number of objects, before their names; see gitformat-pack(5)"""
_AT_ONCE = 10_000
_GROWTH = 2
"""How much larger than all smaller ones together a pack is to be"""


def packs_folder(folder: str) -> str:
    """Return the folder of packs in a repository's own folder."""
    return os.path.join(folder, "objects", "pack")


def indexes_of(folder: str) -> list[str]:
    """Return the paths of the indexes of a fresh repository's packs, sorted."""
    packs = packs_folder(folder)
    return [os.path.join(packs, name) for name in sorted(os.listdir(packs)) if name.endswith(INDEX)]


def count_in(index: str) -> int:
    """Return the number of objects from the index of a pack."""
    with open(index, "rb") as stream:
        stream.seek(_LAST_OF_FANOUT)
        return int.from_bytes(stream.read(4), "big")


def objects_in_pack(folder: str) -> int:
    """Return the number of objects of a fresh repository; all are in packs, each in one."""
    return sum(map(count_in, indexes_of(folder)))


def names_in(index: str) -> Iterator[bytes]:
    """Yield the names of the objects in the index of a pack, sorted, in bytes."""
    count = count_in(index)
    digits = len(os.path.basename(index)) - len("pack-") - len(INDEX)
    width = digits // 2
    with open(index, "rb") as stream:
        stream.seek(_LAST_OF_FANOUT + 4)
        while count:
            block = stream.read(width * min(count, _AT_ONCE))
            if not block or len(block) % width:
                raise OSError(0, "the index ends before its last name", index)
            yield from (block[start : start + width] for start in range(0, len(block), width))
            count -= len(block) // width


def are_within(indexes: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether all objects in packs, named by their indexes, are in the packs of the `others`, too."""
    known = heapq.merge(*map(names_in, others))
    current = next(known, None)
    for name in heapq.merge(*map(names_in, indexes)):
        while current is not None and current < name:
            current = next(known, None)
        if current != name:
            return False
    return True


def to_put_together(sizes: Mapping[str, int], most: int) -> list[str]:
    """Return which packs, {pack: number of objects}, are to become one, none while there are at most `most`.

    They are the smallest ones, so many that each pack is then larger than all smaller ones together: what is large is not
    touched before as much has come to it.
    """
    if len(sizes) <= most:
        return []
    names = sorted(sizes, key=lambda name: (sizes[name], name))
    taken = len(names)
    while taken > 1 and sizes[names[taken - 1]] >= _GROWTH * sizes[names[taken - 2]]:
        taken -= 1
    total = sum(sizes[name] for name in names[:taken])
    while taken < len(names) and sizes[names[taken]] < _GROWTH * total:
        total += sizes[names[taken]]
        taken += 1
    return names[:taken] if taken > 1 else []
