"""Trees and bases of nodes in the plan, and which of them a run can use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .connections import is_fetched

_SHARED = ("check_scope", "reverify_days", "proof_age", "nice", "ionice")
"""Settings that trees take from their node, beside those of drills"""


def open_trees(trees: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the usable trees, on nodes that are not down; those on nodes with failures come last. `state` is the run's."""
    failed = {entry.get("delegate") or entry.get("node") for entry in state.get("failures", [])}
    down, closed = state.get("down", []), state.get("closed", [])
    open_ones = [dict(tree) for tree in trees if tree["node"] not in down and not _needed(tree) & set(closed)]
    return sorted(open_ones, key=lambda tree: tree["node"] in failed)


def _needed(tree: Mapping[str, Any]) -> set[str]:
    """Return `node:base` of the folders that a tree needs: its own and, on a target, that of all sources."""
    base = str(tree.get("base"))
    bases = {base} if tree.get("role") == "source" else {base, os.path.dirname(base)}
    return {f"{tree['node']}:{entry}" for entry in bases}


def source_trees(plan: Mapping[str, Any], source: str, targets: bool = False) -> list[dict[str, Any]]:
    """Return the own tree of a source or, with `targets`, its trees on targets, each with its node."""
    nodes = plan["sources"][source]["targets"] if targets else [source]
    role = "target" if targets else "source"
    return [
        tree for node in nodes for tree in node_trees(plan, node) if tree["source"] == source and tree["role"] == role
    ]


def serving_rounds(
    trees: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], source: str
) -> list[list[dict[str, Any]]]:
    """Return a source's trees on targets, in rounds that are served one after the other.

    Targets that are sent to are the first round; each that fetches is one more, so that none holds a slot while another fetches.
    """
    sent = [dict(tree) for tree in trees if not is_fetched(plan, source, tree["node"])]
    fetched = [dict(tree) for tree in trees if is_fetched(plan, source, tree["node"])]
    return [*([sent] if sent else []), *([tree] for tree in fetched)]


def node_trees(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return all trees on a node, each with the node's name."""
    entry = plan["nodes"].get(node, {"trees": []})
    shared = {name: value for name, value in entry.items() if name in _SHARED or name.startswith("drill_")}
    return [{**tree, "node": node, **shared} for tree in entry["trees"]]


def base_owners(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return the owners of a node's base folders: itself as a source, as a target, or both."""
    roles = (("source", "sources", "base"), ("target", "targets", "target_base"))
    return [
        {
            "base": plan[part][node][key],
            "role": role,
            "name": str(node),
            "former_names": plan[part][node].get("former_names", []),
        }
        for role, part, key in roles
        if node in plan[part]
    ]


def origin(plan: Mapping[str, Any], source: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of a source, {} if preflight did not learn its id.

    Name, base and whether it is adopted are the plan's; id and machine are reported by the node.
    """
    known = (state.get("identities") or {}).get(f"source {source}")
    if not known:
        return {}
    told = {"id": known["id"], "machine": known.get("machine", "")}
    return {
        "name": str(source),
        "base": plan["sources"][source]["base"],
        **told,
        "adopt": source in plan.get("adopted_nodes", ()),
    }


def node_bases(plan: Mapping[str, Any], node: str) -> list[str]:
    """Return the base folders that must have a marker on a node."""
    source, target = plan["sources"].get(node), plan["targets"].get(node)
    return ([source["base"]] if source else []) + ([target["target_base"]] if target else [])
