"""The log of a run as a callback records it: what the terminal shows, without what no_log hides, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping
from typing import Any

from .plain_text import clean
from .secrecy import mask

CENSORED = "(hidden, because of no_log)"
_HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
"""What Ansible writes in place of a parameter that a module declared as no_log."""
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
    """Lines, each of one host or of the whole run; of what is over the limit the middle is left out."""

    def __init__(self, limit: int) -> None:
        self._half = self._room = max(limit, 2) // 2
        self._head: list[tuple[str, str]] = []
        self._tail: deque[tuple[str, str]] = deque()
        self._tail_size = 0
        self._left_out = 0

    def add(self, text: str, host: str = "") -> None:
        """Add lines of a host, or of the whole run."""
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
        """Return all of it, (host, lines)."""
        gap = [("", f"[... {self._left_out} entries left out ...]")] if self._left_out else []
        return (*self._head, *gap, *self._tail)


def log_text(entries: Iterable[tuple[str, str]], hosts: Container[str] | None = None) -> str:
    """Given a log's entries, return it as a text, or what of it concerns some hosts."""
    return "".join(f"{text}\n" for host, text in entries if not host or hosts is None or host in hosts)


def banner(kind: str, name: str, clock: str = "") -> str:
    """Given what begins and its name, return its line, as the terminal shows it."""
    title = f"{kind} [{name}] " if name else f"{kind} "
    return f"\n{title:*<{_WIDTH}} {clock}".rstrip()


def entry(status: str, host: str, result: Any, *, label: str = "", more: str = "", full: bool = False) -> str:
    """Given how a task ended on a host and its result, return its lines; a full one shows what the result holds."""
    line = f"{status}: [{host}]{f' => (item={label})' if label else ''}{f': {more}' if more else ''}"
    if is_censored(result):
        return f"{line} => {CENSORED}"
    if not isinstance(result, Mapping) or not (full or result.get("_ansible_verbose_always")):
        return line
    return "\n".join([line, *dump(result)])


def dump(result: Mapping[str, Any]) -> list[str]:
    """Given a result, return its lines, one or more a key."""
    lines = []
    for key, value in result.items():
        name = str(key)
        if name.startswith("_ansible") or name.endswith("_lines") or name in _NOT_SHOWN or value in (None, ""):
            continue
        text = clean(value if isinstance(value, str) else mask(value), _LONGEST).strip("\n")
        lines += [f"    {name}: {text}"] if "\n" not in text else [f"    {name}:", *_indented(text)]
    return lines


def is_censored(result: Any) -> bool:
    """Return whether Ansible has hidden a result."""
    return isinstance(result, Mapping) and ("censored" in result or result.get("_ansible_no_log") is True)


def item_label(result: Mapping[str, Any]) -> str:
    """Given the result of an item of a loop, return how it is called; empty if a parameter of it is a secret."""
    if is_censored(result) or _HIDDEN in str(result.get("invocation", "")):
        return ""
    label = result.get("_ansible_item_label", result.get(str(result.get("ansible_loop_var") or "item")))
    return "" if label is None else " ".join(clean(mask(label), 200).split())


def _indented(text: str) -> list[str]:
    return [f"        {line}".rstrip() for line in text.split("\n")]
