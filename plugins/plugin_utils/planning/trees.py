"""The trees and bases that the plan gives to nodes, and which of them a run can use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .connections import is_fetched

_SHARED = ("check_scope", "reverify_days", "proof_age", "nice", "ionice")
"""What the trees of a node have from it, with the settings of its drills"""


def open_trees(trees: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Given trees and what a run knows, return those that can be used, on nodes that are not down; nodes that have failed already come last."""
    failed = {entry.get("delegate") or entry.get("node") for entry in state.get("failures", [])}
    down, closed = state.get("down", []), state.get("closed", [])
    open_ones = [dict(tree) for tree in trees if tree["node"] not in down and not _needed(tree) & set(closed)]
    return sorted(open_ones, key=lambda tree: tree["node"] in failed)


def _needed(tree: Mapping[str, Any]) -> set[str]:
    """Given a tree, return `node:base` of the folders without which it cannot be used: its own, and on a target the one of all."""
    base = str(tree.get("base"))
    bases = {base} if tree.get("role") == "source" else {base, os.path.dirname(base)}
    return {f"{tree['node']}:{entry}" for entry in bases}


def source_trees(plan: Mapping[str, Any], source: str, targets: bool = False) -> list[dict[str, Any]]:
    """Given the plan and a source, return its own tree, or its trees on its targets, each with the name of its node."""
    nodes = plan["sources"][source]["targets"] if targets else [source]
    role = "target" if targets else "source"
    return [
        tree for node in nodes for tree in node_trees(plan, node) if tree["source"] == source and tree["role"] == role
    ]


def serving_rounds(
    trees: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], source: str
) -> list[list[dict[str, Any]]]:
    """Given a source's trees on targets, the plan and the source, return the trees in the rounds in which they are served.

    Those that are sent to are served at once, those that fetch one by one, so that none has a slot while another one fetches.
    """
    sent = [dict(tree) for tree in trees if not is_fetched(plan, source, tree["node"])]
    fetched = [dict(tree) for tree in trees if is_fetched(plan, source, tree["node"])]
    return [*([sent] if sent else []), *([tree] for tree in fetched)]


def node_trees(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Given the plan and a node, return all trees on it, each with the name of the node."""
    entry = plan["nodes"].get(node, {"trees": []})
    shared = {name: value for name, value in entry.items() if name in _SHARED or name.startswith("drill_")}
    return [{**tree, "node": node, **shared} for tree in entry["trees"]]


def base_owners(plan: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Given the plan and a node, return whose its base folders are: it has one as a source, one as a target, or both."""
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
    """Given the plan, a source and what the run knows of it, return what tells it from others, nothing where preflight did not tell the id.

    Name, base and whether it is adopted are the plan's; the id and the machine alone are what the node says.
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
    """Given the plan and a node, return the base folders that must be marked on it."""
    source, target = plan["sources"].get(node), plan["targets"].get(node)
    return ([source["base"]] if source else []) + ([target["target_base"]] if target else [])
