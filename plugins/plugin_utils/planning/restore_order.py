"""Options of the modules that carry out an order of a restore, and the order's texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES, kind_in
from ...module_utils.system.age import is_encrypted
from ...module_utils.system.units import readable
from ...module_utils.system.visible import one_line
from ...module_utils.tree.encryption import shared
from .restore_entry import ATTRIBUTES, FLAGS
from .restore_into import place_of_order
from .restore_source import is_same_machine
from .stores import server_of

_STEP = 21600.0
_FASTEST = 1 << 60
"""Bytes per second from which on a speed cannot have been measured"""


def chosen_order(
    plan: Mapping[str, Any],
    order: Mapping[str, Any],
    offer: Mapping[str, Any],
    peers: Mapping[str, Mapping[str, Any]],
    speeds: Mapping[str, Any],
    run: Mapping[str, str],
) -> dict[str, Any]:
    """Return an order completed by the chosen offer: the options of tarball_restore and tarball_carry, and texts."""
    node, host, newest = offer["node"], order["to_host"], offer["tarballs"][-1]
    same = is_same_machine(node, host, peers)
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
    restore = {name: order[name] for name in ("destination", "kind", "member", "replace", *FLAGS, *ATTRIBUTES)}
    restore |= {
        "kind": kind_in(CATEGORIES[order["kind"]], (newest["record"] or {}).get("kind") or order["kind"]),
        "base": offer["base"] if same else "",
        "into": order["into"],
        "proof_user": either.get("drill_user") or "nobody",
        "live_base": plan["sources"].get(host, {}).get("base", ""),
        "live_items": _live_items(plan["sources"].get(host, {})),
        "live_discover": dict(plan["sources"].get(host, {}).get("discover", {})),
        "tarballs": [_tarball(entry) for entry in offer["tarballs"]],
        "signing_key": plan["sources"][order["source"]]["signing_key"],
        "sources": [order["source"], *plan["sources"][order["source"]]["former_names"]],
        "record": shared(newest["record"] or {}),
        "origin": origin,
    }
    return {
        "host": host,
        "holder": server_of(plan, node, order["source"]),
        "store": node if node in plan.get("stores", {}) else "",
        "source": order["source"],
        "held_in": offer["base"],
        "label": one_line(f"{order['key']} of {order['source']} from {node} to {place_of_order(order)}"),
        "size": size,
        "items": _items_by_path(plan, host),
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


def _tarball(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tarball as the module takes it; an encrypted one has its record, which holds the signature."""
    told = {name: entry[name] for name in ("relpath", "size", "dig", "alg")}
    return {**told, **({"record": shared(entry["record"] or {})} if is_encrypted(entry["relpath"]) else {})}


def _items_by_path(plan: Mapping[str, Any], host: str) -> dict[str, str]:
    """Return {path: source/category/name} of the items of a host that have a path."""
    items = plan["sources"].get(host, {}).get("item_list", ())
    return {
        os.path.normpath(item["path"]): f"{host}/{CATEGORIES[item['kind']]}/{item['name']}"
        for item in items
        if item["path"]
    }


def _live_items(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return kind and path of a source's items, of those with an error too."""
    wrong = [item for item in entry.get("item_errors", ()) if item["kind"] and os.path.isabs(item["path"])]
    return [
        {name: item[name] for name in ("kind", "path")}
        for item in [*entry.get("item_list", ()), *wrong]
        if item["path"]
    ]


def _prediction(
    order: Mapping[str, Any], offer: Mapping[str, Any], size: int, same: bool, speeds: Mapping[str, Any]
) -> str:
    """Return what would be done: from which node, which tarball, how many bytes, how long."""
    node, host = offer["node"], order["to_host"]
    tarballs = " and ".join(entry["relpath"] for entry in offer["tarballs"])
    member = f" (of it {one_line(order['member'])})" if order["member"] else ""
    way = "on the same machine" if same else "by way of the controller"
    return (
        f"would restore {tarballs}{member} of {order['source']} from {node} to {place_of_order(order)} on {host}, {way}: {readable(size)}, "
        f"{_duration_text(size, speeds.get(f'{node} -> {host}'), f'{node} to {host}')}"
    )


def _duration_text(size: int, speed: Any, pair: str) -> str:
    try:
        rate = float(speed["bytes"]) / float(speed["seconds"])
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        rate = 0.0
    if not 1 <= rate < _FASTEST:
        return f"no speed was measured yet from {pair}"
    return f"about {size / rate:.0f} s at the speed of the last restore from {pair}, {readable(round(rate))}/s"
