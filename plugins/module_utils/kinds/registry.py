"""The kinds of items: an entry here and a file beside it for each.

An entry has what calls need that handle no item of the kind, and the plan; the file, which has all else, is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Kind

NONE, MADE, KEPT = "none", "made", "kept"
"""What scratch copy a dump makes of an item: none, one of about the size of its tarball, or one of all of it that stays"""


@dataclass(frozen=True)
class Entry:
    """What is known of a kind before its file is read."""

    load: Callable[[], Kind]
    """Read the file. Import statements are what takes it along to a node"""
    category: str
    """The folder of a tree that its items go to"""
    older_categories: tuple[str, ...] = ()
    """Others in which tarballs of the original scripts are"""
    discoverable: bool = False
    """Whether its items can be found below a folder"""
    scratch: str = MADE
    keys: tuple[str, ...] = ()
    """Keys of an item that this kind has alone"""


def _svn() -> Kind:
    from .svn import KIND

    return KIND


def _trac() -> Kind:
    from .trac import KIND

    return KIND


def _git() -> Kind:
    from .git import KIND

    return KIND


def _folder() -> Kind:
    from .folder import KIND

    return KIND


def _sqlite() -> Kind:
    from .sqlite import KIND

    return KIND


_DATABASE_KEYS = ("may_empty",)
_FOLDER_KEYS = ("exclude", "changing", "exclude_caches", "exclude_if_present", "require")
KINDS = {
    "svn": Entry(_svn, "svn", ("repos",), discoverable=True, scratch=KEPT),
    "trac": Entry(_trac, "tracs", discoverable=True, keys=_DATABASE_KEYS),
    "git": Entry(_git, "git", discoverable=True, scratch=KEPT, keys=("may_move",)),
    "folder": Entry(_folder, "folders", scratch=NONE, keys=_FOLDER_KEYS),
    "sqlite": Entry(_sqlite, "databases", keys=_DATABASE_KEYS),
}
CATEGORIES = {kind: entry.category for kind, entry in KINDS.items()}
DISCOVERABLE = tuple(kind for kind, entry in KINDS.items() if entry.discoverable)


def kind_of(name: str) -> Kind:
    """Given the name of a kind, return what its file says of it."""
    return KINDS[name].load()
