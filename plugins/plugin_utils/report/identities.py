"""Finds bases that are the same folder or disk, from what nodes report of theirs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from itertools import combinations
from typing import Any

from ...module_utils.system.visible import one_line
from ...module_utils.tree.failures import failure

_NODE = ("boot", "device")


def shared_bases(identities: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each two owners of one base; `identities` is {"role node": the base's id, boot, device, inode}."""
    found = []
    for (first, one), (second, other) in combinations(sorted(identities.items()), 2):
        if _are_one(one, other):
            reason = (
                f"{first} and {second} have one base: {one['base']} and {other['base']} are the same folder. Do both names lead to one "
                "machine (ansible_host), or to one shared file system? Give each a base of its own"
            )
            found.append({**failure("preflight", one_line(reason)), "node": first.partition(" ")[2], "tree": ""})
    return found


def one_disk(identities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a note on each file system that holds the copies of several targets; `identities` as for `shared_bases`."""
    disks: dict[Hashable, list[str]] = {}
    for owner, entry in sorted(identities.items()):
        role, _, node = owner.partition(" ")
        if role == "target" and entry["boot"]:
            disks.setdefault(tuple(entry[key] for key in _NODE), []).append(node)
    return [
        f"targets {' and '.join(nodes)} have their copies on one file system: what takes one takes the other, too"
        for nodes in disks.values()
        if len(nodes) > 1
    ]


def _are_one(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two bases are the same: they bear one id, or are one inode of one device of one boot of a machine."""
    if one["id"] and one["id"] == other["id"]:
        return True
    keys = (*_NODE, "inode")
    return bool(one["boot"]) and [one[key] for key in keys] == [other[key] for key in keys]
