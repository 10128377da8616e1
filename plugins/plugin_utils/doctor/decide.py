"""All findings on an inventory, from the plan, the nodes' facts, and the controller. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import connections, encryption, inventory, nodes, stores, watching
from .facts import examined_facts
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
    told = {
        node: examined_facts(entry["facts"])
        for node, entry in examined.items()
        if entry.get("facts") and not entry.get("said")
    }
    known = {node: facts for node, (facts, _) in told.items()}
    found = inventory.errors(plan, groups, commands)
    for node in plan["nodes"]:
        entry = examined.get(node, {})
        found += nodes.reached(node, entry, dialled.get(node, {}), commands)
        if node in known:
            allowed = {**plan["sources"].get(node, {}), **plan["targets"].get(node, {})}["allow_root_filesystem"]
            found += nodes.examined(node, known[node], entry.get("after"), commands, allow_root=allowed)
            found += nodes.untrue(node, told[node][1])
            found += watching.findings(plan, node, known[node], commands)
    found += nodes.together(known, plan, commands)
    found += connections.pairs(plan, known, dialled, commands)  # a pair is set up between nodes that are in order
    found += encryption.findings(plan, known, commands)
    found += stores.findings(plan, known, commands)
    return found


def sheet(plan: Mapping[str, Any], examined: Mapping[str, Mapping[str, Any]], when: str) -> str:
    """Return the recovery sheet, with `when` as its date, empty where nothing is encrypted; `examined` is {node: what its examination came to}."""
    return encryption.sheet(plan, {node: entry.get("facts") or {} for node, entry in examined.items()}, when)


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
