"""A node of a simulated site: its disk, and its state."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from .model import Copy, Rules

SOURCE = "dayabay"


@dataclass
class Node:
    """A node with the item's copies."""

    name: str
    top: Path
    """The folder with the marker"""
    base: Path
    """The folder of the item's source in it"""
    rules: Rules
    trash_days: int
    confirmed: Rules = field(default_factory=Rules)
    """The strictest rules since the last confirmed relaxation"""
    away: bool = False
    """Whether it is unreachable"""
    unplugged: bool = False
    """Whether its disk is absent"""
    paired: bool = False
    """Whether the source knows what it holds"""
    replaced: str = ""
    """What must be reported of its disk until it is adopted"""
    touched: bool = False
    """Whether its disk is not what it was, reported or not"""
    known: dict[datetime, Copy] = field(default_factory=dict)
    """Copies after the last run, as found on the disk"""
    lost: set[datetime] = field(default_factory=set)
    """Times of copies that something else removed or damaged since"""
    rotted: datetime | None = None
    """Until when the rot must be reported"""
    rotten: dict[datetime, tuple[Copy, str]] = field(default_factory=dict)
    """Rotted copies that did not come back yet, with their digests"""
    digests: set[str] = field(default_factory=set)
    """Digests of all good copies at the last look"""
    removed: dict[datetime, Copy] = field(default_factory=dict)
    """Copies that its last purge removed"""
    purged: str = ""
    """The day of that purge"""
    snapshot: tuple[Path, dict[datetime, Copy], Rules] | None = None
    """A copy of its disk, with the state at that time"""
    others: set[datetime] = field(default_factory=set)
    """Times of the other item's copies"""

    @property
    def private(self) -> Path:
        """The folder of its state."""
        return self.top / ".altbackup"

    @property
    def role(self) -> str:
        """Its role in an inventory."""
        return "source" if self.name == SOURCE else "target"

    @property
    def is_there(self) -> bool:
        """Whether a run can use it."""
        return not (self.away or self.unplugged)


def mark(node: Node) -> None:
    """Make a node's folder with its marker."""
    (node.top / ".altbackup").mkdir(parents=True, mode=0o700)


def plug(node: Node, *, there: bool) -> None:
    """Remove a node's disk, so that its empty mount point is seen, or bring it back."""
    away = node.top.with_name(f"{node.top.name}.unplugged")
    if there and away.exists():
        node.top.rmdir()
        away.rename(node.top)
        node.unplugged = False
    elif not there and not away.exists():
        node.top.rename(away)
        node.top.mkdir()


def copy_tree(one: Path, other: Path) -> None:
    """Copy a disk, including its links."""
    subprocess.run(["cp", "-a", "--", str(one), str(other)], check=True)
