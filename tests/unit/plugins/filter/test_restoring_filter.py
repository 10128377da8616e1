"""Filters of restores."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.filter.restoring import known_speeds, restore_choice

PLAN: dict[str, Any] = {
    "stamp": "2013/05/10/104701",
    "clock": "2013/05/10/104701",
    "sources": {},
    "targets": {"cms01": {"connect_timeout": 5, "io_timeout": 6}},
}


def test_what_is_ordered_for_a_host_outside_the_play_is_a_failure() -> None:
    order = {"to_host": "cms01", "key": "svn/dybsvn", "candidates": [], "destination": "/x"}
    restores = {"orders": [order], "searches": {}, "adoptions": {"dayabay": ["/x"]}}
    choice = restore_choice({}, PLAN, restores, ["sdu"])
    assert choice["chosen"] == []
    assert [(entry["node"], entry["name"]) for entry in choice["failures"]] == [("cms01", "dybsvn"), ("dayabay", "")]
    assert all("left out by --limit" in entry["reason"] for entry in choice["failures"])
    assert choice["failures"][0]["reason"].startswith("to /x: ")


def test_speeds_that_nobody_measured_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert known_speeds() == {}
