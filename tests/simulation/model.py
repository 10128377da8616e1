"""What is owed: a plain model of the promises on history, with no code of the product in it.

A copy is one tarball of one item on one node, as a look at the disk shows it; its content is a number that the test knows, and its time
a naive datetime in the run's time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LATE = timedelta(days=1)
"""How much later than its time a copy comes that fills free places only"""
SUSPECTS_KEPT = 3
"""The newest suspects that stay, beside the first one"""


@dataclass(frozen=True)
class Rules:
    """How much of the past is owed; 0 is none."""

    keep: int = 3
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta = timedelta(0)

    def numbers(self) -> tuple[float, ...]:
        """Return all of them, to be compared one by one."""
        return (self.keep, self.daily, self.weekly, self.monthly, self.yearly, self.within.total_seconds())


@dataclass(frozen=True)
class Copy:
    """One copy on one node."""

    time: datetime
    content: int
    suspect: bool = False
    """Whether its content is doubtful and nobody accepted it"""
    held: bool = False
    came: datetime | None = None
    """The run in which it came, None where it was made"""

    @property
    def late(self) -> bool:
        """Whether it came too late to take a place from those that came in time."""
        return self.came is not None and self.came - self.time >= LATE


def _newest(copies: Iterable[Copy], group: Callable[[Copy], Hashable], number: int) -> list[Copy]:
    """Return the newest copy of each of the last so many groups that have one."""
    found: dict[Hashable, Copy] = {}
    for copy in sorted(copies, key=lambda one: one.time, reverse=True):
        found.setdefault(group(copy), copy)
    return list(found.values())[:number]


_CALENDAR: dict[str, Callable[[Copy], Hashable]] = {
    "daily": lambda copy: copy.time.date(),
    "weekly": lambda copy: copy.time.isocalendar()[:2],
    "monthly": lambda copy: (copy.time.year, copy.time.month),
    "yearly": lambda copy: copy.time.year,
}


def owed(copies: Collection[Copy], rules: Rules, now: datetime) -> set[Copy]:
    """Return the copies of one item on one node that have to stay at a time, with the rules that hold then."""
    suspects = sorted((copy for copy in copies if copy.suspect), key=lambda copy: copy.time)
    good = [copy for copy in copies if not copy.suspect]
    stay = {copy for copy in copies if copy.held}
    if suspects:
        return stay.union(good, suspects[:1], suspects[-SUSPECTS_KEPT:])
    timely = [copy for copy in good if not copy.late]
    stay.update(sorted(good, key=lambda copy: copy.time)[-1:])
    stay.update(_newest(timely, lambda copy: copy.time.date(), rules.keep))
    stay.update(_newest(timely, lambda copy: copy.content, rules.keep))
    for name, group in _CALENDAR.items():
        number = getattr(rules, name)
        chosen = _newest(timely, group, number)
        stay.update(chosen)
        if number and len(chosen) < number:
            stay.update(sorted(timely, key=lambda copy: copy.time)[:1])
    stay.update(copy for copy in good if rules.within and now - copy.time < rules.within)
    return stay


@dataclass
class Night:
    """What happened to one item on one node in one run."""

    now: datetime
    rules: Rules
    """The most that was asked for since somebody last confirmed that less is wanted"""
    before: Collection[Copy]
    """What was there when it was to be purged: what was there before, and what came"""
    after: Collection[Copy]
    added: int
    """Days of which copies came in time, or were made"""
    failures: list[str]
    lost: Collection[Copy] = field(default_factory=tuple)
    """What something else than the product took away or damaged"""
    frozen: bool = False
    """Whether nothing may go, since no target has the newest copy"""
    alarms: Collection[str] = ()
    """What must not pass in silence"""
    expected: int | None = None
    """The content that must be there as the newest one, unless something failed"""


def complaints(night: Night) -> list[str]:
    """Return what is wrong with a night, nothing if all that is owed is there, or was told."""
    gone = set(night.before) - set(night.after) - set(night.lost)
    due = set(night.before) if night.frozen else owed(night.before, night.rules, night.now)
    missing = sorted(gone & due, key=lambda one: one.time)
    found = [f"{copy.time} ({copy.content}) was owed and is gone" for copy in missing]
    if len(gone) > night.added + 1:
        found.append(f"{len(gone)} are gone where {night.added} came")
    if night.alarms and not night.failures:
        found.append(f"nobody was told: {', '.join(sorted(night.alarms))}")
    if night.expected is not None and not night.failures:
        newest = max(night.after, key=lambda one: one.time, default=None)
        if newest is None or newest.content != night.expected:
            found.append(f"the newest is {newest and newest.content}, not {night.expected}, and nobody was told")
    return found
