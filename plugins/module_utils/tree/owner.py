"""Owner of a base: a random id and the owner's name, written into the marker by the first run that writes.

Otherwise two names that lead to one machine, or to one shared file system, would take one base for two.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shlex
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.errors import FULL, BaseUnusable, Locked
from ..system.machine import machine_id
from ..system.proc import boot_id
from ..system.visible import one_line
from .layout import Tree
from .publish import make_folders

ROLES = ("source", "target")
_LONGEST = 4096
_LONGEST_NAME = 255
_WAIT = 10.0  # seconds
_PAUSE = 0.05  # seconds


@dataclass(frozen=True)
class Owner:
    """A node of an inventory in one of its roles."""

    role: str
    name: str
    former: tuple[str, ...] = field(default=(), compare=False)
    """Names that it had before"""

    def was(self, other: Owner) -> bool:
        """Return whether another owner is this one under a former name."""
        return other.role == self.role and other.name in self.former

    def __str__(self) -> str:
        return f"{self.role} {one_line(self.name)}"


def parse_owner(value: Mapping[str, Any]) -> Owner:
    """Return the owner in a mapping with role, name and, if any, former names."""
    return Owner(str(value["role"]), str(value["name"]), tuple(map(str, value.get("former_names") or ())))


class Taken(BaseUnusable):
    """A base that has another owner; `owner` is the one that claims it."""

    def __init__(self, text: str, owner: Owner) -> None:
        super().__init__(text)
        self.owner = owner


def owner_path(tree: Tree) -> str:
    """Return the path of a tree's owner: in its marker; of a tree below a marker, in the folder `owners` of that."""
    return os.path.join(tree.private, "owners", tree.source) if tree.source else os.path.join(tree.private, "owner")


def identify(tree: Tree, owner: Owner, *, claim: bool) -> dict[str, Any]:
    """Return what identifies this base; `owner` is the one that claims it.

    Keys are `base`, `role`, `name`, `id` (empty if no run has written one), `machine` and `boot` of this node, `device` and `inode`; the
    last three are empty or zero for a folder below a marker that does not exist yet. With `claim` a base without owner becomes the owner's,
    unless its disk is full. Raise BaseUnusable if it is another's, or OSError.
    """
    if tree.source:  # below the marker of a target lie its copies
        above = _known(os.path.join(tree.private, "owner"))
        if above is not None and above[1].role == "target":
            raise Taken(_among_copies(tree.base, owner, above[1], os.path.join(tree.private, "owner")), owner)
    path = owner_path(tree)
    known = (_claimed(tree, path, owner) if claim else None) or _known(path)
    if known is not None and known[1] != owner and not owner.was(known[1]):
        raise Taken(_shared(tree.base, owner, known[1], path), owner)
    found = {
        "base": tree.base,
        "role": owner.role,
        "name": owner.name,
        "id": known[0] if known else "",
        "machine": machine_id(),
    }
    try:
        status = os.stat(tree.base)
    except FileNotFoundError:  # below the marker it is made when something is put into it
        return {**found, "boot": "", "device": 0, "inode": 0}
    return {**found, "boot": boot_id(), "device": status.st_dev, "inode": status.st_ino}


def require_no_source(tree: Tree, target: Owner) -> None:
    """Raise BaseUnusable if a source has claimed a source's tree on a target as its own base."""
    path = owner_path(tree)
    known = _known(path) if tree.source else None
    if known is not None and known[1] != target:
        raise BaseUnusable(_among_copies(tree.base, known[1], target, path))


def require_owner(tree: Tree, owner: Owner) -> None:
    """Raise BaseUnusable if a tree is known to be another owner's, or OSError."""
    path = owner_path(tree)
    known = _known(path)
    if known is not None and known[1] != owner:
        raise Taken(_shared(tree.base, owner, known[1], path), owner)


def id_of(tree: Tree) -> str:
    """Return the id of a tree's base, empty while no run has marked it. Raise BaseUnusable or OSError."""
    known = _known(owner_path(tree))
    return known[0] if known is not None else ""


def source_of(tree: Tree) -> str:
    """Return the name that a source's first run wrote into its own tree; empty if it is missing or damaged, which preflight reports."""
    try:
        known = _known(owner_path(tree))
    except (BaseUnusable, OSError):
        return ""
    return known[1].name if known is not None and known[1].role == "source" else ""


def _shared(base: str, owner: Owner, known: Owner, path: str) -> str:
    both = (
        "two copies would be one" if (known.role, owner.role) == ("target", "target") else "each would take the other's"
    )
    return (
        f"{base} is the base of {known}, as {path} says, but {owner} has it for its own, too: {both}. Do both names lead to one machine "
        f"(ansible_host), or to one shared file system? Give each a base of its own. If {known} is now called {one_line(owner.name)}, say so there: "
        f"altbackup_former_names: [{one_line(known.name)}]. If this disk is a copy of another one, remove that file on that machine, once, "
        f"and the next run writes it anew: rm {shlex.quote(path)}"
    )


def _among_copies(base: str, source: Owner, target: Owner, path: str) -> str:
    return (
        f"{base} is the base of {source}, but lies among the copies of {target}, in its marked base (see {path}): the copy would be no "
        f"second one. Give {source} a base of its own, with its own marker"
    )


def _claimed(tree: Tree, path: str, owner: Owner) -> tuple[str, Owner] | None:
    """Return (id, owner) of a base, after claiming it if it has none; None if the disk is full."""
    try:
        make_folders(os.path.dirname(path), tree.private)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, path)
            known = _read(descriptor, path)
            if known is None:
                return _written(descriptor, owner)
            return _renamed(descriptor, owner, known[0]) if owner.was(known[1]) else known
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in FULL:
            return None
        raise


def _renamed(descriptor: int, owner: Owner, random: str) -> tuple[str, Owner]:
    """Write an owner's new name over the old one in one call: if the id were lost, the base would count as another one."""
    os.pwrite(descriptor, _text_of(owner, random).ljust(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)
    return random, owner


def _text_of(owner: Owner, random: str) -> bytes:
    return f"{json.dumps({'id': random, 'role': owner.role, 'name': owner.name}, sort_keys=True)}\n".encode()


def _written(descriptor: int, owner: Owner) -> tuple[str, Owner]:
    random = secrets.token_hex(16)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _text_of(owner, random), 0)
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):  # a torn file is written anew
            os.ftruncate(descriptor, 0)
        raise
    return random, owner


def _lock(descriptor: int, path: str) -> None:
    end = time.monotonic() + _WAIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise Locked(f"{path} has been in use by another process for {_WAIT:g} s: run again") from None
        time.sleep(_PAUSE)


def _known(path: str) -> tuple[str, Owner] | None:
    """Return (id, owner) in a file, None without one. Raise BaseUnusable or OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _read(descriptor, path)
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str) -> tuple[str, Owner] | None:
    """Return (id, owner) in an open file, None if it is empty or torn. Raise BaseUnusable for anything else."""
    text = b""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        text = os.pread(descriptor, _LONGEST + 1, 0)
        if not text.strip(b"\0"):
            return None
    try:
        values: Any = json.loads(text) if len(text) <= _LONGEST else None
        random, known = values["id"], Owner(values["role"], values["name"])
        named = isinstance(known.name, str) and 0 < len(known.name) <= _LONGEST_NAME
        if known.role in ROLES and named and re.fullmatch("[0-9a-f]{32}", random):
            return random, known
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise BaseUnusable(
        f"{path} does not say whose base it is in: look at it, and remove it; the next run writes it anew"
    )
