"""The lookup that notes marks: on disk before anything is done, or nothing is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from helpers.told_runs import EVERY, SAID, Told

from ansible_collections.altbackup.core.plugins.lookup.marks import LookupModule
from ansible_collections.altbackup.core.plugins.plugin_utils.calls import run_state
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import PLAN


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Variables of a task in a run that accepts and holds."""
    monkeypatch.setattr(run_state.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    plan = Told(EVERY, **SAID).run.plan
    hostvars = {"dayabay": {"inventory_file": "/sites/hosts.yml"}}
    groups = {"sources": ["dayabay"]}
    return {PLAN: plan, "inventory_hostname": "dayabay", "hostvars": hostvars, "groups": groups}


def test_what_is_given_is_noted_for_its_inventory(variables: dict[str, Any], state: Path) -> None:
    (said,) = LookupModule().run([], variables)
    (path,) = state.rglob("*.json")
    assert said == f"noted in {path}"
    noted = json.loads(path.read_text())
    assert noted["inventory"] == "/sites/hosts.yml"
    assert noted["sources"]["dayabay"]["accepted"] == {"svn/dybsvn": "2013/05/10/104700"}
    assert LookupModule().run([], variables) == [said], "noting it again changes nothing"
    assert json.loads(path.read_text()) == noted


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, '{"sources": 7}'], ids=["empty", "cut", "deep", "odd"])
def test_a_damaged_journal_is_left_as_it_is_and_nothing_is_done(
    content: str, variables: dict[str, Any], state: Path
) -> None:
    LookupModule().run([], variables)
    (path,) = state.rglob("*.json")
    path.write_text(content)
    with pytest.raises(AnsibleError, match=r"so nothing was done: .* is damaged: .* mv "):
        LookupModule().run([], variables)
    assert path.read_text() == content
