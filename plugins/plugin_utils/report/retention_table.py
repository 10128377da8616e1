"""The reasons for which each tarball stays or goes, as a purge in check mode shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.units import counted, readable
from ...module_utils.system.visible import one_line
from ...module_utils.tree.layout import item_key
from .call_results import calls_of
from .tarball_table import place_of

GOES, WAITS, STAYS = "goes", "waits", "stays"
FATES = (GOES, WAITS, STAYS)
KEYS = ("node", "source", "role", "relpath", "size", "dig", "alg", "fate", "reasons")
_WHY = {
    GOES: "no rule demands it",
    WAITS: "no rule demands it, but a run removes at most one more of an item than it added",
}
_UNVERIFIED = "not verified, so it does not count"
_DIGITS = 12
"""Characters of a digest that are shown"""


def judged(registered: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return the tarballs that tarball_purge judged in check mode, each with KEYS: by tree, then item, then newest first."""
    found = []
    for call in calls_of(registered, node):
        place = dict(zip(("node", "source", "role"), call.place, strict=True))
        why = call.values.get("reasons") or {}
        removed = set(call.entries("removed"))
        entries = {
            entry["relpath"]: {
                **place,
                **_seen(entry),
                **_fate(why.get(entry["relpath"]) or [], entry["relpath"] in removed),
            }
            for entry in call.entries("judged")
        }
        for relpath in call.entries("unverified"):
            entries.setdefault(
                relpath, {**place, **_seen({"relpath": relpath}), "fate": STAYS, "reasons": [_UNVERIFIED]}
            )
        found += [entries[relpath] for relpath in sorted(sorted(entries, reverse=True), key=item_key)]
    return found


def _seen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "relpath": entry["relpath"],
        "size": entry.get("size", 0),
        "dig": entry.get("dig", ""),
        "alg": entry.get("alg", ""),
    }


def _fate(reasons: Sequence[str], removed: bool) -> dict[str, Any]:
    return {"fate": GOES if removed else STAYS if reasons else WAITS, "reasons": [*reasons]}


def table(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return lines on judged tarballs: a heading for each item of a tree, then a line a tarball with its reasons."""
    items: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        items.setdefault(f"{place_of(entry)}: {item_key(entry['relpath'])}", []).append(entry)
    lines = []
    for title, own in items.items():
        going = [entry for entry in own if entry["fate"] == GOES]
        gone = f", of which {len(going)} would go" if going else ""
        lines.append(
            one_line(f"{title}: {counted(len(own), 'tarball')}, {readable(sum(entry['size'] for entry in own))}{gone}")
        )
        rows = [_row(entry) for entry in own]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines += [
            f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}"
            for row in rows
        ]
    return lines


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    below = "/".join(str(entry["relpath"]).split("/")[2:])
    why = ", ".join(map(str, entry["reasons"])) or _WHY[entry["fate"]]
    return (
        str(entry["fate"]),
        one_line(below),
        f"{entry['size']:,}",
        one_line(str(entry["dig"]))[:_DIGITS],
        one_line(why),
    )
