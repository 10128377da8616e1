"""Faults of a target's sources, and which of them are news. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tree.watching import LONGEST_PAUSE, Watched
from .clock import HOLD, Reckoned

DAILY = 86400.0
_SLACK = 600.0
"""Seconds by which a check may be early, so that daily news does not move later each day"""
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
    message: str

    @property
    def identity(self) -> str:
        """The key that stays the same while the fault lasts."""
        return f"{self.source}/{self.what}"


@dataclass(frozen=True)
class News:
    """What to tell now."""

    new: tuple[Fault, ...] = ()
    lasting: tuple[Fault, ...] = ()
    ended: tuple[str, ...] = ()
    """Identities of faults that have ended"""
    is_due: bool = False

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, new and lasting."""
        return (*self.new, *self.lasting)


def pause_of(watched: Watched, now: float) -> tuple[float, bool]:
    """Return (end of a source's pause, whether it lasts); an end that is too far away does not count."""
    until = watched.pause_until
    if not until or until > watched.written + LONGEST_PAUSE:
        return 0.0, False
    return until, now < until


def judge(
    watched: Watched, newest: Mapping[str, float], first_seen: Mapping[str, float], reckoned: Reckoned
) -> list[Fault]:
    """Return a source's faults; `newest` is {item: moment of its newest verified copy}, `first_seen` {item: when a check first knew it}.

    Ages start at the end of a pause.
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
    """Return the faults of the clock."""
    if not reckoned.is_fault:
        return []
    message = f"the clock is behind what has passed, for more than {hours(HOLD)}: ages are counted by how long the machine runs; set it, for instance by NTP"
    return [Fault("", CLOCK, message)]


def news_of(told: Mapping[str, Any], faults: Sequence[Fault], now: float) -> News:
    """Return the news: each change once, and lasting faults once a day.

    `told` is what was told last, {identity: since when} and `at`; `now` is in seconds since 1970.
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
    """Return what has been told now, for the next check; `told` is what was told before."""
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
    """Return seconds as minutes, hours or days."""
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 96 * 3600 else f"{seconds / 86400:.0f} days"
