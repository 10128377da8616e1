"""The calls that a stage's tasks loop over, for a host of the play, each with the node on which it is made.

An entry says what a call is about, and Ansible shows its `label`; the options of the call come from options.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...module_utils.system.units import counted
from ...module_utils.tree.stamps import is_day
from ..planning import contents, drill, heal, rekeying, restore, restore_progress, setup, transfers, trusting
from ..planning.reaching import controller_peer
from ..planning.stores import store_trees
from ..planning.trees import node_trees, open_trees, serving_rounds, source_trees
from .run import Run

Entry = dict[str, Any]
_OF_TREES = ("node", "source", "role", "base", "check_scope")


def calls(name: str, run: Run, only: Iterable[str] = ()) -> list[Entry]:
    """Return the entries of LOOPS[name] for the host of the run, only those on the nodes in `only` if it names any. Raise KeyError."""
    nodes = set(only)
    return [entry for entry in LOOPS[name](run) if not nodes or entry.get("node") in nodes]


def _entry(tree: Mapping[str, Any]) -> Entry:
    known = {name: tree[name] for name in _OF_TREES if name in tree}
    return {**known, "label": f"{tree['source']} on {tree['node']}"}


def _open(run: Run, trees: Iterable[Mapping[str, Any]]) -> list[Entry]:
    return [_entry(tree) for tree in open_trees(list(trees), run.state)]


def _usable(run: Run) -> list[Entry]:
    """Return the host itself, unless it is down."""
    return [] if run.host in run.state["down"] else [{"node": run.host, "label": run.host}]


def _own(run: Run) -> list[Entry]:
    """Return the own tree of a source."""
    return _open(run, source_trees(run.plan, run.host))


def _targets(run: Run) -> list[Entry]:
    """Return the trees of a source on its targets."""
    return _open(run, source_trees(run.plan, run.host, targets=True)) if run.host in run.plan["sources"] else []


def _node(run: Run) -> list[Entry]:
    """Return all trees on a node."""
    return _open(run, node_trees(run.plan, run.host))


def _check(run: Run) -> list[Entry]:
    """Return the trees to check: all of a node or, in a backup, the source's own, as those on targets are checked when they are purged."""
    return _own(run) if run.plan["locked"] else _node(run)


def _purge(run: Run) -> list[Entry]:
    """Return the trees to purge: all of a node or, in a backup, those of the source, its own last."""
    return [*_targets(run), *_own(run)] if run.plan["locked"] else _node(run)


def _shelves(run: Run) -> list[Entry]:
    """Return the trees to list before a purge on its own, to count the targets that hold the newest copies.

    These are the trees of the node and, where the own copy is not enough, those of its sources on targets that are not in the play.
    """
    entries = _node(run)
    wanting = [
        entry["source"]
        for entry in entries
        if entry["role"] == "source" or run.plan["sources"][entry["source"]]["min_copies"] > 1
    ]
    trees = [tree for name in dict.fromkeys(wanting) for tree in source_trees(run.plan, name, targets=True)]
    absent = [tree for tree in trees if run.play_hosts and tree["node"] not in (*run.play_hosts, run.host)]
    return [{**entry, "shelf": True} for entry in [*entries, *_open(run, absent)]]


def _undo(run: Run) -> list[Entry]:
    """Return the trees from whose trash something is to be put back."""
    asked = [*run.plan["undo"]]
    return [
        entry
        for entry in _node(run)
        if any(is_day(text) or text.partition("/")[0] == entry["source"] for text in asked)
    ]


def _heal_asks(run: Run) -> list[Entry]:
    """Return the trees of a source that may have good copies of what rotted in others."""
    if not heal.keys_of(run.state["rotten"]):
        return []
    return [{**entry, "stage": "heal"} for entry in [*_own(run), *_targets(run)]]


def heal_errands(run: Run) -> list[dict[str, Any]]:
    """Return what to fetch now, and from where, to replace what rotted."""
    return heal.errands(run.state["rotten"], run.state["holders"])


def heal_errand_of(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the heal errand of a call."""
    return next(errand for errand in heal_errands(run) if errand["label"] == about["label"])


def _heals(run: Run, is_due: Callable[[Mapping[str, Any]], bool]) -> list[Entry]:
    shown = ("stage", "node", "source", "role", "base", "holder", "label")
    return [{name: errand[name] for name in shown} for errand in heal_errands(run) if is_due(errand)]


def _heal_rounds(run: Run) -> list[Entry]:
    """Return a round for each holder that may have to be tried."""
    number = heal.rounds(run.state["rotten"], run.state["holders"])
    return [{"label": f"{turn} of {number}"} for turn in range(1, number + 1)]


def _unlock(run: Run) -> list[Entry]:
    """Return the trees that preflight locked for the run."""
    return [
        entry for entry in [*_own(run), *_targets(run)] if f"{entry['node']}:{entry['base']}" in run.state["locked"]
    ]


def _marked(run: Run, role: str) -> list[Entry]:
    """Return the node's trees of one role whose sources are given marks; none once the node was unreachable."""
    nodes = [] if run.state["unmarked"] else _node(run)
    return [entry for entry in nodes if entry["role"] == role and entry["source"] in run.plan["given"]]


def deliveries(run: Run) -> list[dict[str, Any]]:
    """Return what is to be sent to targets that can be used."""
    usable = {entry["node"] for entry in _targets(run)}
    if not usable:
        return []
    return [entry for entry in transfers.deliveries(run.plan, run.host, run.state) if entry["node"] in usable]


def _searches(run: Run) -> list[Entry]:
    """Return the host itself, if it may hold the tarballs to look into."""
    wanted = contents.searches(run.plan, run.host) if run.host in run.plan["nodes"] else []
    return [{"stage": "contents", "node": run.host, "label": run.host}] if wanted else []


def readings(run: Run) -> list[dict[str, Any]]:
    """Return what is to be read on the host."""
    return [call for call in run.choice.get("chosen", ()) if call.get("server") == run.host and "options" in call]


def reading_of(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reading of a call."""
    return next(call for call in readings(run) if call["label"] == about["label"])


def _readings(run: Run, is_due: Callable[[Mapping[str, Any]], bool]) -> list[Entry]:
    shown = ("node", "server", "source", "label")
    return [{"stage": "contents", **{name: call[name] for name in shown}} for call in readings(run) if is_due(call)]


def _contents_in_stores(run: Run) -> list[Entry]:
    """Return the trees of stores that may have what is to be looked into, and that the host fills."""
    shown = ("node", "server", "source", "role", "base", "keys")
    trees = contents.store_searches(run.plan, run.host) if run.host in run.plan["nodes"] else []
    return [
        {"stage": "contents", **{name: tree[name] for name in shown}, "label": f"{tree['source']} in {tree['node']}"}
        for tree in trees
    ]


def _deliveries(run: Run) -> list[Entry]:
    """Return the targets to which something is sent."""
    counts = {entry["node"]: len(entry["tarballs"]) for entry in deliveries(run)}
    return [
        {**entry, "label": f"{entry['node']}: {counted(counts[entry['node']], 'tarball')}"}
        for entry in _targets(run)
        if entry["node"] in counts
    ]


def _rounds(run: Run) -> list[Entry]:
    """Return the rounds in which targets are served, none if the source's tarballs are not known."""
    if run.state["offer"] is None:
        return []
    together = serving_rounds(_targets(run), run.plan, run.host)
    return [_round([entry["node"] for entry in entries]) for entries in together]


def _last_rounds(run: Run) -> list[Entry]:
    """Return a round for what arrived with other bytes, and one for each target whose transfer slots were all taken, for one of which the source waits.

    What is sent in them is sent for the last time, see backup_options.accept_options.
    """
    wrong = [entry["node"] for entry in deliveries(run)]
    busy = [entry["node"] for entry in _targets(run) if entry["node"] in run.state["busy"]]
    wait = int(run.plan["nodes"][run.host]["step_timeout"]) if busy else 0
    once_more = [{**_round([]), "label": f"once more: {', '.join(wrong)}"}] if wrong else []
    return [*once_more, *(_round([node], wait) for node in busy)]


def _round(nodes: list[str], wait: int = 0) -> Entry:
    """Return a round: the nodes that are asked what they lack, and the seconds to wait for a slot."""
    return {"nodes": nodes, "slot_wait": wait, "label": ", ".join(nodes)}


def _refills(run: Run) -> list[Entry]:
    """Return, for each target that is being refilled, the source's other targets, which may hold what the source no longer does."""
    targets = _targets(run)
    lacking = {*run.state["refilled"], *run.state["doubted"]}
    return [
        {**entry, "stage": "refill", "from": other["node"], "label": f"{entry['node']} from {other['node']}"}
        for entry in targets
        if entry["node"] in run.state["refilled"]
        for other in targets
        if other["node"] not in lacking
    ]


def _rekeys(run: Run) -> list[Entry]:
    """Return the trees of a source on its targets, to see what there is encrypted to others than those of today; none where the source cannot do it."""
    return [{**entry, "stage": "rekey"} for entry in _targets(run)] if run.state["rekeys"].get("ready") else []


def rekey_of(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a target whose tarballs are to be encrypted anew."""
    return rekeying.work(run.source, run.plan["rekey"], run.host, run.state["rekeys"], str(about["node"]))


def _drill(run: Run) -> list[Entry]:
    """Return the trees that are drilled on their own node."""
    away = {tree["base"] for tree in node_trees(run.plan, run.host) if tree["drill_host"] and not run.plan["key_drill"]}
    return [entry for entry in _node(run) if entry["base"] not in away]


def _drill_away(run: Run) -> list[Entry]:
    """Return the trees that are drilled on a scratch host."""
    own = {entry["base"] for entry in _drill(run)}
    return [entry for entry in _node(run) if entry["base"] not in own]


def errands(run: Run) -> list[dict[str, Any]]:
    """Return what is to be drilled on a scratch host, with its progress."""
    chosen = run.state["chosen"]
    if not chosen:
        return []
    ends = (run.host, str(run.plan["nodes"][run.host]["drill_host"]))
    ways = {host: controller_peer(run.hostvars, run.plan, host) for host in ends}
    planned = [drill.errand(run.tree(entry["about"]), entry["chosen"], ways) for entry in chosen]
    return [{**errand, **run.state["errands"].get(errand["label"], {})} for errand in planned]


def errand_of(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the drill errand of a call."""
    return next(errand for errand in errands(run) if errand["label"] == about["label"])


def _errands(run: Run, is_due: Callable[[Mapping[str, Any]], bool]) -> list[Entry]:
    return [
        {"stage": "drill", **{name: errand[name] for name in ("node", "source", "role", "base", "host", "label")}}
        for errand in errands(run)
        if not errand["problem"] and is_due(errand)
    ]


def _orders(run: Run, is_due: Callable[[Mapping[str, Any]], bool]) -> list[Entry]:
    return [
        {"stage": "restore", "holder": order["holder"], "label": order["label"]}
        for order in orders(run)
        if is_due(order)
    ]


def orders(run: Run) -> list[dict[str, Any]]:
    """Return what is to be restored to the host, with its progress."""
    found = [order for order in run.choice.get("chosen", ()) if order["host"] == run.host]
    return [restore_progress.with_progress(order, run.state["orders"].get(order["label"], {})) for order in found]


def order_of(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the restore order of a call."""
    return next(order for order in orders(run) if order["label"] == about["label"])


def _store_list(run: Run) -> list[Entry]:
    """The stores that a node fills, which are listed through it."""
    return [{**entry, "stage": "list"} for entry in _stores(run)]


def _store_searches(run: Run) -> list[Entry]:
    """The stores that may have what is ordered, and that the host fills."""
    orders = restore.plan_restores(run.plan, list(run.hostvars))["orders"] if run.plan["restore"] else []
    wanted: dict[tuple[str, str], list[str]] = {}
    for order in orders:
        for name in order["candidates"]:
            if name in run.plan["stores"]:
                wanted.setdefault((name, order["source"]), []).append(order["key"])
    return [
        {
            "stage": "restore",
            **{key: tree[key] for key in ("node", "server", "source", "role", "base")},
            "keys": sorted({*keys}),
            "label": name,
        }
        for (name, source), keys in wanted.items()
        for tree in store_trees(run.plan, source=source, server=run.host)
        if tree["node"] == name
    ]


def _store_drills(run: Run) -> list[Entry]:
    """The stores that a node fills, of which something is to be drilled."""
    if run.plan["key_drill"]:
        return []
    return [{**entry, "stage": "drill"} for entry in _stores(run) if run.plan["stores"][entry["node"]]["drill"]]


def _stores(run: Run) -> list[Entry]:
    """The stores of a source while it is backed up, be it itself that fills them or its targets; else those that a node fills."""
    locked = run.plan["locked"]
    trees = store_trees(run.plan, source=run.host) if locked else store_trees(run.plan, server=run.host)
    down, closed = run.state["down"], run.state["closed"]
    return [
        {
            **{name: tree[name] for name in ("node", "server", "source", "role", "base")},
            "label": f"{tree['source']} in {tree['node']}",
        }
        for tree in trees
        if tree["server"] not in down and f"{tree['server']}:{tree['base']}" not in closed
    ]


def pair_of(run: Run, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pair of a call."""
    return next(pair for pair in setup.pairs(run.plan, run.host) if pair["label"] == about["label"])


def _pairs(run: Run, step: str) -> list[Entry]:
    """Return the pairs of a source of which a step of their set-up is due, see trusting.STEPS."""
    return [
        {"step": step, "node": trusting.node_of(pair, step), "label": pair["label"]}
        for pair in setup.pairs(run.plan, run.host)
        if trusting.is_due(pair, run.state["pairings"].get(pair["label"], {}), step)
    ]


LOOPS: dict[str, Callable[[Run], list[Entry]]] = {
    "usable": _usable,
    "targets": _targets,
    "check": _check,
    "purge": _purge,
    "shelves": _shelves,
    "undo": _undo,
    "rotten": _heal_asks,
    "heal_rounds": _heal_rounds,
    "heal_carries": lambda run: _heals(run, lambda errand: not errand["here"]),
    "heals": lambda run: _heals(run, lambda errand: errand["here"] or errand["label"] in run.state["carried"]),
    "unlock": _unlock,
    "list": _node,
    "searches": _searches,
    "contents_in_stores": _contents_in_stores,
    "readings": lambda run: _readings(run, lambda call: not call["store"] or call["label"] in run.state["carried"]),
    "readings_to_bring": lambda run: _readings(run, lambda call: bool(call["store"])),
    "mark": lambda run: _marked(run, "source"),
    "mark_copies": lambda run: _marked(run, "target"),
    "rounds": _rounds,
    "stores": _stores,
    "store_list": _store_list,
    "store_drills": _store_drills,
    "store_searches": _store_searches,
    "orders_to_look": lambda run: _orders(run, lambda order: order["ready"] and not order["store"]),
    "orders_to_fetch": lambda run: _orders(run, lambda order: order["ready"] and bool(order["store"])),
    "last_rounds": _last_rounds,
    "deliveries": _deliveries,
    "refills": _refills,
    "rekeys": _rekeys,
    "rekeys_due": lambda run: [entry for entry in _rekeys(run) if rekey_of(run, entry)["due"]],
    "drill": _drill,
    "drill_away": _drill_away,
    "errands": lambda run: _errands(run, lambda errand: True),
    "errands_with_room": lambda run: _errands(run, lambda errand: bool(errand["made"])),
    "errands_with_proofs": lambda run: _errands(run, lambda errand: bool(errand["proofs"])),
    "orders": lambda run: _orders(run, lambda order: True),
    "orders_ready": lambda run: _orders(run, lambda order: order["ready"]),
    "orders_to_carry": lambda run: _orders(
        run, lambda order: order["ready"] and order["fetched"] and bool(order["carry"])
    ),
    **{f"pairs_to_{step}": functools.partial(_pairs, step=step) for step in trusting.STEPS},
}
"""{name of a loop: its entries for a run}"""
