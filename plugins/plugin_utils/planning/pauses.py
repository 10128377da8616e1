"""Planned pauses: until when no backups are expected from a source, or at a target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.stamps import earliest_moment
from ...module_utils.tree.watching import LONGEST_PAUSE

NAME = "altbackup_pause_until"


def set_pauses(
    nodes: Mapping[str, dict[str, Any]], values: Mapping[str, Mapping[str, Any]], timezone: str, now: float
) -> list[str]:
    """Set `pause_until` of each node, in seconds since 1970, 0 for none; return errors. `values` is {host: settings}, `now` in seconds since 1970."""
    errors = []
    for host, settings in values.items():
        nodes[host].setdefault("pause_until", 0.0)
        stamp = settings[NAME]
        if not stamp:
            continue
        try:
            until = earliest_moment(stamp, timezone)
        except InvalidInput as error:
            errors.append(f"{host}: {NAME}: {error}")
            continue
        if until > now + LONGEST_PAUSE:
            errors.append(
                f"{host}: {NAME} is more than {LONGEST_PAUSE / 86400:.0f} days ahead: write a day before that"
            )
        else:
            nodes[host]["pause_until"] = max(until, nodes[host]["pause_until"])
    return errors


def pause_of(plan: Mapping[str, Any], source: str, node: str) -> float:
    """Return when the pause of a source or of one of its nodes ends, the later one, in seconds since 1970; 0 for none."""
    return float(max(plan["nodes"].get(name, {}).get("pause_until") or 0.0 for name in (source, node)))


def pauses(plan: Mapping[str, Any], now: float) -> dict[str, float]:
    """Return {node: end in seconds since 1970} of the pauses that are not over."""
    return {node: entry["pause_until"] for node, entry in plan["nodes"].items() if entry.get("pause_until", 0.0) > now}
