"""How copies stand, from the records of runs, as `altbackup status` shows it. No node is asked."""

from __future__ import annotations

import calendar
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import AltbackupError, InvalidInput
from ...module_utils.system.visible import one_line
from ...module_utils.tree.stamps import day_of, earliest_moment
from ..planning.quantities import age
from .store import History, damaged_reason

NIGHTS = 7
"""Nights in a trend"""
MAX_AGE = 36 * 3600.0
"""Seconds after which a copy is too old, unless a run says otherwise"""
_LOOKED_BACK = 40
"""Number of a tree's last runs that are searched for its last nights"""
_PROOF = "%Y-%m-%dT%H:%M:%SZ"
CHAIN = "backup.yml"
_DRILL = "drill.yml"
_LOOKS = ("list.yml", "mark.yml", "rekey.yml", "restore.yml", "undo.yml")
"""Playbooks whose runs neither clear a copy's problem nor add one"""
_QUESTIONS = ("contents.yml", "doctor.yml", "survey.yml")
_NO_NIGHTS = (*_LOOKS, *_QUESTIONS, _DRILL, "check.yml", "purge.yml", "setup.yml", "teardown.yml")
"""Playbooks that make no copies; any other may be a user's own that includes those of this collection"""
_PARTS = (*_NO_NIGHTS, "dump.yml", "synchronize.yml")
_STORES = "stores.yml"
_TOLD = (
    "playbook",
    "stamp",
    "started",
    "ended",
    "state",
    "exit_code",
    "failures",
    "message",
    "user",
    "controller",
    "inventory",
    "command",
    "folder",
)


@dataclass(frozen=True)
class Standing:
    """How the copies of an item in one tree stand."""

    source: str
    node: str
    role: str
    category: str
    name: str
    stamp: str = ""
    """Of its newest verified copy that is complete and not suspect, "" without one"""
    age: float | None = None
    """Seconds since that stamp"""
    proof_age: float | None = None
    """Seconds since a copy of it was last proved to restore there, None if none is known"""
    size: int | None = None
    """Bytes of the newest copy"""
    change: int | None = None
    """Bytes by which it is larger than that of the night before"""
    nights: tuple[int | None, ...] = ()
    """Bytes of the last nights, oldest first; None for a night without a copy"""
    holds: tuple[str, ...] = ()
    """Stamps of held tarballs"""
    max_age: float = MAX_AGE
    suspect: str = ""
    problem: str = ""
    """Its failure in the last run that concerned it"""
    since_pause: float | None = None
    """Seconds since the end of a pause of its source or node, negative during the pause; None without one"""

    @property
    def item(self) -> str:
        """The item's name, `source/category/name`."""
        return f"{self.source}/{self.category}/{self.name}"

    @property
    def is_old(self) -> bool:
        """Whether its newest copy is too old, or missing; not during a pause, nor until `max_age` after its end."""
        if self.since_pause is not None and self.since_pause <= self.max_age:
            return False
        return self.age is None or self.age > self.max_age

    @property
    def faults(self) -> list[str]:
        """What is wrong, each in one word."""
        checks = [
            ("none" if self.age is None else "old", self.is_old),
            ("suspect", bool(self.suspect)),
            ("failed", bool(self.problem) and not self.suspect),
        ]
        return [word for word, is_so in checks if is_so]


@dataclass(frozen=True)
class Base:
    """How the base of a tree stands."""

    source: str
    node: str
    role: str
    base: str
    free: int | None
    sent: int | None = None
    """Bytes that the last run with a recorded transfer sent there"""
    problem: str = ""

    @property
    def title(self) -> str:
        """Its name for users: the source, or `source -> target`."""
        return self.source if self.role == "source" else f"{self.source} -> {self.node}"


@dataclass(frozen=True)
class State:
    """All that histories tell about the present."""

    copies: tuple[Standing, ...] = ()
    bases: tuple[Base, ...] = ()
    runs: tuple[Mapping[str, Any], ...] = ()
    """The last run of the whole chain in each history"""
    faults: tuple[str, ...] = field(default=())
    pauses: Mapping[str, float] = field(default_factory=dict)
    """{node: end of its pause, in seconds since 1970} of pauses that are not over"""

    @property
    def bad(self) -> list[Standing]:
        """The copies with faults."""
        return [entry for entry in self.copies if entry.faults]

    @property
    def is_well(self) -> bool:
        """Whether there are copies, and nothing is wrong."""
        return bool(self.copies) and not (self.bad or self.faults)


def is_night(playbook: str) -> bool:
    """Return whether a playbook may make copies."""
    return playbook not in _NO_NIGHTS


def is_chain(playbook: str) -> bool:
    """Return whether a playbook may be the whole chain."""
    return playbook not in (*_PARTS, _STORES)


def state_of(histories: Iterable[History], now: float) -> State:
    """Return the state from open histories; `now` is in seconds since 1970. Raise AltbackupError if one cannot be read."""
    copies: list[Standing] = []
    bases: list[Base] = []
    chains: list[Mapping[str, Any]] = []
    faults: list[str] = []
    pauses: dict[str, float] = {}
    for history in histories:
        try:
            pauses.update(history.pauses)
            trees = _trees(history)
            moments = _Moments()
            for tree in trees:
                copies += _copies(history, tree, now, moments)
            bases += [
                Base(*(tree[key] for key in ("source", "node", "role", "base", "free", "sent", "problem")))
                for tree in trees
            ]
            chain = _last_chain(history)
        except sqlite3.Error as error:
            raise AltbackupError(damaged_reason(history.path, error)) from error
        if chain is not None:
            chains.append(chain)
    faults += [f"{base.title}: {base.problem}" for base in bases if base.problem]
    for chain in chains:
        if chain["state"] != "good":
            faults.append(f"the last {chain['playbook']} {said_of(chain)}")
    copies.sort(key=lambda entry: (entry.source, entry.category, entry.name, entry.role != "source", entry.node))
    going = {node: until for node, until in sorted(pauses.items()) if until > now}
    return State(tuple(copies), tuple(bases), tuple(chains), tuple(faults), going)


def run_told(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `runs` as JSON shows it: with the run's name, and times in ISO 8601."""
    told: dict[str, Any] = {name: run.get(name) for name in _TOLD}
    for name in ("started", "ended"):
        if told[name] is not None:
            told[name] = datetime.fromtimestamp(told[name], UTC).isoformat(timespec="seconds")
    return {"run": name_of(run), **told, "rebuilt": bool(run.get("rebuilt")), "check": bool(run.get("checking"))}


def name_of(run: Mapping[str, Any]) -> str:
    """Return a run's name for users: that of its folder, or its stamp."""
    return Path(str(run.get("folder") or "")).name or str(run.get("stamp") or "")


def said_of(run: Mapping[str, Any]) -> str:
    """Return how a run ended, as a part of a sentence."""
    told = f": {one_line(run['message'])}" if run["message"] else ""
    return f"ended with: {run['state']}{told}"


def _last_chain(history: History) -> Mapping[str, Any] | None:
    found = history.rows(
        f"""
        SELECT * FROM runs WHERE NOT checking AND NOT rebuilt AND playbook NOT IN ({_marks(_PARTS)})
        AND (playbook = ? OR EXISTS (SELECT 1 FROM trees WHERE run = runs.id)) ORDER BY started DESC, id DESC LIMIT 1
        """,  # noqa: S608 (marks alone)
        *_PARTS,
        CHAIN,
    )
    return dict(found[0]) if found else None


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _trees(history: History) -> list[dict[str, Any]]:
    """Return the trees that are in the inventory, from the last run that examined all their items, updated by later runs."""
    found = history.rows(
        """
        SELECT trees.*, max(runs.started) AS looked, runs.timezone AS timezone FROM trees JOIN runs ON runs.id = trees.run
        WHERE trees.whole GROUP BY node, source, role
        """
    )
    there = history.trees
    current = [
        tree for tree in map(dict, found) if there is None or (tree["node"], tree["source"], tree["role"]) in there
    ]
    return [{**tree, **_later(history, tree)} for tree in current]


def _later(history: History, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree's last known free bytes and sent bytes, and its problem in the last run that concerned it."""
    place = (tree["node"], tree["source"], tree["role"])
    told = "FROM trees JOIN runs ON runs.id = trees.run WHERE node = ? AND source = ? AND role = ?"
    newest = "ORDER BY started DESC, runs.id DESC LIMIT 1"
    found = {}
    for column in ("free", "sent"):
        rows = history.rows(f"SELECT {column} {told} AND {column} IS NOT NULL {newest}", *place)
        found[column] = rows[0][0] if rows else None
    last = history.rows(f"SELECT problem {told} AND NOT rebuilt {newest}", *place)
    return {**found, "problem": last[0][0] if last else ""}


class _Moments:
    """The times of stamps, each computed once, because that sets the time zone of the process."""

    def __init__(self, moment: Callable[[str, str], float] = earliest_moment) -> None:
        self._moment = moment
        self._known: dict[tuple[str, str], float | None] = {}

    def of(self, stamp: str, timezone: str) -> float | None:
        """Return a stamp's time in seconds since 1970, None for "" or an invalid one."""
        key = (stamp, timezone)
        if key not in self._known:
            try:
                self._known[key] = self._moment(stamp, timezone) if stamp else None
            except InvalidInput:
                self._known[key] = None
        return self._known[key]


def _copies(history: History, tree: Mapping[str, Any], now: float, moments: _Moments) -> list[Standing]:
    """Return how each item of a tree stands."""
    place = (tree["node"], tree["source"], tree["role"])
    items = history.rows(
        "SELECT category, name FROM copies WHERE run = ? AND node = ? AND source = ? AND role = ?", tree["run"], *place
    )
    rows: dict[tuple[str, str], list[sqlite3.Row]] = {}
    days: dict[str, None] = {}
    recent = history.rows(
        """
        SELECT copies.*, runs.stamp AS of_run, runs.playbook, runs.rebuilt FROM copies JOIN runs ON runs.id = copies.run
        WHERE node = ?1 AND source = ?2 AND role = ?3 AND runs.id IN (
            SELECT runs.id FROM trees JOIN runs ON runs.id = trees.run
            WHERE node = ?1 AND source = ?2 AND role = ?3 ORDER BY started DESC, runs.id DESC LIMIT ?4
        ) ORDER BY runs.started, runs.id
        """,
        *place,
        _LOOKED_BACK,
    )
    for row in recent:
        rows.setdefault((row["category"], row["name"]), []).append(row)
        if row["playbook"] not in _NO_NIGHTS:
            days[day_of(row["of_run"])] = None
    last_days = sorted(days)[-NIGHTS:]
    proofs = {
        (row["category"], row["name"]): row["proved"]
        for row in history.rows(
            "SELECT category, name, max(proved) AS proved FROM copies "
            "WHERE node = ? AND source = ? AND role = ? AND proved IS NOT NULL GROUP BY category, name",
            *place,
        )
    }
    return [
        _standing(history, tree, key, rows.get(key, []), last_days, proofs.get(key), now, moments)
        for key in ((row["category"], row["name"]) for row in items)
    ]


def _standing(
    history: History,
    tree: Mapping[str, Any],
    key: tuple[str, str],
    rows: Sequence[sqlite3.Row],
    days: Sequence[str],
    proved: str | None,
    now: float,
    moments: _Moments,
) -> Standing:
    place = (tree["node"], tree["source"], tree["role"])
    known = [row for row in rows if row["stamp"] is not None]
    if not known:
        known = history.rows(
            """
            SELECT copies.* FROM copies JOIN runs ON runs.id = copies.run WHERE node = ? AND source = ? AND role = ? AND category = ?
            AND name = ? AND copies.stamp IS NOT NULL ORDER BY started DESC, runs.id DESC LIMIT 1
            """,
            *place,
            *key,
        )
    stamp = known[-1]["stamp"] if known else ""
    sizes = {day_of(row["stamp"]): row["size"] for row in known if row["stamp"] and row["size"] is not None}
    size = sizes.get(day_of(stamp)) if stamp else None
    before = [sizes[day] for day in sorted(sizes) if day < day_of(stamp)] if stamp else []
    at = moments.of(stamp, tree["timezone"])
    holds = next((row["holds"] for row in reversed(rows) if row["holds"] is not None), "")
    return Standing(
        source=tree["source"],
        node=tree["node"],
        role=tree["role"],
        category=key[0],
        name=key[1],
        stamp=stamp,
        age=None if at is None else max(now - at, 0.0),
        proof_age=_proof_age(proved, now),
        size=size,
        change=size - before[-1] if size is not None and before else None,
        nights=tuple(sizes.get(day) for day in days),
        holds=tuple(holds.split()),
        max_age=tree["max_age"] or MAX_AGE,
        suspect=next((row["suspect"] for row in reversed(rows) if row["suspect"] is not None), ""),
        problem=_problem(rows),
        since_pause=_since_pause(history, tree, now),
    )


def _since_pause(history: History, tree: Mapping[str, Any], now: float) -> float | None:
    ends = [until for node, until in history.pauses.items() if node in (tree["node"], tree["source"])]
    return now - max(ends) if ends else None


def _problem(rows: Sequence[sqlite3.Row]) -> str:
    """Return a copy's problem that no later run cleared; `rows` are oldest first. Only a drill clears what a drill found."""
    told = [row for row in rows if not row["rebuilt"] and row["playbook"] not in _LOOKS]
    drills = [row["problem"] for row in told if row["playbook"] == _DRILL]
    others = [row["problem"] for row in told if row["playbook"] != _DRILL]
    return "".join(others[-1:]) or "".join(drills[-1:])


def _proof_age(proved: str | None, now: float) -> float | None:
    try:
        return max(now - calendar.timegm(time.strptime(proved, _PROOF)), 0.0) if proved else None
    except ValueError:
        return None


def spark(nights: Sequence[int | None]) -> str:
    """Return bytes of nights as a line of bars: the highest is the largest, a dot is a night of which there is no copy."""
    bars = "▁▂▃▄▅▆▇█"
    numbers = [number for number in nights if number is not None]
    low, high = min(numbers, default=0), max(numbers, default=0)
    if high == low:
        return "".join("·" if number is None else bars[3] for number in nights)
    return "".join(
        "·" if number is None else bars[round((number - low) * (len(bars) - 1) / (high - low))] for number in nights
    )


def last_line(state: State, place: str = "above") -> str:
    """Return a sentence on whether all is well, or what is not; `place` is where the other faults are shown."""
    copies = state.copies
    items, nodes = len({entry.item for entry in copies}), len({entry.node for entry in copies})
    counted = (
        f"{len(copies)} copies of {items} item{'' if items == 1 else 's'} on {nodes} node{'' if nodes == 1 else 's'}"
    )
    if state.is_well:
        return f"all is well: {counted}, none older than {age(max(entry.age or 0.0 for entry in copies))}"
    words = ("none", "old", "suspect", "failed")
    numbers = {word: sum(word in entry.faults for entry in copies) for word in words}
    told = [f"{number} {_SAID[word]}" for word, number in numbers.items() if number]
    more = [f"{len(state.faults)} more {place}"] if state.faults else []
    return f"NOT well: {counted}: {', '.join([*told, *more]) or 'there is none'}"


_SAID = {"none": "without a good copy", "old": "too old", "suspect": "suspect", "failed": "failed"}
