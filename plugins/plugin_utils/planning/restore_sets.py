"""Restores of sets: an entry of one is an order of its list, which tells of which stamps, and one of each member, in their order."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.kinds.sets import SET
from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.layout import is_relpath, split_relpath
from ...module_utils.tree.stamps import is_stamp
from .restore_entry import parse_entry
from .restore_source import UNNAMED, order_failure

LIST, MEMBER, MEMBERS = "list_of", "member_of", "members"
"""Keys of orders: which entry it is the list of, which set's member, and of a list the members that are restored"""


def orders_of(value: Any, number: int, plan: Mapping[str, Any], hosts: Sequence[str]) -> list[dict[str, Any]]:
    """Given an entry of altbackup_restore and its number, return its orders: one, or those of a set. Raise InvalidInput."""
    order = parse_entry(value, plan, hosts)
    if order["kind"] != SET:
        return [order]
    if order["member"]:
        raise InvalidInput("member is what is to be taken out of one item: name that item itself, not its set")
    items = {
        f"{CATEGORIES[item['kind']]}/{item['name']}": item for item in plan["sources"][order["source"]]["item_list"]
    }
    members = items.get(order["key"], {}).get("members")
    if not members:
        raise InvalidInput(
            f"{order['key']} is no set of {order['source']} in this inventory: restore its members one by one, or declare it again"
        )
    orders = [{**order, LIST: number, MEMBERS: list(members)}]
    for key in members:
        kind, name = items[key]["kind"], items[key]["name"]
        place = {"to": os.path.join(order["to"], CATEGORIES[kind], name)} if order["to"] else {}
        try:
            orders.append({**parse_entry({**value, "kind": kind, "name": name, **place}, plan, hosts), MEMBER: number})
        except InvalidInput as error:
            raise InvalidInput(f"member {key}: {error}") from error
    return orders


def together(
    orders: Iterable[Mapping[str, Any]], left: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Given orders, and those of them that can be done, return of these the ones whose whole set can be, and a failure for each other set."""
    lost = {order[MEMBER] for order in orders if MEMBER in order and order not in left}
    lists = [order for order in orders if order.get(LIST) in lost]
    return (
        [dict(order) for order in left if not is_of(order, lost)],
        [
            order_failure(
                order["to_host"],
                f"nothing of {order['key']} of {order['source']} is restored, as not all of its members can be",
                order["key"],
            )
            for order in lists
        ],
    )


def is_of(order: Mapping[str, Any], numbers: Collection[int]) -> bool:
    """Return whether an order is of one of these sets, given by the numbers of their entries."""
    return order.get(LIST) in numbers or order.get(MEMBER) in numbers


def stamps_in(order: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, str]:
    """Given the order of a set's list and the one that is taken, return {category/name of each member: its stamp}. Raise InvalidInput."""
    newest = best["tarballs"][-1]
    members = (newest.get("record") or {}).get("members")
    good = isinstance(members, list) and all(isinstance(path, str) and is_relpath(path) for path in members)
    if not (good and members):
        raise InvalidInput(
            f"{best['node']} has no record of {newest['relpath']} that names its members: restore them one by one; members.json in it names them"
        )
    found = {}
    for path in members:
        category, name, stamp, _ = split_relpath(path)
        found[f"{category}/{name}"] = stamp
    others = [key for key in found if key not in order[MEMBERS]]
    if others:
        raise InvalidInput(
            f"{newest['relpath']} names {', '.join(others)}, which is no member of it in this inventory: declare it again, or restore one by one what "
            f"is wanted of {', '.join(found)}"
        )
    return found


def at_one_time(order: Mapping[str, Any], stamps: Mapping[str, str]) -> dict[str, Any]:
    """Given the order of a member and what the list of its set says, return the order with its stamp. Raise InvalidInput.

    Unless the set itself is ordered by a stamp, nobody has named that of the member.
    """
    if order["key"] not in stamps:
        raise InvalidInput(
            f"{order['key']} is not in the list of its set that is taken, which names {', '.join(stamps)}: restore these one by one"
        )
    return {**order, "at": stamps[order["key"]], UNNAMED: not is_stamp(order["at"])}
