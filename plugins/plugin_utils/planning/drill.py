"""Errands: drills of one tree's tarballs on a scratch host; as plain JSON values.

Tarballs go from the tree's node through the controller to the scratch host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.units import readable
from ...module_utils.tree.layout import DRILLING

_FROM_TREE = ("role", "source", "node", "base", "drill_limit", "drill_user", "nice", "ionice", "verify")


def errand(
    tree: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]], peers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the errand of the chosen tarballs of a tree, with none of its steps done; `peers` is how the controller reaches each host.

    `problem` is why the controller cannot reach an end by ssh, if so.
    """
    node, host, source = tree["node"], tree["drill_host"], tree["source"]
    sizes = {part["relpath"]: part["size"] for entry in chosen for part in entry["tarballs"]}
    away = os.path.join(tree["drill_folder"], f"{DRILLING}{node}-{source if tree['role'] == 'target' else 'own'}")
    carry = {
        "origin": {**peers[node], "folder": tree["base"]},
        "destination": {**peers[host], "folder": away},
        "relpaths": list(sizes),
    }
    return {
        **{name: tree[name] for name in _FROM_TREE},
        "host": host,
        "away": away,
        "label": f"{source} of {node} on {host}",
        "size": sum(sizes.values()),
        "chosen": [dict(entry) for entry in chosen],
        "carry": carry,
        "problem": "; ".join(f"{end} {peers[end]['problem']}" for end in (node, host) if peers[end].get("problem")),
        "made": False,
        "arrived": False,
        "proofs": [],
    }


def predicted(errand: Mapping[str, Any]) -> dict[str, Any]:
    """Return `proved` and `notes` of an errand that check mode does not carry out."""
    node = errand["node"]
    proved = [{"relpath": entry["relpath"], "when": "", "node": node} for entry in errand["chosen"]]
    note = f"would bring {readable(errand['size'])} of {errand['source']} to {errand['host']} to drill them there"
    return {"proved": proved, "notes": [f"{node}: {note}"]}


def errand_report(result: Mapping[str, Any], failures: Sequence[Mapping[str, Any]], host: str) -> dict[str, Any]:
    """Return `failures` and `notes` of a call for an errand, each naming the scratch host.

    An error there fails the drill, but does not concern the tarballs' own node.
    """
    where = f"drilled on {host}"
    return {
        "failures": [{**entry, "reason": f"{where}: {entry['reason']}"} for entry in failures],
        "notes": [f"{where}: {note}" for note in result.get("notes") or []],
    }
