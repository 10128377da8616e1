"""Facts about tarballs that retention needs and only the records of their dumps have."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from .contents import content_of
from .incomplete import missing_of
from .layout import Tarball, Tree
from .publish import read_record


@dataclass
class Recorded:
    """Facts from the records of tarballs."""

    partial: list[str] = field(default_factory=list)
    """Relpaths of incomplete tarballs"""
    content: dict[str, Hashable] = field(default_factory=dict)
    """{relpath: key of its content}"""


def recorded(tree: Tree, tarballs: Iterable[Tarball]) -> Recorded:
    """Return what the records of verified tarballs say, reading each record once."""
    found = Recorded()
    for tarball in tarballs:
        record = read_record(tree, tarball.key, tarball.stamp)
        if missing_of(record):
            found.partial.append(tarball.relpath)
        if tarball.dna:
            found.content[tarball.relpath] = content_of(record, tarball.dna)
    return found
