"""How many tarballs of an item rules keep once they are filled, where it changes every night."""

from __future__ import annotations

import math

from .retention import Rules

_WEEK, _MONTH, _YEAR = 7, 31, 366
"""Days of a period, at most"""
_SECONDS = 86400


def filled(rules: Rules) -> int:
    """Given rules, return how many tarballs they keep of an item that changes every night, once they are filled.

    Each rule of the calendar adds the periods that reach back further than what those before it keep.
    """
    copies = days = max(rules.keep, rules.daily, math.ceil(rules.within / _SECONDS))
    for number, length in ((rules.weekly, _WEEK), (rules.monthly, _MONTH), (rules.yearly, _YEAR)):
        copies += max(0, number - (days // length + 1))
        days = max(days, number * length)
    return copies
