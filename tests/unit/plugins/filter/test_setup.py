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


def test_what_was_made_is_a_line_each(plan: dict[str, Any]) -> None:
    room = {"free": 8 * 1024**3, "size": 16 * 1024**3, "file_system": "ext4"}
    made = [{"__nodes_base": "/data/a", "changed": True, **room}, {"__nodes_base": "/data/b", "changed": False, **room}]
    assert [line.partition(":")[0] for line in FILTERS["setup_lines"](made, "cms01")] == ["cms01", "cms01"]
    said = FILTERS["setup_lines"](made, "cms01", check_mode=True)
    assert said[0].startswith("cms01: /data/a would be made, with its marker: ") and "free (ext4)" in said[0]
    assert said[1].startswith("cms01: /data/b: ")
    assert "/data/a was made, with its marker" in FILTERS["setup_lines"](made, "cms01")[0]


def test_what_is_started_by_the_clock_is_a_line_each(plan: dict[str, Any]) -> None:
    backup, check, _ = FILTERS["setup_jobs"](plan, "localhost", ["/sites"])
    (watch,) = FILTERS["setup_jobs"](plan, "cms01")
    lines = FILTERS["setup_lines"]
    first, second = (f"{int(job['hour']):02}:{int(job['minute']):02}" for job in (backup, check))
    assert lines([backup, check], "localhost", "cron") == [
        f"localhost: cron starts altbackup backup of /sites, at {first}",
        f"localhost: cron starts altbackup check of /sites, at {second} on sun",
    ]
    assert lines([{**watch, "enabled": True}], "cms01", "cron", True)[0].startswith(
        "cms01: cron would start altbackup watch of cms01, each hour at :"
    )
    assert lines([watch], "cms01", "cron") == ["cms01: cron no longer starts altbackup watch of cms01"]
    assert lines([backup], "localhost", "systemd", True, True) == [
        "localhost: systemd would no longer start altbackup backup of /sites"
    ]
    assert lines([check], "localhost", "systemd") == [
        "localhost: systemd starts altbackup check of /sites, Sun *-*-* 07:30:00"
    ]


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
