"""An entry of altbackup_restore, parsed into an order with all keys set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.into import KEYS as INTO_KEYS
from ...module_utils.kinds.items import check_name, decode_name
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.kinds.sets import SET
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.paths import is_within
from ...module_utils.system.values import nearest
from ...module_utils.tree.layout import RESTORED, TEMPORARY
from ...module_utils.tree.stamps import day_of, interpret_day, is_stamp
from ..report.secrecy import quoted
from .restore_into import parse_place, staging_path
from .setting_values import parse_mode
from .stores import stores_with
from .trees import node_bases

KEYS = (
    "source",
    "kind",
    "name",
    "at",
    "from",
    "to_host",
    "to",
    "into",
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
_INTO = "into"
FLAGS = ("consent", "special_modes", "numeric")
ATTRIBUTES = ("owner", "group", "mode", "selinux")
REPLACE = ("refuse", "move_aside")


def parse_entry(value: Any, plan: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Any]:
    """Return the order of an entry: its keys, with defaults, and `key`, `candidates` and `destination`. Raise InvalidInput with all its errors."""
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{quoted(value)} is not a mapping of source, kind and name")
    given = {str(key): entry for key, entry in value.items() if entry is not None}
    errors = [f"unknown key {key!r}, {nearest(key, KEYS)}" for key in given if key not in KEYS]
    errors += [f"key {key!r} is missing" for key in _REQUIRED if key not in given]
    errors += _wrong_types(given)
    if errors:
        raise InvalidInput("; ".join(errors))
    texts = {key: str(given.get(key, "")) for key in KEYS if key not in (*FLAGS, _INTO)}
    flags = {key: bool(given.get(key, False)) for key in FLAGS}
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
    kind = texts["kind"] = _kind_of(source, kind, name, plan)
    into = parse_place(given[_INTO], given, kind, to_host, plan) if given.get(_INTO) else {}
    attributes = {key: "" if into else texts[key] or plan["restore_settings"][key] for key in ATTRIBUTES}
    order: dict[str, Any] = {
        **texts,
        **flags,
        **attributes,
        "key": f"{CATEGORIES[kind]}/{check_name(name)}",
        "to_host": to_host,
        "replace": replace,
        _INTO: into,
    }
    for key, work_out in (("at", _at), ("candidates", _candidates), ("destination", _destination), ("mode", _mode)):
        try:
            order[key] = work_out(order, plan)
        except InvalidInput as error:
            errors.append(str(error))
    if errors:
        raise InvalidInput("; ".join(errors))
    return order


def _kind_of(source: str, kind: str, name: str, plan: Mapping[str, Any]) -> str:
    """Return the kind that the inventory gives the item of this name in the category of `kind`, `kind` if it has none."""
    entry, key = plan["sources"][source], f"{CATEGORIES[kind]}/{name}"
    known = [item["kind"] for item in entry["item_list"] if f"{CATEGORIES[item['kind']]}/{item['name']}" == key]
    return next(iter([*known, *(item["kind"] for item in _wrong_items(entry, key))]), kind)


def _wrong_types(given: Mapping[str, Any]) -> list[str]:
    errors = [
        f"{key} {quoted(given[key])} is neither true nor false"
        for key in FLAGS
        if not isinstance(given.get(key, False), bool)
    ]
    for key in KEYS:
        value = given.get(key, "")
        number = key in ("owner", "group") and isinstance(value, int) and not isinstance(value, bool)
        broken = isinstance(value, str) and ("\0" in value or ("\n" in value and key != "member"))
        if key not in (*FLAGS, _INTO) and not number and (not isinstance(value, str) or broken):
            hint = ", with quotes" if key in ("mode", "name", "at") else ""
            errors.append(f"{key} {quoted(value)} is not a text{hint}")
    return errors


def _mode(order: Mapping[str, Any], _plan: Mapping[str, Any]) -> str:
    try:
        return parse_mode(order["mode"])
    except InvalidInput as error:
        raise InvalidInput(f"mode {error}") from None


def _at(order: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return a stamp or a day, "" for the newest. Raise InvalidInput."""
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
    """Return the nodes from which an item may be taken, in the order of preference. Raise InvalidInput."""
    source = order["source"]
    targets = plan["sources"][source]["targets"]
    if order["from"]:
        known = [source, *plan["targets"], *stores_with(plan, source)]
        if order["from"] not in known:
            hint = nearest(order["from"], known, known if order["from"] in plan["nodes"] else ())
            raise InvalidInput(
                f"from {quoted(order['from'])} is neither {source} nor a target, nor a store that has copies of it, {hint}"
            )
        return [order["from"]]
    nodes = sorted([*targets, *([source] if source not in targets else [])], key=lambda node: node != order["to_host"])
    return [*nodes, *(name for name in stores_with(plan, source) if name not in nodes)]


def _destination(order: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return the path to restore to. Raise InvalidInput."""
    if order["kind"] == SET:  # only its members are restored
        return ""
    path = order["to"] or (staging_path(order["kind"], order[_INTO]) if order[_INTO] else "")
    path = path or ("" if order["member"] else path_of(order["source"], order["kind"], order["key"], plan))
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
    """Return why the inventory does not determine a destination."""
    wrong = _wrong_items(entry, order["key"])
    if wrong:
        reasons = "; ".join(dict.fromkeys(str(item["reason"]) for item in wrong))
        return f"the inventory does not tell where {order['key']} is to stand, as it has an error there ({reasons}): mend that, or give the path, as to"
    category = CATEGORIES[order["kind"]]
    if any(f"{CATEGORIES[item['kind']]}/{item['name']}" == order["key"] for item in entry["item_list"]):
        server = "the server that takes it, as into, or " if order["kind"] in INTO_KEYS else ""
        return f"{order['key']} of {order['source']} has no path of its own: give {server}the path where it is to stand, as to"
    hint = nearest(order["name"], [item["name"] for item in entry["item_list"] if CATEGORIES[item["kind"]] == category])
    return (
        f"{quoted(order['name'])} is no {order['kind']} item of {order['source']}, {hint}{'' if hint.endswith('?') else '.'} "
        "For one that the inventory no longer names, give the path where it is to stand, as to"
    )


def _wrong_items(entry: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the items with an error that have this key."""
    return [
        item
        for item in entry["item_errors"]
        if item["kind"] and item["name"] and f"{CATEGORIES[item['kind']]}/{item['name']}" == key
    ]


def path_of(source: str, kind: str, key: str, plan: Mapping[str, Any]) -> str:
    """Return the path of an item, explicit or discovered, "" if there is none or it is not known.

    An item with an error has a path if its entries agree on one.
    """
    entry = plan["sources"][source]
    for item in entry["item_list"]:
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
