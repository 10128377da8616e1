"""The lookup of calls: what is no loop is named with those that there are."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError
from helpers.told_runs import EVERY, Told

from ansible_collections.altbackup.core.plugins.lookup.calls import LookupModule
from ansible_collections.altbackup.core.plugins.plugin_utils.calls import run_state
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import PLAN


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> dict[str, Any]:
    """Variables of a task in a run that checks."""
    monkeypatch.setattr(run_state.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return {PLAN: Told(EVERY).run.plan, "inventory_hostname": "cms01", "hostvars": {}}


def test_the_calls_of_all_terms_are_returned_on_the_nodes_that_are_wanted(variables: dict[str, Any]) -> None:
    look = LookupModule()
    (tree,) = look.run(["check"], variables)
    assert (tree["node"], tree["label"]) == ("cms01", "dayabay on cms01")
    assert [entry["label"] for entry in look.run(["usable", "check"], variables)] == ["cms01", "dayabay on cms01"]
    assert look.run(["usable", "check"], variables, nodes=["sdu"]) == []
    assert look.run([], variables) == []


@pytest.mark.parametrize("term", ["chekc", "", 7, None, {}, ["check"], {"check": 1}], ids=repr)
def test_what_is_no_loop_is_named_with_those_that_there_are(term: Any, variables: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match=r"altbackup\.core\.calls: .*: one of usable, targets, check"):
        LookupModule().run([term], variables)


def test_without_a_plan_it_is_said_who_makes_one() -> None:
    with pytest.raises(AnsibleError, match=r"let role altbackup\.core\.altbackup make it"):
        LookupModule().run(["check"], {"inventory_hostname": "cms01"})
