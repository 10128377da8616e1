"""What retention has to know of tarballs that only the records of their dumps tell."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from .contents import content_of
from .incomplete import missing_of
from .layout import Tarball, Tree
from .publish import read_record


@dataclass
class Recorded:
    """What records say of tarballs."""

    partial: list[str] = field(default_factory=list)
    """Relpaths of those that are not whole"""
    content: dict[str, Hashable] = field(default_factory=dict)
    """{relpath: what stands for its content}"""


def recorded(tree: Tree, tarballs: Iterable[Tarball]) -> Recorded:
    """Given verified tarballs of a tree, return what their records say, each read once."""
    found = Recorded()
    for tarball in tarballs:
        record = read_record(tree, tarball.key, tarball.stamp)
        if missing_of(record):
            found.partial.append(tarball.relpath)
        if tarball.dna:
            found.content[tarball.relpath] = content_of(record, tarball.dna)
    return found
