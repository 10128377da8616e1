"""Targets that may be away for a while, such as disks that are carried off site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.system.visible import one_line
from ...module_utils.tree.stamps import parse_stamp
from .transfers import pair_of


def without_absent(
    plan: Mapping[str, Any],
    pairs: Mapping[str, Mapping[str, Any]],
    failures: list[dict[str, Any]],
    away: Mapping[str, str],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the failures without those of targets that may be away now, and a note on each of these targets.

    `pairs` is the source's state of each target, `away` {target: reason of its failure}; an empty reason stands for all failures of a
    target.
    """
    rest = list(failures)
    notes = []
    for target, reason in away.items():
        run = pair_of(plan, pairs, target).get("run") or ""
        seconds = plan["targets"].get(target, {}).get("absent_for") or 0
        own = [
            entry
            for entry in rest
            if (entry["delegate"] or entry["node"]) == target and reason in ("", entry["reason"])
        ]
        if (
            not (own and run and seconds)
            or not 0 <= (parse_stamp(plan["stamp"]) - parse_stamp(run)).total_seconds() <= seconds
        ):
            continue
        rest = [entry for entry in rest if entry not in own]
        why = one_line(str(own[0]["reason"]).splitlines()[0])
        notes.append(
            f"{target} is absent, as it may be for {readable_time(seconds)} from the run of {run} on (altbackup_absent_for): {why}"
        )
    return rest, notes


def readable_time(seconds: float) -> str:
    """Return seconds in the largest unit (d, h, m, s) of which they are a whole number."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
