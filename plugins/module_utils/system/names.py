"""Names of users and groups from this node's database: its files, or the directory service that it is told to ask."""

from __future__ import annotations

import grp
import pwd
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .visible import one_line

Key = TypeVar("Key", int, str)
Value = TypeVar("Value")

SECONDS = 30.0
"""Seconds within which the database must answer a single lookup"""
_MOST_SECONDS = 600.0
"""Seconds within which it must answer all lookups of one call"""
_MOST = 10_000
"""Most lookups of one call"""
_MOST_STALLS = 3
"""Unanswered calls in a row after which a database that answered before is asked no more"""
_LONGEST = 256
"""Most bytes of a name; see LOGIN_NAME_MAX in sysconf(3)"""


@dataclass(frozen=True)
class Names:
    """Names by uid and gid, without those that the node does not know."""

    users: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    lacking: str = ""
    """Why there may be more names, empty if all lookups were answered"""


def is_name(text: str) -> bool:
    """Return whether a text can stand in archive headers and lists as a name: at most 256 bytes, printable, without colon."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 0 < size <= _LONGEST and text.isprintable() and ":" not in text and text == one_line(text).strip()


class _Table(Generic[Key, Value]):
    """Answers to one kind of lookup."""

    def __init__(self, what: str, look_up: Callable[[Key], Value]) -> None:
        self.what = what
        self.look_up: Callable[[Key], Value] = look_up
        self.known: dict[Key, Value] = {}
        self.hung: set[Key] = set()
        """Values whose lookup got no answer in time"""


class Directory:
    """The database of this node. Each value is looked up once, from any thread, and no thread waits for another's lookups.

    A database that never answered, or no longer answers, is asked no more.
    """

    def __init__(self, seconds: float = SECONDS, *, whole_seconds: float = _MOST_SECONDS, most: int = _MOST) -> None:
        """Limit a lookup to `seconds`, and a call to `whole_seconds` and `most` lookups."""
        self._seconds = seconds
        self._whole_seconds = whole_seconds
        self._most = most
        self._lock = threading.Lock()
        self._answers = 0
        self._stalls = 0
        """Unanswered calls in a row"""
        self._users = _Table("users", _user_name)
        self._groups = _Table("groups", _group_name)
        self._uids = _Table("users", _uid)
        self._gids = _Table("groups", _gid)

    def names(self, users: Iterable[int], groups: Iterable[int]) -> Names:
        """Return the names of uids and gids, as the database has them."""
        found, why = self._ask(set(users), self._users)
        others, more = self._ask(set(groups), self._groups)
        return Names(
            {uid: name for uid, name in found.items() if name},
            {gid: name for gid, name in others.items() if name},
            why or more,
        )

    def numbers(self, users: Iterable[str], groups: Iterable[str]) -> tuple[dict[str, int], dict[str, int], str]:
        """Return {name: uid}, {name: gid} of those that it knows, and why there may be more, else empty."""
        found, why = self._ask(set(users), self._uids)
        others, more = self._ask(set(groups), self._gids)
        return (
            {name: uid for name, uid in found.items() if uid is not None},
            {name: gid for name, gid in others.items() if gid is not None},
            why or more,
        )

    def _ask(self, wanted: set[Key], table: _Table[Key, Value]) -> tuple[dict[Key, Value], str]:
        """Return {value: answer} of the known ones, and why that is not all, else empty. Unknown values are looked up."""
        with self._lock:
            missing = sorted(wanted - set(table.known) - table.hung)
            hung = bool(wanted & table.hung)
            is_silent = self._stalls >= _MOST_STALLS
        why = self._no_answer if hung else ""
        if missing and is_silent:
            why = self._no_answer
        elif len(missing) > self._most:
            why = (
                f"{len(missing):,} {table.what} are more than the {self._most:,} of which this node's database is asked"
            )
        elif missing:
            why = self._look_up(missing, table) or why
        with self._lock:
            return {each: table.known[each] for each in wanted if each in table.known}, why

    def _look_up(self, missing: Sequence[Key], table: _Table[Key, Value]) -> str:
        """Look up values in a thread that is abandoned if it hangs; return why not all were answered, else empty."""
        done: list[Key] = []
        over = threading.Event()

        def work() -> None:
            for each in missing:
                with self._lock:
                    there = each in table.known
                told = table.known[each] if there else table.look_up(each)
                with self._lock:
                    if over.is_set():
                        return
                    table.known[each] = told
                    self._answers += not there
                done.append(each)

        before = self._answers
        asking = threading.Thread(target=work, daemon=True)
        asking.start()
        answered, until = -1, time.monotonic() + self._whole_seconds
        while asking.is_alive() and len(done) > answered and time.monotonic() < until:
            answered = len(done)
            asking.join(self._seconds)
        with self._lock:
            over.set()
            stalled = len(done) == answered < len(missing)
            if stalled:
                table.hung.add(missing[answered])
            if self._answers > before:
                self._stalls = 0
            elif stalled:
                self._stalls = self._stalls + 1 if self._answers else _MOST_STALLS
        if len(done) == len(missing):
            return ""
        if stalled:
            return self._no_answer
        return f"this node's database of users and groups is slow: it told {len(done):,} of {len(missing):,} {table.what} in time"

    @property
    def _no_answer(self) -> str:
        return f"this node's database of users and groups did not answer within {self._seconds:g} s"


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
