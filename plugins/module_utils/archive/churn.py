"""Churn: how many files of an earlier dump changed, by the compact lists that dumps keep of them (see digests.Digests)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from ..tree.doubt import Churn
from .digests import COMPACT, ORDER, UNTRIED

_AT_A_TIME = 1 << 18
"""Files of the earlier list that are compared in one pass, which bounds the memory"""
_BLOCK = COMPACT.size << 14
_CONTENT = (1 << 56) - 1


@dataclass
class _Tried:
    """Counts of the files whose content was classified, and of those with order."""

    files: int = 0
    orderly: int = 0

    def add(self, content: int) -> None:
        look = content >> 56
        self.files += look != UNTRIED
        self.orderly += look == ORDER

    @property
    def part(self) -> float | None:
        return self.orderly / self.files if self.files else None


def compare_lists(old: IO[bytes], new: Callable[[], Iterable[bytes]]) -> Churn:
    """Compare the compact list of an earlier dump with this one's, which `new` yields in blocks at each call; return the churn."""
    count = old.seek(0, 2) // COMPACT.size
    turns = max(1, -(-count // _AT_A_TIME))
    gone, came, before, after = 0, 0, _Tried(), _Tried()
    for turn in range(turns):
        left = {path: content for path, content in _entries(_blocks(old)) if path % turns == turn}
        for path, content in _entries(new()):
            if path % turns != turn:
                continue
            if path in left and left[path] & _CONTENT == content & _CONTENT:
                del left[path]
            else:
                came += 1
                after.add(content)
        gone += len(left)
        for content in left.values():
            before.add(content)
    return Churn(count, gone, came, before.part, after.part)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    stream.seek(0)
    while block := stream.read(_BLOCK):
        yield block


def _entries(blocks: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    for block in blocks:
        yield from COMPACT.iter_unpack(block)
