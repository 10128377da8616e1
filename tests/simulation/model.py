"""A plain model of the promises on history, with no code of the product in it.

A copy is one tarball of one item on one node, as found on the disk; its content is a number that the test knows, and its time a naive
datetime in the run's time zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

LATE = timedelta(days=1)
"""Delay from which on a copy is late, and fills only free slots"""
SUSPECTS_KEPT = 3
"""Number of the newest suspects that stay, beside the first one"""


@dataclass(frozen=True)
class Rules:
    """How much of the past must be kept; 0 switches a rule off."""

    keep: int = 3
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta = timedelta(0)

    def numbers(self) -> tuple[float, ...]:
        """Return all numbers, for comparison one by one."""
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
    """The run in which it came, None on the node where it was made"""

    @property
    def late(self) -> bool:
        """Whether it came too late to take a slot from copies that came in time."""
        return self.came is not None and self.came - self.time >= LATE

    @property
    def behind(self) -> bool:
        """Whether it came after its own day, and so takes no day, week ... from a copy that came on it."""
        return self.came is not None and self.came.date() > self.time.date()


def _newest(copies: Iterable[Copy], group: Callable[[Copy], Hashable], number: int, timely: bool) -> list[Copy]:
    """Return the newest copy of each of the last `number` groups that have one; if `timely`, one that is not behind is preferred."""
    groups: dict[Hashable, list[Copy]] = {}
    for copy in sorted(copies, key=lambda one: one.time, reverse=True):
        groups.setdefault(group(copy), []).append(copy)
    return [
        min(several, key=lambda one: (one.behind if timely else False, -one.time.timestamp()))
        for several in list(groups.values())[:number]
    ]


_CALENDAR: dict[str, Callable[[Copy], Hashable]] = {
    "daily": lambda copy: copy.time.date(),
    "weekly": lambda copy: copy.time.isocalendar()[:2],
    "monthly": lambda copy: (copy.time.year, copy.time.month),
    "yearly": lambda copy: copy.time.year,
}


def _filled(copies: list[Copy], group: Callable[[Copy], Hashable], number: int, by_day: bool) -> tuple[list[Copy], int]:
    """Return what a rule demands, and how many of its groups have a copy; late copies get the slots that the others leave free."""
    timely = [copy for copy in copies if not copy.late]
    chosen = _newest(timely, group, number, by_day)
    taken = {group(copy) for copy in timely}
    late = [copy for copy in copies if copy.late and group(copy) not in taken]
    more = _newest(late, group, max(0, number - len(taken)), by_day)
    return [*chosen, *more], len(taken) + len({group(copy) for copy in late})


def owed(copies: Collection[Copy], rules: Rules, now: datetime, *, frozen: bool = True) -> set[Copy]:
    """Return the copies of one item on one node that must stay at a time, by the rules then in force.

    While a suspect is not accepted these are all good ones, unless `frozen` is false.
    """
    suspects = sorted((copy for copy in copies if copy.suspect), key=lambda copy: copy.time)
    good = sorted((copy for copy in copies if not copy.suspect), key=lambda copy: copy.time)
    stay = {copy for copy in copies if copy.held}
    stay.update(suspects[:1], suspects[-SUSPECTS_KEPT:])
    if suspects and frozen:
        return stay.union(good)
    timely = [copy for copy in good if not copy.late]
    stay.update(good[-1:])
    groups = {**_CALENDAR, "keep": lambda copy: copy.time.date(), "contents": lambda copy: copy.content}
    for name, group in groups.items():
        number = getattr(rules, "keep" if name == "contents" else name)
        chosen, there = _filled(good, group, number, name != "contents")
        stay.update(chosen)
        if name in _CALENDAR and number and len({group(copy) for copy in timely}) < number:
            stay.update(timely[:1])
        if name in _CALENDAR and there < number and (not timely or good[0].time < timely[0].time):
            stay.update(good[:1])
    stay.update(copy for copy in good if rules.within and now - copy.time < rules.within)
    return stay


@dataclass(frozen=True)
class Alarm:
    """An event that must be reported."""

    what: str
    words: str
    """Pattern of its report"""


@dataclass
class Night:
    """The events of one item on one node in one run."""

    now: datetime
    """The stamp of the run"""
    rules: Rules
    """The strictest rules since the last confirmed relaxation"""
    before: Collection[Copy]
    """Copies before the purge: the former ones, and what came"""
    after: Collection[Copy]
    added: int
    """Number of days with copies that came in time, or were made"""
    failures: list[str]
    lost: Collection[Copy] = field(default_factory=tuple)
    """Copies that something other than the product removed or damaged"""
    frozen: bool = False
    """Whether nothing may go because too few targets have the newest copy"""
    alarms: Collection[Alarm] = ()
    expected: int | None = None
    """Content that the newest copy must have, unless something failed"""
    latest: datetime | None = None
    """The latest possible time of a copy"""
    offered: list[Copy] = field(default_factory=list)
    """The source's copies; a target must have those that it would keep, unless something failed"""


def complaints(night: Night) -> list[str]:
    """Return what is wrong with a night, empty if everything owed is there, or was reported."""
    latest = night.latest or night.now
    gone = set(night.before) - set(night.after) - set(night.lost)
    counting = [copy for copy in night.before if copy.time <= night.now]
    later = [copy for copy in night.before if copy.time > night.now]
    due = {*counting} if night.frozen else owed(counting, night.rules, night.now)
    missing = sorted(gone & {*due, *later}, key=lambda one: one.time)
    found = [f"{copy.time} ({copy.content}) was owed and is gone" for copy in missing]
    if len(gone) > night.added + 1:
        found.append(f"{len(gone)} are gone where {night.added} came")
    told = "\n".join(night.failures)
    found += [
        f"nobody was told: {alarm.what}" for alarm in night.alarms if not re.search(alarm.words, told, re.MULTILINE)
    ]
    if night.expected is not None and not night.failures:
        newest = max((it for it in night.after if it.time <= night.now), key=lambda it: it.time, default=None)
        of_day = {copy.content for copy in night.after if copy.time.date() == night.now.date()}
        if newest is None or night.expected not in {newest.content, *of_day}:
            found.append(f"the newest is {newest and newest.content}, not {night.expected}, and nobody was told")
    if all("is suspect" in text for text in night.failures):
        have = {copy.time for copy in night.after}
        coming = [
            replace(copy, came=night.now) for copy in night.offered if copy.time not in have and copy.time <= latest
        ]
        there = [copy for copy in night.after if copy.time <= night.now]
        wanted = owed(
            [*there, *(copy for copy in coming if copy.time <= night.now)], night.rules, night.now, frozen=False
        )
        lacking = sorted(copy.time for copy in wanted if copy.time not in have)
        found += [f"{time} is on the source, was owed here, and nobody was told" for time in lacking]
    return found
