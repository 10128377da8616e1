"""Planned pauses are bounded, and end by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.pauses import pause_of, pauses, set_pauses
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import validate

NOW = 1_800_000_000.0
"""2027-01-15 08:00 UTC"""


def parsed(value: str) -> tuple[Any, list[str]]:
    """Return a parsed value, and the errors."""
    values, problems = validate("target", {"altbackup_pause_until": value, "altbackup_target_base": "/b"})
    return values["altbackup_pause_until"], [problem.text for problem in problems]


@pytest.mark.parametrize(
    ("value", "stamp"),
    [
        ("", ""),
        ("2027/01/16", "2027/01/16/235959"),
        ("2027-01-16", "2027/01/16/235959"),
        ("2027/01/16 08:00", "2027/01/16/080000"),
        ("2027-01-16T08:00:30", "2027/01/16/080030"),
        ("2027/01/16/080000", "2027/01/16/080000"),
    ],
)
def test_a_pause_is_a_day_or_a_time(value: str, stamp: str) -> None:
    assert parsed(value) == (stamp, [])


@pytest.mark.parametrize("value", ["tomorrow", "2027/13/01", "2027/01/16 25:00", "-1", "16.1.2027"])
def test_anything_else_is_an_error(value: str) -> None:
    (problem,) = parsed(value)[1]
    assert "neither a day like 2026/12/24 nor a time" in problem


def planned(**stamps: str) -> tuple[dict[str, Any], list[str]]:
    """Return a plan whose nodes have these pauses, and its errors."""
    nodes: dict[str, dict[str, Any]] = {host: {} for host in ("dayabay", "cms01")}
    values = {host: {"altbackup_pause_until": stamps.get(host, "")} for host in nodes}
    return {"nodes": nodes}, set_pauses(nodes, values, "Asia/Shanghai", NOW)


def test_the_later_end_of_source_and_target_counts() -> None:
    plan, errors = planned(dayabay="2027/01/16/080000", cms01="2027/01/15/100000")
    assert errors == []
    assert pause_of(plan, "dayabay", "cms01") == NOW + 16 * 3600
    assert pauses(plan, NOW) == {"dayabay": NOW + 16 * 3600}, "in the zone of the inventory that of cms01 is over"
    assert pauses(plan, NOW + 16 * 3600) == {}
    assert pause_of(planned()[0], "dayabay", "cms01") == 0.0


def test_a_pause_without_end_is_an_error() -> None:
    plan, (error,) = planned(dayabay="2027/06/01/000000")
    assert error == "dayabay: altbackup_pause_until is more than 90 days ahead: write a day before that"
    assert pauses(plan, NOW) == {}
