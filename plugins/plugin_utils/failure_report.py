"""What a run's events tell of its failures: collected from plain values, none of which is taken for granted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from . import outcomes
from .masking import redact
from .plain_text import clean, last_lines, one_line
from .run_log import is_censored, item_label

FAILED, UNREACHABLE, RECORDED, RUN = "failed", "unreachable", "recorded", "run"
"""Kinds of failures: a task's; a node that was not reached; one that a stage noted and went on; one of the run itself."""

_LONGEST_MESSAGE = 16 * 1024
_OUTPUT = 6 * 1024
_MOST_ITEMS = 50
_SAYS_NOTHING = re.compile(
    r"non-zero return code|MODULE FAILURE|One or more items failed|All items completed|Assertion failed"
    r"|Failed as requested from task|failed_when_result|True|False|None|",
)
_OUTPUTS = ("stderr", "stdout", "module_stderr", "module_stdout")


@dataclass(frozen=True)
class Place:
    """The task of an event, as plain values."""

    uuid: str = ""
    name: str = ""
    role: str = ""
    action: str = ""
    path: str = ""
    """File and line"""
    play: str = ""
    handler: bool = False
    no_log: bool = False
    run_once: bool = False
    fatal: bool = False
    """Whether its failure on one host ends the play for all"""
    ignore_unreachable: bool = False
    delegate: str = ""
    user: str = ""

    @property
    def title(self) -> str:
        """Role and name, as the terminal shows them."""
        return f"{self.role} : {self.name}" if self.role else self.name


@dataclass(frozen=True)
class Failure:
    """One failure: where, what, and all that is known of it."""

    host: str
    message: str
    kind: str = FAILED
    delegate: str = ""
    where: str = ""
    """Its tree, if that says more than host and delegate: `source -> target`"""
    place: Place = Place()
    outputs: tuple[tuple[str, str], ...] = ()
    """(title, text) of what was said, such as stderr"""
    before: str = ""
    """What was fine before it"""
    since: str = ""
    """Since when it has been failing, if it did so before"""
    identity: str = ""
    """What makes it the same failure in another run; by default its message without numbers"""

    @property
    def headline(self) -> str:
        """The first line of its message."""
        return one_line(self.message.strip().split("\n", 1)[0])

    @property
    def title(self) -> str:
        """The host, with the delegate."""
        if self.where:
            return self.where
        return f"{self.host} -> {self.delegate}" if self.delegate else self.host


@dataclass(frozen=True)
class Report:
    """All that a mail tells of one run."""

    playbook: str
    failures: tuple[Failure, ...] = ()
    unfinished: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fine: tuple[str, ...] = ()
    """What went well, a line each"""
    recap: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """{host: {ok, changed, unreachable, failures, skipped, rescued, ignored: number}}"""
    state: str = ""
    """How the run ended"""
    command: str = ""
    folder: str = ""
    node: str = ""
    user: str = ""
    inventory: tuple[str, ...] = ()
    started: datetime | None = None
    ended: datetime | None = None
    check: bool = False
    stamp: str = ""
    rerun: str = ""
    log: tuple[tuple[str, str], ...] = ()
    """(host, lines); the host is empty for what concerns all"""
    mail_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{host: further recipients, who get the mail on that host only}"""
    secrets: tuple[str, ...] = ()
    key: str = ""
    """What makes two runs the same job on different nights; without one nothing is remembered"""
    status: str = "FAILED"
    """FAILED, RECOVERED or TEST"""


def describe(
    result: Any, place: Place = Place(), delegates: Sequence[str] = ()
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Given a failed result, return its message, which says what is wrong in its first line, and its outputs."""
    if is_censored(result) or place.no_log:
        return f"its output is hidden by no_log{_attempts(result)}", ()
    if not isinstance(result, Mapping):
        return clean(result, _LONGEST_MESSAGE) or "it said nothing", ()
    items = failed_items(result)
    if items:
        return _describe_items(result, items, delegates)
    return _message(result) + _attempts(result), _outputs(result)


def _message(result: Mapping[str, Any]) -> str:
    """Return what a result says; where that says nothing, what its output says."""
    texts = [clean(result[key], _LONGEST_MESSAGE).strip() for key in ("msg", "reason") if result.get(key) is not None]
    said = next(filter(None, texts), "")
    said = said.removeprefix("Task failed: ")
    first, _, rest = said.partition("\n")
    if not _SAYS_NOTHING.fullmatch(first.strip()):
        return said
    if result.get("assertion") not in (None, "") and first in ("", "Assertion failed"):
        return f"Assertion failed: {one_line(result['assertion'])}"
    if result.get("timedout"):
        return "Timed out"
    parts = ["" if first in ("True", "False", "None") else first]
    if result.get("rc") not in (None, 0, "0"):
        parts[0] = f"{parts[0] or 'failed'} (rc {one_line(result['rc'], 20)})"
    elif result.get("failed_when_result"):
        parts[0] = parts[0] or "its failed_when is true"
    traceback = clean(result.get("exception")) if "Traceback" in clean(result.get("exception"), 4096) else ""
    outputs = [traceback, *(result.get(key) for key in ("module_stderr", "stderr", "module_stdout", "stdout"))]
    last = next((line for text in outputs if (line := _last_line(text))), "")
    parts += [last] if last else []
    message = ": ".join(part for part in parts if part) or "it said nothing"
    return f"{message}\n{rest}".strip()


def _last_line(text: Any) -> str:
    lines = last_lines(text or "", 2048).strip().split("\n")
    return one_line(lines[-1])


def _attempts(result: Any) -> str:
    attempts = result.get("attempts") if isinstance(result, Mapping) else None
    return f" (after {attempts} attempts)" if isinstance(attempts, int) and attempts > 1 else ""


def _outputs(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what a result holds beside its message, each with its title, bounded."""
    found = []
    for key, title in (
        ("assertion", "assertion"),
        ("evaluated_to", "evaluated to"),
        ("failed_when_result", "failed_when"),
    ):
        if result.get(key) is not None:
            found.append((title, one_line(result[key])))
    if result.get("rc") not in (None, ""):
        found.append(("return code", one_line(result["rc"], 40)))
    if result.get("cmd"):
        command = result["cmd"]
        words = [clean(word) for word in command] if isinstance(command, (list, tuple)) else [clean(command)]
        found.append(("command", clean(" ".join(words), 1024)))
    for key in _OUTPUTS:
        text = last_lines(result.get(key) or "", _OUTPUT)
        if text:
            found.append((key, text))
    exception = result.get("exception")
    if "Traceback" in clean(exception, 4096) and clean(exception).strip() != clean(result.get("module_stderr")).strip():
        found.append(("traceback", last_lines(exception, _OUTPUT)))
    return tuple(found)


def failed_items(result: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the items of a loop that failed without a failure noted by a stage, each with its number."""
    items = result.get("results") if isinstance(result, Mapping) else None
    if not isinstance(items, (list, tuple)):
        return []
    return [
        (number, item)
        for number, item in enumerate(items)
        if isinstance(item, Mapping)
        and not _entries(item.get("failures"))
        and (item.get("failed") or item.get("unreachable") or item.get("failed_when_result") or is_censored(item))
    ]


def _describe_items(
    result: Mapping[str, Any], items: Sequence[tuple[int, Mapping[str, Any]]], delegates: Sequence[str]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    lines, outputs = [], []
    for number, item in items[:_MOST_ITEMS]:
        title = item_title(number, item, delegates)
        message, said = describe(item)
        lines.append(f"{title}: {message}")
        outputs += [(f"{name} of {title}", text) for name, text in said]
    if len(items) > _MOST_ITEMS:
        lines.append(f"and {len(items) - _MOST_ITEMS} more")
    if len(items) == 1:
        return lines[0] + _attempts(result), tuple(outputs)
    count = f"{len(items)} of {len(result['results'])} items failed"
    return "\n".join([f"{count}: {lines[0]}", *lines[1:]]), tuple(outputs)


def _by_delegate(
    result: Any, place: Place, delegates: Sequence[str], host: str, unreachable: bool
) -> list[tuple[str, str, str, tuple[tuple[str, str], ...]]]:
    """Return (delegate, kind, message, outputs) of a failure; of a loop over delegates one for each that it concerns."""
    whole = UNREACHABLE if unreachable else FAILED
    groups: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, item in failed_items(result):
        groups.setdefault(delegates[number] if number < len(delegates) else place.delegate, []).append((number, item))
    if place.no_log or not any(groups):
        message, outputs = describe(result, place, delegates)
        return [(place.delegate if place.delegate != host else "", whole, message, outputs)]
    return [
        (
            delegate if delegate != host else "",
            UNREACHABLE if all(item.get("unreachable") for _, item in items) else FAILED,
            *_describe_items(result, items, ()),
        )
        for delegate, items in groups.items()
    ]


def item_title(number: int, item: Mapping[str, Any], delegates: Sequence[str]) -> str:
    """Given an item of a loop, return how a person knows it: its label, and the host to which it was delegated."""
    label = item_label(item) or f"number {number + 1}"
    delegate = delegates[number] if number < len(delegates) else ""
    return f"item {label}{f' (on {delegate})' if delegate and delegate != label else ''}"


def recorded(result: Any, node: str) -> list[dict[str, Any]]:
    """Given any result, return the failures that a stage's module noted in it, with node and delegate filled in."""
    if not isinstance(result, Mapping) or is_censored(result):
        return []
    items = result.get("results")
    calls = [item for item in items if isinstance(item, Mapping)] if isinstance(items, (list, tuple)) else [result]
    noted = [
        {**{key: value for key, value in call.items() if key not in ("failed", "unreachable")}, "failures": entries}
        for call in calls
        if (entries := _entries(call.get("failures")))
    ]
    return outcomes.failures_of({"results": noted}, "", node)


def _entries(failures: Any) -> list[dict[str, Any]]:
    if not isinstance(failures, (list, tuple)):
        return []
    return [
        dict(entry) for entry in failures if isinstance(entry, Mapping) and entry.get("reason") and "stage" in entry
    ]


def failure_of_entry(entry: Mapping[str, Any], place: Place, kind: str = RECORDED) -> Failure:
    """Given a failure that a stage noted, return it as the mail shows it."""
    values = {
        key: clean(entry.get(key) if entry.get(key) is not None else "") for key in (*outcomes.FAILURE_KEYS, "tree")
    }
    item = "/".join(part for part in (values["category"], values["name"]) if part)
    outputs = [
        (title, last_lines(values[key], _OUTPUT)) for key, title in (("rc", "return code"), ("stderr", "stderr"))
    ]
    return Failure(
        host=values["node"],
        message=clean(f"{values['stage']}{f' of {item}' if item else ''}: {values['reason']}", _LONGEST_MESSAGE),
        kind=kind,
        delegate=values["delegate"],
        where=values["tree"],
        place=place,
        outputs=tuple((title, text) for title, text in outputs if text),
    )


def entry_key(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Given a failure that a stage noted, return what tells it from others."""
    return tuple(str(entry.get(key)) for key in outcomes.FAILURE_KEYS[:7])


@dataclass
class _Play:
    """A play of the run."""

    name: str
    hosts: frozenset[str]
    stops: bool
    """Whether failures of some hosts can end it for all: max_fail_percentage"""
    begun: set[str] = field(default_factory=set)
    gone_before: frozenset[str] | None = None
    """Hosts that were out of it already when the first failed"""
    gone: frozenset[str] = frozenset()
    stopped: bool = False


class Collector:
    """Takes the events of a run; says at the end what failed, what did not finish, and what was fine."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], tuple[bool, list[Failure]]] = {}
        self._recorded: dict[tuple[str, ...], Failure] = {}
        self._ignored: dict[tuple[str, str, str], Place] = {}
        self._summary = ""
        self._summarized: set[str] = set()
        self._fine: list[str] = []
        self._done: dict[str, tuple[int, str]] = {}
        self._delegates: dict[tuple[str, str], list[str]] = {}
        self._plays: list[_Play] = []
        self._waiting_plays: list[str] = []
        self._without_hosts: list[str] = []
        self._ran = False
        self.stamp = ""

    @property
    def failed(self) -> bool:
        """Whether something has failed so far; a rescue may still mend it."""
        return bool(self._events or self._recorded)

    def playbook_started(self, plays: Iterable[str]) -> None:
        """Take the names of the plays that are to come."""
        self._waiting_plays += plays

    def play_started(self, name: str, hosts: Iterable[str], batch: Iterable[str], stops: bool) -> None:
        """Take a play, or the next batch of one: its hosts, those that begin now, and whether one can stop the others."""
        names = frozenset(hosts)
        last = self._plays[-1] if self._plays else None
        if not (last and (last.name, last.hosts) == (name, names) and not last.begun.issuperset(batch)):
            self._plays.append(_Play(name, names, stops))
            if name in self._waiting_plays:
                self._waiting_plays.remove(name)
        self._plays[-1].begun.update(batch)

    def play_ended(self, gone: Collection[str]) -> None:
        """Take the hosts that are out of the current play at its end."""
        if self._plays:
            self._plays[-1].gone |= frozenset(gone)

    def no_hosts(self, pattern: str) -> None:
        """Take a play whose pattern matched no host."""
        self._without_hosts.append(pattern)

    def started(self) -> None:
        """Take that a task began on a host."""
        self._ran = True

    def item(self, host: str, place: Place) -> None:
        """Take an item of a loop: only here is known to which host it was delegated."""
        self._delegates.setdefault((host, place.uuid), []).append(place.delegate if place.delegate != host else "")

    def ok(self, host: str, place: Place, result: Any) -> None:
        """Take the result of a task that was fine, which may hold failures that a stage noted."""
        count, _ = self._done.get(host, (0, ""))
        self._done[host] = (count + 1, place.name)
        self._delegates.pop((host, place.uuid), None)
        self._note(host, place, result)
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
        """Take a failure, or that a host was unreachable; `gone` are the hosts that are out of the play already."""
        delegates = self._delegates.pop((host, place.uuid), [])
        noted = self._note(host, place, result)
        if ignored or (unreachable and place.ignore_unreachable):
            for entry in outcomes.failures_of(result, "", host) if isinstance(result, Mapping) else []:
                self._ignored[entry["node"], entry["delegate"], entry["reason"]] = place
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
            for delegate, kind, message, outputs in _by_delegate(result, place, delegates, host, unreachable)
        ]
        self._events.pop((host, place.uuid), None)
        self._events[host, place.uuid] = (unreachable, failures)

    def _note(self, host: str, place: Place, result: Any) -> list[dict[str, Any]]:
        """Keep the failures that a stage noted in a result."""
        found = recorded(result, host)
        for entry in found:
            self._recorded.setdefault(entry_key(entry), failure_of_entry(entry, place))
        return found

    def _learn(self, host: str, facts: Mapping[str, Any], place: Place) -> None:
        """Take what the first and the last play of this collection's playbooks tell as facts."""
        plan, outcome = facts.get("__altbackup_plan"), facts.get("__report_outcome")
        if isinstance(plan, Mapping):
            self.stamp = one_line(plan.get("stamp") or "", 40)
        if not isinstance(outcome, Mapping):
            return
        entries = [{"node": host, **entry} for entry in _entries(outcome.get("failures"))]
        for entry in entries:
            seen = self._ignored.get((str(entry.get("node")), str(entry.get("delegate")), str(entry.get("reason"))))
            kind = UNREACHABLE if str(entry["reason"]).startswith("unreachable") else RECORDED
            self._recorded.setdefault(entry_key(entry), failure_of_entry(entry, seen or place, kind))
        self._summary = " ".join(clean(outcomes.report(entries), _LONGEST_MESSAGE).split()) if entries else ""
        lines = outcome.get("fine")
        self._fine = [one_line(line) for line in lines] if isinstance(lines, (list, tuple)) else []

    def finish(self, recap: Mapping[str, Mapping[str, int]], *, ended: bool = True) -> dict[str, Any]:
        """Given the recap of a run, return the fields of its Report: failures, unfinished, notes, fine, recap, stamp, state."""
        failures = [*self._recorded.values(), *self._real(recap)]
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
            "recap": {host: dict(counts) for host, counts in recap.items()},
            "stamp": self.stamp,
            "state": _state(failures, recap, nothing, ended),
        }

    def _real(self, recap: Mapping[str, Mapping[str, int]]) -> list[Failure]:
        """Return the failures of tasks that no rescue mended. Nothing marks one, but real failures come last on their host."""
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
        """Return the hosts that had no failure of their own, but were stopped by another's or never begun."""
        found: dict[str, None] = {}
        for play in self._plays:
            if play.gone_before is None:
                continue
            never = play.hosts - play.begun if play.begun else frozenset()
            stopped = play.gone - play.gone_before if play.stopped else frozenset()
            found.update(dict.fromkeys(sorted((never | stopped) - set(failing))))
        return list(found)


def _nothing_was_done(patterns: Sequence[str]) -> str:
    if not patterns:
        return "nothing was done: no task ran on any host"
    named = ", ".join(repr(pattern) for pattern in dict.fromkeys(patterns))
    return f"nothing was done: no host of the inventory matched {named}"


def _state(failures: Sequence[Failure], recap: Mapping[str, Mapping[str, int]], nothing: bool, ended: bool) -> str:
    if not ended:
        return "ended early"
    if nothing:
        return "nothing was done (ansible calls that a success)"
    if not failures:
        return "good"
    failed = sorted({failure.host for failure in failures})
    words = [f"{len(failed)} of {max(len(recap), len(failed))} hosts failed"]
    down = [host for host, counts in recap.items() if counts.get("unreachable")]
    return ", ".join(words + ([f"{len(down)} unreachable"] if down else []))


def redacted(report: Report) -> Report:
    """Given a report, return it without secrets in anything that was said in the run."""

    def hide(text: str) -> str:
        return redact(text, report.secrets)

    failures = [
        replace(
            failure,
            message=hide(failure.message),
            before=hide(failure.before),
            place=replace(failure.place, name=hide(failure.place.name)),
            outputs=tuple((hide(title), hide(text)) for title, text in failure.outputs),
        )
        for failure in report.failures
    ]
    return replace(
        report,
        failures=tuple(failures),
        notes=tuple(map(hide, report.notes)),
        fine=tuple(map(hide, report.fine)),
        log=tuple((host, hide(text)) for host, text in report.log),
        secrets=(),
    )
