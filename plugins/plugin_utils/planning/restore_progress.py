"""Progress of orders of a restore, their durations, and notes on those that are done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.kinds.items import encode_name
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.paths import is_within
from ...module_utils.system.units import readable
from ...module_utils.system.visible import command_of, one_line
from ...module_utils.tree.layout import RESTORED

_SPEEDS = 200


def read_speeds(text: str) -> dict[str, Any]:
    """Return {`node -> host`: {bytes, seconds}} in the text of the speeds' file; {} if it is not valid."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def learn_speeds(
    speeds: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Return the speeds with those of orders that were done, of which `seconds` is {label: duration}; at most _SPEEDS."""
    new = dict(speeds)
    for order in chosen:
        took = seconds.get(order["label"])
        if took:
            new.pop(order["pair"], None)
            new[order["pair"]] = {"bytes": order["size"], "seconds": round(took, 3)}
    return dict(list(new.items())[-_SPEEDS:])


def with_progress(order: Mapping[str, Any], progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order with its progress: `ready` (can be done), `fetched`, `arrived`, and the folder to carry to."""
    carry = order["carry"]
    if carry and progress.get("incoming"):
        carry = {**carry, "destination": {**carry["destination"], "folder": progress["incoming"]}}
    fetched = not order.get("store") or bool(progress.get("fetched"))
    arrived = fetched and (not carry or bool(progress.get("arrived")))
    return {**order, "carry": carry, "ready": bool(progress.get("ready")), "fetched": fetched, "arrived": arrived}


def progress_after(
    order: Mapping[str, Any], step: str, result: Mapping[str, Any], progress: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an order's progress after a call; `step` is the module's step, or `carry` for the transfer."""
    good = is_good(result)
    if step == "prepare":
        return {"ready": good and not result.get("done"), "incoming": result.get("incoming", "")}
    if step == "fetch":
        return {**progress, "fetched": good}
    if step == "look":
        return {**progress, "ready": good}
    timed = {**progress, "seconds": progress.get("seconds", 0.0) + float(result.get("seconds") or 0)}
    if step == "carry":
        return {**timed, "arrived": good}
    return {**timed, "done": good and bool(result.get("destination")) and bool(result.get("changed"))}


def is_good(result: Mapping[str, Any]) -> bool:
    """Return whether a call succeeded."""
    return not (result.get("failed") or result.get("unreachable") or result.get("failures"))


def done_note(order: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return the note on an order that was done, by the module's result."""
    part = str(order["restore"].get("member") or "").removeprefix("./")
    size = f"{readable(order['size'])} of tarballs"
    what = f"{one_line(part)} of {order['label']}: out of {size}" if part else f"{order['label']}: {size}"
    aside = f"; what stood there is now {result['aside']}" if result.get("aside") else ""
    return f"restored {what}, {result.get('seconds', 0)} s{aside}{_marker_note(str(result.get('marked') or ''), order)}"


def _marker_note(marked: str, order: Mapping[str, Any]) -> str:
    """Return what the marker means for later backups, to follow what was done; `marked` is the path beside which it is, "" for none."""
    if not marked:
        return ""
    restore = order["restore"]
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
    adopted = _item_at(marked, order)
    return f". {what} is not backed up while {marker} is there: {command_of('adopt', adopted)}"


def _item_at(path: str, order: Mapping[str, Any]) -> str:
    """Return the item of the order's host whose path is, contains or lies in `path`, ITEM if none is known."""
    items: Mapping[str, str] = order.get("items", {})
    related = [name for place, name in items.items() if is_within(place, path) or is_within(path, place)]
    for kind, folder in order["restore"]["live_discover"].items():
        if is_within(path, os.path.normpath(folder)) and path != os.path.normpath(folder):
            name = encode_name(os.path.relpath(path, folder))
            related.append(f"{order['host']}/{CATEGORIES[kind]}/{name}")
    return next(iter([*([items[path]] if path in items else []), *related]), "ITEM")
