"""Number of tarballs that filled retention rules keep of an item that changes every night."""

from __future__ import annotations

import math

from .retention import Rules

_WEEK, _MONTH, _YEAR = 7, 31, 366
"""Most days of a period"""
_SECONDS = 86400


def filled(rules: Rules) -> int:
    """Return how many tarballs filled rules keep of an item that changes every night.

    Each calendar rule adds the periods that reach back further than what the rules before it keep.
    """
    copies = days = max(rules.keep, rules.daily, math.ceil(rules.within / _SECONDS))
    for number, length in ((rules.weekly, _WEEK), (rules.monthly, _MONTH), (rules.yearly, _YEAR)):
        copies += max(0, number - (days // length + 1))
        days = max(days, number * length)
    return copies
