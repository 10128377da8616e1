"""What a terminal shows of a run by default: a line for each stage and host, at the end a table and the failures."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils.system.units import readable
from ...module_utils.system.visible import abridged, one_line, visible
from . import call_failures, run_failures
from .call_results import calls_of
from .causes import by_cause
from .collector import ENDED_EARLY
from .model import RECORDED, Failure, Place, heading, shared_lines, together
from .night_table import COLUMNS, aligned

_ROOT = Path(__file__).resolve().parents[3]
_OWN = "altbackup.core."
_FOLDERS = ("playbooks", "roles")
_UNSTAGED = ("altbackup", "report", "")
"""Roles that are no stage of a host: the settings, and the report on all hosts"""
_MOST_NOTES = 12
_LOOKS = ("altbackup.core.tarball_find",)


def is_ours(place: Place) -> bool:
    """Return whether a task belongs to a role or playbook of this collection."""
    return place.role.startswith(_OWN) or is_own_file(place.path.rpartition(":")[0])


@functools.lru_cache(maxsize=1024)
def is_own_file(path: str) -> bool:
    """Return whether a file belongs to a playbook or role of this collection."""
    if not path:
        return False
    parts = Path(os.path.realpath(path)).parts
    return parts[: len(_ROOT.parts)] == _ROOT.parts and parts[len(_ROOT.parts)] in _FOLDERS


@dataclass(frozen=True)
class Line:
    """A line to be shown."""

    text: str
    bad: bool = False


@dataclass
class _Stage:
    """What a stage has done on a host so far."""

    host: str
    name: str
    began: float
    calls: int = 0
    acted: bool = False
    """Whether it did more than read"""
    places: dict[str, None] = field(default_factory=dict)
    """The nodes on which it ran calls"""
    found_at: dict[str, dict[str, None]] = field(default_factory=dict)
    """{result key: nodes with a result under it}"""
    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    """{identity: failure}"""

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Its failures, each once."""
        return list(self.found.values())

    def add(self, values: Any) -> None:
        """Add what one of its tasks returned."""
        calls = values.get("results", []) if isinstance(values, Mapping) else None
        if not isinstance(calls, (list, tuple)) or not all(isinstance(call, Mapping) for call in calls):
            return
        for entry in call_failures.failures_of(values, self.name, self.host):
            run_failures.add_failure(self.found, entry)
        for call in calls_of(values, self.host):
            result = call.values
            self.calls += 1
            self.places[call.node] = None
            for key in ("tarballs", "match", "linked", "removed", "proved", "send", "healed"):
                found = result.get(key)
                if isinstance(found, list):
                    self.counts[key] = self.counts.get(key, 0) + len(found)
                    self.found_at.setdefault(key, {}).update({call.node: None} if found else {})
            for entry in result.get("tarballs") or []:
                self._weigh("tarballs", entry.get("size"))
            self._weigh("read", result.get("bytes_read"))
            self._weigh("freed", result.get("bytes_freed"))
            for target, size in (result.get("sent") or {}).items():
                self.sent[target] = self.sent.get(target, 0) + size

    def _weigh(self, key: str, size: Any) -> None:
        if isinstance(size, (int, float)):
            self.sizes[key] = self.sizes.get(key, 0) + int(size)


class QuietView:
    """Turns the events of a run's tasks into the lines to be shown."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: dict[str, _Stage] = {}
        self._known: dict[str, list[dict[str, Any]]] = {}
        """{host: failures so far}, as a stage does not count failures that follow from an earlier one"""
        self._stamp = ""
        self.outcome: Mapping[str, Any] = {}
        """The outcome that the run's report set as a fact, once it did"""

    def started(self, host: str, place: Place) -> list[Line]:
        """Record that a task begins on a host; return the lines on the stage that this ends."""
        name = _stage_of(place)
        if name in _UNSTAGED or ((stage := self._stages.get(host)) and stage.name == name):
            return []
        lines = self._close(host)
        self._stages[host] = _Stage(host, name, self._clock())
        return lines

    def ended(self, host: str, place: Place, values: Any) -> list[Line]:
        """Record what a task returned on a host; return the lines to be shown at once."""
        name = _stage_of(place)
        if name not in _UNSTAGED and place.action.startswith(_OWN):
            lines = self.started(host, place)
            self._stages[host].add(values)
            self._stages[host].acted |= place.action not in _LOOKS
            return lines
        if not isinstance(values, Mapping):
            return []
        facts = values.get("ansible_facts")
        if isinstance(facts, Mapping):
            return self._learn(facts)
        if place.action.rpartition(".")[2] == "debug":
            return _told(name, values.get("msg"))
        return []

    def play_ended(self) -> list[Line]:
        """Return the lines on the stages that were still open when a play ended."""
        return [line for host in list(self._stages) for line in self._close(host)]

    def _learn(self, facts: Mapping[str, Any]) -> list[Line]:
        plan, outcome = facts.get("__altbackup_plan"), facts.get("__report_outcome")
        if isinstance(outcome, Mapping):
            self.outcome = outcome
        if not isinstance(plan, Mapping) or self._stamp:
            return []
        self._stamp = one_line(str(plan.get("stamp") or ""))
        return [Line(f"stamp {self._stamp} ({one_line(str(plan.get('timezone') or 'UTC'))})")] if self._stamp else []

    def _close(self, host: str) -> list[Line]:
        stage = self._stages.pop(host, None)
        if stage is None or not (stage.calls or stage.failures):
            return []
        done = _TEXTS.get(stage.name, _done)(stage)
        parts = [part for part in (done, *self._failed(stage)) if part]
        if not parts:
            return []
        text = one_line(f"{stage.host}: {stage.name}: {'; '.join(parts)}")
        return [Line(f"{text}, {took(self._clock() - stage.began)}", bool(stage.failures))]

    def _failed(self, stage: _Stage) -> list[str]:
        """Return phrases with the number of failures of a stage, and of items missing because of an earlier failure."""
        known = self._known.setdefault(stage.host, [])
        known += stage.failures
        causes = {id(cause) for cause, _ in by_cause(known)}
        told = [entry for entry in stage.failures if id(entry) in causes]
        failed = len({(str(entry["category"]), str(entry["name"]), str(entry["reason"])) for entry in told})
        missing = sum(bool(entry["name"]) and id(entry) not in causes for entry in stage.failures)
        return [f"{failed} failed" if failed else "", f"{missing} missing" if missing else ""]


def _stage_of(place: Place) -> str:
    return place.role.removeprefix(_OWN) if place.role.startswith(_OWN) else ""


def _told(stage: str, message: Any) -> list[Line]:
    """Return a debug task's message if it is meant for a person: listed tarballs, a line each, or a notice."""
    if stage in ("list", "purge", "contents", "nodes", "trust", "schedule") and isinstance(message, (list, tuple)):
        return [Line(visible(str(line))) for line in message]
    return [Line(visible(message), bad=True)] if stage == "altbackup" and isinstance(message, str) and message else []


def took(seconds: float) -> str:
    """Return seconds as text: 3.1 s, 0:12:40."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _others(stage: _Stage, key: str) -> str:
    """Return the nodes at which a stage found something, "" if that is its own host alone."""
    places = list(stage.found_at.get(key, ()))
    return ", ".join(places) if places != [stage.host] else ""


def _ready(stage: _Stage) -> str:
    if stage.failures:
        return ""
    others = [place for place in stage.places if place != stage.host]
    return f"ready{f', and so {_are(others)}' if others else ''}"


def _are(names: Sequence[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def _dumped(stage: _Stage) -> str:
    count, size = stage.counts.get("tarballs", 0), stage.sizes.get("tarballs", 0)
    if stage.failures and not count:
        return ""
    return f"{_number(count, 'tarball')}{f', {readable(size)}' if size else ''}"


def _checked(stage: _Stage) -> str:
    count = stage.counts.get("match", 0)
    if not count:
        return "" if stage.failures else "nothing to read yet"
    places = _others(stage, "match")
    read = stage.sizes.get("read", 0)
    matching = "matches its" if count == 1 else "match their"
    return f"{_number(count, 'tarball')}{f' on {places}' if places else ''} {matching} dna, {readable(read)} read"


def _sent(stage: _Stage) -> str:
    parts = [f"{readable(size)} to {target}" for target, size in sorted(stage.sent.items()) if size]
    linked = stage.counts.get("linked", 0)
    parts += [f"{_number(linked, 'tarball')} unchanged"] if linked else []
    if not parts:
        wanted = stage.counts.get("send", 0)
        return f"{_number(wanted, 'tarball')} to send" if wanted else "nothing to send" if not stage.failures else ""
    return ", ".join(parts)


def _purged(stage: _Stage) -> str:
    """A purge of targets checks their copies first, so its line tells both."""
    checked = _checked(stage) if stage.counts.get("match") else ""
    count = stage.counts.get("removed", 0)
    if not count:
        purged = "" if stage.failures else "nothing to remove"
    else:
        places = _others(stage, "removed")
        freed = readable(stage.sizes.get("freed", 0))
        purged = f"{_number(count, 'tarball')} removed{f' on {places}' if places else ''}, {freed} freed"
    return "; ".join(filter(None, [checked, purged]))


def _healed(stage: _Stage) -> str:
    count, places = stage.counts.get("healed", 0), _others(stage, "healed")
    return f"{_number(count, 'tarball')}{f' on {places}' if places else ''} healed"


def _proved(stage: _Stage) -> str:
    count, places = stage.counts.get("proved", 0), _others(stage, "proved")
    if stage.failures and not count:
        return ""
    return f"{_number(count, 'tarball')}{f' on {places}' if places else ''} proved to restore"


def _done(stage: _Stage) -> str:
    return "done" if not stage.failures else ""


def _restored(stage: _Stage) -> str:
    """Say "done" only on a node that did more than read what others have."""
    return "done" if stage.acted and not stage.failures else ""


_TEXTS: dict[str, Callable[[_Stage], str]] = {
    "preflight": _ready,
    "dump": _dumped,
    "check": _checked,
    "synchronize": _sent,
    "purge": _purged,
    "heal": _healed,
    "drill": _proved,
    "restore": _restored,
    "mark": _done,
    "list": lambda stage: "",
    "contents": lambda stage: "",
    "unlock": lambda stage: "",
}


def closing(
    outcome: Mapping[str, Any], fields: Mapping[str, Any], title: str, *, is_explained: bool = False
) -> list[Line]:
    """Return the last lines of a run: notes, table, unfinished hosts, failures.

    `fields` are those of the collector; `title` is the playbook; `is_explained` is whether it is said elsewhere why the run ended early.
    """
    lines = [*_notes(outcome.get("told")), *_table(outcome.get("table"))]
    own = [
        entry for entry in fields["failures"] if not entry.place.path or is_ours(entry.place) or entry.kind == RECORDED
    ]
    lines += [Line(abridged(note)) for note in fields["notes"]]
    if fields["unfinished"]:
        lines.append(Line(f"did not finish: {', '.join(fields['unfinished'])}", bad=True))
    if own:
        return [*lines, *failure_lines(own)]
    if fields["failures"]:
        return lines
    if fields["state"] == ENDED_EARLY and is_explained:
        return lines
    if fields["state"] == ENDED_EARLY:
        return [*lines, Line(f"{title}: ended early: what Ansible said above is why", bad=True)]
    return [*lines, Line(f"{title}: nothing failed")]


def failure_lines(failures: Sequence[Failure]) -> list[Line]:
    """Return failures as numbered lines for the terminal, equal ones of several hosts as one."""
    groups = together(failures)
    lines = [Line(f"{_number(len(groups), 'failure')}:", bad=True)]
    for number, group in enumerate(groups, 1):
        text = "\n".join([heading(group, group[0].message.strip()), *shared_lines(group)])
        first, *rest = abridged(visible(text)).split("\n")
        lines.append(Line(f"  {number}. {first}", bad=True))
        lines += [Line(f"     {line}".rstrip(), bad=True) for line in rest]
    return lines


def _notes(told: Any) -> list[Line]:
    notes = [abridged(one_line(str(line))) for line in told] if isinstance(told, (list, tuple)) else []
    more = len(notes) - _MOST_NOTES
    return [
        *(Line(note) for note in notes[:_MOST_NOTES]),
        *([Line(f"and {_number(more, 'more note')}, which -v and the log show")] if more > 0 else []),
    ]


def _table(rows: Any) -> list[Line]:
    """Return rows of item, size, seconds and where as aligned lines with a heading."""
    if not isinstance(rows, (list, tuple)) or not rows:
        return []
    cells = [COLUMNS, *([one_line(str(cell)) for cell in row] for row in rows)]
    return [Line(text) for text in aligned(cells)]
