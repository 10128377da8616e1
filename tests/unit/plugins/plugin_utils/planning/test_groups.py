"""Groups that are nearly called as those that give a host its part."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import SVN, VARIABLES, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.groups import _intended_group, check_outside
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.inventory_errors import Errors
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable

ITEMS = {"altbackup_base": "/b", "altbackup_items": [SVN], "altbackup_targets": ["cms01"]}


@pytest.mark.parametrize(
    ("group", "values", "meant"),
    [
        ("source", ITEMS, "sources"),
        ("Sources", ITEMS, "sources"),
        ("srouces", ITEMS, "sources"),
        ("soures", {"altbackup_discover": {"git": "/git"}}, "sources"),
        ("target", {"altbackup_target_base": "/copies"}, "targets"),
        ("TARGETS", {"altbackup_target_base": "/copies"}, "targets"),
        ("source", {"altbackup_base": "/b"}, "sources"),
        ("source", {"altbackup_items": Unreadable("is a template with 'x', which is undefined")}, "sources"),
    ],
)
def test_host_in_a_misspelt_group_is_an_error(group: str, values: dict[str, Any], meant: str) -> None:
    plan = plan_of({"s2": values}, groups={"all": [*VARIABLES, "s2"], group: ["s2"], "jinan": ["s2", "cms01"]})
    (error,) = plan["errors"]
    assert error.startswith("s2: ") and repr(group) in error and f"did you mean {meant!r}?" in error
    assert any(name in error for name in values)
    assert plan["notes"] == []


@pytest.mark.parametrize("groups", [{}, {"resources": ["s2"]}, {"jinan": ["s2", "cms01"]}, {"ungrouped": ["s2"]}])
def test_host_with_items_in_neither_group_is_a_note(groups: dict[str, list[str]]) -> None:
    plan = plan_of({"s2": ITEMS}, groups={"all": [*VARIABLES, "s2"], **groups})
    assert plan["errors"] == []
    (note,) = plan["notes"]
    assert "s2" in note and "altbackup_items" in note and "sources" in note


@pytest.mark.parametrize("group", ["ungrouped", "source"])
@pytest.mark.parametrize(
    "values",
    [{"altbackup_keep": 5}, {"altbackup_base": "/b"}, {"altbackup_items": [], "altbackup_discover": {}}],
    ids=["other variables", "a base alone", "nothing in them"],
)
def test_fresh_host_is_no_alarm(values: dict[str, Any], group: str) -> None:
    plan = plan_of({"fresh": values}, groups={"all": [*VARIABLES, "fresh"], group: ["fresh"]})
    assert plan["notes"] == []
    assert bool(plan["errors"]) == (group == "source" and "altbackup_base" in values)


@pytest.mark.parametrize("group", ["ungrouped", "source", "target"])
def test_what_all_hosts_have_from_the_group_all_makes_none_a_node(group: str) -> None:
    every = {"altbackup_items": [SVN], "altbackup_base": "/b", "altbackup_target_base": "/copies"}
    plan = plan_of({"fresh": {}}, groups={"all": [*VARIABLES, "fresh"], group: ["fresh"]}, every=every)
    assert (plan["errors"], plan["notes"]) == ([], [])


@pytest.mark.parametrize(
    ("group", "meant"),
    [
        ("sources", []),
        ("targets", []),
        ("source", ["sources"]),
        ("SOURCES", ["sources"]),
        ("Target", ["targets"]),
        ("srouces", ["sources"]),
        ("tragets", ["targets"]),
        ("sourcess", ["sources"]),
        ("xsources", ["sources"]),
        ("soures", ["sources"]),
        ("sorc", []),
        ("resources", []),
        ("tarmets", ["targets"]),
        ("rtagets", ["targets"]),
        ("markets", []),
        ("all", []),
        ("", []),
        ("sources2023", []),
    ],
)
def test_a_slip_away_from_a_group_is_meant_as_it(group: str, meant: list[str]) -> None:
    assert _intended_group(group) == meant


@pytest.mark.parametrize(
    ("own", "groups", "error", "note"),
    [
        ({}, {"source": ["x"]}, "", ""),
        ({"altbackup_items": [1]}, {"source": ["y"]}, "", "altbackup_items"),
        ({"altbackup_items": [1]}, {"source": ["x"]}, "altbackup_items", ""),
        ({"altbackup_discover": {"git": "/g"}}, {}, "", "altbackup_discover"),
        ({"altbackup_base": "/b"}, {}, "", ""),
        ({"altbackup_base": "/b"}, {"source": ["x"]}, "altbackup_base", ""),
        ({"altbackup_items": None}, {"source": ["x"]}, "", ""),
        ({"altbackup_items": ""}, {"source": ["x"]}, "", ""),
        ({"altbackup_keep": 3}, {"source": ["x"]}, "", ""),
    ],
)
def test_a_host_outside_is_an_error_or_a_note_by_what_it_has(
    own: dict[str, Any], groups: dict[str, list[str]], error: str, note: str
) -> None:
    errors = Errors(["x", "y"])
    notes = check_outside(["x"], {"x": own, "y": {}}, groups, errors)
    assert [name for name, _ in errors.found] == ([error] if error else [])
    assert [text.partition(": ")[2].partition(" ")[0] for text in notes] == ([note] if note else [])


def test_of_no_host_nothing_is_told() -> None:
    assert check_outside([], {}, {}, Errors([])) == []
