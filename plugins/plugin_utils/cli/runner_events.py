"""The events of a run as ansible-runner yields them: cleaned of secrets, shown, and collected into a report."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from ...module_utils.system.visible import visible
from ..report.collector import Collector
from ..report.masking import redact, secrets_in, worth_searching
from ..report.model import RECORDED, UNREACHABLE, Failure, Place
from ..report.plain_text import clean, one_line
from ..report.private_files import write_private
from ..report.progress_view import is_progress
from ..report.quiet_view import Line, QuietView, is_ours, is_own_file
from ..report.run_log import is_censored
from ..report.secrecy import MASK, SECRET_NAME, SSH_OPTIONS, mask_options

_ENDED = ("runner_on_ok", "runner_on_failed", "runner_on_unreachable", "runner_on_skipped", "runner_on_async_failed")
_ERROR = re.compile(
    r"(?:\[ERROR\]:|ERROR!|ERROR:|ansible-playbook: error:|usage: [^\n]*(?:\n[ \t][^\n]*)*\nansible-playbook: error:)\s*"
)
_HINT = re.compile(r"^\[WARNING\]: ((?:Could not match|Unable to parse|provided hosts list).*(?:\n .*)?)", re.MULTILINE)


def scrubbed(value: Any, secrets: Iterable[str]) -> Any:
    """Return a plain value without secrets, known ones and values under keys that are names of secrets."""
    if isinstance(value, Mapping):
        return {key: _scrubbed_entry(str(key), entry, secrets) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed(entry, secrets) for entry in value]
    return redact(value, secrets) if isinstance(value, str) else value


def _scrubbed_entry(key: str, value: Any, secrets: Iterable[str]) -> Any:
    if isinstance(value, str) and value and SECRET_NAME.search(key):
        return MASK
    return scrubbed(mask_options(value) if SSH_OPTIONS.search(key) else value, secrets)


_COLOUR = re.compile(r"(\x1b\[[0-9;]{0,16}m)")


class Listener:
    """Handles events while they happen: cleans them, writes the log, shows it, and keeps what the end of the run needs."""

    def __init__(self, log: Path, secrets: Iterable[str], shown: TextIO | None = None, *, quiet: bool = False) -> None:
        self._log = open(
            os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8", errors="replace"
        )
        self._shown = shown
        self.quiet = QuietEvents() if quiet and shown else None
        """Decides what is shown instead of the whole output; None shows all"""
        self._known = worth_searching(secrets)
        self.late: set[str] = set()
        """Secrets that became known after events were written"""
        self.running: dict[tuple[str, str], str] = {}
        """{(host, task's uuid): task} of tasks that have begun and not ended"""
        self.began = False
        """Whether any task has begun"""
        self.asks = ""
        """The variable for which the playbook prompts, which nobody is going to answer"""
        self.stats: dict[str, Any] | None = None

    @property
    def secrets(self) -> list[str]:
        """All secrets known so far."""
        return worth_searching([*self._known, *self.late])

    def take(self, event: dict[str, Any]) -> bool:
        """Clean an event in place before it is written, log and show it. Raise nothing: the run would hang."""
        with contextlib.suppress(Exception):
            self._learn(event)
        try:
            cleaned = scrubbed(event, self.secrets)
        except Exception:  # noqa: BLE001 # drop the event rather than leak a secret
            cleaned = {"event": str(event.get("event")), "stdout": "(an event that could not be read)"}
        event.clear()
        event.update(cleaned)
        text = _shown(str(event.get("stdout") or ""))
        if text:
            self._write(text)
        if self.quiet is None:
            self.show([text] if text else [])
        else:
            with contextlib.suppress(Exception):  # an error of the display must not hang the run
                self.show(self.quiet.take(event, text))
        return True

    def close(self) -> None:
        """Close the log."""
        with contextlib.suppress(OSError):
            self._log.close()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk
            print(text, file=self._log, flush=True)

    def show(self, texts: Iterable[str]) -> None:
        """Print texts if somebody watches."""
        try:
            for text in texts if self._shown else ():
                print(text, file=self._shown, flush=True)
        except (OSError, ValueError):  # a terminal that was closed
            self._shown = None

    def _learn(self, event: Mapping[str, Any]) -> None:
        name, data = event.get("event"), event.get("event_data") or {}
        key = (str(data.get("host")), str(data.get("task_uuid")))
        if name == "playbook_on_vars_prompt":
            self.asks = str(data.get("varname"))
        elif name == "playbook_on_stats":
            self.stats = dict(data)
        elif name == "runner_on_start":
            self.began = True
            self.running[key] = str(data.get("task"))
        elif name in _ENDED:
            self.running.pop(key, None)
        result = data.get("res")
        task, path = str(data.get("task")), str(data.get("task_path"))
        if (is_censored(result) or (name == "playbook_on_task_start" and _says_no_log(path))) and not _is_literal(
            task, path
        ):
            self.late.add(task)
        if not isinstance(result, Mapping):
            return
        for call in [result, *(item for item in result.get("results") or () if isinstance(item, Mapping))]:
            self.late.update(secrets_in(call.get("invocation")))


class QuietEvents:
    """Chooses what a terminal shows by default: a line for each stage and host, and the whole output of other code's tasks."""

    def __init__(self) -> None:
        self.view = QuietView()
        self.strange = self.own = False
        """Whether tasks of other code, and of this collection, were seen"""
        self._waiting: list[str] = []

    def take(self, event: Mapping[str, Any], text: str) -> list[str]:
        """Return the texts to be shown for an event; `text` is what Ansible printed for it."""
        name, data = str(event.get("event")), event.get("event_data") or {}
        if name == "playbook_on_start" and is_own_file(str(data.get("playbook") or "")):
            return []
        if name in ("playbook_on_play_start", "playbook_on_stats"):
            lines = coloured(self.view.play_ended())
            if name == "playbook_on_play_start":
                self._waiting = [text]
                return lines
            return [*lines, *([text] if self.strange or not self.own else [])]
        if not data.get("task_uuid") and not data.get("task_path"):
            return [text] if text else []
        place = _place(data, None)
        if not is_ours(place):
            self.strange = True
            waiting, self._waiting = self._waiting, []
            return [*waiting, *([text] if text else [])]
        self.own = True
        if name == "verbose" and is_progress(text):
            return [text]
        if name == "runner_on_start":
            return coloured(self.view.started(_host(data), place))
        if name in _ENDED:
            return coloured(self.view.ended(_host(data), place, data.get("res")))
        return []


def coloured(lines: Iterable[Line]) -> list[str]:
    """Return lines as texts, bad ones in red."""
    return [f"\x1b[0;31m{line.text}\x1b[0m" if line.bad else line.text for line in lines]


def _shown(text: str) -> str:
    """Return Ansible's output with all control sequences made visible except those of colours."""
    parts = _COLOUR.split(text.replace("\r\n", "\n"))
    return "".join(part if number % 2 else visible(part) for number, part in enumerate(parts))


def _is_literal(task: str, path: str) -> bool:
    """Return whether the name of a task is literally in its file; if not, it came out of a template, and may hold a secret."""
    return task in "\n".join(_lines(path))


def _says_no_log(path: str) -> bool:
    """Return whether no_log is set at the task at `path`, FILE:LINE; results tell of a no_log on its block or play."""
    number = path.rpartition(":")[2]
    lines = _lines(path)[int(number) - 1 :] if number.isdigit() else []
    own = itertools.takewhile(lambda line: not line.strip() or _indent(line) > _indent(lines[0]), lines[1:])
    return any("no_log" in line for line in [*lines[:1], *own])


def _lines(path: str) -> list[str]:
    try:
        return Path(path.rpartition(":")[0]).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def clean_files(files: Iterable[Path], secrets: Iterable[str]) -> None:
    """Rewrite the files of a run that hold any of the secrets, which became known after they were written."""
    needles = worth_searching(secrets)
    for path in files if needles else ():
        with contextlib.suppress(OSError, ValueError):
            text = path.read_text(encoding="utf-8", errors="replace")
            value = json.loads(text) if path.suffix == ".json" else text
            hidden = scrubbed(value, needles)
            if hidden != value:
                text = hidden if isinstance(hidden, str) else json.dumps(hidden)
                write_private(f"{path}.new", text.encode("utf-8", "replace"))
                os.replace(f"{path}.new", path)


def collect(events: Iterable[Mapping[str, Any]], stats: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a Report for the events of a run; `stats` are its final counts, None if it did not come to its end."""
    collector = Collector()
    handlers: dict[str, Callable[[Mapping[str, Any]], None]] = {
        "playbook_on_play_start": lambda data: collector.play_started(_play(data), (), (), stops=False),
        "playbook_on_no_hosts_matched": lambda data: collector.no_hosts(
            str(data.get("play_pattern") or data.get("pattern"))
        ),
        "runner_on_start": lambda data: collector.started(),
        "runner_item_on_ok": lambda data: collector.item(_host(data), _place(data, stats)),
        "runner_item_on_failed": lambda data: collector.item(_host(data), _place(data, stats)),
        "runner_item_on_skipped": lambda data: collector.item(_host(data), _place(data, stats)),
        "runner_on_ok": lambda data: collector.ok(_host(data), _place(data, stats), data.get("res")),
        "runner_on_failed": lambda data: collector.failed_on(
            _host(data), _place(data, stats), data.get("res"), ignored=bool(data.get("ignore_errors"))
        ),
        "runner_on_unreachable": lambda data: collector.failed_on(
            _host(data), _place(data, stats), data.get("res"), unreachable=True
        ),
    }
    until_then = _UntilThen()
    for event in events:
        data = event.get("event_data")
        handler = handlers.get(str(event.get("event")))
        if handler and isinstance(data, Mapping):
            handler(data)
        if stats is None:
            with contextlib.suppress(Exception):  # an event of any shape costs its line, not the report
                until_then.take(event)
    fields = collector.finish(recap_of(stats), ended=stats is not None)
    return fields if stats is not None else {**fields, "fine": (*fields["fine"], *until_then.lines())}


class _UntilThen:
    """What a run that came to no end had done: a line for each stage and host, as a terminal shows it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._view = QuietView(lambda: self._now)
        self._lines: list[Line] = []

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next event of the run."""
        name, data = str(event.get("event")), event.get("event_data") or {}
        with contextlib.suppress(ValueError):
            self._now = datetime.fromisoformat(str(event.get("created"))).timestamp()
        if name == "playbook_on_play_start":
            self._lines += self._view.play_ended()
        place = _place(data, None)
        if not is_ours(place):
            return
        if name == "runner_on_start":
            self._lines += self._view.started(_host(data), place)
        elif name in _ENDED:
            self._lines += self._view.ended(_host(data), place, data.get("res"))

    def lines(self) -> list[str]:
        """Return the lines; those of failures are the failures' own."""
        return [one_line(line.text) for line in (*self._lines, *self._view.play_ended()) if not line.bad]


def recap_of(stats: Mapping[str, Any] | None) -> dict[str, dict[str, int]]:
    """Return {host: counts} from ansible-runner's final counts, which are by count, then host."""
    counts = stats or {}
    names = {"dark": "unreachable", "ok": "ok", "changed": "changed", "failures": "failures"}
    names |= {name: name for name in ("skipped", "rescued", "ignored")}
    recap: dict[str, dict[str, int]] = {str(host): {} for host in sorted(counts.get("processed") or {})}
    for name, title in names.items():
        for host, count in (counts.get(name) or {}).items():
            recap.setdefault(str(host), {})[title] = int(count)
    return recap


def only_unreachable(failures: Iterable[Failure]) -> bool:
    """Return whether there are failures, all of unreachable hosts."""
    kinds = {failure.kind for failure in failures}
    return kinds == {UNREACHABLE}


def failure_lines(failures: Iterable[Failure]) -> list[dict[str, Any]]:
    """Return failures in the format of a run's result."""
    return [
        {
            "host": failure.host,
            "delegate": failure.delegate,
            "title": failure.title,
            "kind": "recorded" if failure.kind == RECORDED else failure.kind,
            "message": failure.headline,
            "good": failure.good,
            "follows": list(failure.follows),
            "task": failure.place.name,
            "path": failure.place.path,
        }
        for failure in failures
    ]


def start_error(log: str) -> str:
    """Return the errors of ansible-playbook on why it did not begin, or stopped; `log` is its output."""
    paragraphs = re.split(r"\n(?=\s*\n|\[(?:ERROR|WARNING|DEPRECATION)|ERROR[!:])", clean(log).strip())
    errors = [_ERROR.sub("", text.strip()) for text in paragraphs if _ERROR.match(text.strip())]
    hints = [one_line(match[1]) for match in _HINT.finditer(clean(log))]
    if errors:
        first, newline, rest = errors[0].partition("\n")
        return "".join((first, f" ({'; '.join(hints)})" if hints else "", newline, rest))
    return one_line(paragraphs[-1].strip().rpartition("\n")[2])


def _play(data: Mapping[str, Any]) -> str:
    return str(data.get("name") or data.get("play") or "")


def _host(data: Mapping[str, Any]) -> str:
    return str(data.get("host") or "")


def _place(data: Mapping[str, Any], stats: Mapping[str, Any] | None) -> Place:
    result = data.get("res")
    delegated = result.get("_ansible_delegated_vars") if isinstance(result, Mapping) else None
    place = Place(
        uuid=str(data.get("task_uuid") or ""),
        name=clean(data.get("task") or data.get("task_action") or "", 300),
        role=str(data.get("resolved_role") or data.get("role") or ""),
        action=str(data.get("task_action") or ""),
        path=str(data.get("task_path") or ""),
        play=str(data.get("play") or ""),
        no_log=is_censored(result),
        # Events do not tell it, but the final counts list a host whose unreachability was not ignored.
        ignore_unreachable=stats is not None and _host(data) not in (stats.get("dark") or {}),
    )
    host = delegated.get("ansible_delegated_host") if isinstance(delegated, Mapping) else ""
    return replace(place, delegate=str(host or ""))
