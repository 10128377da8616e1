"""Tarballs that nodes have listed, as entries and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...module_utils.system.visible import one_line
from .call_results import calls_of
from .results import read_value

LISTED_KEYS = (
    "node",
    "source",
    "role",
    "category",
    "name",
    "stamp",
    "relpath",
    "size",
    "dig",
    "alg",
    "state",
    "suspect",
    "hold",
    "proved",
)
_UNTOLD: dict[str, Any] = {**dict.fromkeys(LISTED_KEYS, ""), "size": 0, "suspect": []}


def listed(registered: Mapping[str, Any], node: str) -> list[dict[str, Any]]:
    """Return the tarballs that tarball_list registered on a node, each with node, source and role of its tree, newest last."""
    found = []
    for call in calls_of(registered, node):
        place, source, role = call.place
        more = {"node": place, "source": source, "role": role}
        found += [
            {key: {**entry, **more, **_doubtful(entry)}.get(key, _UNTOLD[key]) for key in LISTED_KEYS}
            for entry in call.entries("tarballs")
        ]
    return found


def _doubtful(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the state that replaces `verified` for a tarball that is suspect or incomplete."""
    states = [key for key in ("suspect", "incomplete") if entry.get(key)]
    return {"state": states[0]} if states and entry.get("state") == "verified" else {}


def _shown_state(entry: Mapping[str, Any]) -> str:
    return f"{entry['state']}, hold: {entry['hold']}" if entry.get("hold") else str(entry["state"])


def place_of(entry: Mapping[str, Any]) -> str:
    """Return where a listed tarball lies: its source, or `source -> node` for a copy on a target or in a store."""
    return str(entry["source"]) if entry["role"] == "source" else f"{entry['source']} -> {entry['node']}"


def table(tarballs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return listed tarballs as aligned lines, one a tarball."""
    rows = [
        (
            one_line(place_of(entry)),
            one_line(_shown_state(entry)),
            f"{read_value('bytes_freed', entry.get('size')) or 0:,}",
            one_line(str(entry["dig"]))[:12],
            one_line(str(entry["relpath"])),
        )
        for entry in tarballs
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}"
        for row in rows
    ]
