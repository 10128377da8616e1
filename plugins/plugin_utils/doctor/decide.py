"""All findings on an inventory, from the plan, the nodes' facts, and the controller. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import inventory, nodes, ways
from .finding import OK, UNKNOWN, WRONG, Commands, Finding

_ORDER = {WRONG: 0, UNKNOWN: 1, OK: 2}
MAIL = "mail"


def decide(
    plan: Mapping[str, Any],
    groups: Iterable[str],
    examined: Mapping[str, Mapping[str, Any]],
    dialled: Mapping[str, Mapping[str, Any]],
    commands: Commands,
) -> list[Finding]:
    """Return the findings on inventory, nodes and pairs.

    `groups` are names of all groups, `examined` is {node: result of its examination}, `dialled` is {node: how the controller reaches it}.
    """
    known = {node: entry["facts"] for node, entry in examined.items() if entry.get("facts") and not entry.get("said")}
    found = inventory.errors(plan, groups, commands)
    for node in plan["nodes"]:
        entry = examined.get(node, {})
        found += nodes.reached(node, entry, dialled.get(node, {}), commands)
        if node in known:
            found += nodes.examined(node, known[node], entry.get("after"), commands)
    found += ways.pairs(plan, known, dialled, commands)
    found += nodes.together(known, plan, commands)
    return found


def ordered(findings: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return plain findings, wrong ones first, each once."""
    unique = {tuple(sorted(entry.items())): dict(entry) for entry in findings}
    return sorted(unique.values(), key=lambda entry: _ORDER.get(entry["state"], 0))


def is_wrong(findings: Iterable[Mapping[str, str]]) -> bool:
    """Return whether any finding is wrong."""
    return any(entry["state"] == WRONG for entry in findings)


def lines(findings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return plain findings as lines of a log: those that are not right, with what mends them, and a count of those that are."""
    told = []
    for entry in findings:
        if entry["state"] == OK:
            continue
        told.append(f"{entry['state']}: {entry['pair'] or entry['node']}: {entry['what']}: {entry['why']}")
        if entry["mend"]:
            told.append(f"    {entry['mend']}")
    count = sum(entry["state"] == OK for entry in findings)
    return [*told, f"{count} of {len(findings)} things are right"]
