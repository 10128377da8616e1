"""The controller's decisions on what is restored from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import restores
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import restore
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY

PLAN: dict[str, Any] = {
    "stamp": "2013/05/10/104701",
    "clock": "2013/05/10/104701",
    "sources": {},
    "targets": {"cms01": {"connect_timeout": 5, "io_timeout": 6}},
}


def test_what_is_ordered_for_a_host_outside_the_play_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"to_host": "cms01", "key": "svn/dybsvn", "candidates": [], "destination": "/x"}
    planned = {"orders": [order], "searches": {}, "adoptions": {"dayabay": ["/x"]}, "failures": []}
    monkeypatch.setattr(restore, "plan_restores", lambda plan, hosts: planned)
    choice = restores.choose(Run(PLAN, "localhost", EMPTY, {}, {}), ["sdu"])
    assert choice["chosen"] == []
    assert [(entry["node"], entry["name"]) for entry in choice["failures"]] == [("cms01", "dybsvn"), ("dayabay", "")]
    assert all("left out by --limit" in entry["reason"] for entry in choice["failures"])
    assert choice["failures"][0]["reason"].startswith("to /x: ")


def test_speeds_that_nobody_measured_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert restores.known_speeds() == {}


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"{", b"[" * 200_000, b"", b"7"], ids=["bytes", "cut", "deep", "empty", "a number"]
)
def test_a_file_of_speeds_that_is_damaged_ends_no_restore(
    content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".altbackup").mkdir()
    (tmp_path / restores.SPEEDS[2:]).write_bytes(content)
    assert restores.known_speeds() == {}


def test_only_what_was_restored_teaches_a_speed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = [{"label": label, "pair": "cms01 -> dayabay", "size": 7} for label in ("x", "y")]
    orders = {"x": {"done": True, "seconds": 2.0}, "y": {"done": False, "seconds": 9.0}}
    learned = restores.learned_speeds({"chosen": chosen}, {"dayabay": {**EMPTY, "orders": orders}})
    assert learned == {"cms01 -> dayabay": {"bytes": 7, "seconds": 2.0}}


def test_what_cannot_be_restored_is_told_as_the_rest_of_the_run() -> None:
    choice = {"chosen": [], "failures": [{"reason": "no"}], "notes": {"dayabay": ["passed over cms01"]}}
    assert restores.chosen_state(choice) == {
        "": {"failures": [{"reason": "no"}], "notes": ["dayabay: passed over cms01"]}
    }
    assert restores.chosen_state({}) == {}
