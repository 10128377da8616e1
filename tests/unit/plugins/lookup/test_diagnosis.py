"""The lookup of what is right and what is not with a set-up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.kept_nights import own_place
from helpers.told_runs import EVERY, Told

from ansible_collections.altbackup.core.plugins.lookup import diagnosis
from ansible_collections.altbackup.core.plugins.lookup.diagnosis import LookupModule, _dialled, _program
from ansible_collections.altbackup.core.plugins.plugin_utils.calls import run_state
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import PLAN
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Variables of the task that asks."""
    own_place(tmp_path, monkeypatch)
    monkeypatch.setattr(run_state.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(diagnosis, "schedules", lambda word: [])
    hostvars = {name: {"ansible_connection": "ssh"} for name in ("dayabay", "cms01", "sdu", "localhost")}
    return {PLAN: Told(EVERY).run.plan, "inventory_hostname": "localhost", "hostvars": hostvars, "groups": {}}


def test_nodes_that_were_not_asked_are_unknown_and_those_that_were_are_judged(variables: dict[str, Any]) -> None:
    run_state.save("sdu", {**EMPTY, "examined": {"facts": {}, "said": "Connection refused", "unreachable": True}})
    (told,) = LookupModule().run([], variables)
    states = {
        entry["node"]: entry["state"]
        for entry in told["findings"]
        if entry["what"] in ("way", "port") and not entry["pair"]
    }
    assert states == {"dayabay": "unknown", "cms01": "unknown", "sdu": "wrong"}
    assert told["wrong"] is True and told["scheduled"] == []
    assert told["lines"][-1].endswith("things are right")


@pytest.mark.parametrize(
    "examined",
    [{"facts": {"bases": 7, "uid": "x"}, "said": ""}, {"facts": {"peers": [1]}, "said": "", "after": None}],
    ids=str,
)
def test_what_one_node_says_oddly_is_told_and_ends_nothing(examined: dict[str, Any], variables: dict[str, Any]) -> None:
    run_state.save("sdu", {**EMPTY, "examined": examined})
    (told,) = LookupModule().run([], variables)
    assert ("sdu", "facts", "wrong") in [(entry["node"], entry["what"], entry["state"]) for entry in told["findings"]]


def test_a_program_is_that_beside_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert _program("no-such-program") == "no-such-program"
    (tmp_path / "no-such-program").touch()
    assert _program("no-such-program") == str(tmp_path / "no-such-program")


@pytest.mark.parametrize(
    ("own", "dialled"),
    [
        ({"ansible_connection": "local"}, {"interpreter": ""}),
        ({"ansible_connection": "local", "ansible_python_interpreter": "/p"}, {"interpreter": "/p"}),
        ({"ansible_connection": "winrm"}, {"interpreter": ""}),
    ],
)
def test_how_a_node_is_dialled_is_known_where_it_is_by_ssh(own: dict[str, Any], dialled: dict[str, str]) -> None:
    told = Told(EVERY)
    told.run.hostvars["cms01"].update(own)  # type: ignore[attr-defined]
    assert _dialled(told.run, {**told.run.plan, "nodes": {"cms01": {}}}) == {"cms01": dialled}
