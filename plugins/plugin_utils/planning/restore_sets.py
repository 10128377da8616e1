"""Restores of sets: an entry of a set becomes an order of its list, which has the members' stamps, and one for each member."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.kinds.into import KEYS
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.kinds.sets import SET
from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.layout import is_relpath, split_relpath
from ...module_utils.tree.stamps import is_stamp
from .restore_entry import parse_entry
from .restore_source import UNNAMED, order_failure

LIST, MEMBER, MEMBERS = "list_of", "member_of", "members"
"""Keys of orders: number of the entry of whose set the order is the list, or a member; and, of a list, the members to restore"""
FILES = "files"
"""`consent` of a set to all but the end of sessions of its databases"""


def orders_of(value: Any, number: int, plan: Mapping[str, Any], hosts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the orders of the entry with this number: one, or those of a set, with `into` for those members that a server takes. Raise InvalidInput."""
    is_set = isinstance(value, Mapping) and value.get("kind") == SET
    into = value.get("into") if is_set else None
    files = is_set and value.get("consent") == FILES
    own = {**({"into": None} if into else {}), **({"consent": True} if files else {})}
    order = parse_entry({**value, **own} if own else value, plan, hosts)
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
    if into and not any(items[key]["kind"] in KEYS for key in members):
        raise InvalidInput(f"into: no member of {order['key']} goes into a server: leave it out")
    orders = [{**order, LIST: number, MEMBERS: list(members)}]
    for key in members:
        kind, name = items[key]["kind"], items[key]["name"]
        place = {"to": os.path.join(order["to"], CATEGORIES[kind], name)} if order["to"] else {}
        consent = {"consent": kind not in KEYS} if files else {}
        more = {"kind": kind, "name": name, "into": into if kind in KEYS else None, **place, **consent}
        try:
            orders.append({**parse_entry({**value, **more}, plan, hosts), MEMBER: number})
        except InvalidInput as error:
            raise InvalidInput(f"member {key}: {error}") from error
    return orders


def whole_sets(
    orders: Iterable[Mapping[str, Any]], left: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the orders in `left` whose whole set is in `left`, and a failure for each other set."""
    lost = {order[MEMBER] for order in orders if MEMBER in order and order not in left}
    lists = [order for order in orders if order.get(LIST) in lost]
    return (
        [dict(order) for order in left if not is_of_sets(order, lost)],
        [
            order_failure(
                order["to_host"],
                f"nothing of {order['key']} of {order['source']} is restored, as not all of its members can be",
                order["key"],
            )
            for order in lists
        ],
    )


def is_of_sets(order: Mapping[str, Any], numbers: Collection[int]) -> bool:
    """Return whether an order belongs to a set, one of those given by their entries' numbers."""
    return order.get(LIST) in numbers or order.get(MEMBER) in numbers


def member_stamps(order: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, str]:
    """Return {category/name of each member: its stamp}, from the record of the list's tarball that is taken. Raise InvalidInput."""
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


def with_listed_stamp(order: Mapping[str, Any], stamps: Mapping[str, str]) -> dict[str, Any]:
    """Return the order of a member with the stamp that the list of its set gives it. Raise InvalidInput.

    The stamp counts as named by the user only if the set was ordered by a stamp.
    """
    if order["key"] not in stamps:
        raise InvalidInput(
            f"{order['key']} is not in the list of its set that is taken, which names {', '.join(stamps)}: restore these one by one"
        )
    return {**order, "at": stamps[order["key"]], UNNAMED: not is_stamp(order["at"])}
