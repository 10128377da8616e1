"""Collects the events of a run: what failed, what did not finish, and what went well."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...module_utils.system.units import counted
from ...module_utils.tree.failures import identity
from . import run_summary
from .call_results import nodes_of
from .causes import by_cause, following_lines, good_copy
from .model import (
    LONGEST_MESSAGE,
    RUN,
    Failure,
    Place,
    by_delegate,
    describe,
    entries_of,
    failed_items,
    failure_of_entry,
    recorded,
)
from .plain_text import clean, one_line
from .run_log import is_censored

ENDED_EARLY = "ended early"
"""State of a run that ended without a recap"""


@dataclass
class _Play:
    """A play of the run, with the hosts that began it and those that it lost."""

    name: str
    hosts: frozenset[str]
    stops: bool
    """Whether failures of some hosts can end the play for all: max_fail_percentage"""
    begun: set[str] = field(default_factory=set)
    gone_before: frozenset[str] | None = None
    """Hosts that were already out of the play at its first failure"""
    gone: frozenset[str] = frozenset()
    stopped: bool = False


class Collector:
    """Collects the events of a run; `finish` returns what failed, what did not finish, and what went well."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], tuple[bool, list[Failure]]] = {}
        self._recorded: dict[tuple[str, ...], tuple[dict[str, Any], Failure]] = {}
        self._summary = ""
        self._summarized: set[str] = set()
        self._fine: list[str] = []
        self._purged: list[dict[str, Any]] = []
        self._looked: dict[str, tuple[str, ...]] = {}
        self._done: dict[str, tuple[int, str]] = {}
        self._ended: dict[str, dict[str, None]] = {}
        """{host, or `source -> target`: titles of the tasks that ended there, whatever they found}"""
        self._delegates: dict[tuple[str, str], list[str]] = {}
        self._plays: list[_Play] = []
        self._waiting_plays: list[str] = []
        self._without_hosts: list[str] = []
        self._ran = False
        self.stamp = ""

    @property
    def failed(self) -> bool:
        """Whether something has failed so far; a rescue may still recover it."""
        return bool(self._events or self._recorded)

    def playbook_started(self, plays: Iterable[str]) -> None:
        """Record the names of the plays to come."""
        self._waiting_plays += plays

    def play_started(self, name: str, hosts: Iterable[str], batch: Iterable[str], stops: bool) -> None:
        """Record a play, or its next batch: all its hosts, the hosts of this batch, and whether failures of some can stop the others."""
        names = frozenset(hosts)
        last = self._plays[-1] if self._plays else None
        if not (last and (last.name, last.hosts) == (name, names) and not last.begun.issuperset(batch)):
            self._plays.append(_Play(name, names, stops))
            if name in self._waiting_plays:
                self._waiting_plays.remove(name)
        self._plays[-1].begun.update(batch)

    def play_ended(self, gone: Collection[str]) -> None:
        """Record the hosts that are out of the current play at its end."""
        if self._plays:
            self._plays[-1].gone |= frozenset(gone)

    def no_hosts(self, pattern: str) -> None:
        """Record the pattern of a play that matched no host."""
        self._without_hosts.append(pattern)

    def started(self) -> None:
        """Record that a task began on some host."""
        self._ran = True

    def item(self, host: str, place: Place) -> None:
        """Record an item of a loop: no later event tells to which host it was delegated."""
        self._delegates.setdefault((host, place.uuid), []).append(place.delegate if place.delegate != host else "")

    def ok(self, host: str, place: Place, result: Any) -> None:
        """Record the result of a task that succeeded; it may hold failures that a stage noted."""
        count, _ = self._done.get(host, (0, ""))
        self._done[host] = (count + 1, place.name)
        self._delegates.pop((host, place.uuid), None)
        self._note(host, place, result)
        self._end(place, host, host, *_nodes(result, host))
        facts = result.get("ansible_facts") if isinstance(result, Mapping) and not is_censored(result) else None
        if isinstance(facts, Mapping):
            self._learn(host, facts, place)

    def failed_on(
        self,
        host: str,
        place: Place,
        result: Any,
        *,
        ignored: bool = False,
        unreachable: bool = False,
        gone: Collection[str] = (),
    ) -> None:
        """Record a failure or an unreachable host; `gone` are the hosts that are already out of the play."""
        delegates = self._delegates.pop((host, place.uuid), [])
        noted = self._note(host, place, result)
        self._end(place, host, *([host] if noted else []), *_nodes(result, host))
        if ignored or (unreachable and place.ignore_unreachable):
            return
        if self._summary and " ".join(describe(result, place)[0].split()) == self._summary:
            self._summarized.add(host)
            return
        play = self._plays[-1] if self._plays else None
        if play:
            play.stopped |= play.stops or place.run_once or place.fatal
            play.gone_before = frozenset(gone) if play.gone_before is None else play.gone_before
        if noted and not failed_items(result):
            return
        count, name = self._done.get(host, (0, ""))
        before = f"{count} task{'' if count == 1 else 's'}, the last: {name}" if count else ""
        failures = [
            Failure(host, message, kind, delegate, place=place, outputs=outputs, before=before)
            for delegate, kind, message, outputs in by_delegate(result, place, delegates, host, unreachable)
        ]
        self._events.pop((host, place.uuid), None)
        self._events[host, place.uuid] = (unreachable, failures)

    def _end(self, place: Place, host: str, *nodes: str) -> None:
        """Record that a task of a host ended on some nodes."""
        for node in dict.fromkeys(nodes):
            for title in (node, *([f"{host} -> {node}"] if node != host else [])):
                self._ended.setdefault(title, {})[place.title] = None

    def _note(self, host: str, place: Place, result: Any) -> list[dict[str, Any]]:
        """Keep the failures that a stage noted in a result, and return them."""
        found = recorded(result, host)
        for entry in found:
            self._recorded.setdefault(identity(entry), (entry, failure_of_entry(entry, place)))
        return found

    def _learn(self, host: str, facts: Mapping[str, Any], place: Place) -> None:
        """Take the facts that the first and the last play set: the plan's stamp and the report's outcome."""
        plan, outcome = facts.get("__altbackup_plan"), facts.get("__report_outcome")
        if isinstance(plan, Mapping):
            self.stamp = one_line(plan.get("stamp") or "", 40)
        if not isinstance(outcome, Mapping):
            return
        self._ended.setdefault("", {})[place.title] = None
        entries = [{"node": host, **entry} for entry in entries_of(outcome.get("failures"))]
        for entry in entries:
            self._recorded.setdefault(identity(entry), (entry, failure_of_entry(entry, place)))
        self._summary = " ".join(clean(run_summary.report(entries), LONGEST_MESSAGE).split()) if entries else ""
        lines, purged = outcome.get("fine"), outcome.get("purged")
        self._purged = [entry for entry in map(_purge_of, purged if isinstance(purged, (list, tuple)) else ()) if entry]
        self._fine = [one_line(line) for line in lines] if isinstance(lines, (list, tuple)) else []
        looked = outcome.get("looked")
        self._looked = {
            str(title): tuple(map(str, what))
            for title, what in (looked.items() if isinstance(looked, Mapping) else ())
            if isinstance(what, (list, tuple))
        }

    def finish(self, recap: Mapping[str, Mapping[str, int]], *, ended: bool = True) -> dict[str, Any]:
        """Return the fields of the run's Report: failures, unfinished, notes, fine, purged, looked, done, recap, stamp, state.

        `recap` is {host: counts of Ansible's statistics}; `ended` is false for a run that came to no recap.
        """
        failures = [*self._causes(), *self._real(recap)]
        known = self._summarized | {failure.host for failure in failures}
        failures += [
            Failure(host, "failed, but nothing is known of it but what the log says", RUN)
            for host, counts in recap.items()
            if host not in known and (counts.get("failures") or counts.get("unreachable"))
        ]
        nothing = ended and not self._ran and not failures
        if nothing:
            failures = [Failure("no host", _nothing_was_done(self._without_hosts), RUN)]
        notes = []
        if failures and not nothing:
            notes += [f"No host matched {pattern!r}, so that play did nothing." for pattern in self._without_hosts]
            notes += [f"Not started: play {name!r}." for name in self._waiting_plays] if ended else []
        notes += [] if ended else ["The run ended early, without a recap."]
        return {
            "failures": tuple(failures),
            "unfinished": tuple(self._unfinished({failure.host for failure in failures})),
            "notes": tuple(notes),
            "fine": tuple(self._fine),
            "purged": tuple(self._purged),
            "looked": dict(self._looked),
            "done": {title: tuple(tasks) for title, tasks in self._ended.items()},
            "recap": {host: dict(counts) for host, counts in recap.items()},
            "stamp": self.stamp,
            "state": _state(failures, recap, nothing, ended),
        }

    def _causes(self) -> list[Failure]:
        """Return the failures that stages noted and that follow from no other, each with the lines of its consequences."""
        failure_of = {id(entry): failure for entry, failure in self._recorded.values()}
        return [
            replace(
                failure_of[id(entry)],
                follows=tuple(
                    clean(line, LONGEST_MESSAGE // 8) for line in following_lines(following, [good_copy(entry)])
                ),
            )
            for entry, following in by_cause(entry for entry, _ in self._recorded.values())
        ]

    def _real(self, recap: Mapping[str, Mapping[str, int]]) -> list[Failure]:
        """Return the failures of tasks that no rescue recovered. Ansible marks none, but real failures come last on their host."""
        by_host: dict[str, list[tuple[bool, list[Failure]]]] = {}
        for (host, _), event in self._events.items():
            by_host.setdefault(host, []).append(event)
        real: list[Failure] = []
        for host, events in by_host.items():
            counts = recap.get(host, {})
            mended = 0
            if counts.get("rescued"):
                mended = max(sum(not unreachable for unreachable, _ in events) - counts.get("failures", 0), 0)
            for unreachable, failures in events:
                if not unreachable and mended:
                    mended -= 1
                else:
                    real += failures
        return real

    def _unfinished(self, failing: Collection[str]) -> list[str]:
        """Return the hosts without a failure of their own that another host's failure stopped, or that never began."""
        found: dict[str, None] = {}
        for play in self._plays:
            if play.gone_before is None:
                continue
            never = play.hosts - play.begun if play.begun else frozenset()
            stopped = play.gone - play.gone_before if play.stopped else frozenset()
            found.update(dict.fromkeys(sorted((never | stopped) - set(failing))))
        return list(found)


def _nodes(result: Any, host: str) -> list[str]:
    """Return the nodes on which the calls of a task's loop ended."""
    return nodes_of(result, host) if isinstance(result, Mapping) and "results" in result else []


def _purge_of(entry: Any) -> dict[str, Any]:
    """Return a purge of the run's report with typed values, {} if it is malformed."""
    try:
        return {
            **{key: str(entry[key]) for key in ("node", "source", "tree")},
            **{key: int(entry[key]) for key in ("tarballs", "bytes")},
            "items": {str(key): int(count) for key, count in entry["items"].items()},
            "in_trash": int(entry.get("in_trash") or 0),
            "predicted": entry["predicted"] is True,
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _nothing_was_done(patterns: Sequence[str]) -> str:
    if not patterns:
        return "nothing was done: no task ran on any host"
    named = ", ".join(repr(pattern) for pattern in dict.fromkeys(patterns))
    return f"nothing was done: no host of the inventory matched {named}"


def _state(failures: Sequence[Failure], recap: Mapping[str, Mapping[str, int]], nothing: bool, ended: bool) -> str:
    if not ended:
        return ENDED_EARLY
    if nothing:
        return "nothing was done (ansible calls that a success)"
    if not failures:
        return "good"
    failed = sorted({failure.host for failure in failures})
    words = [f"{len(failed)} of {counted(max(len(recap), len(failed)), 'host')} failed"]
    down = [host for host, counts in recap.items() if counts.get("unreachable")]
    return ", ".join(words + ([f"{len(down)} unreachable"] if down else []))
