"""One item of a dump: how it is dumped, what earlier dumps recorded, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..archive.write import ArchiveFormat
from ..kinds.base import Context
from ..kinds.items import Item
from ..system.names import Directory
from ..system.readers import Readers
from ..tree import doubt
from ..tree.marks import Marks
from .bases import Base, nights_of

STAGE = "dump"


@dataclass
class Outcome:
    """What became of one item."""

    key: str = ""
    tarball: dict[str, Any] | None = None
    changed: bool = False
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    """Why the item was not read in a view of its own"""
    skipped: bool = False
    """Whether a hook said that this is no time for it, and its newest copy is recent enough"""


@dataclass(frozen=True)
class Past:
    """What earlier dumps of an item recorded."""

    good: Sequence[Mapping[str, Any]] = ()
    """The records to compare with, oldest first"""
    doubtful: Mapping[str, Any] | None = None
    """That of the newest dump before this one, if it is none to compare with"""
    noted: frozenset[str] = frozenset()
    """Digests of what any of them noted"""
    whole: bool = True
    """Whether all records could be read"""

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest one to compare with, empty without one."""
        return self.good[-1] if self.good else {}


@dataclass
class Dump:
    """One item, how it is dumped, and what became of it."""

    item: Item
    context: Context
    form: ArchiveFormat
    readers: Readers
    directory: Directory
    limits: doubt.Limits
    marks: Marks
    past: Past = field(default_factory=Past)
    outcome: Outcome = field(default_factory=Outcome)
    secret: bytes = b""
    """That of the source, where something is encrypted"""
    base: Base | None = None
    """Against what a differential is made, if it is to be one"""

    @property
    def is_known(self) -> bool:
        """Whether full tarballs of the item are to be known, for later differentials."""
        return nights_of(self.item, self.context, self.form) > 1
