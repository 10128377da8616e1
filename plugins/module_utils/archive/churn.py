"""Churn: how many files of an earlier dump changed, by the compact lists that dumps keep of them (see digests.Digests)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from ..tree.doubt import Churn
from .digests import COMPACT, ORDERED, UNCLASSIFIED

_AT_A_TIME = 1 << 18
"""Files of the earlier list that are compared in one pass, which bounds the memory"""
_BLOCK = COMPACT.size << 14
_CONTENT = (1 << 56) - 1


@dataclass
class _ClassCounts:
    """Counts of the files whose content was classified, and of those with order."""

    files: int = 0
    ordered: int = 0

    def add(self, content: int) -> None:
        content_class = content >> 56
        self.files += content_class != UNCLASSIFIED
        self.ordered += content_class == ORDERED

    @property
    def ordered_fraction(self) -> float | None:
        return self.ordered / self.files if self.files else None


def compare_lists(old: IO[bytes], new: Callable[[], Iterable[bytes]]) -> Churn:
    """Compare the compact list of an earlier dump with this one's, which `new` yields in blocks at each call; return the churn."""
    count = old.seek(0, 2) // COMPACT.size
    turns = max(1, -(-count // _AT_A_TIME))
    gone, came, before, after = 0, 0, _ClassCounts(), _ClassCounts()
    for turn in range(turns):
        remaining = {path: content for path, content in _entries(_blocks(old)) if path % turns == turn}
        for path, content in _entries(new()):
            if path % turns != turn:
                continue
            if path in remaining and remaining[path] & _CONTENT == content & _CONTENT:
                del remaining[path]
            else:
                came += 1
                after.add(content)
        gone += len(remaining)
        for content in remaining.values():
            before.add(content)
    return Churn(count, gone, came, before.ordered_fraction, after.ordered_fraction)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    stream.seek(0)
    while block := stream.read(_BLOCK):
        yield block


def _entries(blocks: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    for block in blocks:
        yield from COMPACT.iter_unpack(block)
