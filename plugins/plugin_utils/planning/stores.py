"""Stores in a plan: their settings, who fills them, and with which trees."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.tree.layout import MARKER

_TAKEN = ("absent_for", "reverify_days", "max_age", "keep", "bwlimit", "connect_timeout", "io_timeout", "step_timeout")
_OF_MODULE = (
    "remote",
    "config",
    "environment",
    "lock_days",
    "lock_mode",
    "absent_for",
    "bwlimit",
    "connect_timeout",
    "io_timeout",
)
"""Settings of a store that modules get, beside its name"""
_OWN = ("remote", "config", "environment", "lock_days", "lock_mode", "drill")


def store_entry(values: Mapping[str, Any], rules: Mapping[str, float]) -> dict[str, Any]:
    """Return a store as in a plan, without its trees; `values` are its settings."""
    own = {name: values[f"altbackup_store_{name}"] for name in _OWN}
    return {**own, **{name: values[f"altbackup_{name}"] for name in _TAKEN}, "rules": dict(rules), "trees": []}


def enter_trees(plan: Mapping[str, Any], filled: Mapping[str, Sequence[str]]) -> list[str]:
    """Enter the trees with which nodes fill stores in the plan; `filled` is {node: stores}. Return errors."""
    found = []
    for node, names in filled.items():
        for name in dict.fromkeys(names):
            store = plan["stores"].get(name)
            for tree in plan["nodes"].get(node, {}).get("trees", ()) if store else ():
                if tree["role"] == "source" and name not in plan["sources"][node]["stores"]:
                    continue
                if tree["role"] == "target" and name not in plan["targets"][node]["stores"]:
                    continue
                other = next((one["server"] for one in store["trees"] if one["source"] == tree["source"]), "")
                if other:
                    found.append(
                        f"{name}: {node} and {other} would both fill it with {tree['source']}, and each take the other's copies for its own: "
                        "name it in the altbackup_stores of one of them, or give each a store of its own"
                    )
                    continue
                entry = {"role": "store", "node": name, "server": node, "source": tree["source"], "base": tree["base"]}
                own = {"keep": store["keep"], "rules": dict(store["rules"]), "discover": tree.get("discover", False)}
                store["trees"].append({**entry, **own})
    return found


def store_trees(plan: Mapping[str, Any], *, source: str = "", server: str = "") -> list[dict[str, Any]]:
    """Return the trees in stores, optionally only those of one source or filled by one server."""
    return [
        dict(tree)
        for store in plan.get("stores", {}).values()
        for tree in store["trees"]
        if source in ("", tree["source"]) and server in ("", tree["server"])
    ]


def tree_in(plan: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """Return the tree of a source in a store. Raise KeyError if there is none."""
    for tree in plan.get("stores", {}).get(name, {}).get("trees", ()):
        if tree["source"] == source:
            return dict(tree)
    raise KeyError(f"{source} has no tree in a store {name}")


def stores_with(plan: Mapping[str, Any], source: str) -> list[str]:
    """Return the stores that have a tree of a source."""
    return [str(tree["node"]) for tree in store_trees(plan, source=source)]


def filled_by(plan: Mapping[str, Any], node: str) -> list[str]:
    """Return the stores that a node fills."""
    return list(dict.fromkeys(str(tree["node"]) for tree in store_trees(plan, server=node)))


def server_of(plan: Mapping[str, Any], name: str, source: str) -> str:
    """Return the node that fills a store with a source, by which the store is reached; the name itself if it is not a store."""
    return str(tree_in(plan, name, source)["server"]) if name in plan.get("stores", {}) else name


def fetched_base(plan: Mapping[str, Any], name: str, source: str) -> str:
    """Return the tree, on the node that fills a store, in which tarballs fetched from the store lie."""
    tree = tree_in(plan, name, source)
    above = (
        tree["base"]
        if tree["server"] == source and tree["base"] == plan["sources"][source]["base"]
        else os.path.dirname(tree["base"])
    )
    return os.path.join(above, MARKER, "fetched", name, source)


def module_store(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a store as modules take it."""
    store = plan["stores"][name]
    return {"name": name, **{key: store[key] for key in _OF_MODULE}}
