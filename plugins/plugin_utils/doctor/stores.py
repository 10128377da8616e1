"""What is right and what is not with stores, as the nodes that fill them found them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..planning.stores import filled_by
from .finding import OK, UNKNOWN, WRONG, Commands, Finding, both


def findings(plan: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], commands: Commands) -> list[Finding]:
    """Return one finding for each thing of each store; `known` has the facts of the nodes that told any, `commands` is what commands are written with."""
    found = []
    for node in plan["nodes"]:
        told = {entry["name"]: entry for entry in known.get(node, {}).get("stores") or ()}
        for name in filled_by(plan, node):
            pair = f"{node} -> {name}"
            if name not in told:
                why = "" if node in known else f"{node} told nothing"
                found.append(Finding(node, "store", UNKNOWN, why, pair=pair))
            else:
                found += _of_store(node, pair, plan["stores"][name], told[name], known[node], commands)
    return found


def _of_store(
    node: str,
    pair: str,
    store: Mapping[str, Any],
    told: Mapping[str, Any],
    facts: Mapping[str, Any],
    commands: Commands,
) -> list[Finding]:
    paths = [path for path in (store["config"], store["environment"]) if path and path in told.get("loose", ())]
    if paths:
        why = f"{', '.join(paths)} has what opens the store, and is not its user's alone, so that it is not used"
        user = str(facts.get("user") or "root").partition(" ")[0]
        mends = [
            commands.on(node, "file", bool(facts.get("uid")), path=path, mode="0600", owner=user) for path in paths
        ]
        return [Finding(node, "secrets", WRONG, why, both(*mends), pair)]
    if told["away"]:
        if store["absent_for"]:
            why = f"{told['away']} It may be away (altbackup_absent_for); what is in it is not known now"
            return [Finding(node, "store", UNKNOWN, why, pair=pair)]
        mend = f"# mount it on {node}, or set altbackup_absent_for where it is there now and then"
        return [Finding(node, "store", WRONG, told["away"], mend, pair)]
    name = pair.rpartition(" ")[2]
    if told["problem"]:
        mend = f"# see on {node} what rclone says: rclone lsd --config {store['config'] or 'FILE'} {store['remote']}"
        return [Finding(node, "store", WRONG, told["problem"], mend, pair)]
    if told.get("other") and told["other"] != name:
        why = f"what lies there is the store {told['other']}, not {name}: nothing of it is touched"
        mend = f"# name another place as altbackup_store_remote of {name}, or remove .altbackup/store.json there if it is meant"
        return [Finding(node, "store", WRONG, why, mend, pair)]
    began = f", as {told['id'][:8]}" if told.get("id") else ", and will begin with the next night"
    return [
        Finding(node, "store", OK, f"{told.get('place', '')} answers{began}", pair=pair),
        *_locks(node, pair, store, told),
    ]


def _locks(node: str, pair: str, store: Mapping[str, Any], told: Mapping[str, Any]) -> list[Finding]:
    """Return whether a bucket keeps what it is said to keep."""
    if "versioned" not in told:
        return []
    days = store["lock_days"]
    if days and not (told.get("lockable") and told["versioned"]):
        lacking = "object lock" if not told.get("lockable") else "versions"
        why = f"altbackup_store_lock_days is {days}, but the bucket has no {lacking}: nothing is locked there, and no night vouches for what it puts there"
        mend = "# make a bucket with object lock (most services know it at its making alone), and name that; or leave the days out"
        return [Finding(node, "object lock", WRONG, why, mend, pair)]
    if days:
        return [Finding(node, "object lock", OK, f"for {days} days, {store['lock_mode']}", pair=pair)]
    if told.get("lockable"):
        why = "the bucket has object lock, but altbackup_store_lock_days is not set, so this collection locks nothing in it"
        return [Finding(node, "object lock", UNKNOWN, why, pair=pair)]
    kept = (
        "keeps versions"
        if told["versioned"]
        else "keeps no versions, so that what is deleted or written over there is gone"
    )
    return [Finding(node, "object lock", OK, f"not asked for; the bucket {kept}", pair=pair)]
