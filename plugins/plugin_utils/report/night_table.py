"""The closing table of a run: each tarball, its size in bytes, the seconds it took, and the nodes that hold a good copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.system.units import readable
from ...module_utils.tree.layout import item_key
from ...module_utils.tree.stamps import day_of, is_stamp, readable_stamp

COLUMNS = ("item", "size", "seconds", "where")
_COVERED: dict[str, Any] = {"tarballs": {}, "sent": {}, "checked": {}, "proved": []}


def without_covered(states: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return {node: state of the run} without the entries that the table shows."""
    return {node: {**state, **_COVERED} for node, state in states.items()}


def night_rows(states: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return rows of COLUMNS from {node: state of the run}, one for each tarball that was made, counted or proved."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    known = _known(states.values())
    partial = {path for state in states.values() for path in state.get("incomplete") or []}
    for node, state in states.items():
        for relpath, entry in (state.get("tarballs") or {}).items():
            row = found.setdefault((node, relpath), {"where": {}})
            row.update({key: entry.get(key) for key in ("size", "seconds")}, made=bool(entry.get("dig")))
            row["where"][node, "source"] = bool(entry.get("dig"))
    for state in states.values():
        proved = {(entry["node"], entry["relpath"]): entry for entry in state.get("proved") or []}
        for path, dna in (state.get("contents") or {}).items():
            node, source, relpath = path.split("/", 2)
            row = found.setdefault((source, relpath), {"where": {}})
            row["made"] = True
            row.setdefault("size", int(dna.rpartition(":")[2]))
            row.setdefault("seconds", proved.get((node, relpath), {}).get("seconds"))
            if (node, relpath) in proved:
                row["where"].setdefault((node, "source" if node == source else "target"), True)
    stamps: dict[tuple[str, str], list[str]] = {}
    for source, relpath in sorted(found):
        stamps.setdefault((source, item_key(relpath)), []).append(_stamp_of(relpath))
    return [
        _row(
            source,
            relpath,
            {**row, "where": {**row["where"], **known.get((source, relpath), {})}},
            stamps[source, item_key(relpath)],
            f"{source}/{relpath}" in partial,
        )
        for (source, relpath), row in sorted(found.items())
    ]


def _known(states: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[tuple[str, str], bool]]:
    """Return {(source, relpath): {(node, role): whether it is good there}} of what was read, removed or healed, sources first."""
    found: dict[tuple[str, str], dict[tuple[str, str], bool]] = {}
    for state in states:
        trees: dict[str, dict[str, bool]] = dict(state.get("good") or {})
        for file in state.get("rotten") or []:
            tree = "/".join(file["place"][key] for key in ("node", "source", "role"))
            trees[tree] = {**trees.get(tree, {}), **dict.fromkeys(file["healed"], True)}
        for tree, judged in sorted(trees.items(), key=lambda pair: not pair[0].endswith("/source")):
            node, source, role = tree.split("/")
            for relpath, good in judged.items():
                found.setdefault((source, relpath), {})[node, role] = good
    return found


def _stamp_of(relpath: str) -> str:
    return "/".join(relpath.split("/")[2:6])


def _row(source: str, relpath: str, row: Mapping[str, Any], stamps: Sequence[str], partial: bool) -> list[str]:
    size, seconds = row.get("size"), row.get("seconds")
    return [
        f"{source}: {item_key(relpath)}{_when(_stamp_of(relpath), stamps)}",
        readable(int(size)) if isinstance(size, (int, float)) and row["made"] else "",
        f"{seconds:.1f}" if isinstance(seconds, (int, float)) else "",
        _where(source, row["where"], partial) if row["made"] else "would be made",
    ]


def _when(stamp: str, stamps: Sequence[str]) -> str:
    """Return the stamp of one of an item's several rows, without its day if that is the same for all; "" for a single row."""
    if len(stamps) < 2 or not is_stamp(stamp):
        return ""
    spoken = readable_stamp(stamp)
    return f" {spoken.partition(' ')[2] if len({day_of(one) for one in stamps}) == 1 else spoken}"


def _where(source: str, trees: Mapping[tuple[str, str], bool], partial: bool) -> str:
    """Return the nodes that hold a good copy; the copies of a source on its own node are named `source -> node`."""
    good = [
        f"{source} -> {node}" if (node, role) == (source, "target") else node
        for (node, role), is_good in trees.items()
        if is_good
    ]
    named = ", ".join(dict.fromkeys(good))
    if not partial:
        return named or "no good copy"
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
