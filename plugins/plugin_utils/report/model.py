"""The failures and the report of a run, made from results of any shape: every key may be missing or of another type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ...module_utils.system.units import either_of
from ...module_utils.tree.failures import KEYS, unframed
from . import call_failures, run_summary
from .causes import good_copies, good_copy, titled
from .masking import redact
from .plain_text import clean, last_lines, one_line
from .run_log import is_censored, item_label
from .secrecy import quoted

FAILED, UNREACHABLE, RECORDED, RUN = "failed", "unreachable", "recorded", "run"
"""Kinds of failures: of a task; an unreachable node; noted by a stage, which went on; of the run as a whole."""

LONGEST_MESSAGE = 16 * 1024
_OUTPUT = 6 * 1024
_MOST_ITEMS = 50
_SAYS_NOTHING = re.compile(
    r"non-zero return code|MODULE FAILURE|Module result deserialization failed.*|One or more items failed|All items completed|Assertion failed"
    r"|Failed as requested from task|failed_when_result|True|False|None|",
)
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,116}\b")
_ARGUMENTS = "Validation of arguments failed:"
_CHOICE = re.compile(r"value of (?P<name>\S+) must be one of: (?P<choices>.*), got: (?P<value>.*)")
_TYPE = re.compile(r"argument '(?P<name>\w+)' (?P<rest>is of type .*)")
_SETTINGS = "altbackup.core.altbackup"
"""The role that reads the inventory, before anything is touched"""
_NAMES_ITS_HOSTS = re.compile(r"(?:all hosts|[\w.-]+(?:, [\w.-]+)*): altbackup_\w+ ")
_VARIABLE = re.compile(r"\baltbackup_\w+")
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
    """Whether its failure on one host ends the play for all hosts"""
    ignore_unreachable: bool = False
    delegate: str = ""
    user: str = ""
    become: str = ""
    """The user that it becomes; "" if that is the login user or not known, `no` if it is known to become none"""

    @property
    def title(self) -> str:
        """Role and name, as the terminal shows them."""
        return f"{self.role} : {self.name}" if self.role else self.name


@dataclass(frozen=True)
class Failure:
    """One failure: where, what, and all that is known about it."""

    host: str
    message: str
    kind: str = FAILED
    delegate: str = ""
    where: str = ""
    """The title of its tree, `source -> target`, if host and delegate do not tell it"""
    place: Place = Place()
    outputs: tuple[tuple[str, str], ...] = ()
    """(title, text) of outputs such as stderr"""
    item: str = ""
    """The item concerned, `category/name`, if any"""
    relpath: str = ""
    """The tarball concerned, if any"""
    good: str = ""
    """When its item last had a good copy on that node, or that it has none; "" if not known"""
    follows: tuple[str, ...] = ()
    """Lines on its consequences, which are no failures of their own"""
    before: str = ""
    """How many tasks had succeeded on the host before it, and the last of them"""
    since: str = ""
    """Since when it has been failing, if earlier runs failed with it, too"""
    identity: str = ""
    """What makes it the same failure in another run; if empty, its message without numbers"""

    @property
    def headline(self) -> str:
        """The first line of its message, with digests shortened."""
        return one_line(_DIGEST.sub(r"\1...", self.message.strip().split("\n", 1)[0]))

    @property
    def title(self) -> str:
        """Its tree, or its host with the delegate."""
        if self.where:
            return self.where
        return f"{self.host} -> {self.delegate}" if self.delegate else self.host

    @property
    def of_inventory(self) -> bool:
        """Whether it is an error of the inventory, for which nothing was begun on any host."""
        return self.place.role == _SETTINGS

    @property
    def names_its_hosts(self) -> bool:
        """Whether its message begins with the hosts concerned, so that its title would repeat them or, of a task for all hosts, mislead."""
        told = self.headline
        return told.startswith(f"{self.title}: ") or (self.of_inventory and bool(_NAMES_ITS_HOSTS.match(told)))


@dataclass(frozen=True)
class Report:
    """The content of a mail on one run."""

    playbook: str
    failures: tuple[Failure, ...] = ()
    unfinished: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fine: tuple[str, ...] = ()
    """What went well, a line each"""
    purged: tuple[Mapping[str, Any], ...] = ()
    """What purge removed from each tree; `fine` has it as text"""
    looked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{title of a tree: days and tarballs of it that were read}"""
    done: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{host, or `source -> target`: titles of the tasks that ended there, whatever they found}; under "" those about all hosts"""
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
    mend: str = ""
    """The command that mends what the run has only found"""
    log: tuple[tuple[str, str], ...] = ()
    """(host, lines); the host is "" for lines of the whole run"""
    mail_to: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{host: further recipients, who get the mail on that host only}"""
    secrets: tuple[str, ...] = ()
    key: str = ""
    """What makes runs of different nights the same job; without it nothing is remembered"""
    status: str = "FAILED"
    """FAILED, RECOVERED or TEST"""


def describe(
    result: Any, place: Place = Place(), delegates: Sequence[str] = ()
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a failed result's message, whose first line says what is wrong, and its outputs as (title, text)."""
    if is_censored(result) or place.no_log:
        return f"its output is hidden by no_log{_attempts(result)}", ()
    if not isinstance(result, Mapping):
        return clean(result, LONGEST_MESSAGE) or "it said nothing", ()
    items = failed_items(result)
    if items:
        return _describe_items(result, items, delegates)
    return _message(result) + _attempts(result), _outputs(result)


def _message(result: Mapping[str, Any]) -> str:
    """Return the result's message or, if that says nothing, the last line of its output."""
    texts = [clean(result[key], LONGEST_MESSAGE).strip() for key in ("msg", "reason") if result.get(key) is not None]
    own_message = next(filter(None, texts), "")
    own_message = unframed(own_message).removeprefix("Task failed: ")
    first, _, rest = own_message.partition("\n")
    if first == _ARGUMENTS and rest:
        return "\n".join(map(_argument_error, rest.split("\n")))
    if not _SAYS_NOTHING.fullmatch(first.strip()):
        return own_message
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


def _argument_error(text: str) -> str:
    """Return what Ansible says of a wrong value of a variable, with its name first."""
    match = _CHOICE.fullmatch(text)
    if match:
        return f"{match['name']} must be {either_of(match['choices'].split(', '))}, but is {quoted(match['value'])}"
    match = _TYPE.fullmatch(text)
    return f"{match['name']} {match['rest']}" if match else text


def _last_line(text: Any) -> str:
    lines = last_lines(text or "", 2048).strip().split("\n")
    return one_line(lines[-1])


def _attempts(result: Any) -> str:
    attempts = result.get("attempts") if isinstance(result, Mapping) else None
    return f" (after {attempts} attempts)" if isinstance(attempts, int) and attempts > 1 else ""


def _outputs(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return (title, text) of what a result holds besides its message, each text bounded."""
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
    """Return (number, item) of the items of a loop that failed, except those whose failures a stage noted."""
    items = result.get("results") if isinstance(result, Mapping) else None
    if not isinstance(items, (list, tuple)):
        return []
    return [
        (number, item)
        for number, item in enumerate(items)
        if isinstance(item, Mapping)
        and not entries_of(item.get("failures"))
        and (item.get("failed") or item.get("unreachable") or item.get("failed_when_result") or is_censored(item))
    ]


def _describe_items(
    result: Mapping[str, Any], items: Sequence[tuple[int, Mapping[str, Any]]], delegates: Sequence[str]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    lines, outputs = [], []
    for number, item in items[:_MOST_ITEMS]:
        title = item_title(number, item, delegates)
        message, texts = describe(item)
        lines.append(f"{title}: {message}")
        outputs += [(f"{name} of {title}", text) for name, text in texts]
    if len(items) > _MOST_ITEMS:
        lines.append(f"and {len(items) - _MOST_ITEMS} more")
    if len(items) == 1:
        return lines[0] + _attempts(result), tuple(outputs)
    count = f"{len(items)} of {len(result['results'])} items failed"
    return "\n".join([f"{count}: {lines[0]}", *lines[1:]]), tuple(outputs)


def by_delegate(
    result: Any, place: Place, delegates: Sequence[str], host: str, unreachable: bool
) -> list[tuple[str, str, str, tuple[tuple[str, str], ...]]]:
    """Return (delegate, kind, message, outputs) of a failure; for a loop over delegates one for each delegate that failed."""
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
    """Return the title of a loop's item: its label, and the host to which it was delegated."""
    label = item_label(item) or f"number {number + 1}"
    delegate = delegates[number] if number < len(delegates) else ""
    return f"item {label}{f' (on {delegate})' if delegate and delegate != label else ''}"


def recorded(result: Any, node: str) -> list[dict[str, Any]]:
    """Return the failures that a stage's module noted in a result of any shape, with node and delegate filled in."""
    if not isinstance(result, Mapping) or is_censored(result):
        return []
    items = result.get("results")
    calls = [item for item in items if isinstance(item, Mapping)] if isinstance(items, (list, tuple)) else [result]
    noted = [
        {**{key: value for key, value in call.items() if key not in ("failed", "unreachable")}, "failures": entries}
        for call in calls
        if (entries := entries_of(call.get("failures")))
    ]
    return call_failures.failures_of({"results": noted}, "", node)


def entries_of(failures: Any) -> list[dict[str, Any]]:
    """Return those entries of a result's `failures` that a stage of this collection noted."""
    if not isinstance(failures, (list, tuple)):
        return []
    return [
        dict(entry) for entry in failures if isinstance(entry, Mapping) and entry.get("reason") and "stage" in entry
    ]


def failure_of_entry(entry: Mapping[str, Any], place: Place) -> Failure:
    """Return a failure that a stage noted in the form of the mail."""
    values = {key: clean(entry.get(key) if entry.get(key) is not None else "") for key in (*KEYS, "tree")}
    item = "/".join(part for part in (values["category"], values["name"]) if part)
    outputs = [
        (title, last_lines(values[key], _OUTPUT)) for key, title in (("rc", "return code"), ("stderr", "stderr"))
    ]
    return Failure(
        host=values["node"],
        message=clean(
            f"{values['stage']}{f' of {item}' if item else ''}: {run_summary.reason_of(values)}", LONGEST_MESSAGE
        ),
        kind=UNREACHABLE if values["reason"].startswith(UNREACHABLE) else RECORDED,
        delegate=values["delegate"],
        where=values["tree"],
        place=place,
        item=item,
        relpath=values["relpath"],
        good=good_copy(entry),
        outputs=tuple((title, text) for title, text in outputs if text),
    )


def with_places(failures: Iterable[Failure], places_of: Callable[[str], Sequence[str]]) -> tuple[Failure, ...]:
    """Return the failures, those of the inventory with where a wrong variable is set, if `places_of` its name gives one place, FILE:LINE."""

    def placed(line: str) -> str:
        match = _VARIABLE.search(line)
        places = places_of(match.group()) if match else ()
        return f"{line} ({places[0]})" if len(places) == 1 else line

    return tuple(
        replace(failure, message="\n".join(map(placed, failure.message.split("\n"))))
        if failure.of_inventory
        else failure
        for failure in failures
    )


def together(failures: Iterable[Failure]) -> list[list[Failure]]:
    """Group failures with the same message of the same task, so that a group is shown once; each is sorted by title."""
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.kind, failure.place.path, failure.place.name, failure.message), []).append(failure)
    return [sorted(group, key=lambda failure: failure.title) for group in groups.values()]


def titles(group: Sequence[Failure]) -> str:
    """Return where the failures of one group happened, in one line."""
    return titled(failure.title for failure in group)


def heading(group: Sequence[Failure], what: str = "") -> str:
    """Return where the failures of one group happened, each host once, and what, their headline unless `what` is given."""
    what = what or group[0].headline
    return what if group[0].names_its_hosts else f"{titles(group)}: {what}"


def shared_lines(group: Sequence[Failure]) -> list[str]:
    """Return the lines below a group's message: its good copies, and its consequences."""
    follows = dict.fromkeys(line for entry in group for text in entry.follows for line in text.split("\n"))
    return [*good_copies([(failure.title, failure.good) for failure in group]), *follows]


def redacted(report: Report) -> Report:
    """Return the report without secrets, and without characters that no mail can hold, in all texts that come from the run."""

    def hide(text: str) -> str:
        return clean(redact(text, report.secrets))

    failures = [
        replace(
            failure,
            message=hide(failure.message),
            follows=tuple(map(hide, failure.follows)),
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
        command=clean(report.command),
        folder=clean(report.folder),
        rerun=clean(report.rerun),
        mend=clean(report.mend),
        inventory=tuple(map(clean, report.inventory)),
        secrets=(),
    )
