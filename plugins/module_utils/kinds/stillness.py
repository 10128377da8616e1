"""What of a folder changed while it was archived, and whether what was stored of it is one state all the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence

from ..system.digest import CHUNK, new_hash
from ..system.errors import SourceChanged
from .base import Asked, Context, changed_between, listed
from .items import Item
from .patterns import Patterns

_MODE, _OWNER, _GROUP, _SIZE, _INODE = 0, 1, 2, 3, 6
"""In what a walk tells of a path"""


class Stillness:
    """One reading of a folder, as it was seen before."""

    def __init__(
        self, item: Item, context: Context, before: Mapping[bytes, tuple[int, ...]], left_out: Collection[bytes]
    ) -> None:
        """`left_out` is what was seen and is not archived, since it changed whenever it was."""
        self._left_out = left_out
        self._item = item
        self._context = context
        self._before = before
        self._changing = Patterns(item.changing)

    def judge(self, after: Mapping[bytes, tuple[int, ...]], asked: Asked) -> tuple[list[str], list[str]]:
        """Return notes, and what is not stored as one state; `after` is a walk of the folder after it was archived.

        What only grew, or may change, is no fault. Raise SourceChanged for anything else as long as it is worth another try.
        """
        changed = [name for name in changed_between(self._before, after) if name not in self._left_out]
        allowed = [name for name in changed if self._may_change(name, after)]
        rest = [name for name in changed if name not in set(allowed)]
        grown = self._stored_whole([name for name in rest if self._grew(name, after)], after, asked)
        above = {os.path.dirname(name) for name in allowed}
        odd = [name for name in rest if name not in grown and not self._is_harmless(name, after, above)]
        if odd and not self._context.last:
            there = [_path(name) for name in odd if name in self._before]
            raise SourceChanged(f"changed while it was read: {listed(_texts(odd))}", there)
        return self._notes(allowed, sorted(grown)), self._failures(odd)

    def _may_change(self, name: bytes, after: Mapping[bytes, tuple[int, ...]]) -> bool:
        """Return whether the operator named a path, or a folder above it, as one that changes."""
        parts = _path(name).split("/")
        for count in range(1, len(parts) + 1):
            whole = count == len(parts)
            mode = (after.get(name) or self._before[name])[_MODE] if whole else stat.S_IFDIR
            if self._changing.match("/".join(parts[:count]), stat.S_ISDIR(mode)):
                return True
        return False

    def _grew(self, name: bytes, after: Mapping[bytes, tuple[int, ...]]) -> bool:
        """Return whether a file is the one that it was, and larger."""
        one, other = self._before.get(name), after.get(name)
        same = one and other and all(one[key] == other[key] for key in (_MODE, _OWNER, _GROUP, _INODE))
        return bool(one and other and same and stat.S_ISREG(one[_MODE]) and other[_SIZE] > one[_SIZE])

    def _is_harmless(self, name: bytes, after: Mapping[bytes, tuple[int, ...]], above: set[bytes]) -> bool:
        """Return whether of a folder nothing but its times changed, by what may change in it, or when nothing else is to be had.

        The same goes for what was not yet there when it was looked at.
        """
        one, other = self._before.get(name), after.get(name)
        if one is None:
            return self._context.lenient
        same = other and all(one[key] == other[key] for key in (_MODE, _OWNER, _GROUP, _INODE))
        return bool(same and stat.S_ISDIR(one[_MODE]) and (name in above or self._context.lenient))

    def _stored_whole(self, names: Sequence[bytes], after: Mapping[bytes, tuple[int, ...]], asked: Asked) -> set[bytes]:
        """Return those of the files that grew whose first bytes still are what the archive holds of them."""
        if not names:
            return set()
        told = asked([_path(name) for name in names])
        inodes = {
            after[name][_INODE]
            for name in names
            if _path(name) in told
            and told[_path(name)][0] >= max(1, self._before[name][_SIZE])  # else it was emptied and written anew
            and self._begins_with(name, after[name][_INODE], *told[_path(name)])
        }
        return {name for name in names if after[name][_INODE] in inodes}

    def _begins_with(self, name: bytes, inode: int, size: int, digest: str) -> bool:
        value, left = new_hash("sha256"), int(size)
        top = os.open(self._item.path, os.O_PATH | os.O_DIRECTORY)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=top)
        except OSError:
            return False
        finally:
            os.close(top)
        with os.fdopen(descriptor, "rb") as stream:
            if os.fstat(descriptor).st_ino != inode:
                return False
            while left and (block := stream.read(min(CHUNK, left))):
                self._context.deadline.remaining()
                value.update(block)
                left -= len(block)
        return not left and value.hexdigest() == digest

    def _notes(self, allowed: Sequence[bytes], grown: Sequence[bytes]) -> list[str]:
        notes = []
        if grown:
            notes.append(
                f"only grew while it was read, and is stored as it was when it was looked at: {listed(_texts(grown))}"
            )
        if allowed:
            notes.append(
                f"changed while it was read, as its changing says it may, and is stored as it was read: {listed(_texts(allowed))}"
            )
        return notes

    def _failures(self, odd: Sequence[bytes]) -> list[str]:
        """Return what is said of what is not stored as one state."""
        sentences = []
        if self._left_out:
            sentences.append(
                f"changed whenever it was read, and is not stored: {listed(_texts(sorted(self._left_out)))}"
            )
        if odd:
            sentences.append(
                f"changed while it was read, and is stored as no state of its own, or not at all: {listed(_texts(odd))}"
            )
        advice = "the rest is stored. Name it in exclude, or in changing if a copy of it as it is read will do"
        return [f"{sentence}; {advice}" for sentence in sentences]


def _path(name: bytes) -> str:
    return os.fsdecode(name[2:])


def _texts(names: Sequence[bytes]) -> list[str]:
    return [os.fsdecode(name) for name in names]
