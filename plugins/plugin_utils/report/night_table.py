"""The closing table of a run: each tarball, its size in bytes, the seconds it took, and the nodes that hold a good copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.system.units import readable
from ...module_utils.tree.layout import item_key

COLUMNS = ("item", "size", "seconds", "where")
_COVERED: dict[str, Any] = {"tarballs": {}, "sent": {}, "checked": {}, "proved": []}


def without_covered(states: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {node: state of the run} without the entries that the table shows."""
    return {node: {**state, **_COVERED} for node, state in states.items()}


def night_rows(states: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return rows of COLUMNS from {node: state of the run}, one for each tarball that was made, counted or proved."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    passed = {place: set(keys) for state in states.values() for place, keys in (state.get("passed") or {}).items()}
    partial = {path for state in states.values() for path in state.get("incomplete") or []}
    for node, state in states.items():
        for relpath, entry in (state.get("tarballs") or {}).items():
            row = found.setdefault((node, relpath), {"where": {}})
            row.update({key: entry.get(key) for key in ("size", "seconds")}, made=bool(entry.get("dig")))
            row["where"].update({node: None} if entry.get("dig") else {})
    for state in states.values():
        proved = {(entry["node"], entry["relpath"]): entry for entry in state.get("proved") or []}
        for path, dna in (state.get("contents") or {}).items():
            node, source, relpath = path.split("/", 2)
            row = found.setdefault((source, relpath), {"where": {}, "made": True})
            row.setdefault("size", int(dna.rpartition(":")[2]))
            row.setdefault("seconds", proved.get((node, relpath), {}).get("seconds"))
            good = (node, relpath) in proved or item_key(relpath) in _passed(passed, node, source)
            row["where"].update({node: None} if good else {})
    return [
        _row(source, relpath, row, f"{source}/{relpath}" in partial) for (source, relpath), row in sorted(found.items())
    ]


def _passed(passed: Mapping[str, set[str]], node: str, source: str) -> set[str]:
    """Return the items of a source that passed the check on a node."""
    places = (
        f"{node}/{source}/{'source' if node == source else 'target'}",
        f"{node}/{source}/target",
        f"{node}//source",
    )
    return set().union(*(passed.get(place, set()) for place in places))


def _row(source: str, relpath: str, row: Mapping[str, Any], partial: bool) -> list[str]:
    size, seconds = row.get("size"), row.get("seconds")
    return [
        f"{source}: {item_key(relpath)}",
        readable(int(size)) if isinstance(size, (int, float)) and row["made"] else "",
        f"{seconds:.1f}" if isinstance(seconds, (int, float)) else "",
        _where(row["where"], partial) if row["made"] else "would be made",
    ]


def _where(nodes: Iterable[str], partial: bool) -> str:
    named = ", ".join(nodes)
    if not partial:
        return named
    return f"incomplete ({named})" if named else "incomplete"


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the rows, each as long as COLUMNS, as lines with aligned columns, numbers to the right."""
    table = [tuple(row) for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    return [
        "  ".join(
            f"{cell:>{width}}" if column in (1, 2) else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
