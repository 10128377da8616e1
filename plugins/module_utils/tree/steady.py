"""How many tarballs of an item rules keep once they are filled, where it changes every night."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_WEEK, _MONTH, _YEAR = 7, 31, 366
"""Days of a period, at most"""
_SECONDS = 86400


def filled(rules: Any) -> int:
    """Given how many an item keeps, as a number or as {rule: number} with `within` in seconds, return how many tarballs that comes to.

    Each rule of the calendar adds the periods that reach back further than what those before it keep.
    """
    numbers: Mapping[str, Any] = rules if isinstance(rules, Mapping) else {"keep": rules}
    keep, daily, weekly, monthly, yearly, within = (
        float(numbers.get(word) or 0) for word in ("keep", "daily", "weekly", "monthly", "yearly", "within")
    )
    copies = days = max(keep, daily, float(math.ceil(within / _SECONDS)), 1.0)
    for number, length in ((weekly, _WEEK), (monthly, _MONTH), (yearly, _YEAR)):
        copies += max(0.0, number - (days // length + 1))
        days = max(days, number * length)
    return int(copies)
