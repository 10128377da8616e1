"""The lookup of what a run has found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from helpers.told_runs import EVERY, Told

from ansible_collections.altbackup.core.plugins.lookup import outcome
from ansible_collections.altbackup.core.plugins.lookup.outcome import LookupModule, journal_events
from ansible_collections.altbackup.core.plugins.plugin_utils.calls import run_state
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import PLAN
from ansible_collections.altbackup.core.plugins.plugin_utils.history.record import Circumstances
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.secrecy import MASK

FAILURE = {"node": "cms01", "delegate": "", "stage": "check", "category": "svn", "name": "dybsvn", "relpath": ""}


def told(*, gone: list[str] | None = None) -> Circumstances:
    return Circumstances(playbook="check.yml", inventory="/sites", folder="", now=1.8e9, versions={}, gone=gone or [])


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Variables of the last task of a run that checks."""
    monkeypatch.setattr(run_state.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    hosts = {name: {"ansible_connection": "ssh"} for name in ("dayabay", "cms01", "sdu")}
    return {
        PLAN: Told(EVERY).run.plan,
        "inventory_hostname": "dayabay",
        "hostvars": hosts,
        "ansible_play_hosts_all": list(hosts),
    }


@pytest.mark.parametrize(
    ("reasons", "gone", "state", "bad"),
    [
        ([], [], "good", False),
        (["it rotted"], [], "failed", True),
        ([], ["cms01"], "failed", True),
        (["a", "b"], ["cms01"], "failed", True),
    ],
)
def test_the_journal_has_a_line_on_the_end_and_one_on_each_failure(
    reasons: list[str], gone: list[str], state: str, bad: bool
) -> None:
    end, *each = journal_events([{**FAILURE, "reason": reason} for reason in reasons], told(gone=gone))
    assert (end["event"], end["state"], end["bad"], end["failures"]) == ("run", state, bad, len(reasons))
    assert [(entry["event"], entry["bad"], entry["reason"]) for entry in each] == [
        ("failure", True, reason) for reason in reasons
    ]


def test_the_journal_has_one_line_a_failure_and_no_secret() -> None:
    (_, line) = journal_events([{**FAILURE, "reason": "no\n\x1b[31mpassword=hunter2", "name": None}], told())
    assert line["reason"] == f"no\\n\\x1b[31mpassword={MASK}" and line["name"] == ""
    assert "\n" not in "".join(map(str, line.values()))


@pytest.mark.parametrize("term", ["runs", "", 7, None, ["run"], {}], ids=repr)
def test_what_is_no_term_is_named_with_those_that_there_are(term: Any, variables: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match=r"altbackup\.core\.outcome: .*: one of run, listed, all_listed"):
        LookupModule().run([term], variables)


def test_every_documented_term_is_one() -> None:
    documented = outcome.DOCUMENTATION.partition("choices: [")[2].partition("]")[0].split(", ")
    assert documented == list(outcome._FOUND)


def test_a_run_that_found_nothing_tells_nothing(variables: dict[str, Any]) -> None:
    (found,) = LookupModule().run(["run"], variables)
    assert (found["failures"], found["purged"], found["table"]) == ([], [], [])
    assert LookupModule().run(["listed", "all_listed"], variables) == [[], []]


def test_failures_of_all_hosts_stand_there_once_each(variables: dict[str, Any]) -> None:
    entry = {**FAILURE, "reason": "it rotted", "rc": None, "stderr": ""}
    for host in ("dayabay", "cms01"):
        run_state.save(host, {**EMPTY, "failures": [entry]})
    (found,) = LookupModule().run(["run"], variables)
    assert [(each["node"], each["reason"]) for each in found["failures"]] == [("cms01", "it rotted")]


def test_a_plan_of_a_purge_that_cannot_be_read_is_a_problem_with_its_path(
    variables: dict[str, Any], tmp_path: Path
) -> None:
    variables[PLAN] = {**variables[PLAN], "purge_plan": str(tmp_path / "plan.json")}
    (found,) = LookupModule().run(["reviewed"], variables)
    assert found["tarballs"] == []
    assert found["problem"].startswith(f"{tmp_path}/plan.json (altbackup_purge_plan) ")
    (tmp_path / "plan.json").write_text("[" * 100_000)
    assert LookupModule().run(["reviewed"], variables)[0]["problem"]
