"""Filters of set-up: what they return is never a template, and what they are given wrongly is an error of the task."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from helpers.inventories import plan_of

from ansible_collections.altbackup.core.plugins.filter.setup import FilterModule

FILTERS = FilterModule().filters()


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return plan_of()


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
    ("name", "arguments"),
    [
        ("setup_node", ({"sources": {}, "targets": {}}, "nowhere")),
        ("setup_jobs", ([], "cms01")),
    ],
)
def test_what_is_none_is_an_error_that_names_the_filter(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        FILTERS[name](*copy.deepcopy(arguments))
    assert str(error.value).startswith(f"altbackup.core.{name}: ")
