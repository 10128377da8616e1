"""State of one item's dump: options, earlier records, and outcome."""

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
from ..tree.layout import Tarball
from ..tree.marks import Marks
from .bases import Base, nights_of
from .dump_ahead import ReadAhead

STAGE = "dump"


@dataclass
class Outcome:
    """The outcome of one item's dump."""

    key: str = ""
    tarball: dict[str, Any] | None = None
    changed: bool = False
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    """Why the kernel refused a view of the item, empty if it did not"""
    skipped: bool = False
    """Whether a hook skipped it while its newest copy is recent enough"""


@dataclass(frozen=True)
class Past:
    """The records of earlier dumps of an item."""

    good: Sequence[Mapping[str, Any]] = ()
    """Records to compare with, oldest first"""
    doubtful: Mapping[str, Any] | None = None
    """Record of the newest earlier dump if it is suspect, else None"""
    noted: frozenset[str] = frozenset()
    """Digests of the lists to which any record refers"""
    whole: bool = True
    """Whether all records could be read"""

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest record to compare with, empty if there is none."""
        return self.good[-1] if self.good else {}


@dataclass
class ItemDump:
    """One item with the options of its dump, and its outcome."""

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
    """The secret of the source, if the item is encrypted"""
    base: Base | None = None
    """The full tarball against which a differential is made, None for a full one"""
    verified: Sequence[Tarball] = ()
    """The item's verified tarballs when its dump began; its tree is locked, so that no others come or go meanwhile"""
    ahead: ReadAhead | None = None
    """Reads the full tarballs of differentials meanwhile, None for nothing to be read"""

    @property
    def is_known(self) -> bool:
        """Whether snapshots of the item's full tarballs are kept for later differentials."""
        return nights_of(self.item, self.context, self.form) > 1
