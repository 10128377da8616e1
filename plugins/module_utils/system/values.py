"""Values as users write them, whatever they are of, and what messages say of one that is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from .errors import InvalidInput
from .units import first_of

_QUOTED = 160
"""Most characters of a value that a message shows"""
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def quoted(value: object) -> str:
    """Given a value that is refused, return what of it a message shows."""
    text = repr(value)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}..."


def nearest(word: str, known: Sequence[str], right: Collection[str] = ()) -> str:
    """Given an unknown word and those of its kind that are known, return a hint at the nearest, or at all of them if they are few.

    What is not meant is no guess: the word itself, and those of the known ones that are `right` as they are.
    """
    import difflib  # of use only where something is wrong

    known = [other for other in dict.fromkeys(known) if other != word]
    if not known:
        return "no other one is known"
    shared = word[: word.rfind("/") + 1]
    start = len(shared) if all(other.startswith(shared) for other in known) else 0
    meant = {other[start:]: other for other in known if other not in right}
    close = [meant[other] for other in difflib.get_close_matches(word[start:], meant, 1, 0.6)]
    return f"did you mean {close[0]!r}?" if close else f"known are {first_of(known, 20)}"


def parse_keep(value: object, where: str) -> int:
    """Given a number of days and contents to retain, return it. Raise InvalidInput unless positive and whole."""
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or int(text) < 1:
        raise InvalidInput(f"{where}: keep {quoted(value)} is not a positive whole number")
    return int(text)


def parse_count(value: object, where: str) -> int:
    """Given how many of something to retain, return it. Raise InvalidInput unless it is whole, and not below 0."""
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise InvalidInput(f"{where} {quoted(value)} is not a whole number: write how many, like 7, or 0 for none")
    return int(text)


def seconds_of(value: object) -> float | None:
    """Given seconds, or a text like `15s`, `2m`, `6h`, `1d`, return seconds, None for what is neither."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd]?)", str(value).strip(), re.ASCII)
    return float(match[1]) * _SECONDS[match[2]] if match and not isinstance(value, bool) else None


def parse_span(value: object, where: str) -> float:
    """Given how far back all is retained, return seconds. Raise InvalidInput unless it is a duration, or 0."""
    seconds = seconds_of(value)
    if seconds is None:
        raise InvalidInput(
            f"{where} {quoted(value)} is not a duration: write seconds, or a number and a unit, like 36h or 1d, or 0 for none"
        )
    return seconds


def parse_part(value: object) -> float:
    """Given a part of a whole, like 0.3 or `30%`, return it as a number above 0 and up to 1. Raise InvalidInput."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?|\.\d{1,6})\s*(%?)", str(value).strip(), re.ASCII)
    part = float(match[1]) / (100 if match[2] else 1) if match and not isinstance(value, bool) else 0.0
    if not 0 < part <= 1:
        raise InvalidInput(f"{quoted(value)} is not a part above 0 and up to all: write one, like 30% or 0.3")
    return part
