"""Stores in a plan: what each is, who fills it, and with which trees."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.tree.layout import MARKER
from .settings import PREFIX

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
"""What the module is told of a store, beside its name"""
_OWN = ("remote", "config", "environment", "lock_days", "lock_mode", "drill")


def store_entry(values: Mapping[str, Any], rules: Mapping[str, float]) -> dict[str, Any]:
    """Given the usable variables of a store and its rules, return it as a plan has it, without its trees."""
    own = {name: values[f"{PREFIX}store_{name}"] for name in _OWN}
    return {**own, **{name: values[PREFIX + name] for name in _TAKEN}, "rules": dict(rules), "trees": []}


def enter_trees(plan: Mapping[str, Any], filled: Mapping[str, Sequence[str]]) -> list[str]:
    """Given a plan with its stores, and {node: the stores that it fills}, enter with what; return errors."""
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
    """Return the trees of stores, of one source or with one server alone."""
    return [
        dict(tree)
        for store in plan.get("stores", {}).values()
        for tree in store["trees"]
        if source in ("", tree["source"]) and server in ("", tree["server"])
    ]


def tree_in(plan: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """Given a store and a source, return its tree there. Raise KeyError where it has none."""
    for tree in plan.get("stores", {}).get(name, {}).get("trees", ()):
        if tree["source"] == source:
            return dict(tree)
    raise KeyError(f"{source} has no tree in a store {name}")


def names_with(plan: Mapping[str, Any], source: str) -> list[str]:
    """Return the stores that have a tree of a source."""
    return [str(tree["node"]) for tree in store_trees(plan, source=source)]


def filled_by(plan: Mapping[str, Any], node: str) -> list[str]:
    """Return the stores that a node fills."""
    return list(dict.fromkeys(str(tree["node"]) for tree in store_trees(plan, server=node)))


def server_of(plan: Mapping[str, Any], name: str, source: str) -> str:
    """Return the node by which a store is asked for what it has of a source, the name itself where it is no store."""
    return str(tree_in(plan, name, source)["server"]) if name in plan.get("stores", {}) else name


def fetched_base(plan: Mapping[str, Any], name: str, source: str) -> str:
    """Return the tree on the node that fills a store in which lies what was brought from it."""
    tree = tree_in(plan, name, source)
    above = (
        tree["base"]
        if tree["server"] == source and tree["base"] == plan["sources"][source]["base"]
        else os.path.dirname(tree["base"])
    )
    return os.path.join(above, MARKER, "fetched", name, source)


def told(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a store as modules take it."""
    store = plan["stores"][name]
    return {"name": name, **{key: store[key] for key in _OF_MODULE}}
