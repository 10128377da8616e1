"""Calls that give pairs their keys, or take them away: their options, and what the state keeps of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..planning import setup, trusting
from ..planning.reaching import ssh_args
from ..report import call_failures
from .handed import Options
from .loops import pair_of
from .run import Run


def key_options(run: Run, about: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """Return the options of a call on the side that dials, with its options of ssh."""
    return {**access_options(run, about, given), "ssh_args": ssh_args(run.hostvars, pair_of(run, about)["dials"])}


def access_options(run: Run, about: Mapping[str, Any], _given: Mapping[str, Any]) -> Options:
    done = run.state["pairings"].get(about["label"], {})
    rotate = bool(run.plan["setup"]["rotate_keys"])
    return trusting.options(pair_of(run, about), done, about["step"], rotate=rotate)


def noted(
    run: Run, stage: str, about: Mapping[str, Any], _given: Mapping[str, Any], result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state with a step of a pair's set-up; its failures are told at the end, with those of all pairs."""
    reasons = [str(entry["reason"]) for entry in call_failures.failures_of(dict(result), stage, run.host)]
    label = about["label"]
    done = {**run.state["pairings"].get(label, {}), about["step"]: trusting.found(result, reasons)}
    known = {**run.state["pairings"], label: done}
    if about["step"] == trusting.LOOK:
        known = trusting.without_doubles(setup.pairs(run.plan, run.host), known)
    return {**run.state, "pairings": known}
