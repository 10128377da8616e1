"""Readers of values within bounds: each returns a value, or refuses it with why and what of it can be kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...module_utils.system.visible import one_line, visible
from ...module_utils.tree.layout import is_relpath, split_relpath
from ...module_utils.tree.stamps import is_stamp

LONGEST = 1 << 16
"""Most characters of a sentence"""
_LONGEST_NAME = 4096
_MOST = 200_000
"""Most tarballs or paths"""
_LARGEST = 1 << 60
_DEEPEST = 16
_MOST_VALUES = 50_000
_LONGEST_RECORD = 1 << 20
_NAMED = 3
"""Most entries of one list that a failure names"""

Read = Callable[[Any], Any]
"""Returns the checked value; raises Refused, with the acceptable part of the value, if there is one, as `kept`"""
NOTHING = object()


def text_of(longest: int = _LONGEST_NAME) -> Read:
    """Return a reader of texts of at most `longest` characters."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused("is no text")
        if len(value) > longest:
            raise Refused(f"is a text of {len(value)} characters")
        return value

    return read


def read_lines(value: Any) -> str:
    """Return a text that Ansible prints as it is, such as a diff, with control characters made visible."""
    return visible(text_of(2 * LONGEST)(value))


def read_flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise Refused("is neither true nor false")
    return value


def read_number(value: Any) -> int | float:
    """Return a number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Refused("is no number")
    if not 0 <= value <= _LARGEST:
        raise Refused("is no number from 0 to 2**60")
    return value


def read_whole(value: Any) -> int:
    """Return a whole number from 0 on."""
    number = read_number(value)
    if not isinstance(number, int):
        raise Refused("is no whole number")
    return number


def read_code(value: Any) -> int | None:
    """Return an exit code, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1 << 32:
        raise Refused("is no exit code")
    return value


def text_like(pattern: str, what: str) -> Read:
    """Return a reader of texts that match a pattern; `what` names them."""
    text = text_of()

    def read(value: Any) -> str:
        if not re.fullmatch(pattern, text(value), re.ASCII):
            raise Refused(f"is no {what}")
        return str(value)

    return read


def read_relpath(value: Any) -> str:
    """Return a path below a base."""
    text: str = text_of()(value)
    if any(part in ("", ".", "..") for part in text.split("/")) or "\0" in text:
        raise Refused("is no path below a base")
    return text


def read_stamp(value: Any) -> str:
    """Return a stamp, or the empty text."""
    text: str = text_of()(value)
    if text and not is_stamp(text):
        raise Refused("is no stamp")
    return text


def read_record(value: Any) -> dict[str, Any]:
    """Return a mapping of any content, within bounds of size and depth."""
    if not isinstance(value, Mapping):
        raise Refused("is no mapping")
    waiting: list[tuple[Any, int]] = [(value, 0)]
    length = count = 0
    while waiting:
        entry, depth = waiting.pop()
        count += 1
        length += len(entry) if isinstance(entry, str) else 0
        if depth > _DEEPEST or count > _MOST_VALUES or length > _LONGEST_RECORD:
            raise Refused("is larger or deeper than any record")
        if isinstance(entry, Mapping):
            waiting += [(each, depth + 1) for pair in entry.items() for each in pair]
        elif isinstance(entry, (list, tuple)):
            waiting += [(each, depth + 1) for each in entry]
        elif isinstance(entry, int) and abs(entry) > 1 << 64:
            raise Refused("has a number beyond all bounds")
    return dict(value)


def list_of(read: Read, most: int = _MOST, named: str = "") -> Read:
    """Return a reader of lists that keeps the good ones of the first `most` entries."""

    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise Refused("is no list")
        kept, problems = _each(read, ((number, entry) for number, entry in enumerate(value[:most], 1)), "entry ")
        if len(value) > most:
            problems.append(f"has {len(value)} entries, of which the first {most} were read")
        if problems:
            raise Refused("; ".join(problems), [entry for _, entry in kept])
        return [entry for _, entry in kept]

    return read_list


def mapping_of(read: Read) -> Read:
    """Return a reader of mappings of names that keeps the good values."""

    name = text_of()

    def read_mapping(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refused("is no mapping")
        if len(value) > _MOST:
            raise Refused(f"has {len(value)} entries")
        named, wrong = _each(name, ((key, key) for key in value), "the name ")
        kept, problems = _each(read, ((key, value[key]) for _, key in named))
        if wrong or problems:
            raise Refused("; ".join([*wrong, *problems]), dict(kept))
        return dict(kept)

    return read_mapping


def entry_of(fields: Mapping[str, Read], required: Sequence[str] = (), *, whole: bool = True) -> Read:
    """Return a reader of mappings that keeps known keys only and treats None, except as exit code, as absent.

    With `whole`, one wrong value refuses the mapping; without, only that key.
    """

    def read_entry(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refused("is no mapping")
        given = [
            (key, value[key])
            for key, read in fields.items()
            if key in value and (value[key] is not None or read is read_code)
        ]
        kept: dict[str, Any] = {}
        problems = []
        lost = False
        for key, each in given:
            try:
                kept[key] = fields[key](each)
            except Refused as error:
                if error.kept is not NOTHING:
                    kept[key] = error.kept
                lost = lost or (whole and error.kept is NOTHING)
                problems.append(f"{key} {error}")
        missing = [key for key in required if key not in kept]
        problems += [f"{key} is missing" for key in missing if value.get(key) is None]
        if problems:
            raise Refused(", ".join(problems), *([] if lost or missing else [kept]))
        return kept

    return read_entry


def tarball_of(read: Read) -> Read:
    """Return a reader of tarballs that refuses one whose category, name or stamp differ from its path."""

    def read_tarball(value: Any) -> Any:
        entry = read(value)
        if is_relpath(entry["relpath"]):
            category, name, stamp, _ = split_relpath(entry["relpath"])
            for key, expected in (("category", category), ("name", name), ("stamp", stamp)):
                if entry.get(key, expected) != expected:
                    raise Refused(f"has another {key} than its path {shortened(entry['relpath'])}")
        if entry.get("state") == "verified" and not ("size" in entry and entry.get("dig") and entry.get("alg")):
            raise Refused(f"{shortened(entry['relpath'])} is verified, but without size, digest and algorithm")
        return entry

    return read_tarball


def either(*reads: Read) -> Read:
    """Return a reader of what any of `reads` takes."""

    def read(value: Any) -> Any:
        problems = []
        for each in reads:
            try:
                return each(value)
            except Refused as error:
                problems.append(str(error))
        raise Refused(" and ".join(problems))

    return read


def _each(read: Read, entries: Any, title: str = "") -> tuple[list[tuple[Any, Any]], list[str]]:
    """Return (name, read value) of the good entries, and messages on the others; `entries` are (name, value) pairs."""
    kept, problems = [], []
    for name, entry in entries:
        try:
            kept.append((name, read(entry)))
        except Refused as error:
            if error.kept is not NOTHING:
                kept.append((name, error.kept))
            problems.append(f"{title}{shortened(name)} {error}")
    more = len(problems) - _NAMED
    return kept, [*problems[:_NAMED], *([f"{more} more"] if more > 0 else [])]


def shortened(value: Any, most: int = 160) -> str:
    """Return the value as one line of at most `most` characters."""
    text = one_line(str(value)[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."


class Refused(ValueError):
    """Raised for a value that is outside its type or bounds: why, and what part of it can be kept."""

    def __init__(self, reason: str, kept: Any = NOTHING) -> None:
        super().__init__(reason)
        self.kept = kept
