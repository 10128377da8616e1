"""Lines on the progress of a long module call, from the progress file that the node writes meanwhile."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.system.progress import DOINGS
from ...module_utils.system.units import readable
from ...module_utils.system.visible import one_line

SETTING = "ALTBACKUP_PROGRESS"
"""Environment variable (yes or no) that says whether somebody watches, for runs whose output passes through another program"""
_LONGEST_TEXT = 4096
"""Most characters that are read of a node's text; a module writes fewer"""
_MOST_LINES = 4
_MOST_NUMBER = 1 << 62
_LONGEST_NAME = 80


def _is_watched() -> bool:
    setting = os.environ.get(SETTING, "")
    try:
        return setting == "yes" if setting else os.isatty(1)
    except OSError:
        return False


_LINE = re.compile(r"[^\n]+: [^\n]*(?:, [^\n]+/s|\bat work for \d+ s)")


def is_progress(text: str) -> bool:
    """Return whether a line that Ansible printed is one of those made here."""
    return bool(_LINE.fullmatch(text.strip()))


WATCHED = _is_watched()
"""Whether somebody sees Ansible's output: decided when Ansible loads an action, before it forks workers, which have no terminal"""


@dataclass(frozen=True)
class _Entry:
    """What a node tells of one piece of work in progress."""

    item: str
    doing: str
    done: int
    total: int
    about: bool
    seconds: float


class Progress:
    """Turns a node's successive progress texts on one call into lines."""

    def __init__(self, title: str) -> None:
        self._title = one_line(title)
        self._before: dict[tuple[str, str], _Entry] = {}

    def lines(self, text: str) -> list[str]:
        """Return the lines for the text of a node's progress file, none if no module writes such a text."""
        entries = _entries(text)
        shown = [f"{self._title}: {_words(entry, self._rate(entry))}" for entry in entries]
        self._before = {(entry.item, entry.doing): entry for entry in entries}
        return shown

    def _rate(self, entry: _Entry) -> float:
        """Return bytes a second since the last text, or since the work began."""
        before = self._before.get((entry.item, entry.doing))
        done, seconds = entry.done, entry.seconds
        if before is not None and before.seconds < entry.seconds and before.done <= entry.done:
            done, seconds = entry.done - before.done, entry.seconds - before.seconds
        return done / seconds if seconds > 0 else 0.0


def _words(entry: _Entry, rate: float) -> str:
    item = f"{entry.item} " if entry.item else ""
    if not entry.doing:
        return f"{item}at work for {round(entry.seconds)} s"
    percent = ""
    if entry.total and entry.done <= entry.total:
        percent = f" ({100 * entry.done // entry.total} %)"
    of = f" of {'about ' if entry.about else ''}{readable(entry.total)}" if percent else ""
    return f"{item}{readable(entry.done)}{of} {entry.doing}{percent}, {readable(int(rate))}/s"


def _entries(text: str) -> list[_Entry]:
    """Return the entries of a node's text that have the right types and are within bounds."""
    try:
        values = json.loads(text) if len(text) <= _LONGEST_TEXT else None
    except (ValueError, RecursionError):
        return []
    listed = values[:_MOST_LINES] if isinstance(values, list) else []
    found = [_entry(value) for value in listed if isinstance(value, Mapping)]
    return [entry for entry in found if entry is not None]


def _entry(value: Mapping[str, Any]) -> _Entry | None:
    item, doing, seconds = value.get("item"), value.get("doing"), value.get("seconds")
    numbers = [value.get("done"), value.get("total")]
    if not (isinstance(item, str) and doing in ("", *DOINGS) and isinstance(seconds, (int, float))):
        return None
    if not all(type(number) is int and 0 <= number < _MOST_NUMBER for number in numbers) or not 0 <= seconds < 1e9:
        return None
    done, total = numbers
    return _Entry(_short(item), str(doing), done, total, value.get("about") is True, float(seconds))  # type: ignore[arg-type]


def _short(text: str) -> str:
    shown = one_line(text[:_LONGEST_NAME])
    return shown if len(text) <= _LONGEST_NAME else f"{shown}..."
