"""How copies stand, for Prometheus: a file for the textfile collector of its node exporter.

The text format is lines of names, labels and numbers, so it is written here and needs no library. Its rules: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ...module_utils.system.errors import AltbackupError
from ...module_utils.tree.failures import explain
from ..planning.journal import journal_name
from .standing import State, state_of
from .store import opened

Sample = tuple[Mapping[str, str], float]
_HELP = {
    "altbackup_last_success_timestamp_seconds": "Stamp of the newest verified copy of an item on a node, in seconds since 1970.",
    "altbackup_last_proof_timestamp_seconds": "When a copy of an item was last proved to restore on a node, in seconds since 1970.",
    "altbackup_status": "1 if nothing is wrong with the copies of an item on a node, 0 if they are old, suspect, failed or missing.",
    "altbackup_size_bytes": "Size of the newest verified copy of an item on a node.",
    "altbackup_suspects": "1 if the newest copy of an item on a node is suspect and nobody accepted it.",
    "altbackup_max_age_seconds": "Age from which on the newest copy of an item on a node is too old.",
    "altbackup_sent_bytes": "Bytes of the tarballs that the last run sent from a source to a target.",
    "altbackup_free_bytes": "Free bytes of the disk of a base, as the last run found it.",
    "altbackup_duration_seconds": "How long the last run of the whole chain took.",
    "altbackup_run_timestamp_seconds": "When the last run of the whole chain ended, in seconds since 1970.",
    "altbackup_run_status": "1 if the last run of the whole chain was good, 0 if not.",
}


def write_metrics(folder: str, inventory: str, now: float) -> list[str]:
    """Given a folder, the file of an inventory and the time, write how its copies stand; return notes: why that could not be done."""
    name = f"altbackup-{journal_name(inventory)[:8]}.prom"
    histories = []
    try:
        histories = opened([inventory])
        text = render(state_of(histories, now), now)
        _write(Path(folder), name, text)
    except (AltbackupError, OSError) as error:
        return [f"metrics were not written to {os.path.join(folder, name)} (altbackup_metrics_dir): {explain(error)}"]
    finally:
        for history in histories:
            history.database.close()
    return []


def _write(folder: Path, name: str, text: str) -> None:
    """Write a file that others may read, whole or not at all. Raise OSError."""
    new = folder / f".{name}.{os.getpid()}"
    try:
        with open(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w", encoding="utf-8"
        ) as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(new, folder / name)
    finally:
        new.unlink(missing_ok=True)


def render(state: State, now: float) -> str:
    """Given how copies stand and the time, return that as text for Prometheus."""
    samples: dict[str, list[Sample]] = {name: [] for name in _HELP}
    for name, sample in _samples(state, now):
        samples[name].append(sample)
    return "".join(
        f"# HELP {name} {_HELP[name]}\n# TYPE {name} gauge\n{''.join(_lines(name, found))}"
        for name, found in samples.items()
        if found
    )


def _samples(state: State, now: float) -> Iterator[tuple[str, Sample]]:
    for entry in state.copies:
        labels = {"source": entry.source, "target": entry.node, "category": entry.category, "name": entry.name}
        numbers = {
            "altbackup_last_success_timestamp_seconds": None if entry.age is None else round(now - entry.age),
            "altbackup_last_proof_timestamp_seconds": None if entry.proof_age is None else round(now - entry.proof_age),
            "altbackup_status": int(not entry.faults),
            "altbackup_size_bytes": entry.size,
            "altbackup_suspects": int(bool(entry.suspect)),
            "altbackup_max_age_seconds": entry.max_age,
        }
        yield from ((name, (labels, number)) for name, number in numbers.items() if number is not None)
    for base in state.bases:
        labels = {"source": base.source, "target": base.node}
        if base.free is not None:
            yield "altbackup_free_bytes", (labels, base.free)
        if base.sent is not None:
            yield "altbackup_sent_bytes", (labels, base.sent)
    for run in state.runs:
        labels = {"playbook": str(run["playbook"])}
        if run["ended"] is not None:
            yield "altbackup_duration_seconds", (labels, run["ended"] - run["started"])
            yield "altbackup_run_timestamp_seconds", (labels, run["ended"])
        yield "altbackup_run_status", (labels, int(run["state"] == "good"))


def _lines(name: str, samples: Iterable[Sample]) -> Iterator[str]:
    for labels, number in samples:
        told = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
        yield f"{name}{{{told}}} {number:.15g}\n"


def _escaped(text: str) -> str:
    valid = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return valid.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
