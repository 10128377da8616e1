"""Origin of the copies in a source's tree on a target: the random id of the base from which the first of them came.

Two inventories may have sources of one name, so the name of a tree does not distinguish them.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..system.errors import FULL, BaseUnusable, InvalidInput
from ..system.visible import extra_vars, one_line
from .layout import Tree
from .publish import make_folders, write_text

ORIGIN: dict[str, Any] = {"origin": {"type": "dict", "default": {}}}
"""Argument spec of a module that must know whose copies a tree holds"""
_LONGEST = 1 << 15
"""Most bytes of the file"""
_LONGEST_TEXT = 4096
_SHOWN = 200


@dataclass(frozen=True)
class Origin:
    """A source as preflight reported it; `id` is empty while no run has marked its base, `machine` if that is unknown."""

    name: str
    base: str
    id: str
    machine: str = ""
    """Id of its machine"""
    adopt: bool = field(default=False, compare=False)
    """Whether copies of another source of this name are taken over as its own from now on"""

    def __str__(self) -> str:
        return f"{_shown(self.base)} ({f'id {self.id}' if self.id else 'which no run has marked yet'})"


def parse_origin(value: Mapping[str, Any] | None) -> Origin | None:
    """Return the Origin in a mapping with name, base and id of a source, None for an empty one. Raise InvalidInput."""
    if not value:
        return None
    try:
        name, base, known, machine = value["name"], value["base"], value["id"], value.get("machine", "")
        texts = all(isinstance(text, str) and 0 < len(text) <= _LONGEST_TEXT for text in (name, base))
        if texts and all(re.fullmatch("(?:[0-9a-f]{32})?", random) for random in (known, machine)):
            return Origin(name, base, known, machine, value.get("adopt") is True)
    except (KeyError, TypeError):
        pass
    raise InvalidInput("origin is not the name, base and id of a source")


def origin_path(tree: Tree) -> str:
    """Return the path of a tree's origin: beside the tree, in the target's own private folder."""
    return tree.private_path("origins")


def origin_of(tree: Tree) -> Origin | None:
    """Return the origin of a tree's copies, None if it is unknown. Raise BaseUnusable or OSError."""
    path = origin_path(tree)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.pread(descriptor, _LONGEST + 1, 0) if plain else b"?"
    finally:
        os.close(descriptor)
    if not text.strip(b"\0"):
        return None
    try:
        known = parse_origin(json.loads(text)) if len(text) <= _LONGEST else None
    except (ValueError, AttributeError, RecursionError, InvalidInput):
        known = None
    if known is None or not known.id:
        raise BaseUnusable(
            f"{path} does not say whose copies {tree.base} holds: look at it, and remove it; the next delivery writes it anew"
        )
    return known


def require_origin(tree: Tree, origin: Origin | None) -> None:
    """Raise BaseUnusable if a source's tree on a target holds the copies of another source, or OSError."""
    known = origin_of(tree) if origin is not None else None
    if origin is None or known is None or origin.adopt:
        return
    command = f"run once with {extra_vars({'altbackup_adopt': [origin.name]})}"
    if known.id != origin.id:
        raise BaseUnusable(
            f"{tree.base} holds the copies of another source {_shown(known.name)}, of that with base {known}, and not of that with base "
            f"{origin}: nothing was sent there, nor purged. Do two inventories name their sources alike? Give each a name of its own. If "
            f"it is the same source, whose base was lost and made anew, {command}"
        )
    if known.machine and origin.machine and known.machine != origin.machine:
        raise BaseUnusable(
            f"{tree.base} holds the copies of source {_shown(known.name)} of another machine, which had base {_shown(known.base)}, too: nothing was "
            f"sent there, nor purged. Is {_shown(origin.name)} (ansible_host) the machine that was meant? If it moved to a new one, {command}"
        )


def bind(tree: Tree, origin: Origin | None) -> None:
    """Write `origin` as that of a source's tree on a target, which this process has locked.

    An origin without id binds nothing; nor does any on a full disk. Raise BaseUnusable or OSError.
    """
    require_origin(tree, origin)
    if origin is None or not origin.id:
        return
    known = origin_of(tree)
    if known is not None and known.id == origin.id and not origin.machine:
        origin = replace(origin, machine=known.machine)
    if known == origin:
        return
    path = origin_path(tree)
    try:
        make_folders(os.path.dirname(path), tree.private)
        text = {name: value for name, value in asdict(origin).items() if name != "adopt"}
        write_text(path, json.dumps(text, sort_keys=True) + "\n")
    except OSError as error:
        if error.errno not in FULL:
            raise


def _shown(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
