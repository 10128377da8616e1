"""Numbers of bytes for people."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def readable(size: int, digits: int = 2) -> str:
    """Return a number of bytes in units of 1,024 with that many digits: 999 bytes, 1.5 KiB, 42 MiB, 420 GiB."""
    if abs(size) < 1000:
        return f"{size} byte{'' if size == 1 else 's'}"
    value, power = size / 1024, 0
    while abs(value) >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    decimals = max(0, digits - len(f"{abs(value):.{digits}f}".partition(".")[0]))
    return f"{value:.{decimals}f} {_UNITS[power]}"


def told_apart(one: int, other: int) -> tuple[str, str]:
    """Return two numbers of bytes with as many digits as it takes to tell them apart, or else in bytes."""
    for digits in range(2, 6):
        words = readable(one, digits), readable(other, digits)
        if one == other or words[0] != words[1]:
            return words
    return f"{one} bytes", f"{other} bytes"


def shortage(needed: int, free: int, kept: int = 0, *, purpose: str = "", where: str = "") -> str:
    """Return that bytes are needed which are not free: how many, how many have to stay free, how many are free, and how many are lacking.

    `purpose` follows the needed ones, as in ` for 2 tarballs`, and `where` the free ones, as in ` in /data`.
    """
    words, left = told_apart(needed, free)
    stays = f", and {readable(kept)} have to stay free" if kept else ""
    return f"{words} are needed{purpose}{stays}, but only {left} are free{where}: {readable(needed + kept - free)} are lacking"


def and_more(total: int, shown: int) -> str:
    """Return the end of a list that shows some of `total` entries, ` and 3 more`; empty if it shows all."""
    return f" and {total - shown} more" if total > shown else ""


def first_of(texts: Sequence[str], most: int) -> str:
    """Return the first texts, at most `most`, in one line, and how many more there are."""
    return f"{', '.join(texts[:most])}{and_more(len(texts), most)}"


def counted(number: int, thing: str, things: str = "") -> str:
    """Return a number with its noun: 1 object, 2 objects."""
    return f"{number} {noun(number, thing, things)}"


def noun(number: int, thing: str, things: str = "") -> str:
    """Return the noun that agrees with a number: object, objects."""
    return thing if number == 1 else things or f"{thing}s"


def either_of(words: Sequence[str]) -> str:
    """Return alternatives as text, an empty one in words: empty, cron or systemd."""
    named = [word or "empty" for word in words]
    return " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
