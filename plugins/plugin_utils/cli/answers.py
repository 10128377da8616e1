"""Turns the answers of questions, as playbooks write them on the controller, into rows of tables and JSON. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.system.units import counted, readable
from ...module_utils.tree.stamps import day_of
from ..planning.quantities import age
from .screen import Table

VERSION = 1
"""Version of the JSON documents that docs/daily.md describes"""
GOOD = "verified"


def document(command: str, inventory: Sequence[str], exit_code: int, **told: Any) -> dict[str, Any]:
    """Return the JSON document of a command's answer, `told` being its fields."""
    about = {"format": f"altbackup {command}", "version": VERSION}
    return {**about, "inventory": list(inventory), "exit_code": exit_code, **told}


def item_of(entry: Mapping[str, Any]) -> str:
    """Return the item of a listed tarball as source/category/name."""
    return f"{entry['source']}/{entry['category']}/{entry['name']}"


def items_of(listed: Iterable[Mapping[str, Any]], ages: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a summary of each item of the listed tarballs, by name; `ages` is {stamp: age in seconds}.

    `newest` is the stamp of the newest good copy, `nodes` the nodes that hold it, `size` its bytes; `other` is {state: number of copies} of
    copies that are not good.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in listed:
        groups.setdefault(item_of(entry), []).append(entry)
    found = []
    for item, entries in sorted(groups.items()):
        good = [entry for entry in entries if entry["state"] == GOOD]
        newest = max((str(entry["stamp"]) for entry in good), default="")
        holders = [entry for entry in good if entry["stamp"] == newest]
        other: dict[str, int] = {}
        for entry in entries:
            if entry["state"] != GOOD:
                other[entry["state"]] = other.get(entry["state"], 0) + 1
        found.append(
            {
                "item": item,
                "newest": newest,
                "age": round(ages[newest]) if newest in ages else None,
                "nodes": list(dict.fromkeys(str(entry["node"]) for entry in holders)),
                "nights": len({entry["stamp"] for entry in good}),
                "copies": len(entries),
                "size": int(holders[0]["size"]) if holders else 0,
                "held": sum(bool(entry.get("hold")) for entry in entries),
                "other": other,
            }
        )
    return found


def items_table(items: Sequence[Mapping[str, Any]]) -> Table:
    """Return the summaries of items as a table."""
    rows = []
    for entry in items:
        notes = [f"{number} {state}" for state, number in entry["other"].items()]
        notes += [f"{entry['held']} held"] if entry["held"] else []
        rows.append(
            [
                entry["item"],
                entry["newest"] or "none",
                "" if entry["age"] is None else age(entry["age"]),
                str(entry["nights"]),
                readable(entry["size"]),
                ", ".join([", ".join(entry["nodes"]) or "nowhere", *notes]),
            ]
        )
    bad = frozenset(number for number, entry in enumerate(items) if entry["other"] or not entry["newest"])
    return Table(("ITEM", "LAST GOOD", "AGE", "NIGHTS", "SIZE", "ON"), rows, right=(2, 3, 4), bad=bad)


def nodes_of(listed: Iterable[Mapping[str, Any]], free: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what each node holds, counting equal contents of an item once; `free` is {node: free bytes} of the nodes that reported it."""
    groups: dict[str, dict[str, Any]] = {node: {"contents": {}, "items": set(), "copies": 0} for node in free}
    for entry in listed:
        group = groups.setdefault(str(entry["node"]), {"contents": {}, "items": set(), "copies": 0})
        item = item_of(entry)
        content = entry["dig"] or entry["relpath"]
        group["contents"][item, entry.get("role"), content] = int(entry["size"])
        group["items"].add(item)
        group["copies"] += 1
    return [
        {
            "node": node,
            "items": len(group["items"]),
            "copies": group["copies"],
            "bytes": sum(group["contents"].values()),
            "free": free.get(node),
        }
        for node, group in sorted(groups.items())
    ]


def node_lines(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line on each node's holdings."""
    return [
        f"{node['node']}: {counted(node['copies'], 'copy', 'copies')} of {counted(node['items'], 'item')}, {readable(node['bytes'])} used"
        + (f", {readable(node['free'])} free" if node["free"] is not None else "")
        for node in nodes
    ]


def copies_of(listed: Iterable[Mapping[str, Any]], item: str, day: str = "") -> list[dict[str, Any]]:
    """Return the nights of an item, the newest first, each with its copies; `day` is a day or stamp, "" for all."""
    nights: dict[str, dict[str, Any]] = {}
    for entry in listed:
        if item_of(entry) != item or (day and day not in (entry["stamp"], day_of(str(entry["stamp"])))):
            continue
        night = nights.setdefault(str(entry["stamp"]), {"stamp": entry["stamp"], "copies": []})
        night["copies"].append(
            {name: entry.get(name) for name in ("node", "relpath", "size", "dig", "alg", "state", "hold")}
        )
    return [nights[stamp] for stamp in sorted(nights, reverse=True)]


def copies_table(nights: Sequence[Mapping[str, Any]]) -> Table:
    """Return the nights of an item as a table."""
    rows, bad = [], set()
    for number, night in enumerate(nights):
        states = {f"{copy['node']} ({copy['state']})" for copy in night["copies"] if copy["state"] != GOOD}
        good = dict.fromkeys(str(copy["node"]) for copy in night["copies"] if copy["state"] == GOOD)
        holds = dict.fromkeys(f"held: {copy['hold']}" for copy in night["copies"] if copy.get("hold"))
        if states:
            bad.add(number)
        size = max(int(copy["size"]) for copy in night["copies"])
        name = str(night["copies"][0]["relpath"]).rsplit("/", 1)[-1]
        rows.append([str(night["stamp"]), readable(size), name, ", ".join([*good, *sorted(states), *holds])])
    return Table(("NIGHT", "SIZE", "TARBALL", "GOOD ON"), rows, right=(1,), cut=(2,), bad=frozenset(bad))


def free_of(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return {node: free bytes} from the events of a listing; of several disks those of the fullest."""
    found: dict[str, int] = {}
    for event in events:
        data = event.get("event_data") or {}
        result = data.get("res")
        if data.get("task_action") != "altbackup.core.tarball_list" or not isinstance(result, Mapping):
            continue
        free = result.get("free")
        if isinstance(free, int) and not isinstance(free, bool) and result.get("listed") is True:
            host = str(data.get("host"))
            found[host] = min(free, found.get(host, free))
    return found


def notes_of(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the notes of a run, as its report tells them, from its events."""
    for event in events:
        result = (event.get("event_data") or {}).get("res")
        facts = result.get("ansible_facts") if isinstance(result, Mapping) else None
        outcome = facts.get("__report_outcome") if isinstance(facts, Mapping) else None
        if isinstance(outcome, Mapping):
            return [str(line) for line in outcome.get("fine") or ()]
    return []


def title(answer: Mapping[str, Any]) -> list[str]:
    """Return a line on each tarball that was read for an answer."""
    return [f"{answer['item']} of {entry['stamp']}, on {entry['node']}" for entry in answer["tarballs"]]


def inside_table(answer: Mapping[str, Any]) -> Table:
    """Return the entries of a folder in a tarball as a table."""
    rows = []
    for entry in answer["entries"]:
        folder = entry.get("type") == "folder"
        below = f"  ({counted(entry['entries'], 'entry', 'entries')})" if folder and entry.get("entries") else ""
        target = f" -> {entry['target']}" if entry.get("target") else ""
        owner = f"{entry.get('owner', '')}:{entry.get('group', '')}"
        name = f"{entry['path']}{'/' if folder else ''}{target}{below}"
        rows.append([entry.get("mode", ""), owner, f"{entry.get('size', 0):,}", moment(entry.get("mtime")), name])
    return Table(("MODE", "OWNER", "BYTES", "MODIFIED", "PATH"), rows, right=(2,), whole=(4,))


def moment(seconds: Any) -> str:
    """Return seconds since 1970 as date and time in UTC, "" if they are no whole number or beyond the calendar."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds)) if isinstance(seconds, int) else ""
    except (OverflowError, OSError, ValueError):
        return ""


def versions_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each version of each path that was found, with the stamps of the nights that hold it, the newest first."""
    nights = {(entry["source"], entry["relpath"]): entry["stamps"] for entry in answer["answers"]}
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in answer["entries"]:
        item = "/".join([str(entry["source"]), *str(entry["relpath"]).split("/")[:2]])
        told = {name: entry.get(name) for name in ("type", "size", "mtime", "mode", "owner", "group", "target")}
        version = groups.setdefault(
            (item, entry["path"], *map(str, told.values())), {"item": item, "path": entry["path"], **told, "nights": []}
        )
        version["nights"] += nights.get((entry["source"], entry["relpath"]), [])
    found = [{**version, "nights": sorted(set(version["nights"]), reverse=True)} for version in groups.values()]
    found.sort(key=lambda version: version["nights"][:1], reverse=True)
    return sorted(found, key=lambda version: (version["item"], version["path"]))


def versions_table(versions: Sequence[Mapping[str, Any]]) -> Table:
    """Return versions of paths as a table."""
    rows = []
    for version in versions:
        nights = version["nights"]
        span = (
            nights[0]
            if len(nights) == 1
            else f"{day_of(nights[-1])} .. {day_of(nights[0])} ({len(nights)})"
            if nights
            else ""
        )
        rows.append([version["item"], f"{version['size']:,}", moment(version["mtime"]), span, version["path"]])
    return Table(("ITEM", "BYTES", "MODIFIED", "NIGHTS", "PATH"), rows, right=(1,), whole=(4,))


def difference_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return the lines above the table of differences: the two tarballs, and facts that changed."""
    lines = []
    for entry in answer["answers"]:
        old, new = entry["old"], entry["new"]
        change = f"{readable(old['size'])} -> {readable(new['size'])}"
        lines.append(f"{answer['item']}: {old['stamp']} -> {new['stamp']}, on {new['node']}: {change}")
        if entry.get("same"):
            lines.append("the same content")
        for fact in entry.get("facts") or ():
            of = f" of {fact['of']}" if fact["of"] else ""
            lines.append(f"{fact['what']}{of}: {_number(fact['old'])} -> {_number(fact['new'])}")
    return lines


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:,}"


def difference_total(totals: Mapping[str, int]) -> str:
    """Return the totals of a comparison in one line."""
    return (
        f"{totals['added']:,} added ({readable(totals['bytes_added'])}), {totals['removed']:,} removed ({readable(totals['bytes_removed'])}), "
        f"{totals['changed']:,} changed ({readable(totals['bytes_before'])} -> {readable(totals['bytes_changed'])}), {totals['same']:,} the same"
    )


def difference_table(answer: Mapping[str, Any]) -> Table:
    """Return the entries that differ between two tarballs as a table."""
    rows = []
    for entry in answer["entries"]:
        size = f"{entry.get('size', 0):,}"
        size = f"{entry['before']:,} -> {size}" if "before" in entry and entry["before"] != entry.get("size") else size
        words = f"  ({', '.join(entry['differs'])})" if entry.get("differs") and entry["differs"] != ["content"] else ""
        rows.append([entry["what"], size, f"{entry['path']}{words}"])
    return Table(("WHAT", "BYTES", "PATH"), rows, right=(1,), whole=(2,))
