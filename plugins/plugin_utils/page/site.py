"""Reads the content of a page from the records of runs. No node is asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...module_utils.system.errors import AltbackupError
from ...module_utils.tree.stamps import day_of
from ..history.standing import CHAIN, Standing, State, is_chain, is_night, state_of
from ..history.store import History, damaged_reason
from .trend import DAY, LOOKED_BACK, Forecast, Point, forecast

DAYS = 400
"""Days that a page looks back"""
GOOD, SUSPECT, FAILED, NONE = "good", "suspect", "failed", "none"
_DAY_FORMAT = "%Y/%m/%d"
_MOST_FAILURES = 20_000
Key = tuple[str, str, str]
"""(source, category, name)"""


@dataclass(frozen=True)
class Night:
    """The outcome of a night for a copy: GOOD, SUSPECT, FAILED or NONE, and why."""

    state: str
    why: str = ""


@dataclass(frozen=True)
class Copy:
    """An item on one node: its present state and its past."""

    now: Standing
    nights: Mapping[str, Night] = field(default_factory=dict)
    """{day: night} of days on which a run concerned it"""
    sizes: Sequence[tuple[str, int]] = ()
    """(day, bytes) of its verified copies, oldest first"""
    proofs: Sequence[str] = ()
    """When copies were proved, ISO 8601, newest first"""
    sent: Sequence[tuple[str, int]] = ()
    """(day, bytes) sent to a target"""


@dataclass(frozen=True)
class Item:
    """An item on all its nodes."""

    key: Key
    copies: Sequence[Copy]
    live: Sequence[tuple[str, int]] = ()
    """(day, bytes) of the live data, where dumps recorded it"""
    dumps: Sequence[tuple[str, float]] = ()
    """(day, seconds) of its dumps"""
    failures: Sequence[Mapping[str, Any]] = ()
    """Rows of `failures` with `started`, newest first"""

    @property
    def title(self) -> str:
        """The item's name, source/category/name."""
        return "/".join(self.key)

    @property
    def growth(self) -> tuple[int, int, int] | None:
        """(bytes by which it grew, days, bytes now) of the last month; None if fewer than two nights are known."""
        series = self.live if len(self.live) > 1 else self.copies[0].sizes
        if len(series) < 2:
            return None
        last = date_of(series[-1][0])
        first = next(entry for entry in series if (last - date_of(entry[0])).days <= LOOKED_BACK)
        days = (last - date_of(first[0])).days
        return (series[-1][1] - first[1], days, series[-1][1]) if days else None


@dataclass(frozen=True)
class Disk:
    """The disk of a node's own tarballs, or of the copies that it receives."""

    node: str
    role: str
    free: int | None
    series: Sequence[Point] = ()
    """(seconds since 1970, free bytes), one a day, oldest first"""
    held: int | None = None
    """Bytes that its copies take, None if not known"""
    ahead: Forecast = field(default_factory=Forecast)


@dataclass(frozen=True)
class Site:
    """The content of all pages except the items, which `items` reads one by one."""

    state: State
    now: float
    inventories: Sequence[str]
    zone: str
    disks: Sequence[Disk]
    runs: Sequence[Mapping[str, Any]]
    """Rows of `runs` with `sent` (bytes) and `looked` (whether trees are told of), newest first"""
    failures: Sequence[Mapping[str, Any]]
    """Rows of `failures` with `started` and `playbook`, newest first"""

    @property
    def clock(self) -> tzinfo:
        """The time zone of stamps, UTC if this machine does not know it."""
        try:
            return ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return UTC

    @property
    def since(self) -> float | None:
        """Start of the first recorded run, in seconds since 1970; None without runs."""
        return min((run["started"] for run in self.runs), default=None)


@lru_cache(maxsize=4096)
def date_of(day: str) -> date:
    """Return the date of a day `YYYY/MM/DD`."""
    return datetime.strptime(day, _DAY_FORMAT).date()


def read_site(histories: Sequence[History], now: float) -> Site:
    """Return the site from open histories; `now` is in seconds since 1970. Raise AltbackupError if one cannot be read."""
    state = state_of(histories, now)
    after = now - DAYS * DAY
    runs: list[Mapping[str, Any]] = []
    failures: list[Mapping[str, Any]] = []
    series: dict[tuple[str, str], dict[str, Point]] = {}
    zones = []
    for history in histories:
        try:
            runs += map(dict, history.rows(_RUNS, after))
            failures += map(dict, history.rows(_FAILURES, after, _MOST_FAILURES))
            for row in history.rows(_FREE, after):
                points = series.setdefault((row["node"], row["role"]), {})
                points[datetime.fromtimestamp(row["started"], UTC).strftime(_DAY_FORMAT)] = (
                    row["started"],
                    row["free"],
                )
            zones += [row["timezone"] for row in history.rows(_ZONE)]
        except sqlite3.Error as error:
            raise AltbackupError(damaged_reason(history.path, error)) from error
    for rows in (runs, failures):
        rows.sort(key=lambda row: row["started"], reverse=True)
    return Site(
        state,
        now,
        [history.inventory for history in histories],
        zones[0] if zones else "UTC",
        _disks(state, series, _held(histories), now),
        runs,
        failures,
    )


_RUNS = """
    SELECT runs.*, (SELECT sum(trees.sent) FROM trees WHERE trees.run = runs.id) AS sent,
    EXISTS (SELECT 1 FROM trees WHERE trees.run = runs.id) AS looked FROM runs WHERE started > ? AND NOT checking ORDER BY started
"""
_FAILURES = """
    SELECT failures.*, runs.started, runs.playbook FROM failures JOIN runs ON runs.id = failures.run
    WHERE runs.started > ? AND NOT runs.checking ORDER BY runs.started DESC LIMIT ?
"""
_FREE = """
    SELECT trees.node, trees.role, trees.free, runs.started FROM trees JOIN runs ON runs.id = trees.run
    WHERE runs.started > ? AND trees.free IS NOT NULL ORDER BY runs.started, runs.id
"""
_HELD = """
    SELECT trees.node, trees.role, trees.source, trees.held, max(runs.started) FROM trees JOIN runs ON runs.id = trees.run
    WHERE trees.held IS NOT NULL GROUP BY trees.node, trees.role, trees.source
"""
_ZONE = "SELECT timezone FROM runs WHERE NOT rebuilt AND stamp != '' ORDER BY started DESC LIMIT 1"
_TREES = """
    SELECT trees.problem, runs.stamp FROM trees JOIN runs ON runs.id = trees.run
    WHERE trees.node = ? AND trees.source = ? AND trees.role = ? AND trees.problem != '' AND runs.started > ? ORDER BY runs.started
"""
_COPIES = """
    SELECT copies.stamp, copies.size, copies.bytes, copies.seconds, copies.sent, copies.proved, copies.suspect, copies.problem,
    runs.stamp, runs.playbook, runs.rebuilt FROM copies JOIN runs ON runs.id = copies.run
    WHERE copies.node = ? AND copies.source = ? AND copies.role = ? AND copies.category = ? AND copies.name = ? AND runs.started > ?
    ORDER BY runs.started, runs.id
"""


def _held(histories: Sequence[History]) -> dict[tuple[str, str], int]:
    held: dict[tuple[str, str], int] = {}
    for history in histories:
        for row in history.rows(_HELD):
            place = (row["node"], row["role"])
            held[place] = held.get(place, 0) + row["held"]
    return held


def _disks(
    state: State, series: Mapping[tuple[str, str], Mapping[str, Point]], held: Mapping[tuple[str, str], int], now: float
) -> list[Disk]:
    """Return the disks of the present trees, the fullest first; all that a target receives lies on one disk."""
    found: dict[tuple[str, str], Disk] = {}
    for base in state.bases:
        place = (base.node, base.role)
        points = list(series.get(place, {}).values())
        free = int(points[-1][1]) if points else base.free
        found[place] = Disk(*place, free, points, held.get(place), forecast(points, now))
    return sorted(found.values(), key=_fullest)


def _fullest(disk: Disk) -> tuple[float, str, str]:
    return (float("inf") if disk.ahead.days is None else disk.ahead.days, disk.node, disk.role)


def items(histories: Sequence[History], site: Site) -> Iterator[Item]:
    """Yield each item with its past. Raise AltbackupError if a history cannot be read."""
    by_item: dict[Key, list[Standing]] = {}
    for entry in site.state.copies:
        by_item.setdefault((entry.source, entry.category, entry.name), []).append(entry)
    failed = _failures_by_item(site.failures)
    reader = _Reader(histories, site.now - DAYS * DAY)
    for key, standings in by_item.items():
        yield reader.item(key, standings, failed.get(key, ()))


def _failures_by_item(rows: Sequence[Mapping[str, Any]]) -> dict[Key, list[Mapping[str, Any]]]:
    found: dict[Key, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["name"]:
            source = row["tree"].partition(" -> ")[0] or row["node"]
            found.setdefault((source, row["category"], row["name"]), []).append(row)
    return found


class _Reader:
    """Reads items from histories, one after the other."""

    def __init__(self, histories: Sequence[History], after: float) -> None:
        self._histories, self._after = histories, after
        self._problems: dict[tuple[str, str, str], dict[str, str]] = {}

    def item(self, key: Key, standings: Sequence[Standing], failures: Sequence[Mapping[str, Any]]) -> Item:
        """Return an item with its past."""
        copies, live, dumps = [], {}, {}
        for standing in standings:
            rows = self._rows(_COPIES, standing, standing.category, standing.name)
            copies.append(_copy(standing, rows, self._tree_problems(standing)))
            if standing.role == "source":
                live = {day_of(row[8]): row[2] for row in rows if row[2] is not None}
                dumps = {day_of(row[8]): row[3] for row in rows if row[3] is not None}
        return Item(key, copies, sorted(live.items()), sorted(dumps.items()), failures)

    def _rows(self, query: str, standing: Standing, *more: str) -> list[Any]:
        place = (standing.node, standing.source, standing.role, *more, self._after)
        found: list[Any] = []
        for history in self._histories:
            try:
                cursor = history.database.cursor()
                cursor.row_factory = None  # plain tuples, as there may be half a million rows
                found += cursor.execute(query, place).fetchall()
            except sqlite3.Error as error:
                raise AltbackupError(damaged_reason(history.path, error)) from error
        return found

    def _tree_problems(self, standing: Standing) -> Mapping[str, str]:
        """Return {day: why the copy's tree could not be used}."""
        place = (standing.node, standing.source, standing.role)
        if place not in self._problems:
            self._problems[place] = {day_of(stamp): problem for problem, stamp in self._rows(_TREES, standing)}
        return self._problems[place]


def _copy(standing: Standing, rows: Sequence[Any], problems: Mapping[str, str]) -> Copy:
    """Return a copy from rows of _COPIES; `problems` are those of its tree, by day."""
    sizes: dict[str, int] = {}
    good: set[str] = set()
    told: dict[str, Night] = {}
    sent: dict[str, int] = {}
    proofs: set[str] = set()
    for stamp, size, _, _, came, proved, suspect, problem, of_run, playbook, rebuilt in rows:
        if stamp:
            good.add(day_of(stamp))
            if size is not None:
                sizes[day_of(stamp)] = size
        if proved:
            proofs.add(proved)
        if rebuilt or not is_night(playbook) or not of_run:
            continue
        day = day_of(of_run)
        if came:
            sent[day] = sent.get(day, 0) + came
        why = suspect or problem or problems.get(day, "")
        told[day] = Night(SUSPECT if suspect else FAILED if why else NONE, why or "no copy of that night")
    nights = {**told, **{day: Night(GOOD) for day in good}}
    return Copy(standing, nights, sorted(sizes.items()), sorted(proofs, reverse=True), sorted(sent.items()))


@lru_cache(maxsize=16)
def days_between(first: str, last: str) -> tuple[str, ...]:
    """Return all days from the first to the last, both included."""
    start, count = date_of(first), (date_of(last) - date_of(first)).days + 1
    return tuple((start + timedelta(days=number)).strftime(_DAY_FORMAT) for number in range(count))


def chains(site: Site) -> list[Mapping[str, Any]]:
    """Return the runs of the whole chain, newest first: of backup.yml, and of a user's own playbook if it told of trees."""
    able = [run for run in site.runs if not run["rebuilt"] and is_chain(run["playbook"])]
    return [run for run in able if run["playbook"] == CHAIN or run["looked"]]
