"""One call about a store: what it goes by, and what it has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..tree.failures import explain, failure
from ..tree.layout import Tree, item_key
from ..tree.stamps import Moment
from .known import Copy, Memory, remember
from .locks import Locker
from .remote import Remote
from .settings import Store

STAGE = "store"
STEPS = ("upload", "check", "purge")
EMPTY: dict[str, Any] = {
    "store": "",
    "uploaded": [],
    "replaced": [],
    "removed": [],
    "kept": [],
    "match": [],
    "mismatch": [],
    "counts": {},
    "relpaths": {},
    "newest": [],
    "suspects": {},
    "locked_until": {},
    "waiting": [],
    "day": "",
    "bytes_read": 0,
    "bytes_freed": 0,
    "wire": 0,
    "notes": [],
}
"""What is returned where nothing could be done"""
TOLD = 5
"""How many of many things are told one by one"""


@dataclass
class Work:
    """One call: what it goes by, and what it has found."""

    store: Store
    source: str
    tree: Tree
    remote: Remote
    locker: Locker | None
    moment: Moment
    memory: Memory
    options: Mapping[str, Any]
    check_mode: bool
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    uploaded: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    match: list[str] = field(default_factory=list)
    mismatch: list[str] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    """Items with which something is wrong here tonight"""
    disowned: dict[str, Copy] = field(default_factory=dict)
    """What is remembered of those that the store has with another sidecar now, so that it is told until somebody has seen to it"""
    sent: int = 0
    read: int = 0

    def fail(self, reason: str | BaseException, relpath: str = "", *, absent: bool = False) -> None:
        text = explain(reason)
        entry = failure(
            STAGE,
            text if text.startswith(f"{self.store.name}: ") else f"{self.store.name}: {text}",
            relpath=relpath,
            absent=absent,
        )
        self.failures.append(entry)
        if relpath:
            self.bad.add(item_key(relpath))

    def at(self, relpath: str) -> str:
        return f"{self.source}/{relpath}"

    def save(self, copies: Mapping[str, Copy]) -> None:
        self.memory = self.memory.with_copies({**self.disowned, **copies})
        if not self.check_mode:
            remember(self.tree, self.store.name, self.memory)

    def remove(self, path: str) -> None:
        """Remove a file of the store (path from its root), for good. Raise AltbackupError."""
        if self.locker:
            self.locker.remove(path)
        else:
            self.remote.remove(path)
