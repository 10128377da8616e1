"""Groups of an inventory that give hosts a role in backups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .inventory_errors import Errors
from .variable_names import distance

SOURCES = "sources"
TARGETS = "targets"
STORES = "stores"
_OF_PARTS = (
    "altbackup_items",
    "altbackup_discover",
    "altbackup_base",
    "altbackup_target_base",
    "altbackup_store_remote",
)
"""Variables that only a host with a role in backups needs; the first two have names that nothing else uses by chance"""


def check_outside(
    outside: Sequence[str],
    variables: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    errors: Errors,
) -> list[str]:
    """Add an error for each host in no group that was clearly meant to be in one; return notes on those that may have been.

    `outside` are the hosts in none of the groups, `groups` {group: hosts}. A variable that all hosts have may come from group all, and
    counts for nothing.
    """
    notes = []
    telling = [name for name in _OF_PARTS if any(name not in variables.get(host, {}) for host in errors.hosts)]
    for host in outside:
        own = [name for name in telling if variables.get(host, {}).get(name) not in (None, "", [], {})]
        near = [
            (group, meant) for group, members in groups.items() if host in members for meant in _intended_group(group)
        ]
        if own and near:
            group, meant = near[0]
            text = (
                f"is set, but the host is in neither group {SOURCES} nor {TARGETS}{_nor(own[0])}, so it has no part in backups; it is in "
                f"{group!r}, did you mean {meant!r}?"
            )
            errors.add(host, own[0], text)
        elif own and own[0] in _OF_PARTS[:2]:
            notes.append(
                f"{host}: {own[0]} is set, but the host is in neither group {SOURCES} nor {TARGETS}, so nothing of it is backed up: "
                f"add it to {SOURCES}, or take the variable away"
            )
    return notes


def _nor(variable: str) -> str:
    return f" nor {STORES}" if variable == _OF_PARTS[-1] else ""


def _intended_group(name: str) -> list[str]:
    """Return which of the three groups was meant by a misspelled name, [] if none."""
    lower = name.lower()
    return [
        meant
        for meant in (SOURCES, TARGETS, STORES)
        if name != meant and distance(lower, meant, 2) <= (2 if sorted(lower) == sorted(meant) else 1)
    ]
