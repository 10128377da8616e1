"""Parsers for values of users' settings, and the messages about refused ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from .errors import InvalidInput
from .units import first_of

_QUOTED = 160
"""Most characters of a value in a message"""
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def quoted(value: object) -> str:
    """Return a refused value as a message shows it: its repr, cut to 160 characters."""
    text = repr(value)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}..."


def nearest(word: str, known: Sequence[str], right: Collection[str] = ()) -> str:
    """Return a hint about an unknown word: the nearest known one, or all if they are few.

    Neither the word itself nor known ones that are `right`, so used correctly already, are suggested.
    """
    known = [other for other in dict.fromkeys(known) if other != word]
    if not known:
        return "no other one is known"
    shared = word[: word.rfind("/") + 1]
    start = len(shared) if all(other.startswith(shared) for other in known) else 0
    meant = {other[start:]: other for other in known if other not in right}
    close = closest(word[start:], list(meant))
    return f"did you mean {meant[close]!r}?" if close in meant else f"known are {first_of(known, 20)}"


def closest(word: str, known: Sequence[str]) -> str:
    """Return the known word that an unknown one is most likely a misspelling of, "" if none is near; one of the same letters goes first."""
    import difflib  # of use only where something is wrong

    near = difflib.get_close_matches(word, known, 5, 0.6)
    same = [other for other in near if sorted(other) == sorted(word)]
    return next(iter([*same, *near]), "")


def parse_keep(value: object, where: str) -> int:
    """Return a number of days and contents to retain; `where` begins the message. Raise InvalidInput unless it is positive and whole."""
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or int(text) < 1:
        raise InvalidInput(f"{where}: keep {quoted(value)} is not a positive whole number")
    return int(text)


def parse_count(value: object, where: str) -> int:
    """Return how many of something to retain. Raise InvalidInput unless it is whole and not negative."""
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise InvalidInput(f"{where} {quoted(value)} is not a whole number: write how many, like 7, or 0 for none")
    return int(text)


def seconds_of(value: object) -> float | None:
    """Return the seconds of a number or of a text like `15s`, `2m`, `6h`, `1d`; None for anything else."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd]?)", str(value).strip(), re.ASCII)
    return float(match[1]) * _SECONDS[match[2]] if match and not isinstance(value, bool) else None


def parse_span(value: object, where: str) -> float:
    """Return the seconds of a duration within which everything is retained. Raise InvalidInput unless it is a duration, or 0."""
    seconds = seconds_of(value)
    if seconds is None:
        raise InvalidInput(
            f"{where} {quoted(value)} is not a duration: write seconds, or a number and a unit, like 36h or 1d, or 0 for none"
        )
    return seconds


def parse_part(value: object) -> float:
    """Return a part of a whole, like 0.3 or `30%`, as a number above 0 and up to 1. Raise InvalidInput."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?|\.\d{1,6})\s*(%?)", str(value).strip(), re.ASCII)
    part = float(match[1]) / (100 if match[2] else 1) if match and not isinstance(value, bool) else 0.0
    if not 0 < part <= 1:
        raise InvalidInput(f"{quoted(value)} is not a part above 0 and up to all: write one, like 30% or 0.3")
    return part
