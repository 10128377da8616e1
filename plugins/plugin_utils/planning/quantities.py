"""Durations, sizes and rates as text."""

from __future__ import annotations

import re

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.values import seconds_of
from ..report.secrecy import quoted

_BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse_duration(value: object) -> float:
    """Return seconds above 0, from seconds or a text like `15s`, `2m`, `6h`, `1d`. Raise InvalidInput."""
    seconds = seconds_of(value)
    if not seconds:
        raise InvalidInput(
            f"{quoted(value)} is not a duration above 0: write seconds, or a number and a unit, like 15s, 2m, 6h"
        )
    return seconds


def parse_size(value: object) -> int:
    """Return bytes, from bytes or a text like `20G`; 0, for no limit, from an empty one. Raise InvalidInput."""
    text = str(value).strip()
    if not text:
        return 0
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,6})?)\s*([KMGT]?)", text.upper(), re.ASCII)
    size = int(float(match[1]) * _BYTES[match[2]]) if match and not isinstance(value, bool) else 0
    if size <= 0:
        raise InvalidInput(
            f"{quoted(value)} is not a number of bytes above 0: write one with K, M, G or T, like 20G, or leave it empty"
        )
    return size


def parse_rate(value: object, least: int = 1024) -> int:
    """Return bytes per second, at least `least`, from a number or a text like `10M`; 0, for no limit, from an empty one. Raise InvalidInput."""
    text = str(value).strip()
    if not text:
        return 0
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMG]?)", text.upper(), re.ASCII)
    rate = int(float(match[1]) * _BYTES[match[2]]) if match and not isinstance(value, bool) else 0
    if rate < least:
        raise InvalidInput(
            f"{quoted(value)} is not a rate of at least {'1K' if least == 1024 else least} bytes a second: "
            "write a number with K, M or G, like 10M, or leave it empty"
        )
    return rate


_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def age(seconds: float | None) -> str:
    """Return an age in one unit, as 35 min, 31 h or 12 d; `never` for None."""
    if seconds is None:
        return "never"
    for size, unit in _AGES:
        if seconds >= size and (unit != "d" or seconds >= 2 * size):
            return f"{int(seconds // size)} {unit}"
    return "now"
