"""Texts that a terminal may show, whatever wrote them: characters that steer or reorder it are made visible."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # control of right-to-left order
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible, but interpreted by some programs
)
_SURROGATE = re.compile("[\ud800-\udfff]")
STEERING = re.compile(f"[{_STEERING}]")


def visible(text: str) -> str:
    """Return a text as valid Unicode in which only tabs and line feeds steer a terminal; the rest is shown as \\xNN or \\uNNNN."""
    valid = _SURROGATE.sub(lambda match: _escape(_byte(ord(match[0]))), text)
    return STEERING.sub(lambda match: _escape(ord(match[0])), valid)


def one_line(text: str) -> str:
    """Return a text, such as a name, as one line, so that nothing in it can pass for a line of its own."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


_LONG = re.compile(r"\S{161,}")


def abridged(text: str) -> str:
    """Return a text with each very long path in it shortened in the middle."""
    return _LONG.sub(lambda found: f"{found[0][:70]}...{found[0][-70:]}" if "/" in found[0] else found[0], text)


def extra_vars(values: Mapping[str, Any]) -> str:
    """Return variables as the two shell words of `-e` that pass them to a playbook, whatever characters are in them."""
    text = json.dumps(values, ensure_ascii=False)
    return f"-e {shlex.quote(text if visible(text) == text else json.dumps(values))}"


def command_of(*words: str) -> str:
    """Return a daily command, as docs/daily.md has it, for a message; in a mail `-i INVENTORY` becomes the inventory of the run."""
    return f"altbackup {' '.join(map(_shell_word, words))} -i INVENTORY"


def _shell_word(word: str) -> str:
    """Return a word as a shell takes it; one that would steer a terminal as bash and zsh do, with escapes in it."""
    if visible(word) == word:
        return shlex.quote(word)
    escaped = word.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{visible(escaped)}'"


def printable(text: str) -> str:
    """Return a path as valid UTF-8, with undecodable bytes shown as \\xNN."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _byte(number: int) -> int:
    """Return the byte of a file name that a surrogate stands for; other numbers as they are."""
    return number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else number


def _escape(number: int) -> str:
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
