"""Metrics as text for the textfile collector of Prometheus's node exporter: lines of names, labels and numbers.

Its rules: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Mapping, Tuple

Sample = Tuple[str, Mapping[str, str], float]
"""Name, labels and value"""
HELP = {
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


def render(samples: Iterable[Sample]) -> str:
    """Return samples as text, each metric behind its HELP and TYPE lines."""
    found: dict[str, list[str]] = {name: [] for name in HELP}
    for name, labels, number in samples:
        told = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
        found[name].append(f"{name}{{{told}}} {number:.15g}\n")
    return "".join(
        f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n{''.join(lines)}" for name, lines in found.items() if lines
    )


def _escaped(text: str) -> str:
    valid = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return valid.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(folder: str, name: str, text: str) -> None:
    """Write a file, mode 0644, atomically. Raise OSError."""
    new = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(new, os.path.join(folder, name))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
