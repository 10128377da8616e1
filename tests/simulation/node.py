"""A node of a simulated site: its disk, and what is to be known of it."""

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
    """The folder that bears the marker"""
    base: Path
    """The folder of the item's source on it"""
    rules: Rules
    trash_days: int
    confirmed: Rules = field(default_factory=Rules)
    """The most that was asked for since less was confirmed"""
    away: bool = False
    """Whether it cannot be reached"""
    unplugged: bool = False
    """Whether its disk is not there"""
    paired: bool = False
    """Whether the source knows what it holds"""
    replaced: str = ""
    """What must be told of its disk until somebody takes it as it is"""
    touched: bool = False
    """Whether its disk is not what it was, told or not"""
    known: dict[datetime, Copy] = field(default_factory=dict)
    """What was there after the last run, as it was seen on the disk"""
    lost: set[datetime] = field(default_factory=set)
    """What something else took away or damaged since"""
    rotted: datetime | None = None
    """Until when it must be told that something rotted"""
    rotten: dict[datetime, tuple[Copy, str]] = field(default_factory=dict)
    """What rotted and did not come back yet, with what told it from others"""
    digests: set[str] = field(default_factory=set)
    """What tells all good ones that were seen last from others"""
    removed: dict[datetime, Copy] = field(default_factory=dict)
    """What the last purge of it removed"""
    purged: str = ""
    """The day of that"""
    snapshot: tuple[Path, dict[datetime, Copy], Rules] | None = None
    """A copy of its disk, and what is to be known of it then"""
    others: set[datetime] = field(default_factory=set)
    """The copies of the other item"""

    @property
    def private(self) -> Path:
        """The folder of its state."""
        return self.top / ".altbackup"

    @property
    def role(self) -> str:
        """What it is, in the words of an inventory."""
        return "source" if self.name == SOURCE else "target"

    @property
    def is_there(self) -> bool:
        """Whether a run can use it."""
        return not (self.away or self.unplugged)


def mark(node: Node) -> None:
    """Make a node's folder with its marker."""
    (node.top / ".altbackup").mkdir(parents=True, mode=0o700)


def plug(node: Node, *, there: bool) -> None:
    """Take a node's disk away, so that its empty folder is seen, or bring it back."""
    away = node.top.with_name(f"{node.top.name}.unplugged")
    if there and away.exists():
        node.top.rmdir()
        away.rename(node.top)
        node.unplugged = False
    elif not there and not away.exists():
        node.top.rename(away)
        node.top.mkdir()


def copy_tree(one: Path, other: Path) -> None:
    """Copy a disk with the links on it."""
    subprocess.run(["cp", "-a", "--", str(one), str(other)], check=True)
