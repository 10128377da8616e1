"""Filters of set-up: what they return is never a template, and what they are given wrongly is an error of the task."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from helpers.inventories import plan_of

from ansible_collections.altbackup.core.plugins.filter.setup import FilterModule
from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import unseal

FILTERS = FilterModule().filters()
PAIR = {"label": "dayabay -> cms01"}


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return plan_of()


def test_pairs_have_the_options_of_ssh_sealed(plan: dict[str, Any]) -> None:
    hostvars: dict[str, dict[str, Any]] = {host: {} for host in ("dayabay", "juno", "cms01", "sdu")}
    hostvars["dayabay"]["altbackup_ssh_args"] = "-o SetEnv=TOKEN=hunter2"
    found = FILTERS["setup_pairs"](plan, "dayabay", hostvars)
    assert [pair["label"] for pair in found] == ["dayabay -> cms01", "dayabay -> sdu"]
    assert "hunter2" not in str(found) and unseal(found[0]["ssh_args"]) == ("-o", "SetEnv=TOKEN=hunter2")
    assert FILTERS["setup_pairs"](plan, "cms01", hostvars) == [], "a target has no pairs of its own"


def test_a_node_has_its_bases_and_packages(plan: dict[str, Any]) -> None:
    found = FILTERS["setup_node"](plan, "dayabay", "RedHat")
    assert found["bases"] == ["/home/scm/backup/dayabay"]
    assert (found["packages"]["ssh"], found["packages"]["svnadmin"]) == ("openssh-clients", "subversion")
    assert FILTERS["setup_node"](plan, "cms01")["bases"] == ["/data/backup"]


def test_jobs_are_the_controllers_where_inventories_are_given(
    plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTBACKUP_MAIL_PASSWORD", "hunter2")
    jobs = FILTERS["setup_jobs"](plan, "localhost", ["/sites"])
    assert [job["name"] for job in jobs] == [f"altbackup {job} of /sites" for job in ("backup", "check", "drill")]
    assert "hunter2" not in str(jobs)
    (watch,) = FILTERS["setup_jobs"](plan, "cms01")
    assert (watch["name"], watch["enabled"]) == ("altbackup watch of cms01", False)
    assert FILTERS["setup_jobs"](plan, "dayabay") == []


@pytest.mark.parametrize(
    ("results", "failures", "line"),
    [
        ([], [], "dayabay -> cms01: not tried"),
        ([{"skipped": True}], [], "dayabay -> cms01: not tried"),
        ([{"failures": []}], [], "dayabay -> cms01: not tried"),
        (
            [{"failures": [{"reason": "no"}]}, {"failures": [{"reason": "no"}]}],
            ["dayabay -> cms01: no"],
            "dayabay -> cms01: not tried",
        ),
        ([{"unreachable": True, "msg": "no route"}], ["dayabay -> cms01: no route"], "dayabay -> cms01: not tried"),
        ([{"failed": True}], ["dayabay -> cms01: it returned nothing"], "dayabay -> cms01: not tried"),
        ([{"msg": "x" * 2000}], ["dayabay -> cms01: " + "x" * 1000], "dayabay -> cms01: not tried"),
        ([{"failures": [], "answer": {"does": "receive", "landlock": 1}}], [], "dayabay -> cms01: receives"),
        (
            [{"failures": [], "answer": {"does": "receive", "landlock": 0, "address": "192.0.2.1"}}],
            [],
            "dayabay -> cms01: receives from 192.0.2.1, not confined by the kernel, which has no Landlock",
        ),
    ],
)
def test_what_became_of_a_pair_is_told(results: list[dict[str, Any]], failures: list[str], line: str) -> None:
    assert FILTERS["setup_report"](PAIR, results) == {"failures": failures, "line": line}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("setup_pairs", ({}, "dayabay", {})),
        ("setup_pairs", (None, "dayabay", {})),
        ("setup_node", ({"sources": {}, "targets": {}}, "nowhere")),
        ("setup_jobs", ([], "cms01")),
        ("setup_report", ({}, [{"msg": "x"}])),
        ("setup_report", (PAIR, None)),
    ],
)
def test_what_is_none_is_an_error_that_names_the_filter(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        FILTERS[name](*copy.deepcopy(arguments))
    assert str(error.value).startswith(f"altbackup.core.{name}: ")
