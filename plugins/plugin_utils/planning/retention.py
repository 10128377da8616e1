"""Retention rules of nodes and items, from their variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.units import counted
from ...module_utils.tree.rulings import RULES
from .settings import PREFIX

KEEP = f"{PREFIX}keep"
_OF_TARGETS: dict[str, float] = {"daily": 7, "weekly": 4, "monthly": 6, "yearly": 0, "within": 86400.0}
"""Rules of a target without any: a few changed nights must not push out the whole history"""


def node_rules(values: Mapping[str, Any], given: Mapping[str, Any], *, target: bool) -> dict[str, float]:
    """Return {rule: number} of a source or target; `values` are its settings, `given` the variables that it was given."""
    chosen = {rule: values[f"{KEEP}_{rule}"] for rule in RULES}
    rest = _OF_TARGETS if target and not has_keep_alone(given) else {}
    return {rule: rest.get(rule, 0) if number is None else number for rule, number in chosen.items()}


def has_keep_alone(given: Mapping[str, Any]) -> bool:
    """Return whether a target has altbackup_keep and no other rule: its disk may be sized for just that."""
    return given.get(KEEP) is not None and all(given.get(f"{KEEP}_{rule}") is None for rule in RULES)


def keep_alone_note(host: str, keep: int) -> str:
    """Return a note on a target with altbackup_keep alone: what it does not keep, and how it would."""
    return (
        f"{host}: altbackup_keep is set, and no other rule, so as a target it keeps the last "
        f"{counted(keep, 'day and content', 'days and contents')} and nothing older: "
        "set altbackup_keep_daily, _weekly or _monthly, too, for a longer past (docs/retention.md)"
    )


def item_keeps(place: Mapping[str, Any], items: list[dict[str, Any]]) -> dict[str, int]:
    """Return {category/name: days and contents to keep}; `place` is a source or a tree, `items` are the plan's."""
    return {_key(item): _own(item).get("keep") or place["keep"] for item in items}


def item_rules(place: Mapping[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return {rule: number} for all items and, in the same mapping, {category/name: {rule: number}} for single ones."""
    own = {_key(item): {rule: number for rule, number in _own(item).items() if rule != "keep"} for item in items}
    common = {rule: number for rule, number in place["rules"].items() if rule in RULES}
    return {**common, **{key: rules for key, rules in own.items() if rules}}


def _own(item: Mapping[str, Any]) -> Mapping[str, Any]:
    keep = item.get("keep")
    return keep if isinstance(keep, Mapping) else {"keep": keep}


def _key(item: Mapping[str, Any]) -> str:
    return f"{CATEGORIES[item['kind']]}/{item['name']}"
