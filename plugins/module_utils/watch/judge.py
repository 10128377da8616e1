"""What is wrong with the sources of a target, and what of that is news. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tree.watching import LONGEST_PAUSE, Watched
from .clock import HOLD, Reckoned

DAILY = 86400.0
_SLACK = 600.0
"""Seconds by which a check may be early, so that what is told daily does not come later each day"""
CLOCK = "clock"
UNREADABLE = "unreadable"
STATE = "state"


@dataclass(frozen=True)
class Fault:
    """Something that is wrong."""

    source: str
    """Empty for the target itself"""
    what: str
    """category/name, CLOCK, UNREADABLE or STATE"""
    said: str

    @property
    def identity(self) -> str:
        """What is the same for as long as it lasts."""
        return f"{self.source}/{self.what}"


@dataclass(frozen=True)
class News:
    """What somebody is to be told now."""

    new: tuple[Fault, ...] = ()
    lasting: tuple[Fault, ...] = ()
    ended: tuple[str, ...] = ()
    """Identities of faults that are no more"""
    is_due: bool = False

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that is wrong."""
        return (*self.new, *self.lasting)


def pause_of(watched: Watched, now: float) -> tuple[float, bool]:
    """Given a source, return (until when it was or is not to come, whether that is still so); one that ends too late is none."""
    until = watched.pause_until
    if not until or until > watched.written + LONGEST_PAUSE:
        return 0.0, False
    return until, now < until


def judge(
    watched: Watched, newest: Mapping[str, float], first_seen: Mapping[str, float], reckoned: Reckoned
) -> list[Fault]:
    """Given a source, {item: moment of its newest verified copy}, {item: since when a check knows it} and the time, return what is wrong.

    Ages begin anew at the end of a pause, and not before.
    """
    until, _ = pause_of(watched, reckoned.now)
    faults = []
    for key in watched.items:
        since = newest.get(key) or first_seen.get(key) or reckoned.now
        age = reckoned.now - max(since, until)
        if age > watched.max_age:
            copy = (
                f"its newest verified copy is {hours(reckoned.now - since)} old"
                if newest.get(key)
                else "it has no verified copy"
            )
            faults.append(Fault(watched.source, key, f"{copy} (at most {hours(watched.max_age)})"))
    return faults


def clock_faults(reckoned: Reckoned) -> list[Fault]:
    """Return what is wrong with the clock."""
    if not reckoned.is_fault:
        return []
    said = f"the clock is behind what has passed, for more than {hours(HOLD)}: ages are counted by how long the machine runs; set it, for instance by NTP"
    return [Fault("", CLOCK, said)]


def news_of(told: Mapping[str, Any], faults: Sequence[Fault], now: float) -> News:
    """Given {identity: since when} and `at` of what was told last, all that is wrong now, and the time, return what is to be told.

    That is each change, once, and once a day what lasts.
    """
    known = _known(told)
    new = tuple(fault for fault in faults if fault.identity not in known)
    lasting = tuple(fault for fault in faults if fault.identity in known)
    ended = tuple(sorted(set(known) - {fault.identity for fault in faults}))
    at = told.get("at")
    last = float(at) if isinstance(at, (int, float)) and not isinstance(at, bool) else 0.0
    daily = bool(faults) and not -DAILY < now - last < DAILY - _SLACK
    return News(new, lasting, ended, bool(new or ended or daily))


def after_telling(told: Mapping[str, Any], faults: Sequence[Fault], now: float) -> dict[str, Any]:
    """Given what was told before, all that is wrong now, and the time, return what was told now."""
    known = _known(told)
    return {"at": now, "faults": {fault.identity: known.get(fault.identity, now) for fault in faults}}


def _known(told: Mapping[str, Any]) -> dict[str, float]:
    found = told.get("faults")
    entries = found.items() if isinstance(found, Mapping) else ()
    return {
        str(name): float(since)
        for name, since in entries
        if isinstance(since, (int, float)) and not isinstance(since, bool)
    }


def hours(seconds: float) -> str:
    """Given seconds, return them as people say them."""
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 96 * 3600 else f"{seconds / 86400:.0f} days"
