"""Orders of a restore, from altbackup_restore, the plan of the run and what nodes hold; as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.paths import is_within
from ...module_utils.system.values import nearest
from ...module_utils.tree.stamps import Moment
from ..report import run_failures
from ..report.results import read_result
from .restore_entry import path_of
from .restore_into import place_of_order
from .restore_order import chosen_order
from .restore_sets import LIST, MEMBER, is_of_sets, member_stamps, orders_of, whole_sets, with_listed_stamp
from .restore_source import (
    STAGE,
    base_of,
    dnas_at,
    failed_order,
    failures_of_future_stamps,
    failures_of_invalid_results,
    is_same_machine,
    notes_of_incomplete,
    notes_of_suspects,
    offers_for,
    order_failure,
    problems_of,
    title_of,
)


def plan_restores(plan: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Any]:
    """Return what is to be restored and adopted; `hosts` are all of the inventory.

    `orders` are the valid entries, `failures` those of the others, `searches` {node: trees to search} and `adoptions` {host: paths}.
    """
    orders, failures = [], []
    for number, value in enumerate(plan["restore"], 1):
        try:
            orders += orders_of(value, number, plan, hosts)
        except InvalidInput as error:
            host = value.get("to_host") or value.get("source") if isinstance(value, Mapping) else ""
            failures.append(
                order_failure(str(host or "localhost"), f"altbackup_restore, entry {number}: {error}", _key(value))
            )
    single, twice = _without_conflicts(orders)
    orders, broken = whole_sets(orders, single)
    adoptions, unknown = _adoptions(plan)
    failures += twice + broken + unknown
    if not plan["restore"] and not plan["adopt"]:
        reason = (
            "there is nothing to restore: say what with "
            '-e \'{"altbackup_restore": [{"source": "dayabay", "kind": "svn", "name": "dybsvn"}]}\''
        )
        failures.append(order_failure("localhost", reason))
    return {"orders": orders, "failures": failures, "searches": _searches(orders, plan), "adoptions": adoptions}


def _key(value: Any) -> str:
    """Return category/name of an entry that may not be valid, "" if it has none."""
    kind, name = (value.get("kind"), value.get("name")) if isinstance(value, Mapping) else ("", "")
    return (
        f"{CATEGORIES[kind]}/{name}" if isinstance(kind, str) and kind in CATEGORIES and isinstance(name, str) else ""
    )


def _without_conflicts(orders: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the orders, and a failure for each whose destination is that of another one, or nested with it; none of these is done."""
    good, failures = [], []
    for order in orders:
        host, path = order["to_host"], order["destination"]
        if LIST in order:
            good.append(order)
            continue
        others = [
            other["destination"]
            for other in orders
            if other is not order and other["to_host"] == host and LIST not in other
        ]
        nested = next((other for other in others if is_within(path, other) or is_within(other, path)), "")
        if path in others and order["into"] and not order["to"]:
            reason = f"{place_of_order(order)} is the destination of {1 + others.count(path)} entries: give one alone"
        elif path in others:
            reason = f"{path} is the destination of {1 + others.count(path)} entries: give each a path of its own"
        elif nested:
            outer, inner = sorted((path, nested), key=len)
            reason = (
                f"{inner} lies in {outer}, the destination of another entry: restore {outer} first, in a run of its own"
            )
        else:
            good.append(order)
            continue
        failures.append(order_failure(host, reason, order["key"]))
    return good, failures


def _adoptions(plan: Mapping[str, Any]) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Return {host: paths of restored copies to adopt}, and a failure for each entry that is not an item."""
    found: dict[str, list[str]] = {}
    failures = []
    kinds = {category: kind for kind, category in CATEGORIES.items()}
    for text in plan["adopt"]:
        source, _, key = text.partition("/")
        category, _, name = key.partition("/")
        path = (
            path_of(source, kinds[category], key, plan)
            if source in plan["sources"] and category in kinds and name
            else ""
        )
        if path:
            found.setdefault(source, []).append(path)
        else:
            hint = nearest(text, _alike(source, category, plan))
            reason = f"altbackup_adopt: {text!r} is no item, written as source/category/name, {hint}"
            failures.append(
                order_failure(source if source in plan["sources"] else "localhost", reason, key if name else "")
            )
    return found, failures


def _alike(source: str, category: str, plan: Mapping[str, Any]) -> list[str]:
    """Return the items, as source/category/name, of the given source and category, as far as these exist."""
    return [
        f"{host}/{key}"
        for host, entry in plan["sources"].items()
        for key in entry["item_keys"]
        if host == source or source not in plan["sources"]
        if key.startswith(f"{category}/") or category not in CATEGORIES.values()
    ]


def _searches(orders: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return {node: trees on it that may hold the ordered items, with their keys}."""
    found: dict[str, dict[str, set[str]]] = {}
    for order in orders:
        for node in order["candidates"]:
            if node in plan.get("stores", {}):
                continue
            found.setdefault(node, {}).setdefault(order["source"], set()).add(order["key"])
    return {
        node: [
            {"source": source, "base": base_of(plan, node, source), "keys": sorted(keys)}
            | ({"own": True} if node == source else {})
            for source, keys in trees.items()
        ]
        for node, trees in found.items()
    }


def absent_hosts(
    restores: Mapping[str, Any], present: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (orders for hosts of the play, failures for the other hosts)."""
    reason = "{} is not among the hosts of this run, so nothing was done there: is it left out by --limit?"
    orders = [order for order in restores["orders"] if order["to_host"] in present]
    failures = [
        failed_order(order, reason.format(order["to_host"]))
        for order in restores["orders"]
        if order["to_host"] not in present
    ]
    failures += [order_failure(host, reason.format(host)) for host in restores["adoptions"] if host not in present]
    return orders, failures


def choose(
    plan: Mapping[str, Any],
    orders: Sequence[Mapping[str, Any]],
    found: Mapping[str, Mapping[str, Any]],
    peers: Mapping[str, Mapping[str, Any]],
    speeds: Mapping[str, Any],
    run: Mapping[str, str],
) -> dict[str, Any]:
    """Return `chosen`, `failures` and `notes` ({host: sentences}), by what tarball_find registered on each node.

    `peers` is how the controller reaches each host, `speeds` those of earlier restores, `run` has `when` and `by` for the markers. A node
    that is down, locked or without a verified tarball is noted and left out. Tarballs later than the run do not count; a stamp in the
    future is a failure. If nodes differ on the newest stamp, nothing is chosen.
    """
    moment = Moment(plan["stamp"], plan["clock"])
    found = {node: read_result(registered, STAGE) for node, registered in found.items()}
    failures: list[dict[str, Any]] = [
        *failures_of_invalid_results(found),
        *failures_of_future_stamps(orders, found, moment),
    ]
    notes: dict[str, list[str]] = {}
    chosen: list[tuple[Mapping[str, Any], dict[str, Any]]] = []
    stamps: dict[int, dict[str, str]] = {}
    lost: set[int] = set()
    for order in orders:
        try:
            if MEMBER in order and order[MEMBER] not in stamps:
                continue
            wanted = with_listed_stamp(order, stamps[order[MEMBER]]) if MEMBER in order else order
            best, passed = _best(plan, wanted, found, peers, moment)
            if LIST in order:
                stamps[order[LIST]] = member_stamps(order, best)
                continue
        except InvalidInput as error:
            failures.append(failed_order(order, str(error)))
            lost.update({order[MEMBER]} if MEMBER in order else ())
            continue
        notes.setdefault(order["to_host"], []).extend(f"passed over {each}" for each in passed)
        notes[order["to_host"]] += notes_of_incomplete(wanted, best, found, moment)
        notes[order["to_host"]] += notes_of_suspects(plan, wanted, best["stamp"], found, moment)
        chosen.append((order, chosen_order(plan, wanted, best, peers, speeds, run)))
    failures += whole_sets(orders, [order for order in orders if not is_of_sets(order, lost)])[1]
    return {
        "chosen": [each for order, each in chosen if not is_of_sets(order, lost)],
        "failures": failures,
        "notes": notes,
    }


def _best(
    plan: Mapping[str, Any],
    order: Mapping[str, Any],
    found: Mapping[str, Mapping[str, Any]],
    peers: Mapping[str, Mapping[str, Any]],
    moment: Moment,
) -> tuple[dict[str, Any], list[str]]:
    """Return the offer for an order, and why other nodes were left out. Raise InvalidInput."""
    offers, passed = offers_for(plan, order, found, moment)
    if not offers:
        raise InvalidInput(f"no node holds what {title_of(order)} needs: {'; '.join(passed)}")
    best = max(offers, key=lambda offer: (offer["stamp"], -offer["rank"]))
    held = dnas_at(order, found, best["stamp"])
    if len(set(held.values())) > 1:
        raise InvalidInput(
            f"{title_of(order)} is refused: {run_failures.disagreement(best['stamp'], held)}; or name the node whose copy is to be taken, as from"
        )
    problems = (
        []
        if is_same_machine(best["node"], order["to_host"], peers)
        else problems_of(best["node"], order["to_host"], peers)
    )
    if problems:
        raise InvalidInput(f"nothing can be brought from {best['node']}: {'; '.join(problems)}")
    return best, passed
