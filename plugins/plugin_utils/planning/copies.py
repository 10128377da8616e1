"""The number of targets on which the newest tarball of each item is verified, by what a run found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.tree.layout import item_key, stamp_in


def newest_offered(state: Mapping[str, Any], stamp: str) -> dict[str, str]:
    """Return {item: relpath of its newest tarball} of a source, among those on offer and those that check mode predicts.

    `stamp` is the run's; later tarballs are ignored.
    """
    paths = [*state["predicted"], *(entry["relpath"] for entry in state["offer"] or ())]
    stamps = [(stamp_in(path), path) for path in paths]
    return {item_key(path): path for when, path in sorted(stamps) if when <= stamp}


def delivered(plan: Mapping[str, Any], source: str, state: Mapping[str, Any]) -> dict[str, int]:
    """Return {item: number of targets on which its newest tarball is verified}.

    On a target whose tree was checked only items that passed count.
    """
    newest = newest_offered(state, plan["stamp"])
    found = dict.fromkeys(newest, 0)
    for node in plan["sources"][source]["targets"]:
        there, passed = state["delivered"].get(node, ()), state["passed"].get(f"{node}/{source}/target")
        for key, path in newest.items():
            found[key] += path in there and (passed is None or key in passed)
    return found


def delivered_by_listings(plan: Mapping[str, Any], source: str, states: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return what delivered does by the listings of trees, in which equal dna counts; `states` are those of all hosts."""
    shelves: dict[str, Mapping[str, list[str]]] = {}
    for state in states:
        known = state.get("shelves") or {}
        shelves.update({tree: items for tree, items in known.items() if tree.split("/")[1] == source})
    newest: dict[str, list[str]] = {}
    for items in shelves.values():
        for key, entry in items.items():
            newest[key] = max(newest.get(key, entry), entry)
    on_targets = [items for tree, items in shelves.items() if tree.endswith("/target")]
    return {key: sum(items.get(key, ("", ""))[1] == dna for items in on_targets) for key, (_, dna) in newest.items()}


def newest_listed(tarballs: Iterable[Mapping[str, Any]], stamp: str) -> dict[str, list[str]]:
    """Return {item: [stamp, dna] of its newest verified tarball} of a listed tree, not later than the run's `stamp`."""
    found: dict[str, list[str]] = {}
    for entry in tarballs:
        key = f"{entry.get('category')}/{entry.get('name')}"
        one = [str(entry.get("stamp")), f"{entry.get('alg')}:{entry.get('dig')}:{entry.get('size')}"]
        if entry.get("state") == "verified" and one[0] <= stamp:
            found[key] = max(found.get(key, one), one)
    return found
