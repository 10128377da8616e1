"""The options of calls that remove tarballs, keep them from that by marks, or put them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.tree.stamps import is_day
from ..planning import copies, heal, purge_plan
from ..planning.host_variables import inventory_label
from ..planning.trees import origin
from .backup_options import checking, marks
from .handed import OF_NO_RUN, SHORT, Options
from .run import Run


def _metrics(run: Run, tree: Mapping[str, Any]) -> Options:
    """Return the options for the metrics that a node writes for Prometheus, {} without a folder for them."""
    node = run.plan["nodes"][tree["node"]]
    if not node["node_metrics_dir"]:
        return {}
    told = {"node": tree["node"], "source": tree["source"], "max_age": node["max_age"]}
    return {**told, "folder": node["node_metrics_dir"], "inventory": inventory_label(run.hostvars, tree["source"])}


def purge_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Return options to purge what a check of this run passed; on a target the check is part of the call.

    A purge on its own reads what would count instead. In check mode it explains why each tarball stays; after a review it removes only
    what was reviewed.
    """
    tree, locked = run.tree(about), bool(run.plan["locked"])
    is_own = tree["role"] == "source"
    options = {
        "base": tree["base"],
        "keep": tree["keeps"],
        "names": list(tree["keeps"]),
        "awaited": heal.awaited(run.state["rotten"]),
        "rules": tree["rules"],
        "predicted": run.state["predicted"],
        "verify": not locked,
        "explain": not locked and run.check_mode,
        "unlock": locked,
        "remember": True,
        "marks": marks(run, tree["source"]),
        "quarantine": locked and not is_own,
        "reverify_days": tree["reverify_days"] if locked else 0,
        "origin": {} if is_own else origin(run.plan, tree["source"], run.known_of(tree["source"])),
        "trash_days": tree["trash_days"],
        "confirm": run.plan["purge_confirm"],
        "copies": _copies(run, tree["source"]),
        "min_copies": tree["min_copies"],
        "metrics": _metrics(run, tree),
    }
    if not locked:
        alone: Options = {"run": {**run.plan["run"], **OF_NO_RUN}}
        if run.reviewed is not None and not run.check_mode:
            alone["only"] = purge_plan.of_tree(run.reviewed, tree)
        return {**options, **alone, "remembered": tree["keep"] if tree["discover"] else 0}
    if not is_own:
        doubted = tree["node"] in run.state["doubted"]
        return {**options, "check": checking(run, tree), **({"names": []} if doubted else {})}
    passed = run.state["passed"].get("/".join((tree["node"], tree["source"], tree["role"])), [])
    return {**options, "names": [name for name in passed if name in options["names"]], "pairs": run.state["pairs_now"]}


def mark_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    """Return options to mark a tree; on a target only if the tree holds the copies of the source with the given id."""
    tree = run.tree(about)
    source = tree["source"]
    is_own = tree["role"] == "source"
    return {
        "base": tree["base"],
        "marks": marks(run, source),
        "source": source if is_own else "",
        "origin": {} if is_own else origin(run.plan, source, run.known_of(source)),
        "run": {**run.plan["run"], **OF_NO_RUN},
        "step_timeout": SHORT,
    }


def _copies(run: Run, source: str) -> dict[str, int]:
    """Return {item: number of targets on which its newest tarball is verified}: in a backup from deliveries, else from listings."""
    if run.plan["locked"]:
        return copies.delivered(run.plan, source, run.state)
    return copies.delivered_by_listings(run.plan, source, map(run.known_of, run.plan["nodes"]))


def undo_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    asked, start = run.plan["undo"], f"{about['source']}/"
    return {
        "base": about["base"],
        "days": [text for text in asked if is_day(text)],
        "stamps": [text[len(start) :] for text in asked if text.startswith(start)],
        "run": {**run.plan["run"], **OF_NO_RUN},
    }
