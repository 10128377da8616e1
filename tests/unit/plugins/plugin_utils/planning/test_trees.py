"""Trees that the plan gives to nodes, and their order."""

from __future__ import annotations

import pytest
from helpers.plans import PLAN, loop

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.trees import (
    base_owners,
    node_bases,
    node_trees,
    open_trees,
    origin,
    serving_rounds,
    source_trees,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes


def test_target_that_has_failed_comes_after_those_that_have_not() -> None:
    state = outcomes.record({}, loop({"failures": [{"reason": "one bad item"}]}), "preflight", "dayabay")
    left = open_trees(source_trees(PLAN, "dayabay", targets=True), state)
    assert [tree["node"] for tree in left] == ["sdu", "cms01"]


@pytest.mark.parametrize(
    ("transport", "rounds"),
    [
        ({"cms01": "push", "sdu": "push"}, [["cms01", "sdu"]]),
        ({"cms01": "pull", "sdu": "push"}, [["sdu"], ["cms01"]]),
        ({"cms01": "pull", "sdu": "pull"}, [["cms01"], ["sdu"]]),
    ],
    ids=["sent", "both", "fetched"],
)
def test_targets_that_are_sent_to_are_served_at_once_those_that_fetch_one_by_one(
    transport: dict[str, str], rounds: list[list[str]]
) -> None:
    plan = {**PLAN, "sources": {"dayabay": PLAN["sources"]["dayabay"] | {"transport": transport}}}
    trees = source_trees(plan, "dayabay", targets=True)
    found = serving_rounds(trees, plan, "dayabay")
    assert [[tree["node"] for tree in together] for together in found] == rounds
    assert serving_rounds([], plan, "dayabay") == []


def test_node_settings_come_from_the_plan() -> None:
    assert node_trees(PLAN, "dayabay") == [
        {"role": "source", "source": "dayabay", "base": "/backup", "node": "dayabay", "check_scope": "all"}
    ]
    assert node_trees(PLAN, "nobody") == []
    assert node_bases({"sources": {"a": {"base": "/b"}}, "targets": {"a": {"target_base": "/t"}}}, "a") == [
        "/b",
        "/t",
    ]


def test_bases_have_their_owners() -> None:
    own = {"base": "/backup", "role": "source", "name": "dayabay", "former_names": []}
    assert base_owners(PLAN, "dayabay") == [own]
    renamed = {**PLAN, "targets": {"cms01": {**PLAN["targets"]["cms01"], "former_names": ["old"]}}}
    assert base_owners(renamed, "cms01") == [
        {"base": "/copies", "role": "target", "name": "cms01", "former_names": ["old"]}
    ]


def test_what_tells_a_source_from_others_of_its_name_is_the_id_alone_that_it_says() -> None:
    said = {
        "base": "/elsewhere",
        "role": "source",
        "name": "cms01",
        "id": "1" * 32,
        "boot": "",
        "device": 0,
        "inode": 0,
        "machine": "2" * 32,
    }
    state = outcomes.record({}, {"identities": [said]}, "preflight", "dayabay")
    assert origin(PLAN, "dayabay", state) == {
        "name": "dayabay",
        "base": "/backup",
        "id": "1" * 32,
        "machine": "2" * 32,
        "adopt": False,
    }
    adopted = origin({**PLAN, "adopted_nodes": ["dayabay"]}, "dayabay", state)
    assert adopted["adopt"] is True
    assert origin(PLAN, "dayabay", {}) == {}
