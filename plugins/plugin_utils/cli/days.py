"""Reads the day that a user names."""

from __future__ import annotations

import re
from datetime import date, timedelta

from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.stamps import interpret_day, is_stamp

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LEAST = 3
"""Fewest letters of a weekday that are accepted"""


def read_day(text: str, today: str) -> str:
    """Return the day `YYYY/MM/DD` or stamp that `text` names, "" for "". Raise InvalidInput.

    It may be `today`, `yesterday`, a weekday (the last one before today), `-1`, a date with slashes or dashes, or a stamp.
    """
    word = text.strip().lower()
    if not word or is_stamp(word):
        return word
    if word in ("today", "0"):
        return today
    if word == "yesterday":
        return interpret_day("-1", today)
    meant = [number for number, name in enumerate(WEEKDAYS) if len(word) >= _LEAST and name.startswith(word)]
    if meant:
        now = date.fromisoformat(today.replace("/", "-"))
        back = (now.weekday() - meant[0] - 1) % 7 + 1
        return (now - timedelta(days=back)).isoformat().replace("-", "/")
    dashed = re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", word, re.ASCII)
    try:
        return interpret_day("/".join(dashed.groups()) if dashed else word, today)
    except InvalidInput:
        raise InvalidInput(
            f"{text!r} is no night: write a weekday like tue, today, yesterday, days back like -1, a date like 2026/11/23, or a "
            "stamp like 2026/11/23/013000"
        ) from None
