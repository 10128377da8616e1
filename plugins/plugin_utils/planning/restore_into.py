"""`into` of an entry of altbackup_restore: the server to load into, completed from the inventory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ...module_utils.kinds.into import KEYS, parse_into, place_of
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.errors import InvalidInput

_NOT_WITH = ("member", "special_modes", "numeric", "owner", "group", "mode", "selinux")
"""Keys of an entry that concern files alone"""
_STAGING = "/var/tmp"  # noqa: S108 (items are unpacked in a private folder below it, see restore/work_folder.py)


def parse_place(
    value: object, given: Mapping[str, Any], kind: str, to_host: str, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the server of an entry (`given`), parsed from its `into`. Raise InvalidInput with all errors.

    Missing keys come from the item: the user and, on the item's own host, the server's address. The login is never the item's, which may
    only read.
    """
    item = _item_of(given, plan)
    others = [each for each in KEYS if CATEGORIES[each] == CATEGORIES[kind]]
    if kind not in KEYS and not item and others:
        raise InvalidInput(
            f"into: the inventory names no {CATEGORIES[kind]}/{given['name']}, so that its kind is what the entry says, and a {kind} item "
            f"goes to a path: name the item there, or write an entry of altbackup_restore with kind {', '.join(others)}"
        )
    into = parse_into(value, kind)
    useless = [key for key in _NOT_WITH if given.get(key)]
    if useless:
        raise InvalidInput(
            f"{', '.join(useless)}: not for an entry that goes into a server, of which files have none: leave out"
        )
    for key in ("user", *(("host", "port") if to_host == given["source"] else ())):
        if key in KEYS[kind] and key not in into and item.get(key) not in (None, ""):
            into[key] = item[key]
    if "user" not in into:
        raise InvalidInput("into: key 'user' is missing: as whom the server's programs run on that host")
    return into


def _item_of(given: Mapping[str, Any], plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the item that an entry names, as in the plan; {} if there is none."""
    key = f"{CATEGORIES[str(given['kind'])]}/{given['name']}"
    for item in plan["sources"][given["source"]]["item_list"]:
        if f"{CATEGORIES[item['kind']]}/{item['name']}" == key:
            return dict(item)
    return {}


def staging_path(kind: str, into: Mapping[str, Any]) -> str:
    """Return the path beside which an item is unpacked before it is loaded, a different one for each server and database."""
    where = {key: into.get(key) for key in ("database", "host", "port", "folder")}
    digest = hashlib.sha256(json.dumps([kind, where], sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{_STAGING}/altbackup-{kind}-{digest[:16]}"


def place_of_order(order: Mapping[str, Any]) -> str:
    """Return the destination or server of an order, for messages."""
    return place_of(str(order["kind"]), order["into"]) if order.get("into") else str(order["destination"])
