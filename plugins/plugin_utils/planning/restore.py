"""What a restore is to do, from what the user wrote, the plan of the run, and what the nodes hold; as plain JSON values."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.items import check_name, decode_name
from ...module_utils.kinds.registry import CATEGORIES, kind_in
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.paths import is_within
from ...module_utils.system.units import readable
from ...module_utils.system.values import nearest
from ...module_utils.system.visible import one_line
from ...module_utils.tree.failures import failure
from ...module_utils.tree.incomplete import missing_of
from ...module_utils.tree.layout import RESTORED, TEMPORARY, parse_filename
from ...module_utils.tree.stamps import Moment, ahead_reason, day_of, interpret_day, is_stamp
from ...module_utils.tree.suspects import doubts_of
from ..report import outcomes
from ..report.results import SAID, read_result, shortened
from ..report.secrecy import quoted
from .settings import parse_mode
from .trees import node_bases

KEYS = (
    "source",
    "kind",
    "name",
    "at",
    "from",
    "to_host",
    "to",
    "member",
    "replace",
    "consent",
    "special_modes",
    "numeric",
    "owner",
    "group",
    "mode",
    "selinux",
)
_REQUIRED = ("source", "kind", "name")
_FLAGS = ("consent", "special_modes", "numeric")
_ATTRIBUTES = ("owner", "group", "mode", "selinux")
REPLACE = ("refuse", "move_aside")
_STAGE = "restore"
_STEP = 21600.0
_SPEEDS = 200


def plan_restores(plan: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Any]:
    """Given the plan of the run and all hosts of the inventory, return what is to be restored and adopted, and what is wrong with it.

    `orders` are the good entries, `failures` those of the others, `searches` {node: trees to look through} and `adoptions`
    {host: paths}.
    """
    orders, failures = [], []
    for number, value in enumerate(plan["restore"], 1):
        try:
            orders.append(parse_entry(value, plan, hosts))
        except InvalidInput as error:
            host = value.get("to_host") or value.get("source") if isinstance(value, Mapping) else ""
            failures.append(
                _failure(str(host or "localhost"), f"altbackup_restore, entry {number}: {error}", _key(value))
            )
    orders, twice = _without_twins(orders)
    adoptions, unknown = _adoptions(plan)
    failures += twice + unknown
    if not plan["restore"] and not plan["adopt"]:
        reason = (
            "there is nothing to restore: say what with "
            '-e \'{"altbackup_restore": [{"source": "dayabay", "kind": "svn", "name": "dybsvn"}]}\''
        )
        failures.append(_failure("localhost", reason))
    return {"orders": orders, "failures": failures, "searches": _searches(orders, plan), "adoptions": adoptions}


def _failure(node: str, reason: str, key: str = "") -> dict[str, Any]:
    return {**failure(_STAGE, reason, key=key), "node": node}


def _failed_order(order: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Return the failure of an order, which tells it from others of the same item."""
    return _failure(order["to_host"], f"to {one_line(order['destination'])}: {reason}", order["key"])


def _key(value: Any) -> str:
    """Return the item that an entry seems to mean."""
    kind, name = (value.get("kind"), value.get("name")) if isinstance(value, Mapping) else ("", "")
    return (
        f"{CATEGORIES[kind]}/{name}" if isinstance(kind, str) and kind in CATEGORIES and isinstance(name, str) else ""
    )


def parse_entry(value: Any, plan: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Any]:
    """Given an entry of altbackup_restore, return the order: the same keys, all filled in. Raise InvalidInput with all its errors."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{quoted(value)} is not a mapping of source, kind and name")
    given = {str(key): entry for key, entry in value.items() if entry is not None}
    errors = [f"unknown key {key!r}, {nearest(key, KEYS)}" for key in given if key not in KEYS]
    errors += [f"key {key!r} is missing" for key in _REQUIRED if key not in given]
    errors += _wrong_types(given)
    if errors:
        raise InvalidInput("; ".join(errors))
    texts = {key: str(given.get(key, "")) for key in KEYS if key not in _FLAGS}
    flags = {key: bool(given.get(key, False)) for key in _FLAGS}
    source, kind, name = (texts[key] for key in _REQUIRED)
    if source not in plan["sources"]:
        hint = nearest(source, list(plan["sources"]), plan["sources"] if source in hosts else ())
        errors.append(f"{source!r} is no source of the inventory, {hint}")
    if kind not in CATEGORIES:
        errors.append(f"unknown kind {kind!r}, {nearest(kind, tuple(CATEGORIES))}")
    to_host = texts["to_host"] or source
    if texts["to_host"] and to_host not in hosts:
        errors.append(f"to_host {to_host!r} is no host of the inventory, {nearest(to_host, hosts)}")
    replace = texts["replace"] or REPLACE[0]
    if replace not in REPLACE:
        errors.append(f"replace {replace!r} is not one of {', '.join(REPLACE)}")
    if errors:
        raise InvalidInput("; ".join(errors))
    attributes = {key: texts[key] or plan["restore_settings"][key] for key in _ATTRIBUTES}
    order: dict[str, Any] = {
        **texts,
        **flags,
        **attributes,
        "key": f"{CATEGORIES[kind]}/{check_name(name)}",
        "to_host": to_host,
        "replace": replace,
    }
    for key, work_out in (("at", _at), ("candidates", _candidates), ("destination", _destination), ("mode", _mode)):
        try:
            order[key] = work_out(order, plan)
        except InvalidInput as error:
            errors.append(str(error))
    if errors:
        raise InvalidInput("; ".join(errors))
    return order


def _wrong_types(given: Mapping[str, Any]) -> list[str]:
    errors = [
        f"{key} {quoted(given[key])} is neither true nor false"
        for key in _FLAGS
        if not isinstance(given.get(key, False), bool)
    ]
    for key in KEYS:
        value = given.get(key, "")
        number = key in ("owner", "group") and isinstance(value, int) and not isinstance(value, bool)
        broken = isinstance(value, str) and ("\0" in value or ("\n" in value and key != "member"))
        if key not in _FLAGS and not number and (not isinstance(value, str) or broken):
            hint = ", with quotes" if key in ("mode", "name", "at") else ""
            errors.append(f"{key} {quoted(value)} is not a text{hint}")
    return errors


def _mode(order: Mapping[str, Any], _plan: Mapping[str, Any]) -> str:
    try:
        return parse_mode(order["mode"])
    except InvalidInput as error:
        raise InvalidInput(f"mode {error}") from None


def _at(order: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return a stamp or a day, or nothing for the newest. Raise InvalidInput."""
    text = order["at"]
    if not text.strip() or is_stamp(text.strip()):
        return str(text.strip())
    try:
        return interpret_day(text, day_of(plan["stamp"]))
    except InvalidInput:
        raise InvalidInput(
            f"at {text!r} is neither a stamp like 2013/05/10/104701, nor a date like 2013/05/10, nor a number of days back like -1"
        ) from None


def _candidates(order: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Return the nodes from which an item may be taken, the nearest first. Raise InvalidInput."""
    source = order["source"]
    targets = plan["sources"][source]["targets"]
    if order["from"]:
        known = [source, *plan["targets"]]
        if order["from"] not in known:
            hint = nearest(order["from"], known, known if order["from"] in plan["nodes"] else ())
            raise InvalidInput(f"from {quoted(order['from'])} is neither {source} nor a target, {hint}")
        return [order["from"]]
    return sorted([*targets, *([source] if source not in targets else [])], key=lambda node: node != order["to_host"])


def _destination(order: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return the path at which the thing is to stand. Raise InvalidInput."""
    path = order["to"] or ("" if order["member"] else _path_of(order["source"], order["kind"], order["key"], plan))
    if order["member"] and not order["to"]:
        raise InvalidInput(f"member {quoted(order['member'])} needs a path to put it, as to")
    if not path:
        raise InvalidInput(_without_place(order, plan["sources"][order["source"]]))
    if not os.path.isabs(path):
        raise InvalidInput(f"to {path!r} is not an absolute path")
    path = "/" + os.path.normpath(path).lstrip("/")
    name = os.path.basename(path)
    if not name or name.endswith(RESTORED) or name.startswith(TEMPORARY):
        raise InvalidInput(f"to {path!r} is a path at which nothing can be restored: choose another name")
    for base in _bases(order["to_host"], plan):
        if is_within(path, base) or is_within(base, path):
            raise InvalidInput(
                f"{path} on {order['to_host']} and its base {base} would lie in each other: choose another path as to"
            )
    return path


def _without_place(order: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """Return why the inventory does not tell where an item is to stand."""
    wrong = _wrong_items(entry, order["key"])
    if wrong:
        reasons = "; ".join(dict.fromkeys(str(item["reason"]) for item in wrong))
        return f"the inventory does not tell where {order['key']} is to stand, as it has an error there ({reasons}): mend that, or give the path, as to"
    hint = nearest(order["name"], [item["name"] for item in entry["items"] if item["kind"] == order["kind"]])
    return (
        f"{quoted(order['name'])} is no {order['kind']} item of {order['source']}, {hint}{'' if hint.endswith('?') else '.'} "
        "For one that the inventory no longer names, give the path where it is to stand, as to"
    )


def _wrong_items(entry: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the items of a source that have an error, of those that have this key."""
    return [
        item
        for item in entry["item_errors"]
        if item["kind"] and item["name"] and f"{CATEGORIES[item['kind']]}/{item['name']}" == key
    ]


def _path_of(source: str, kind: str, key: str, plan: Mapping[str, Any]) -> str:
    """Return the path of an item of a source, explicit or discovered, or nothing if it is none, or that cannot be known.

    What cannot be backed up as the inventory has it can be restored all the same where that tells of one path.
    """
    entry = plan["sources"][source]
    for item in entry["items"]:
        if f"{CATEGORIES[item['kind']]}/{item['name']}" == key:
            return str(item["path"])
    wrong = _wrong_items(entry, key)
    if wrong:
        paths = {str(item["path"]) for item in wrong}
        path = paths.pop()
        return path if not paths and os.path.isabs(path) and "\0" not in path else ""
    folder = entry["discover"].get(kind)
    return os.path.join(folder, decode_name(key.partition("/")[2])) if folder else ""


def _bases(host: str, plan: Mapping[str, Any]) -> list[str]:
    return [base for base in node_bases(plan, host) if base]


def _without_twins(orders: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the orders, and a failure for each that would go where another one does, or into it: of these none is done."""
    good, failures = [], []
    for order in orders:
        host, path = order["to_host"], order["destination"]
        others = [other["destination"] for other in orders if other is not order and other["to_host"] == host]
        nested = next((other for other in others if is_within(path, other) or is_within(other, path)), "")
        if path in others:
            reason = f"{path} is the destination of {1 + others.count(path)} entries: give each a path of its own"
        elif nested:
            outer, inner = sorted((path, nested), key=len)
            reason = (
                f"{inner} lies in {outer}, the destination of another entry: restore {outer} first, in a run of its own"
            )
        else:
            good.append(order)
            continue
        failures.append(_failure(host, reason, order["key"]))
    return good, failures


def _adoptions(plan: Mapping[str, Any]) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Return {host: paths of restored copies to adopt}, and a failure for each that is none of an item."""
    found: dict[str, list[str]] = {}
    failures = []
    kinds = {category: kind for kind, category in CATEGORIES.items()}
    for text in plan["adopt"]:
        source, _, key = text.partition("/")
        category, _, name = key.partition("/")
        path = (
            _path_of(source, kinds[category], key, plan)
            if source in plan["sources"] and category in kinds and name
            else ""
        )
        if path:
            found.setdefault(source, []).append(path)
        else:
            hint = nearest(text, _alike(source, category, plan))
            reason = f"altbackup_adopt: {text!r} is no item, written as source/category/name, {hint}"
            failures.append(_failure(source if source in plan["sources"] else "localhost", reason, key if name else ""))
    return found, failures


def _alike(source: str, category: str, plan: Mapping[str, Any]) -> list[str]:
    """Return the items, as source/category/name, of that source and of that category, where these are right."""
    return [
        f"{host}/{key}"
        for host, entry in plan["sources"].items()
        for key in entry["keys"]
        if host == source or source not in plan["sources"]
        if key.startswith(f"{category}/") or category not in CATEGORIES.values()
    ]


def _searches(orders: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return {node: the trees on it that may hold what is ordered, with the items}."""
    found: dict[str, dict[str, set[str]]] = {}
    for order in orders:
        for node in order["candidates"]:
            found.setdefault(node, {}).setdefault(order["source"], set()).add(order["key"])
    return {
        node: [
            {"source": source, "base": base_of(plan, node, source), "keys": sorted(keys)}
            | ({"own": True} if node == source else {})
            for source, keys in trees.items()
        ]
        for node, trees in found.items()
    }


def base_of(plan: Mapping[str, Any], node: str, source: str) -> str:
    """Given the plan, a node and a source, return the tree of the source on that node."""
    return str(
        plan["sources"][source]["base"]
        if node == source
        else os.path.join(plan["targets"][node]["target_base"], source)
    )


def absent_hosts(
    restores: Mapping[str, Any], present: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Given what is to be done and the hosts of the play, return (orders for these, failures for the others)."""
    reason = "{} is not among the hosts of this run, so nothing was done there: is it left out by --limit?"
    orders = [order for order in restores["orders"] if order["to_host"] in present]
    failures = [
        _failed_order(order, reason.format(order["to_host"]))
        for order in restores["orders"]
        if order["to_host"] not in present
    ]
    failures += [_failure(host, reason.format(host)) for host in restores["adoptions"] if host not in present]
    return orders, failures


def choose(
    plan: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    found: Mapping[str, Mapping[str, Any]],
    peers: Mapping[str, Mapping[str, Any]],
    speeds: Mapping[str, Any],
    run: Mapping[str, str],
) -> dict[str, Any]:
    """Given orders and what tarball_find registered on each node, return `chosen`, `failures` and `notes` ({host: sentences}).

    `peers` is how the controller reaches each host, `speeds` what former restores took, `run` has `when` and `by` for the markers.
    A node that is down, locked or has nothing verified is passed over, and that is a note. What is stamped later than the run does
    not count; what nothing honest can have made is a failure. Where nodes differ on the stamp that is the newest, nothing is chosen.
    """
    moment = Moment(plan["stamp"], plan["clock"])
    found = {node: read_result(registered, _STAGE) for node, registered in found.items()}
    chosen: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = [*_lies(found), *_ahead(orders, found, moment)]
    notes: dict[str, list[str]] = {}
    for order in orders:
        offers, passed = _offers(plan, order, found, moment)
        if not offers:
            reason = f"no node holds what {_title(order)} needs: {'; '.join(passed)}"
            failures.append(_failed_order(order, reason))
            continue
        best = max(offers, key=lambda offer: (offer["stamp"], -offer["rank"]))
        held = _held(order, found, best["stamp"])
        if len(set(held.values())) > 1:
            reason = f"{_title(order)} is refused: {outcomes.disagreement(best['stamp'], held)}; or name the node whose copy is to be taken, as from"
            failures.append(_failed_order(order, reason))
            continue
        problems = (
            [] if _is_same(best["node"], order["to_host"], peers) else _problems(best["node"], order["to_host"], peers)
        )
        if problems:
            failures.append(_failed_order(order, f"nothing can be brought from {best['node']}: {'; '.join(problems)}"))
            continue
        notes.setdefault(order["to_host"], []).extend(f"passed over {each}" for each in passed)
        notes[order["to_host"]] += _not_whole(order, best, found, moment)
        notes[order["to_host"]] += _doubted(plan, order, best["stamp"], found, moment)
        chosen.append(_chosen(plan, order, best, peers, speeds, run))
    return {"chosen": chosen, "failures": failures, "notes": notes}


def _ahead(
    orders: Sequence[Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]], moment: Moment
) -> list[dict[str, Any]]:
    """Return a failure for each node and item that is ordered with tarballs whose stamps nothing honest can have."""
    failures = []
    for node, source, key in dict.fromkeys(
        (node, order["source"], order["key"]) for order in orders for node in order["candidates"]
    ):
        tree, problem = _tree_on(node, source, found.get(node))
        paths = [entry["relpath"] for entry in _of_item(tree, key) if moment.is_ahead(entry["stamp"])]
        if paths and not problem:
            reason = ahead_reason(os.path.join(tree["base"], paths[0]), len(paths) - 1, moment)
            failures.append({**_failure(node, reason, key), "relpath": paths[0]})
    return failures


def _lies(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a failure for each node that said what is no result."""
    return [
        _failure(node, entry["reason"])
        for node, registered in found.items()
        for entry in registered.get("failures") or []
        if entry["reason"].startswith(SAID)
    ]


def _of_item(tree: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the tarballs of an item in what a node told of a tree."""
    name = key.partition("/")[2]
    return [
        entry
        for entry in tree.get("tarballs") or []
        if entry["relpath"].startswith(f"{key}/") and parse_filename(entry["relpath"].rsplit("/", 1)[-1], name)
    ]


def _held(order: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], stamp: str) -> dict[str, str]:
    """Return {node: what the sidecars of its verified tarballs of a stamp say} of the nodes from which may be taken.

    It does not matter whether a node that differs could give its copy now.
    """
    held = {}
    for node in order["candidates"]:
        tree, problem = _tree_on(node, order["source"], found.get(node))
        problem = problem or _foreign(order, node, tree, found)
        dnas = sorted(
            ":".join(str(entry[name]) for name in ("alg", "dig", "size", "base", "base_dig") if entry[name])
            for entry in ([] if problem else _of_item(tree, order["key"]))
            if entry["stamp"] == stamp and entry["state"] == "verified"
        )
        if dnas:
            held[node] = " and ".join(dnas)
    return held


def _is_same(node: str, host: str, peers: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether both are one machine: one host, or both the controller itself."""
    return node == host or not (peers[node].get("host") or peers[host].get("host") or _problems(node, host, peers))


def _problems(node: str, host: str, peers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"{each} {peers[each]['problem']}" for each in (node, host) if peers[each].get("problem")]


def _title(order: Mapping[str, Any]) -> str:
    at = f" at {order['at']}" if order["at"] else ""
    return f"the restore of {order['key']} of {order['source']}{at}"


def _offers(
    plan: Mapping[str, Any], order: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], moment: Moment
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the nodes have to offer, the newest of each, and why the others have nothing."""
    offers, passed = [], []
    for rank, node in enumerate(order["candidates"]):
        tree, problem = _tree_on(node, order["source"], found.get(node))
        problem = problem or _foreign(order, node, tree, found)
        if not problem:
            try:
                tarballs = _newest(order, tree, moment, _accepted(plan, order, tree))
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
    """Return the tree of a source that a node told of, and why it cannot be used, if so."""
    if not registered:
        return {}, "is not among the hosts of this run: is it left out by --limit?"
    if registered.get("unreachable"):
        return {}, " ".join(outcomes.unreachable(registered).split())
    if registered.get("failed") or registered.get("failures"):
        reasons = [entry["reason"] for entry in registered.get("failures") or []] or [registered.get("msg")]
        return {}, " ".join(" ".join(map(str, reasons)).split())
    tree = next((tree for tree in registered.get("trees") or [] if tree["source"] == source), None)
    return (dict(tree), str(tree.get("problem") or "")) if tree else ({}, "did not tell what it holds")


def _not_whole(
    order: Mapping[str, Any], best: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], moment: Moment
) -> list[str]:
    """Return a note where what is taken is not whole, with the stamp of the newest that is."""
    newest = best["tarballs"][-1]
    reasons = missing_of(newest.get("record") or {})
    if not reasons:
        return []
    trees = {node: _tree_on(node, order["source"], found.get(node)) for node in order["candidates"]}
    whole = [
        entry["stamp"]
        for node, (tree, problem) in trees.items()
        for entry in ([] if problem or _foreign(order, node, tree, found) else _of_item(tree, order["key"]))
        if entry["state"] == "verified" and moment.counts(entry["stamp"]) and not missing_of(entry.get("record") or {})
    ]
    other = f"the newest whole one is of {max(whole)}: give that, as at" if whole else "no whole one was found"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return [f"{newest['relpath']} is incomplete: {shortened(reasons[0], 1000)}{more}; {other}"]


def _foreign(
    order: Mapping[str, Any], node: str, tree: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return what is wrong with a tree that holds the copies of another source than the one that now has the name, if it is so.

    It is not known where the source did not tell its id, as it is gone, or its base new; nor asked of a node that is named.
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
    """Return the stamp up to which suspects of an item in a tree are accepted: by this controller, or there; empty for none."""
    here = (plan.get("marks") or {}).get(order["source"], {}).get("accepted", {})
    return max(str(known.get(order["key"], "")) for known in (here, tree.get("accepted") or {}))


def _suspects(entries: Sequence[Mapping[str, Any]], accepted: str) -> list[Mapping[str, Any]]:
    """Return those of the tarballs of an item that are suspect, and that nobody accepted."""
    return [entry for entry in entries if entry["stamp"] > accepted and doubts_of(entry.get("record") or {})]


def _doubted(
    plan: Mapping[str, Any],
    order: Mapping[str, Any],
    stamp: str,
    found: Mapping[str, Mapping[str, Any]],
    moment: Moment,
) -> list[str]:
    """Return a note on the newest suspect, where it is newer than the stamp of what is taken; or on what is taken, if that is one."""
    newest: dict[str, Mapping[str, Any]] = {}
    for node in order["candidates"]:
        tree, problem = _tree_on(node, order["source"], found.get(node))
        own = [] if problem or _foreign(order, node, tree, found) else _of_item(tree, order["key"])
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
    order: Mapping[str, Any], tree: Mapping[str, Any], moment: Moment, accepted: str = ""
) -> list[dict[str, Any]]:
    """Return the newest verified tarball that the order allows, a differential after its full one. Raise InvalidInput.

    One that is named by its stamp may be later than the run, but not later than anything can be, and a suspect that nobody accepted.
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
    suspects = [] if is_stamp(order["at"]) else _suspects(verified, accepted)
    sure = [entry for entry in verified if entry not in suspects]
    if not sure:
        why = shortened(doubts_of(suspects[-1]["record"])[0], 1000)
        raise InvalidInput(
            f"has suspects alone: {suspects[-1]['relpath']}: {why}. To have it all the same, give its stamp, as at: {suspects[-1]['stamp']}"
        )
    newest = sure[-1]
    return [*_full_of(newest, order, own), newest]


def full_among(own: Sequence[Mapping[str, Any]], relpath: str, dig: str) -> Mapping[str, Any] | None:
    """Given an item's tarballs on a node, and path and digest of the full one that a differential needs, return it, None where none serves.

    Any other verified one of that digest serves, too. What is at the path, but does not serve, is returned where there is none.
    """
    named = next((entry for entry in own if entry["relpath"] == relpath), None)
    same = [entry for entry in own if entry["state"] == "verified" and entry["dig"] == dig and not entry["base"]]
    return named if named in same or not same else same[-1]


def _full_of(
    tarball: Mapping[str, Any], order: Mapping[str, Any], own: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the full tarball that a differential needs, nothing for a full one. Raise InvalidInput if it is not to be had."""
    if not tarball["base"]:
        return []
    relpath = f"{order['key']}/{tarball['base']}"
    needs = f"{tarball['relpath']} is a differential that needs {relpath}"
    full = full_among(own, relpath, tarball["base_dig"])
    if full is None:
        raise InvalidInput(f"{needs}, which is not there")
    if full["state"] != "verified":
        raise InvalidInput(f"{needs}, which {full['problem']}")
    if full["dig"] != tarball["base_dig"]:
        raise InvalidInput(f"{needs} with digest {tarball['base_dig']}, but that has {full['dig']}")
    return [dict(full)]


def _chosen(
    plan: Mapping[str, Any],
    order: Mapping[str, Any],
    offer: Mapping[str, Any],
    peers: Mapping[str, Mapping[str, Any]],
    speeds: Mapping[str, Any],
    run: Mapping[str, str],
) -> dict[str, Any]:
    """Return an order with what it is to be done from: what tarball_restore and tarball_carry take, and how it is told of."""
    node, host, newest = offer["node"], order["to_host"], offer["tarballs"][-1]
    same = _is_same(node, host, peers)
    size = sum(entry["size"] for entry in offer["tarballs"])
    origin = {
        "source": order["source"],
        "item": order["key"],
        "stamp": newest["stamp"],
        "dig": newest["dig"],
        "node": node,
        "host": host,
        **run,
    }
    either = plan["targets"].get(host) or plan["sources"].get(host) or {}
    restore = {name: order[name] for name in ("destination", "kind", "member", "replace", *_FLAGS, *_ATTRIBUTES)}
    restore |= {
        "kind": kind_in(CATEGORIES[order["kind"]], (newest["record"] or {}).get("kind") or order["kind"]),
        "base": offer["base"] if same else "",
        "proof_user": either.get("drill_user") or "nobody",
        "live_base": plan["sources"].get(host, {}).get("base", ""),
        "live_items": _live_items(plan["sources"].get(host, {})),
        "live_discover": dict(plan["sources"].get(host, {}).get("discover", {})),
        "tarballs": [{name: entry[name] for name in ("relpath", "size", "dig", "alg")} for entry in offer["tarballs"]],
        "record": newest["record"],
        "origin": origin,
    }
    return {
        "host": host,
        "holder": node,
        "held_in": offer["base"],
        "label": one_line(f"{order['key']} of {order['source']} from {node} to {order['destination']}"),
        "size": size,
        "prediction": _prediction(order, offer, size, same, speeds),
        "pair": f"{node} -> {host}",
        "seconds": plan["nodes"].get(host, {}).get("step_timeout")
        or plan["nodes"].get(node, {}).get("step_timeout")
        or _STEP,
        "restore": restore,
        "carry": None
        if same
        else {
            "origin": {**peers[node], "folder": offer["base"]},
            "destination": dict(peers[host]),
            "relpaths": [entry["relpath"] for entry in offer["tarballs"]],
            "size": size,
        },
    }


def _live_items(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Given what the plan has of a source, return kind and path of what is an item there, be it one with an error."""
    wrong = [item for item in entry.get("item_errors", ()) if item["kind"] and os.path.isabs(item["path"])]
    return [
        {name: item[name] for name in ("kind", "path")} for item in [*entry.get("items", ()), *wrong] if item["path"]
    ]


def _prediction(
    order: Mapping[str, Any], offer: Mapping[str, Any], size: int, same: bool, speeds: Mapping[str, Any]
) -> str:
    """Return what would happen: from which node, which tarball, how many bytes, how long."""
    node, host = offer["node"], order["to_host"]
    tarballs = " and ".join(entry["relpath"] for entry in offer["tarballs"])
    member = f" (of it {one_line(order['member'])})" if order["member"] else ""
    way = "on the same machine" if same else "by way of the controller"
    return (
        f"would restore {tarballs}{member} of {order['source']} from {node} to {order['destination']} on {host}, {way}: {readable(size)}, "
        f"{_how_long(size, speeds.get(f'{node} -> {host}'), f'{node} to {host}')}"
    )


def _how_long(size: int, speed: Any, pair: str) -> str:
    try:
        count, seconds = float(speed["bytes"]), float(speed["seconds"])
        rate = count / seconds
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return f"no speed was measured yet from {pair}"
    return f"about {size / rate:.0f} s at the speed of the last restore from {pair}, {readable(round(rate))}/s"


def read_speeds(text: str) -> dict[str, Any]:
    """Given the file of speeds, return {`node -> host`: {bytes, seconds}}, nothing if it cannot be understood."""
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def learn_speeds(
    speeds: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Given known speeds, orders and how long those that were done took ({label: seconds}), return the speeds, too."""
    new = dict(speeds)
    for order in chosen:
        took = seconds.get(order["label"])
        if took:
            new.pop(order["pair"], None)
            new[order["pair"]] = {"bytes": order["size"], "seconds": round(took, 3)}
    return dict(list(new.items())[-_SPEEDS:])


def follow(order: Mapping[str, Any], progress: Mapping[str, Any]) -> dict[str, Any]:
    """Given an order and what its calls have noted so far, return it with `ready` (it can be done), `arrived`, and the folder to carry to."""
    carry = order["carry"]
    if carry and progress.get("incoming"):
        carry = {**carry, "destination": {**carry["destination"], "folder": progress["incoming"]}}
    arrived = not carry or bool(progress.get("arrived"))
    return {**order, "carry": carry, "ready": bool(progress.get("ready")), "arrived": arrived}


def followed(
    order: Mapping[str, Any], step: str, result: Mapping[str, Any], progress: Mapping[str, Any]
) -> dict[str, Any]:
    """Given an order, the step of a call (`carry` for the transfer), its result and what was noted before, return what is to be noted now."""
    good = is_good(result)
    if step == "prepare":
        return {"ready": good and not result.get("done"), "incoming": result.get("incoming", "")}
    if step == "look":
        return {**progress, "ready": good}
    timed = {**progress, "seconds": progress.get("seconds", 0.0) + float(result.get("seconds") or 0)}
    if step == "carry":
        return {**timed, "arrived": good}
    return {**timed, "done": good and bool(result.get("destination")) and bool(result.get("changed"))}


def is_good(result: Mapping[str, Any]) -> bool:
    """Return whether a call did what it was for."""
    return not (result.get("failed") or result.get("unreachable") or result.get("failures"))


def done_note(order: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Given an order and the result of restoring it, return what is told of it."""
    aside = f"; what stood there is now {result['aside']}" if result.get("aside") else ""
    return (
        f"restored {order['label']}: {readable(order['size'])} of tarballs, {result.get('seconds', 0)} s{aside}"
        f"{_told_mark(str(result.get('marked') or ''), order['restore'])}"
    )


def _told_mark(marked: str, restore: Mapping[str, Any]) -> str:
    """Given what a marker stands beside, if anything, and what was ordered, return what that means for backups, to follow what was done."""
    if not marked:
        return ""
    marker, destination = f"{marked}{RESTORED}", str(restore["destination"])
    folders = restore["live_discover"].values()
    paths = [os.path.normpath(item["path"]) for item in restore["live_items"]]
    is_item = marked in paths or any(is_within(marked, os.path.normpath(folder)) for folder in folders)
    if is_item or marked != destination:
        what = "It" if marked == destination else marked
    elif any(is_within(path, destination) for path in [*paths, *map(os.path.normpath, folders)]):
        what = "What lies in it"
    else:
        return f". {marker} says what it is: if it becomes an item, it is not backed up before it is adopted"
    return f". {what} is not backed up while {marker} is there (altbackup_adopt)"
