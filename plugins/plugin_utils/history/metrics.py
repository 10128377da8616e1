"""Writes how copies stand as metrics for Prometheus, in a file for the node exporter's textfile collector."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ...module_utils.system.errors import AltbackupError
from ...module_utils.system.exposition import Sample, render, write
from ...module_utils.tree.failures import explain
from ..planning.host_variables import label_of
from ..planning.journal import journal_name
from .standing import State, state_of
from .store import opened


def write_metrics(folder: str, inventory: str, now: float) -> list[str]:
    """Write the metrics of the inventory file's history into `folder`; return notes on why that failed. `now` is in seconds since 1970."""
    name = f"altbackup-{journal_name(inventory)[:8]}.prom"
    histories = []
    try:
        histories = opened([inventory])
        write(folder, name, as_text(state_of(histories, now), now, label_of(inventory)))
    except (AltbackupError, OSError) as error:
        return [f"metrics were not written to {os.path.join(folder, name)} (altbackup_metrics_dir): {explain(error)}"]
    finally:
        for history in histories:
            history.database.close()
    return []


def as_text(state: State, now: float, inventory: str = "") -> str:
    """Return how copies stand in Prometheus's text format; `inventory` is the label."""
    return render(_samples(state, now, {"inventory": inventory, "by": "controller"}))


def _samples(state: State, now: float, more: Mapping[str, str]) -> Iterator[Sample]:
    for entry in state.copies:
        labels = {"source": entry.source, "target": entry.node, "category": entry.category, "name": entry.name, **more}
        numbers = {
            "altbackup_last_success_timestamp_seconds": None if entry.age is None else round(now - entry.age),
            "altbackup_last_proof_timestamp_seconds": None if entry.proof_age is None else round(now - entry.proof_age),
            "altbackup_status": int(not entry.faults),
            "altbackup_size_bytes": entry.size,
            "altbackup_suspects": int(bool(entry.suspect)),
            "altbackup_max_age_seconds": entry.max_age,
        }
        yield from ((name, labels, number) for name, number in numbers.items() if number is not None)
    for base in state.bases:
        labels = {"source": base.source, "target": base.node, **more}
        if base.free is not None:
            yield "altbackup_free_bytes", labels, base.free
        if base.sent is not None:
            yield "altbackup_sent_bytes", labels, base.sent
    for run in state.runs:
        labels = {"playbook": str(run["playbook"]), **more}
        if run["ended"] is not None:
            yield "altbackup_duration_seconds", labels, run["ended"] - run["started"]
            yield "altbackup_run_timestamp_seconds", labels, run["ended"]
        yield "altbackup_run_status", labels, int(run["state"] == "good")
