"""Numbers of bytes as people read them."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def readable(size: int, digits: int = 2) -> str:
    """Given a number of bytes, return it in units of 1,024 with that many digits: 999 bytes, 1.5 KiB, 42 MiB, 420 GiB."""
    if abs(size) < 1000:
        return f"{size} byte{'' if size == 1 else 's'}"
    value, power = size / 1024, 0
    while abs(value) >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    decimals = max(0, digits - len(f"{abs(value):.{digits}f}".partition(".")[0]))
    return f"{value:.{decimals}f} {_UNITS[power]}"


def told_apart(one: int, other: int) -> tuple[str, str]:
    """Given two numbers of bytes, return both as readable does, with as many digits as tell them apart, or else in bytes."""
    for digits in range(2, 6):
        words = readable(one, digits), readable(other, digits)
        if one == other or words[0] != words[1]:
            return words
    return f"{one} bytes", f"{other} bytes"


def and_more(total: int, shown: int) -> str:
    """Given how many there are and how many of them a text names, return how it ends: ` and 3 more`, empty where it names all."""
    return f" and {total - shown} more" if total > shown else ""


def first_of(texts: Sequence[str], most: int) -> str:
    """Given texts, return the first of them, at most so many, in one line, and how many more there are."""
    return f"{', '.join(texts[:most])}{and_more(len(texts), most)}"


def counted(number: int, thing: str, things: str = "") -> str:
    """Given a number and what is counted, return both as a person reads them: 1 object, 2 objects."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
