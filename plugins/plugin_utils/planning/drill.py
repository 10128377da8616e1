"""What drills on a scratch host are to do, and what came of them; as plain JSON values.

An errand is all that is to be drilled of one tree: it goes from its node by way of the controller to the scratch host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.units import readable
from ...module_utils.tree.failures import failure
from ...module_utils.tree.layout import DRILLING
from ..report import outcomes

_STAGE = "drill"
_OF_TREES = ("role", "source", "node", "base", "drill_limit", "drill_user", "nice", "ionice")


def plan_errands(chosen: Mapping[str, Any], peers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Given what choosing registered for the trees of a node, and how the controller reaches hosts, return an errand a tree.

    One whose ends the controller does not reach by ssh has the reasons as its `problem`. Trees of which nothing was chosen have none.
    """
    return [
        _errand(_tree(result), result["chosen"], peers)
        for result in outcomes.results_of(chosen)
        if result.get("chosen")
    ]


def _tree(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a call of a loop was for."""
    return dict(result[str(result["ansible_loop_var"])])


def _errand(
    tree: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]], peers: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    node, host, source = tree["node"], tree["drill_host"], tree["source"]
    sizes = {part["relpath"]: part["size"] for entry in chosen for part in entry["tarballs"]}
    away = os.path.join(tree["drill_folder"], f"{DRILLING}{node}-{source if tree['role'] == 'target' else 'own'}")
    carry = {
        "origin": {**peers[node], "folder": tree["base"]},
        "destination": {**peers[host], "folder": away},
        "relpaths": list(sizes),
    }
    return {
        **{name: tree[name] for name in _OF_TREES},
        "host": host,
        "away": away,
        "label": f"{source} of {node} on {host}",
        "size": sum(sizes.values()),
        "chosen": [dict(entry) for entry in chosen],
        "carry": carry,
        "problem": "; ".join(f"{end} {peers[end]['problem']}" for end in (node, host) if peers[end].get("problem")),
    }


def drill_ready(
    errands: Sequence[Mapping[str, Any]],
    made: Mapping[str, Any],
    carried: Mapping[str, Any] | None = None,
    drilled: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Given errands and what making their trees registered, return those that have one.

    With what carrying and drilling registered, each tells whether something `arrived`, and has the `proofs`.
    """
    there = _labels(made)
    arrived = _labels(carried or {})
    proofs = {_tree(result)["label"]: result.get("proved") or [] for result in outcomes.results_of(drilled or {})}
    return [
        {**errand, "arrived": errand["label"] in arrived, "proofs": proofs.get(errand["label"], [])}
        for errand in errands
        if errand["label"] in there
    ]


def _labels(registered: Mapping[str, Any]) -> list[str]:
    """Return the labels of the errands whose call came to its end: then it says that it changed something."""
    return [_tree(result)["label"] for result in outcomes.results_of(registered) if result.get("changed")]


def record_drill(
    state: Mapping[str, Any],
    node: str,
    errands: Sequence[Mapping[str, Any]],
    registered: Sequence[Mapping[str, Any]],
    kept: Mapping[str, Any],
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given what a run knows of a node, its errands, and what tasks registered, return what the run knows now.

    `registered` is what making, carrying and drilling did: what went wrong there is a failure of the drill, but leaves the
    node itself as it was. `kept` is what keeping the proofs did. In check mode the errands for which there is room are told.
    """
    new = outcomes.record(state, kept, _STAGE, node)
    unreached = [
        {"ansible_loop_var": "errand", "errand": errand, "failures": [failure(_STAGE, errand["problem"])]}
        for errand in errands
        if errand["problem"]
    ]
    for several in [*registered, {"results": unreached}]:
        new = outcomes.record(
            new, {"results": [_told(result, node) for result in outcomes.results_of(several)]}, _STAGE, node
        )
    if check_mode:
        for errand in drill_ready(errands, registered[0]):
            predicted = [{"relpath": entry["relpath"], "when": "", "node": node} for entry in errand["chosen"]]
            note = f"{node}: would bring {readable(errand['size'])} of {errand['source']} to {errand['host']} to drill them there"
            new = {**new, "proved": [*new["proved"], *predicted], "notes": [*new["notes"], note]}
    return new


def _told(result: Mapping[str, Any], node: str) -> dict[str, Any]:
    """Return the result of a call away from the node, of which only what is told remains: each failure and note names the scratch host."""
    errand = _tree(result)
    where = f"drilled on {errand['host']}"
    failures = outcomes.failures_of({"results": [result]}, _STAGE, node)
    return {
        "ansible_loop_var": "errand",
        "errand": errand,
        "failures": [{**entry, "reason": f"{where}: {entry['reason']}"} for entry in failures],
        "notes": [f"{where}: {note}" for note in result.get("notes") or []],
    }
