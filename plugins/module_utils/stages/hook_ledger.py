"""The ledger of owed hooks: a small private file on the node, written before the first hook of a dump, treated as data only.

It has items and stamps. Programs are never read from it, but from the plan of the call that reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..system.errors import BaseUnusable, Locked
from ..system.proc import boot_id
from ..system.visible import one_line
from ..tree.layout import TEMPORARY, Tree
from ..tree.private import opened_private, read_private
from ..tree.publish import make_folders, remove_if_there, write_text
from ..tree.stamps import is_stamp

_PAUSE = 0.1
_LONGEST = 1 << 20
_MOST = 1000
_LONGEST_TEXT = 8000
_LONGEST_NAME = 512


@dataclass(frozen=True)
class Owed:
    """A dump whose `before` was started and whose `after` is not done."""

    item: str
    """category/name, empty for the source itself"""
    stamp: str
    boot: str = ""
    """Boot id of the node at that time"""


@dataclass(frozen=True)
class HookResult:
    """The result of a hook that ran without a call, for the next call to report."""

    item: str
    text: str
    bad: bool = False
    """Whether that is a failure"""


@dataclass
class Ledger:
    """The ledger file, locked by one process at a time."""

    tree: Tree
    owed: list[Owed] = field(default_factory=list)
    results: list[HookResult] = field(default_factory=list)
    damaged: str = ""
    """Message if the file cannot be read, else empty"""
    _descriptor: int = -1

    @property
    def _folder(self) -> str:
        return folder_of(self.tree)

    @property
    def path(self) -> str:
        """The path of the file."""
        return os.path.join(self._folder, "owed.json")

    def open(self, wait: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Lock and read the ledger. Raise Locked if another process has it for `wait` seconds or `is_over` returns true, or OSError."""
        make_folders(self._folder, self.tree.private)
        path = os.path.join(self._folder, "lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            self._await(descriptor, wait, is_over)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._read()

    def _await(self, descriptor: int, wait: float, is_over: Callable[[], bool]) -> None:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= end or is_over():
                    pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                    raise Locked(
                        f"hooks of an earlier call are still at work (process {one_line(pid)}): waited {wait:g} s, and nothing was begun before their end"
                    ) from None
            time.sleep(_PAUSE)

    def _read(self) -> None:
        with opened_private(self.tree, self._folder) as folder:
            for name in os.listdir(folder) if folder is not None else ():
                if name.startswith(TEMPORARY):
                    os.unlink(name, dir_fd=folder)
        try:
            found = json.loads(read_private(self.tree, self.path, _LONGEST).decode("utf-8"))
            self.owed = [_parse_owed(entry) for entry in found["owed"][:_MOST]]
            self.results = [_parse_result(entry) for entry in found["told"][:_MOST]]
        except FileNotFoundError:
            return
        except (BaseUnusable, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self.owed, self.results = [], []
            self.damaged = f"{self.path}, the record of hooks, cannot be read ({one_line(str(error))})"

    def owe(self, item: str, stamp: str) -> None:
        """Record that the `after` of an item (category/name, empty for the source) is owed. Raise OSError or BaseUnusable."""
        self.owed = [*self._without(item), Owed(item, stamp, boot_id())]
        self._write()

    def pay(self, item: str) -> None:
        """Record that it is not owed any more. Raise OSError or BaseUnusable."""
        self.owed = self._without(item)
        self._write()

    def add_result(self, item: str, text: str, *, bad: bool) -> None:
        """Record the result of a hook for the next call. Raise OSError or BaseUnusable."""
        self.results = [*self.results, HookResult(item, text[:_LONGEST_TEXT], bad)][-_MOST:]
        self._write()

    def close(self, *, reported: bool) -> None:
        """Unlock the ledger, and remove its results if they were reported. Raise OSError or BaseUnusable."""
        if reported and self._descriptor >= 0:
            self.results = []
            self._write()
        self.drop()

    def drop(self) -> None:
        """Unlock the ledger without writing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _without(self, item: str) -> list[Owed]:
        return [entry for entry in self.owed if entry.item != item]

    def _write(self) -> None:
        if self._descriptor < 0:
            raise BaseUnusable(
                f"{self.path} could not be had: what is owed stays there, and is run once more by the next call"
            )
        if not (self.owed or self.results):
            remove_if_there(self.path)
            return
        entries = {"owed": list(map(asdict, self.owed)), "told": list(map(asdict, self.results))}
        write_text(self.path, json.dumps(entries, sort_keys=True) + "\n")


def folder_of(tree: Tree) -> str:
    """Return the private folder of a tree's ledger."""
    return tree.private_path("hooks")


def is_anything_left(tree: Tree) -> bool:
    """Return whether the ledger has entries of an earlier call; also true if that cannot be read."""
    with contextlib.suppress(FileNotFoundError):
        os.lstat(Ledger(tree).path)
        return True
    return False


def _parse_owed(entry: Mapping[str, Any]) -> Owed:
    """Parse an entry of `owed`. Raise ValueError, KeyError or TypeError."""
    item, stamp, boot = _name(entry["item"]), _name(entry["stamp"]), _name(entry["boot"])
    if not is_stamp(stamp):
        raise ValueError("it has an invalid stamp")
    return Owed(item, stamp, boot)


def _parse_result(entry: Mapping[str, Any]) -> HookResult:
    text = entry["text"]
    if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
        raise ValueError("it has an invalid text")
    return HookResult(_name(entry["item"]), text, entry["bad"] is True)


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME:
        raise ValueError("it has an invalid name")
    return value
