"""Settings of a whole run: those that all nodes share, its stamp and day, and variables that hold for one run only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.tree.stamps import day_of, earliest_moment, interpret_day, latest_stamp, stamp_at
from ..report.secrecy import quoted
from .inventory_errors import Errors
from .marks import RETIRED
from .settings import PREFIX, Unreadable, names, validate

_LATEST = 60
"""Seconds by which a given stamp may be ahead of the controller's clock"""

_ONE_RUN = ("altbackup_purge_confirm", "altbackup_accept", "altbackup_release")
"""Variables that confirm what somebody has looked at; in the inventory they would confirm it for every later run"""
_LASTING = Unreadable(
    "is set in the inventory, where it would hold for all runs to come: take it out, and give it to one run, with -e"
)


def of_one_run(variables: Mapping[str, Mapping[str, Any]], extra: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """Return the variables of all hosts, with those for one run unreadable unless they are given with -e (`extra`: names)."""
    lasting = {name for name in _ONE_RUN if extra is not None and name not in extra}
    return {
        host: {name: _LASTING if name in lasting and value else value for name, value in own.items()}
        for host, own in variables.items()
    }


def retiring(
    variables: Mapping[str, Mapping[str, Any]], sources: Sequence[str], play_hosts: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return (variables with what -e retires, which names no source, only at the sources of the play, errors)."""
    elsewhere = {source for source in sources if source not in play_hosts}
    kept = {
        host: {name: value for name, value in own.items() if name != RETIRED or host not in elsewhere}
        for host, own in variables.items()
    }
    if len(elsewhere) < len(sources):
        return kept, []
    here = ", ".join(play_hosts)
    return kept, [
        f"{RETIRED}: it is said of the sources of a run, and there is none among {here}: name one in --limit, too"
    ]


def run_settings(variables: Mapping[str, Mapping[str, Any]], holders: Sequence[str], errors: Errors) -> dict[str, Any]:
    """Return the settings that all nodes share; add an error for each that differs between them."""
    chosen: dict[str, Any] = validate("main", {})[0]
    values = {host: validated("main", host, variables, errors) for host in holders}
    for name in names("main"):
        distinct: dict[str, list[str]] = {}
        for host in holders:
            distinct.setdefault(repr(values[host][name]), []).append(host)
            chosen[name] = values[holders[0]][name]
        if len(distinct) > 1:
            where = "; ".join(f"{quoted(values[same[0]][name])} on {', '.join(same)}" for same in distinct.values())
            errors.general.append(
                f"{name} is one for the whole run, but is {where}: set it for all hosts, in group_vars/all or with -e"
            )
    return {name.removeprefix(PREFIX): value for name, value in chosen.items()}


def moment_of_run(run: dict[str, Any], now: float, stamp: str, chain: bool, errors: Errors) -> tuple[str, str, str]:
    """Return stamp and day of the run, and the latest stamp by the controller's clock; add errors. An unknown zone counts as UTC."""
    zone = run["timezone"]
    try:
        stamp_at(now, zone)
    except InvalidInput as error:
        errors.general.append(f"altbackup_timezone: {error}")
        zone = "UTC"
    moment = run["stamp"].strip() or stamp or stamp_at(now, zone)
    try:
        if earliest_moment(moment, zone) > now + _LATEST:
            errors.general.append(
                f"altbackup_stamp {moment} is later than now, {stamp_at(now, zone)} ({zone}): give one that has passed, or none"
            )
    except InvalidInput as error:
        errors.general.append(f"altbackup_stamp: {error}")
        moment = stamp_at(now, zone)
    day = day_of(moment)
    try:
        asked = interpret_day(run["day"], day)
    except InvalidInput as error:
        errors.general.append(f"altbackup_day: {error}")
        asked = day
    return moment, day if chain else asked, latest_stamp(now, zone)


def validated(entry: str, host: str, variables: Mapping[str, Mapping[str, Any]], errors: Errors) -> dict[str, Any]:
    """Return the settings of a host for an entry point of role altbackup; add the errors of its variables."""
    values, problems = validate(entry, variables.get(host, {}))
    for problem in problems:
        errors.add(host, problem.variable, problem.text)
    return values
