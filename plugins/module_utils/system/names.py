"""Names of users and groups, as this node's own database has them: its files, or whatever directory it is told to ask."""

from __future__ import annotations

import grp
import pwd
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from .visible import one_line

Asked = TypeVar("Asked", int, str)
Told = TypeVar("Told")

SECONDS = 30.0
"""How long the database may take to answer anything"""
_MOST_SECONDS = 600.0
"""How long it may take for all that it is asked for at once"""
_LONGEST = 256
"""Most bytes of a name; see LOGIN_NAME_MAX in sysconf(3)"""


@dataclass(frozen=True)
class Names:
    """Names by numbers of users and of groups; those that the node does not know are not there."""

    users: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)


def is_name(text: str) -> bool:
    """Return whether a text is one that headers of archives and lists of names hold as it is: bounded, and without anything that steers."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 0 < size <= _LONGEST and text.isprintable() and ":" not in text and text == one_line(text).strip()


class Directory:
    """The database of this node. It is asked once for each, by any thread; where it does not answer it is asked no more."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._silent = False
        self._users: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._uids: dict[str, int | None] = {}
        self._gids: dict[str, int | None] = {}

    @property
    def silent(self) -> str:
        """What is said of it if it did not answer, else empty."""
        return (
            f"this node's database of users and groups did not answer within {self._seconds:g} s"
            if self._silent
            else ""
        )

    def names(self, users: Iterable[int], groups: Iterable[int]) -> Names:
        """Given numbers, return the names that it has for them, whatever they are; none where it does not answer."""
        wanted, others = set(users), set(groups)
        with self._lock:
            self._ask(wanted, self._users, _user_name)
            self._ask(others, self._groups, _group_name)
            return Names(
                {uid: name for uid in wanted if (name := self._users.get(uid))},
                {gid: name for gid in others if (name := self._groups.get(gid))},
            )

    def numbers(self, users: Iterable[str], groups: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Given names, return the numbers of the users and of the groups that it knows; none where it does not answer."""
        wanted, others = set(users), set(groups)
        with self._lock:
            self._ask(wanted, self._uids, _uid)
            self._ask(others, self._gids, _gid)
            return (
                {name: uid for name in wanted if (uid := self._uids.get(name)) is not None},
                {name: gid for name in others if (gid := self._gids.get(name)) is not None},
            )

    def _ask(self, wanted: Iterable[Asked], known: dict[Asked, Told], look_up: Callable[[Asked], Told]) -> None:
        """Look up what is not known yet, in a thread that is left alone if it hangs."""
        missing = sorted(set(wanted) - set(known))
        if not missing or self._silent:
            return
        found: dict[Asked, Told] = {}

        def work() -> None:
            for each in missing:
                found[each] = look_up(each)

        asking = threading.Thread(target=work, daemon=True)
        asking.start()
        answered, until = -1, time.monotonic() + _MOST_SECONDS
        while asking.is_alive() and len(found) > answered and time.monotonic() < until:
            answered = len(found)
            asking.join(self._seconds)
        self._silent = asking.is_alive()
        if not self._silent:
            known.update(found)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return ""


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
