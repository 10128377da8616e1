"""What a plan has of sources, targets and nodes."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import GIT, NOW, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_nodes import _is_local, node_entry
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable


def test_a_host_may_be_both() -> None:
    plan = build_plan(
        {
            "here": {
                "altbackup_base": "/a",
                "altbackup_target_base": "/b",
                "altbackup_items": [GIT],
                "altbackup_targets": ["here"],
            }
        },
        {"sources": ["here"], "targets": ["here"]},
        {},
        NOW,
    )
    assert plan["errors"] == []
    assert [(tree["role"], tree["base"]) for tree in plan["nodes"]["here"]["trees"]] == [
        ("source", "/a"),
        ("target", "/b/here"),
    ]
    assert plan["sources"]["here"]["local_targets"] == ["here"]


def test_drills_take_place_on_another_host_or_on_the_node_itself() -> None:
    scratch = {"altbackup_drill_host": "cms01", "altbackup_drill_folder": "/scratch"}
    plan = plan_of(every=scratch)
    assert plan["errors"] == []
    assert {host: node["drill_host"] for host, node in plan["nodes"].items()} == {
        "dayabay": "cms01",
        "juno": "cms01",
        "cms01": "",
        "sdu": "cms01",
    }
    assert plan_of({"cms01": {"altbackup_drill_host": "cms01"}})["errors"] == []


def test_only_targets_narrows_sources_and_nodes_without_an_error() -> None:
    plan = plan_of(every={"altbackup_only_targets": ["cms01"]})
    assert plan["errors"] == []
    assert plan["sources"]["dayabay"]["targets"] == ["cms01"]
    assert plan["sources"]["juno"]["targets"] == []
    assert plan["targets"]["sdu"]["sources"] == []
    assert plan["nodes"]["sdu"]["trees"] == []
    assert [len(plan["nodes"][host]["trees"]) for host in ("dayabay", "juno", "cms01")] == [1, 1, 1]


def test_items_may_all_be_discovered() -> None:
    plan = plan_of({"juno": {"altbackup_items": [], "altbackup_discover": {"git": "/home/scm/git/"}}})
    assert plan["errors"] == []
    assert plan["sources"]["juno"]["discover"] == {"git": "/home/scm/git"}
    assert [tree["discover"] for tree in plan["nodes"]["sdu"]["trees"]] == [False, True]


@pytest.mark.parametrize(
    ("changes", "connection", "reached"),
    [
        ({}, {}, ("sdu", None, "")),
        ({}, {"ansible_host": "192.0.2.7", "ansible_port": "2222", "ansible_user": "scm"}, ("192.0.2.7", 2222, "scm")),
        ({"altbackup_rsync_host": "x.example.org", "altbackup_rsync_port": 22, "altbackup_rsync_user": "b"},
         {"ansible_host": "192.0.2.7", "ansible_port": Unreadable("broken"), "ansible_user": "scm"}, ("x.example.org", 22, "b")),
    ],
)  # fmt: skip
def test_peers_reach_a_node_as_ansible_does_unless_told_otherwise(
    changes: dict[str, Any], connection: dict[str, Any], reached: tuple[Any, ...]
) -> None:
    plan = plan_of({"sdu": changes}, connection={"sdu": connection})
    assert plan["errors"] == []
    target = plan["targets"]["sdu"]
    assert (target["rsync_host"], target["rsync_port"], target["rsync_user"]) == reached


@pytest.mark.parametrize("port", ["ssh", [22], {"cms01": 22}, float("inf"), Unreadable("is a template")])
def test_an_unusable_port_of_the_connection_is_an_error(port: object) -> None:
    errors = plan_of(connection={"sdu": {"ansible_port": port}})["errors"]
    assert len(errors) == 1
    assert errors[0].startswith("sdu: ansible_port is ")


@pytest.mark.parametrize(
    ("source", "target", "changes", "local"),
    [
        ("local", "local", {}, True),
        ("ansible.builtin.local", "local", {}, True),
        ("ssh", "local", {}, False),
        (None, None, {}, False),
        ("local", "local", {"altbackup_rsync_host": "192.0.2.7"}, False),
    ],
)
def test_a_pair_on_the_controller_needs_no_ssh(source: Any, target: Any, changes: dict[str, Any], local: bool) -> None:
    connection = {"juno": {"ansible_connection": source}, "sdu": {"ansible_connection": target}}
    plan = plan_of({"sdu": changes}, connection=connection)
    assert plan["sources"]["juno"]["local_targets"] == (["sdu"] if local else [])


def test_names_that_changed_and_times_away_are_known_where_they_matter() -> None:
    plan = plan_of(
        {
            "dayabay": {"altbackup_former_names": ["old"]},
            "cms01": {"altbackup_absent_for": "14d", "altbackup_former_names": ["old"]},
        }
    )
    assert plan["errors"] == []
    assert [tree["former_names"] for node in ("cms01", "sdu") for tree in plan["nodes"][node]["trees"]] == [
        ["old"],
        ["old"],
        [],
    ]
    assert [plan["targets"][name]["absent_for"] for name in ("cms01", "sdu")] == [1209600.0, 0.0]


@pytest.mark.parametrize(
    ("source", "target", "connection", "rsync_host", "is_local"),
    [
        ("a", "a", {}, "a", True),
        ("a", "b", {}, "b", False),
        ("a", "b", {"a": "local"}, "b", False),
        ("a", "b", {"a": "local", "b": "local"}, "b", True),
        ("a", "b", {"a": "ansible.builtin.local", "b": "local"}, "b", True),
        ("a", "b", {"a": "local", "b": "local"}, "192.0.2.1", False),
        ("a", "b", {"a": "ssh", "b": "ssh"}, "b", False),
        ("a", "b", {"a": "LOCAL", "b": "local"}, "b", False),
        ("a", "b", {"a": ["local"], "b": "local"}, "b", False),
    ],
)
def test_both_are_one_machine_only_where_both_are_the_controller(
    source: str, target: str, connection: dict[str, Any], rsync_host: str, is_local: bool
) -> None:
    told = {host: {"ansible_connection": plugin} for host, plugin in connection.items()}
    assert _is_local(source, target, told, {"rsync_host": rsync_host}) is is_local


def test_a_tree_of_a_target_without_a_base_has_none() -> None:
    plan = plan_of({"sdu": {"altbackup_target_base": None}})
    assert [tree["base"] for tree in node_entry("sdu", plan)["trees"]] == [None, None]
    assert [tree["trash_days"] for host in ("sdu", "juno") for tree in node_entry(host, plan)["trees"]] == [2, 2, 0]
