"""The kinds of items: an entry here and a file beside it for each.

An entry has what calls need that handle no item of the kind, and the plan; the file, which has all else, is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
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
    """Keys of an item that only this kind, and some others, have"""
    required: tuple[str, ...] = ()
    """Those of them that an item must have"""
    placed: bool = True
    """Whether an item is something at a path"""
    mark: str = ""
    """A member of the top folder of its archives by which they are told from those of other kinds in the category, where no record tells it"""


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


def _command() -> Kind:
    from .command import KIND

    return KIND


def _hg() -> Kind:
    from .hg import KIND

    return KIND


def _postgresql() -> Kind:
    from .postgresql import KIND

    return KIND


def _mysql() -> Kind:
    from .mysql import KIND

    return KIND


def _ldap() -> Kind:
    from .ldap import KIND

    return KIND


def _set() -> Kind:
    from .set import KIND

    return KIND


_DATABASE_KEYS = ("may_empty",)
_SERVER_KEYS = ("host", "port", "user", "login", "password_file", "databases", *_DATABASE_KEYS)
_COMMAND_KEYS = ("argv", "user", "produces", "verify", "time_limit", "size_limit")
_FOLDER_KEYS = ("exclude", "changing", "exclude_caches", "exclude_if_present", "require")
KINDS = {
    "svn": Entry(_svn, "svn", ("repos",), discoverable=True, scratch=KEPT),
    "trac": Entry(_trac, "tracs", discoverable=True, keys=_DATABASE_KEYS),
    "git": Entry(_git, "git", discoverable=True, scratch=KEPT, keys=("may_move",)),
    "folder": Entry(_folder, "folders", scratch=NONE, keys=_FOLDER_KEYS),
    "sqlite": Entry(_sqlite, "databases", keys=_DATABASE_KEYS),
    "command": Entry(_command, "commands", keys=_COMMAND_KEYS, required=("argv", "user"), placed=False),
    "hg": Entry(_hg, "hg", scratch=KEPT),
    "postgresql": Entry(
        _postgresql, "databases", keys=_SERVER_KEYS, required=("user",), placed=False, mark="globals.sql"
    ),
    "mysql": Entry(
        _mysql, "databases", keys=(*_SERVER_KEYS, "lock"), required=("user",), placed=False, mark="users.sql"
    ),
    "ldap": Entry(_ldap, "databases", keys=("user",), mark="config.ldif"),
    "set": Entry(_set, "sets", keys=("members",), required=("members",), placed=False),
}
CATEGORIES = {kind: entry.category for kind, entry in KINDS.items()}
DISCOVERABLE = tuple(kind for kind, entry in KINDS.items() if entry.discoverable)


def kind_in(category: str, recorded: object = "", members: Collection[str] = ()) -> str:
    """Return the kind of an archive, empty where there is none; `recorded` is the kind that its dump recorded, `members` are in its top folder.

    What is recorded counts only where it is a kind of the category; without that what an archive holds tells, and then it is the first one.
    """
    kinds = [kind for kind, entry in KINDS.items() if category in (entry.category, *entry.older_categories)]
    marked = [kind for kind in kinds if KINDS[kind].mark in members]
    return str(recorded) if recorded in kinds else next(iter([*marked, *kinds]), "")


def kind_of(name: str) -> Kind:
    """Return what the file of a kind says of it."""
    return KINDS[name].load()
