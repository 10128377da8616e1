"""Metrics of a tree's copies for Prometheus, written by the node that has them at the end of a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..system.errors import AltbackupError, InvalidInput
from ..system.exposition import Sample, render, write
from ..tree.failures import explain
from ..tree.layout import open_tree, split_relpath
from ..tree.proof_files import last_proved
from ..tree.scan import scan
from ..tree.stamps import earliest_moment

METRICS: dict[str, Any] = {"metrics": {"type": "dict", "default": {}}}
"""Options: `folder`, `node`, `source`, `inventory` and `max_age` (seconds); empty for no metrics"""


def leave_metrics(wanted: Mapping[str, Any], base: str, result: Mapping[str, Any], timezone: str) -> list[str]:
    """Write the metrics of a base to a file in the folder, from the result of its purge; return notes if that failed."""
    if not wanted.get("folder"):
        return []
    folder, name = str(wanted["folder"]), f"altbackup-node-{hashlib.sha256(os.fsencode(base)).hexdigest()[:8]}.prom"
    try:
        write(folder, name, render(samples(wanted, base, result, timezone)))
    except (AltbackupError, OSError) as error:
        return [
            f"metrics were not written to {os.path.join(folder, name)} (altbackup_node_metrics_dir): {explain(error)}"
        ]
    return []


def samples(wanted: Mapping[str, Any], base: str, result: Mapping[str, Any], timezone: str) -> Iterator[Sample]:
    """Yield the samples of a tree. Raise AltbackupError if the base is none."""
    tree = open_tree(base)
    place = {"source": str(wanted["source"]), "target": str(wanted["node"])}
    more = {"inventory": str(wanted["inventory"]), "by": "node"}
    newest = {_key(entry["relpath"]): entry for entry in result["newest"]}
    suspects = {_key(path): path for path in sorted(result["suspects"])}
    proved = last_proved(tree, scan(tree, keys=set(newest), tolerate_unreadable=True).verified())
    bad = {f"{entry.get('category')}/{entry.get('name')}" for entry in result["failures"] if entry.get("name")}
    for key in sorted({*newest, *suspects, *bad}):
        category, _, name = key.partition("/")
        labels = {**place, "category": category, "name": name, **more}
        entry = newest.get(key)
        doubted = _stamp(suspects.get(key, "")) > _stamp(entry["relpath"] if entry else "")
        if entry:
            yield "altbackup_last_success_timestamp_seconds", labels, _moment(_stamp(entry["relpath"]), timezone)
            yield "altbackup_size_bytes", labels, entry["size"]
            if proved.get(key):
                yield "altbackup_last_proof_timestamp_seconds", labels, proved[key]
        yield "altbackup_status", labels, int(bool(entry) and not doubted and key not in bad)
        yield "altbackup_suspects", labels, int(doubted)
        yield "altbackup_max_age_seconds", labels, float(wanted["max_age"])
    if result["free"] is not None:
        yield "altbackup_free_bytes", {**place, **more}, result["free"]


def _key(relpath: str) -> str:
    category, name, _, _ = split_relpath(relpath)
    return f"{category}/{name}"


def _stamp(relpath: str) -> str:
    return split_relpath(relpath)[2] if relpath else ""


def _moment(stamp: str, timezone: str) -> float:
    try:
        return earliest_moment(stamp, timezone)
    except InvalidInput:  # a time zone that this node does not have
        return earliest_moment(stamp, "UTC")
