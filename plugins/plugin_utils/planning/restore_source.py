"""Which tarball a restore takes from which node, by what nodes report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.age import is_encrypted
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.values import nearest
from ...module_utils.system.visible import one_line
from ...module_utils.tree.failures import failure
from ...module_utils.tree.incomplete import missing_of
from ...module_utils.tree.layout import parse_filename
from ...module_utils.tree.stamps import Moment, ahead_reason, day_of, is_stamp
from ...module_utils.tree.suspects import doubts_of
from ..report import call_failures
from ..report.bounds import shortened
from ..report.results import SAID
from .stores import fetched_base

STAGE = "restore"
UNNAMED = "unnamed"
"""Key of orders: whether the stamp comes from the list of a set instead of the user"""


def order_failure(node: str, reason: str, key: str = "") -> dict[str, Any]:
    """Return a failure of the restore on a node."""
    return {**failure(STAGE, reason, key=key), "node": node}


def failed_order(order: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the failure of an order; it names the destination, as orders may share an item."""
    where = f"to {one_line(order['destination'])}: " if order["destination"] else ""
    return order_failure(order["to_host"], f"{where}{reason}", order["key"])


def base_of(plan: Mapping[str, Any], node: str, source: str) -> str:
    """Return the base of a source's tree on a node or store."""
    if node in plan.get("stores", {}):
        return fetched_base(plan, node, source)
    return str(
        plan["sources"][source]["base"]
        if node == source
        else os.path.join(plan["targets"][node]["target_base"], source)
    )


def failures_of_future_stamps(
    orders: Sequence[Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]], moment: Moment
) -> list[dict[str, Any]]:
    """Return a failure for each node and ordered item with tarballs stamped in the future."""
    failures = []
    for node, source, key in dict.fromkeys(
        (node, order["source"], order["key"]) for order in orders for node in order["candidates"]
    ):
        tree, problem = _tree_on(node, source, found.get(node))
        paths = [entry["relpath"] for entry in _of_item(tree, key) if moment.is_ahead(entry["stamp"])]
        if paths and not problem:
            reason = ahead_reason(os.path.join(tree["base"], paths[0]), len(paths) - 1, moment)
            failures.append({**order_failure(node, reason, key), "relpath": paths[0]})
    return failures


def failures_of_invalid_results(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each node whose answer is not a valid result."""
    return [
        order_failure(node, entry["reason"])
        for node, registered in found.items()
        for entry in registered.get("failures") or []
        if entry["reason"].startswith(SAID)
    ]


def _of_item(tree: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the tarballs of an item in a reported tree."""
    name = key.partition("/")[2]
    return [
        entry
        for entry in tree.get("tarballs") or []
        if entry["relpath"].startswith(f"{key}/") and parse_filename(entry["relpath"].rsplit("/", 1)[-1], name)
    ]


def dnas_at(order: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], stamp: str) -> dict[str, str]:
    """Return {candidate: dna of its verified tarballs of a stamp}.

    Nodes count even if they could not hand over their copy now, so that a difference is found.
    """
    held = {}
    for node in order["candidates"]:
        tree, problem = _tree_on(node, order["source"], found.get(node))
        problem = problem or _other_source_error(order, node, tree, found)
        dnas = sorted(
            ":".join(str(entry[name]) for name in ("alg", "dig", "size", "base", "base_dig") if entry[name])
            for entry in ([] if problem else _of_item(tree, order["key"]))
            if entry["stamp"] == stamp and entry["state"] == "verified"
        )
        if dnas:
            held[node] = " and ".join(dnas)
    return held


def is_same_machine(node: str, host: str, peers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether both are one machine: the same host, or both the controller."""
    return peers[node].get("node", node) == host or not (
        peers[node].get("host") or peers[host].get("host") or problems_of(node, host, peers)
    )


def problems_of(node: str, host: str, peers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return why the controller cannot reach one of two nodes, if so."""
    return [f"{each} {peers[each]['problem']}" for each in (node, host) if peers[each].get("problem")]


def title_of(order: Mapping[str, Any]) -> str:
    """Return an order for messages."""
    at = f" at {order['at']}" if order["at"] else ""
    return f"the restore of {order['key']} of {order['source']}{at}"


def offers_for(
    plan: Mapping[str, Any], order: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], moment: Moment
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the newest offer of each candidate, and why the others have none."""
    offers, passed = [], []
    for rank, node in enumerate(order["candidates"]):
        tree, problem = _tree_on(node, order["source"], found.get(node))
        problem = problem or _other_source_error(order, node, tree, found)
        if not problem:
            try:
                tarballs = _newest(
                    order,
                    tree,
                    moment,
                    _accepted(plan, order, tree),
                    is_to_be_encrypted(plan, order["source"], order["key"]),
                )
                offers.append(
                    {
                        "node": node,
                        "rank": rank,
                        "base": base_of(plan, node, order["source"]),
                        "tarballs": tarballs,
                        "stamp": tarballs[-1]["stamp"],
                    }
                )
            except InvalidInput as error:
                problem = str(error)
        if problem:
            passed.append(f"{node}: {problem}")
    return offers, passed


def _tree_on(node: str, source: str, registered: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """Return a source's tree as a node reported it, and why it cannot be used, if so."""
    if not registered:
        return {}, "is not among the hosts of this run: is it left out by --limit?"
    if registered.get("unreachable"):
        return {}, " ".join(call_failures.unreachable(registered).split())
    if registered.get("failed") or registered.get("failures"):
        reasons = [entry["reason"] for entry in registered.get("failures") or []] or [
            registered.get("msg") or "it did not answer"
        ]
        return {}, " ".join(" ".join(map(str, reasons)).split())
    tree = next((tree for tree in registered.get("trees") or [] if tree["source"] == source), None)
    return (dict(tree), str(tree.get("problem") or "")) if tree else ({}, "did not tell what it holds")


def notes_of_incomplete(
    order: Mapping[str, Any], best: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], moment: Moment
) -> list[str]:
    """Return a note if the taken tarball is incomplete, with the stamp of the newest complete one."""
    newest = best["tarballs"][-1]
    reasons = missing_of(newest.get("record") or {})
    if not reasons:
        return []
    trees = {node: _tree_on(node, order["source"], found.get(node)) for node in order["candidates"]}
    whole = [
        entry["stamp"]
        for node, (tree, problem) in trees.items()
        for entry in ([] if problem or _other_source_error(order, node, tree, found) else _of_item(tree, order["key"]))
        if entry["state"] == "verified" and moment.counts(entry["stamp"]) and not missing_of(entry.get("record") or {})
    ]
    other = f"the newest whole one is of {max(whole)}: give that, as at" if whole else "no whole one was found"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return [f"{newest['relpath']} is incomplete: {shortened(reasons[0], 1000)}{more}; {other}"]


def _other_source_error(
    order: Mapping[str, Any], node: str, tree: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the error of a tree that holds the copies of another source of the same name, "" if it does not.

    It is not known if the source did not report its id, as it is lost, or its base new; a node that the order names is not checked.
    """
    own, _ = _tree_on(order["source"], order["source"], found.get(order["source"]))
    ours, theirs = (entry.get("origin") or {} for entry in (own, tree))
    if order["from"] or node == order["source"] or not ours.get("id") or not theirs.get("id"):
        return ""
    if ours["id"] == theirs["id"]:
        return ""
    bases = [f"{shortened(origin.get('base', ''))} (id {origin['id']})" for origin in (theirs, ours)]
    return (
        f"{tree['base']} holds the copies of another source {order['source']}, of that with base {bases[0]}, and not of that with base "
        f"{bases[1]}. To restore from it all the same, as when that base was lost and made anew, name the node, as from"
    )


def _accepted(plan: Mapping[str, Any], order: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    """Return the stamp up to which suspects of an item in a tree are accepted, by the controller or in the tree; "" for none."""
    here = (plan.get("marks") or {}).get(order["source"], {}).get("accepted", {})
    return max(str(known.get(order["key"], "")) for known in (here, tree.get("accepted") or {}))


def is_to_be_encrypted(plan: Mapping[str, Any], source: str, key: str) -> bool:
    """Return whether the plan has an item encrypted."""
    entry = plan["sources"][source]
    for item in entry.get("item_list", ()):
        if f"{CATEGORIES[item['kind']]}/{item['name']}" == key and "encrypt_to" in item:
            return bool(item["encrypt_to"])
    return bool(entry.get("encrypt_to"))


def _suspects(entries: Sequence[Mapping[str, Any]], accepted: str) -> list[Mapping[str, Any]]:
    """Return the suspect tarballs of an item that are not accepted."""
    return [entry for entry in entries if entry["stamp"] > accepted and doubts_of(entry.get("record") or {})]


def notes_of_suspects(
    plan: Mapping[str, Any],
    order: Mapping[str, Any],
    stamp: str,
    found: Mapping[str, Mapping[str, Any]],
    moment: Moment,
) -> list[str]:
    """Return a note on the newest suspect, if it is newer than the taken `stamp`, or on what is taken, if that is suspect."""
    newest: dict[str, Mapping[str, Any]] = {}
    for node in order["candidates"]:
        tree, problem = _tree_on(node, order["source"], found.get(node))
        own = [] if problem or _other_source_error(order, node, tree, found) else _of_item(tree, order["key"])
        there = [entry for entry in own if entry["state"] == "verified" and moment.counts(entry["stamp"])]
        if order["at"]:
            there = [entry for entry in there if order["at"] in (entry["stamp"], day_of(entry["stamp"]))]
        newest.update({e["stamp"]: e for e in _suspects(there, _accepted(plan, order, tree)) if e["stamp"] >= stamp})
    if not newest:
        return []
    suspect = newest[max(newest)]
    why = shortened(doubts_of(suspect["record"])[0], 1000)
    if suspect["stamp"] == stamp:
        return [f"{suspect['relpath']} is suspect, and was taken as its stamp was given: {why}"]
    taken = "the newest one that is not was taken"
    return [
        f"{suspect['relpath']} is newer, but suspect: {why}; {taken}. To have it all the same, give its stamp, as at: {suspect['stamp']}"
    ]


def _newest(
    order: Mapping[str, Any], tree: Mapping[str, Any], moment: Moment, accepted: str = "", secret: bool = False
) -> list[dict[str, Any]]:
    """Return the newest verified tarball that an order allows, after its full one if it is a differential. Raise InvalidInput.

    A tarball named by its stamp may be later than the run, but not in the future; it may be a suspect that is not accepted, or not
    encrypted though the item is `secret`.
    """
    there = _of_item(tree, order["key"])
    own = [
        dict(entry)
        for entry in there
        if moment.counts(entry["stamp"]) or (order["at"] == entry["stamp"] and not moment.is_ahead(entry["stamp"]))
    ]
    if not there:
        category = order["key"].split("/")[0]
        alike = [key for key in tree.get("keys") or [] if key.startswith(f"{category}/")]
        raise InvalidInput(f"{tree['base']} has no tarball of {order['key']}, {nearest(order['key'], alike)}")
    if not own:
        raise InvalidInput(f"has none of {order['key']} that counts: all are stamped later than {moment.stamp}")
    wanted = [entry for entry in own if not order["at"] or order["at"] in (entry["stamp"], day_of(entry["stamp"]))]
    if not wanted:
        stamps = ", ".join(entry["stamp"] for entry in own[-5:])
        raise InvalidInput(f"has none of {order['key']} at {order['at']}; the newest are of {stamps}")
    verified = [entry for entry in wanted if entry["state"] == "verified"]
    if not verified:
        raise InvalidInput(f"has no verified one: {wanted[-1]['relpath']} {wanted[-1]['problem']}")
    if secret and (not is_stamp(order["at"]) or order.get(UNNAMED)):
        plain = verified[-1]
        verified = [entry for entry in verified if is_encrypted(entry["relpath"])]
        if not verified:
            raise InvalidInput(
                f"has none that is encrypted, as {order['key']} is to be: {plain['relpath']} may be older than that, or made by somebody else. To have it "
                f"all the same, give its stamp, as at: {plain['stamp']}"
            )
    suspects = [] if is_stamp(order["at"]) else _suspects(verified, accepted)
    sure = [entry for entry in verified if entry not in suspects]
    if not sure:
        why = shortened(doubts_of(suspects[-1]["record"])[0], 1000)
        raise InvalidInput(
            f"has suspects alone: {suspects[-1]['relpath']}: {why}. To have it all the same, give its stamp, as at: {suspects[-1]['stamp']}"
        )
    newest = sure[-1]
    return [*_full_of(newest, order, own), newest]


def find_full(own: Sequence[Mapping[str, Any]], relpath: str, dig: str) -> Mapping[str, Any] | None:
    """Return the full tarball that a differential needs, by path and digest, among an item's tarballs on a node; None if there is none.

    Another verified one of that digest serves, too. If none serves, the one at the path is returned, so that its error can be reported.
    """
    named = next((entry for entry in own if entry["relpath"] == relpath), None)
    same = [entry for entry in own if entry["state"] == "verified" and entry["dig"] == dig and not entry["base"]]
    return named if named in same or not same else same[-1]


def _full_of(
    tarball: Mapping[str, Any], order: Mapping[str, Any], own: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the full tarball of a differential in a list, [] for a full one. Raise InvalidInput if it is not usable."""
    if not tarball["base"]:
        return []
    relpath = f"{order['key']}/{tarball['base']}"
    needs = f"{tarball['relpath']} is a differential that needs {relpath}"
    full = find_full(own, relpath, tarball["base_dig"])
    if full is None:
        raise InvalidInput(f"{needs}, which is not there")
    if full["state"] != "verified":
        raise InvalidInput(f"{needs}, which {full['problem']}")
    if full["dig"] != tarball["base_dig"]:
        raise InvalidInput(f"{needs} with digest {tarball['base_dig']}, but that has {full['dig']}")
    return [dict(full)]
