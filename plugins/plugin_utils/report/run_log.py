"""The log of a run as a callback records it: what the terminal shows, without what no_log hides, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping
from typing import Any

from ...module_utils.system.units import counted
from .plain_text import clean
from .secrecy import mask

CENSORED = "(hidden, because of no_log)"
_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
"""What Ansible writes in place of a parameter that a module declares as no_log."""
_NOT_SHOWN = (
    "invocation",
    "exception",
    "diff",
    "deprecations",
    "results",
    "failed",
    "ansible_loop_var",
    "ansible_facts",
)
_LONGEST = 16 * 1024
_WIDTH = 79


class RunLog:
    """Lines of hosts or of the whole run; beyond `limit` characters the middle is left out."""

    def __init__(self, limit: int) -> None:
        self._half = self._room = max(limit, 2) // 2
        self._head: list[tuple[str, str]] = []
        self._tail: deque[tuple[str, str]] = deque()
        self._tail_size = 0
        self._left_out = 0

    def add(self, text: str, host: str = "") -> None:
        """Add lines of a host, or of the whole run if `host` is ""."""
        text = clean(text, self._half)
        if not self._tail and len(text) <= self._room:
            self._room -= len(text)
            self._head.append((host, text))
            return
        self._tail.append((host, text))
        self._tail_size += len(text)
        while self._tail_size > self._half and len(self._tail) > 1:
            self._tail_size -= len(self._tail.popleft()[1])
            self._left_out += 1

    def entries(self) -> tuple[tuple[str, str], ...]:
        """Return all (host, lines), with a note where entries are left out."""
        gap = [("", f"[... {counted(self._left_out, 'entry', 'entries')} left out ...]")] if self._left_out else []
        return (*self._head, *gap, *self._tail)


def log_text(entries: Iterable[tuple[str, str]], hosts: Container[str] | None = None) -> str:
    """Return a log's entries as text; with `hosts`, only theirs and those of the whole run."""
    return "".join(f"{text}\n" for host, text in entries if not host or hosts is None or host in hosts)


def banner(kind: str, name: str, clock: str = "") -> str:
    """Return the heading line of a play or task, as the terminal shows it."""
    title = f"{kind} [{name}] " if name else f"{kind} "
    return f"\n{title:*<{_WIDTH}} {clock}".rstrip()


def entry(status: str, host: str, result: Any, *, label: str = "", more: str = "", full: bool = False) -> str:
    """Return the lines of a task's result on a host; with `full`, the values of the result, too."""
    line = f"{status}: [{host}]{f' => (item={label})' if label else ''}{f': {more}' if more else ''}"
    if is_censored(result):
        return f"{line} => {CENSORED}"
    if not isinstance(result, Mapping) or not (full or result.get("_ansible_verbose_always")):
        return line
    return "\n".join([line, *dump(result)])


def dump(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of a result's values, without Ansible's internal keys and with secrets masked."""
    lines = []
    for key, value in result.items():
        name = str(key)
        if name.startswith("_ansible") or name.endswith("_lines") or name in _NOT_SHOWN or value in (None, ""):
            continue
        text = clean(value if isinstance(value, str) else mask(value), _LONGEST).strip("\n")
        lines += [f"    {name}: {text}"] if "\n" not in text else [f"    {name}:", *_indented(text)]
    return lines


def is_censored(result: Any) -> bool:
    """Return whether Ansible has hidden the result because of no_log."""
    return isinstance(result, Mapping) and ("censored" in result or result.get("_ansible_no_log") is True)


def item_label(result: Mapping[str, Any]) -> str:
    """Return the label of a loop item's result; "" if one of its parameters is a secret."""
    if is_censored(result) or _HIDDEN in str(result.get("invocation", "")):
        return ""
    label = result.get("_ansible_item_label", result.get(str(result.get("ansible_loop_var") or "item")))
    return "" if label is None else " ".join(clean(mask(label), 200).split())


def _indented(text: str) -> list[str]:
    return [f"        {line}".rstrip() for line in text.split("\n")]
