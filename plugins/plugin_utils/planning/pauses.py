"""Planned pauses: until when nothing is to come from a source, or to a target. Pure."""

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
    """Given the nodes of a plan, the settings of some, the zone and the time, enter when the pause of each ends (0 for none); return errors."""
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
    """Given a plan, a source and one of its nodes, return until when nothing is to come there, in seconds since 1970, 0 for none."""
    return float(max(plan["nodes"].get(name, {}).get("pause_until") or 0.0 for name in (source, node)))


def pauses(plan: Mapping[str, Any], now: float) -> dict[str, float]:
    """Given a plan and the time, return {node: until when} of the pauses that are not over."""
    return {node: entry["pause_until"] for node, entry in plan["nodes"].items() if entry.get("pause_until", 0.0) > now}
