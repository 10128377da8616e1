"""Stamps and days: the dates in the paths of tarballs."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from ..system.errors import InvalidInput

STAMP_FORMAT = "%Y/%m/%d/%H%M%S"
DAY_FORMAT = "%Y/%m/%d"
_STAMP = re.compile(r"\d{4}/\d{2}/\d{2}/\d{6}", re.ASCII)
_DAY = re.compile(r"\d{4}/\d{2}/\d{2}", re.ASCII)
_ZONE_FOLDERS = ("/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/local/share/zoneinfo")
_DAYS_BACK = re.compile(r"-([1-9]\d{0,4})", re.ASCII)
DAY = 86400
"""Seconds of a day, by which a node's clock may be behind that of a run"""
_LATE = timedelta(days=1)
"""Age, relative to its run, from which on an arriving tarball is late"""
_STEP, _STEPS = 900, 16
"""Seconds of a step, and number of steps, within which a clock that was set back shows the same times again"""


@dataclass(frozen=True)
class Moment:
    """The time of a run: its own stamp, and the latest stamp that the controller's clock had shown when the run began.

    It alone decides which stamps count; nodes are told both, as their own clocks may be wrong.
    """

    stamp: str
    clock: str
    allowed: str = ""
    """The latest stamp that may also be right, if `clock` is that of a node, which may be behind"""

    @property
    def latest(self) -> str:
        """The latest possible stamp of a tarball."""
        return max(self.stamp, self.clock, self.allowed)

    def counts(self, stamp: str) -> bool:
        """Return whether the stamp of a tarball counts: it is of this run or an earlier one."""
        return stamp <= self.stamp

    def is_ahead(self, stamp: str) -> bool:
        """Return whether the stamp of a tarball lies in the future, which is a failure."""
        return stamp > self.latest


MOMENT: dict[str, Any] = {
    "stamp": {"type": "str", "default": ""},
    "clock": {"type": "str", "default": ""},
    "timezone": {"type": "str", "default": "UTC"},
}
"""Argument spec of a module that judges stamps"""


def moment_of(options: Mapping[str, Any], now: float | None = None) -> Moment:
    """Return the Moment of a module's `stamp`, `clock` and `timezone`. Raise InvalidInput.

    Empty values are taken from this node's clock, as no other is known. Since it may be behind, stamps up to a day ahead of it are
    accepted.
    """
    stamp, clock, allowed = options["stamp"], options["clock"], ""
    if not (stamp and clock):
        now, zone = time.time() if now is None else now, options["timezone"]
        here = stamp_at(now, zone)
        allowed = "" if clock else stamp_at(now + DAY, zone)
        stamp, clock = stamp or here, clock or here
    moment = Moment(stamp, clock, allowed)
    parse_stamp(moment.stamp)
    parse_stamp(moment.clock)
    return moment


def is_late(stamp: str, arrived: str) -> bool:
    """Return whether a tarball came late: a day or more after its stamp. `arrived` is the stamp of the run in which it came."""
    return parse_stamp(arrived) - parse_stamp(stamp) >= _LATE


def parse_stamp(text: str) -> datetime:
    """Return date and time of `YYYY/MM/DD/HHMMSS`, without zone. Raise InvalidInput."""
    if _STAMP.fullmatch(text):
        with contextlib.suppress(ValueError):
            return datetime.strptime(text, STAMP_FORMAT)
    raise InvalidInput(f"stamp {text!r} is not a date and time of the form YYYY/MM/DD/HHMMSS, like 2013/05/10/104701")


def readable_stamp(stamp: str) -> str:
    """Return a stamp as a person reads it: 2013/05/10 10:47:01."""
    day, _, clock = stamp.rpartition("/")
    return f"{day} {clock[:2]}:{clock[2:4]}:{clock[4:]}"


def is_stamp(text: str) -> bool:
    """Return whether a text is a stamp."""
    try:
        parse_stamp(text)
    except InvalidInput:
        return False
    return True


def is_day(text: str) -> bool:
    """Return whether a text is a day, `YYYY/MM/DD`."""
    if _DAY.fullmatch(text):
        with contextlib.suppress(ValueError):
            return bool(_parse_day(text))
    return False


def day_of(stamp: str) -> str:
    """Return the day of a stamp, `YYYY/MM/DD`."""
    return stamp[:10]


def interpret_day(text: str, today: str) -> str:
    """Return a user's day (empty, `-1`, `-2` ... or `YYYY/MM/DD`) as `YYYY/MM/DD`. Raise InvalidInput."""
    text = text.strip()
    if not text:
        return today
    back = _DAYS_BACK.fullmatch(text)
    with contextlib.suppress(ValueError, OverflowError):
        if back:
            return _show_day(_parse_day(today) - timedelta(days=int(back.group(1))))
        if _DAY.fullmatch(text):
            return _show_day(_parse_day(text))
    raise InvalidInput(
        f"day {text!r} is neither empty (today), nor a number of days back like -1, nor a date like 2013/05/10"
    )


def _parse_day(text: str) -> date:
    return datetime.strptime(text, DAY_FORMAT).date()


def _show_day(day: date) -> str:
    return day.isoformat().replace("-", "/")  # strftime writes the year 999 with three digits


def stamp_at(epoch: float, timezone: str) -> str:
    """Return the stamp of seconds since 1970 in a time zone. Raise InvalidInput for an unknown zone."""
    with _zone(timezone):
        return time.strftime(STAMP_FORMAT, time.localtime(epoch))


def latest_stamp(epoch: float, timezone: str) -> str:
    """Return the latest stamp that clocks in a time zone had shown by then; `epoch` is in seconds since 1970.

    That is the stamp of then, except in the hour after clocks are set back. Raise InvalidInput for an unknown zone.
    """
    stamps = [stamp_at(epoch - number * _STEP, timezone) for number in range(_STEPS + 1)]
    latest = stamps[0]
    for number in range(1, len(stamps)):
        if stamps[number] > stamps[number - 1]:
            before, after = epoch - number * _STEP, epoch - (number - 1) * _STEP
            while after - before > 1:
                middle = (before + after) / 2
                if stamp_at(middle, timezone) >= stamps[number]:
                    before = middle
                else:
                    after = middle
            latest = max(latest, stamp_at(before, timezone))
    return latest


def earliest_moment(stamp: str, timezone: str) -> float:
    """Return the first moment (seconds since 1970) that a stamp in a time zone can mean.

    In the hour in which clocks are set back each stamp comes twice. Raise InvalidInput.
    """
    parts = parse_stamp(stamp).timetuple()[:8]
    with _zone(timezone):
        moments = [time.mktime((*parts, summer)) for summer in (1, 0, -1)]
        meant = [moment for moment in moments if time.strftime(STAMP_FORMAT, time.localtime(moment)) == stamp]
    return min(meant or moments)


def today_in(timezone: str, epoch: float | None = None) -> str:
    """Return the current day in a time zone. Raise InvalidInput for an unknown zone."""
    return day_of(stamp_at(time.time() if epoch is None else epoch, timezone))


@contextlib.contextmanager
def _zone(name: str) -> Iterator[None]:
    """Set the zone of the C library: managed nodes may have a Python without zoneinfo."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC" if name == "UTC" else f":{_zone_file(name)}"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


def _zone_file(name: str) -> str:
    """Return the file of a time zone: the C library would take an unknown name for UTC. Raise InvalidInput."""
    for folder in _ZONE_FOLDERS if name and not name.startswith("/") and ".." not in name.split("/") else ():
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError, ValueError), open(path, "rb") as stream:
            if stream.read(4) == b"TZif":
                return path
    raise InvalidInput(
        f"time zone {name!r} is not known on this node: use a name like UTC or Asia/Taipei (package tzdata)"
    )


def ahead_reason(path: str, more: int, moment: Moment) -> str:
    """Return the message on an item's tarballs with stamps of the future; `path` is the first, `more` the number of others."""
    others = f" ({more} more of this item are, too)" if more else ""
    return (
        f"{path} is stamped later than this run, {moment.stamp}, and than the controller's clock, {moment.clock}{others}: no run can have "
        "made it, so it counts nowhere. Find out who put it there. If a clock was wrong and it is good, rename its folder to the time at "
        "which it was made; else move it out of the base"
    )
