"""Chooses what to restore from which node, by what nodes reported, and remembers how long restores took."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..planning import restore, restore_progress
from ..planning.filter_values import plain
from ..planning.reaching import controller_peer
from ..planning.stores import server_of
from .run import Run

SPEEDS = "~/.altbackup/restore-speeds.json"


def choose(run: Run, play_hosts: Sequence[str]) -> dict[str, Any]:
    """Return the orders with their chosen holders, the failures of those that cannot be done, and the adoptions."""
    plan = plain(run.plan)
    planned = restore.plan_restores(plan, [str(host) for host in run.hostvars])
    orders, absent = restore.absent_hosts(planned, play_hosts)
    found = {node: run.known_of(node).get("found") or {} for node in planned["searches"] if node in play_hosts}
    for name, server in _servers(plan, orders):
        known = (run.known_of(server).get("found_in") or {}).get(name)
        if known:
            found[name] = {**known, "trees": [*(found.get(name, {}).get("trees") or ()), *(known.get("trees") or ())]}
    involved = {
        str(host)
        for order in orders
        for host in (order["to_host"], *order["candidates"])
        if host not in plan.get("stores", {})
    }
    peers = {host: controller_peer(run.hostvars, run.plan, host) for host in involved}
    peers.update({name: controller_peer(run.hostvars, run.plan, server) for name, server in _servers(plan, orders)})
    identity = plan.get("run") or {}
    told = {
        "when": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "by": f"{identity.get('user', '')} on {identity.get('controller', '')}",
    }
    choice = restore.choose(plan, orders, found, peers, known_speeds(), told)
    return {**choice, "failures": [*planned["failures"], *choice["failures"], *absent]}


def _servers(plan: Mapping[str, Any], orders: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (store that may have what is ordered, a node by which it is asked), each once."""
    asked = [
        (name, server_of(plan, name, order["source"]))
        for order in orders
        for name in order["candidates"]
        if name in plan.get("stores", {})
    ]
    return list(dict.fromkeys(asked))


def chosen_state(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choice's failures and notes as the state of a host named "", {} if nothing was chosen."""
    if not choice:
        return {}
    notes = [f"{host}: {note}" for host, told in choice["notes"].items() for note in told]
    return {"": {"failures": choice["failures"], "notes": notes}}


def known_speeds() -> dict[str, Any]:
    """Return the speeds of earlier restores by this user on this controller."""
    try:
        with open(os.path.expanduser(SPEEDS), encoding="utf-8", errors="replace") as stream:
            return restore_progress.read_speeds(stream.read(1 << 20))
    except OSError:
        return {}


def learned_speeds(choice: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the speeds of earlier restores and of this run's; `states` is {host: state of the run}."""
    orders = [order for state in states.values() for order in state["orders"].items()]
    seconds = {label: progress["seconds"] for label, progress in orders if progress.get("done")}
    return restore_progress.learn_speeds(known_speeds(), plain(choice["chosen"]), seconds)
