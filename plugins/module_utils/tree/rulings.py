"""Retention rules as users give them: numbers for all items, and for items that have their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..system.errors import InvalidInput
from ..system.values import nearest, parse_count, parse_keep, parse_span, quoted
from .retention import Rules

RULES = ("daily", "weekly", "monthly", "yearly", "within")
"""The rules besides the number of days and contents"""


@dataclass(frozen=True)
class Ruling:
    """The rules of all items of a base."""

    keeps: Mapping[str, int]
    """{category/name: days and contents}; the empty key is for all items that are not named"""
    rules: Mapping[str, float] = field(default_factory=dict)
    """{rule: number}, for all items"""
    own: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """{category/name: {rule: number}}, which take precedence"""

    def of(self, key: str) -> Rules | None:
        """Return an item's rules, None if its number of days and contents is not given."""
        keep = self.keeps.get(key, self.keeps.get("", 0))
        chosen: dict[str, Any] = {**self.rules, **self.own.get(key, {})}
        return Rules(keep, **chosen) if keep else None


def parse_ruling(keep: object, rules: object, where: str, keeps: Mapping[str, Any] | None = None) -> Ruling:
    """Return checked rules; `keep` is a number of days and contents to retain, or {category/name: number}.

    `rules` is {rule: number}, for all items, with {category/name: {rule: number}} for items that have their own; `keeps` has the days and
    contents of those. Raise InvalidInput.
    """
    if not isinstance(rules, Mapping):
        raise InvalidInput(f"{where}: rules {quoted(rules)} is not a mapping of {', '.join(RULES)}")
    given = dict(rules)
    own = {key: given.pop(key) for key in [*given] if "/" in str(key)}
    return Ruling(
        {**_parse_keeps(keep, where), **(_parse_keeps(keeps, where) if keeps else {})},
        parse_rules(given, where),
        {str(key): parse_rules(values, f"{where}: {key}") for key, values in own.items()},
    )


def parse_rules(values: object, where: str, also: Sequence[str] = ()) -> dict[str, float]:
    """Return {rule: number} checked, with `within` in seconds, also given with a unit.

    `also` are words to suggest for an unknown rule. Raise InvalidInput.
    """
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{where}: {quoted(values)} is not a mapping of {', '.join(RULES)}")
    for rule in values:
        if rule not in RULES:
            raise InvalidInput(f"{where}: unknown rule {quoted(rule)}, {nearest(str(rule), (*also, *RULES))}")
    return {
        str(rule): parse_span(value, f"{where}: {rule}") if rule == "within" else parse_count(value, f"{where}: {rule}")
        for rule, value in values.items()
        if value is not None
    }


def _parse_keeps(keep: object, where: str) -> dict[str, int]:
    if not isinstance(keep, Mapping):
        return {"": parse_keep(keep, where)}
    if not keep:
        raise InvalidInput(f"{where}: keep names no item")
    for key in keep:
        if not re.fullmatch("[^/]+/[^/]+", str(key)):
            raise InvalidInput(f"{where}: keep names {key!r}, which is not category/name")
    return {str(key): parse_keep(value, f"{where}: {key}") for key, value in keep.items()}
