"""Findings of the stages are gathered completely: failures of every form, nodes that are down, items that passed."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import GIT, PLAN, SVN, TREE, drilled, loop

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.trees import open_trees, source_trees
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes, run_summary


def test_records_add_up() -> None:
    state = outcomes.record({}, {"failures": [{"reason": "one"}], "notes": ["a note"]}, "dump", "dayabay")
    state = outcomes.record(state, {"failures": [{"reason": "two"}]}, "purge", "dayabay")
    assert [entry["reason"] for entry in state["failures"]] == ["one", "two"]
    assert state["notes"] == ["dayabay: a note"]


@pytest.mark.parametrize(
    ("item", "node", "title"),
    [
        ({"node": "cms01", "source": "dayabay", "role": "target"}, "cms01", "dayabay -> cms01"),
        ({"node": "cms01", "source": "dayabay", "role": "target"}, "dayabay", "dayabay -> cms01"),
        ({"node": "cms01", "base": "/x", "source": {"host": "x"}}, "dayabay", "dayabay -> cms01"),
        ({"node": "dayabay", "source": "dayabay", "role": "source"}, "dayabay", "dayabay"),
        ("cms01", "dayabay", "cms01"),
    ],
)
def test_a_note_names_the_tree_that_it_is_of(item: object, node: str, title: str) -> None:
    registered = {"results": [{"item": item, "ansible_loop_var": "item", "notes": ["a note"]}]}
    assert outcomes.record({}, registered, "purge", node)["notes"] == [f"{title}: a note"]


def test_what_purge_leaves_alone_is_told_once() -> None:
    found = {"unverified": ["svn/x/a", "svn/x/b"], "failures": [{"reason": "b does not match", "relpath": "svn/x/b"}]}
    state = outcomes.record({}, loop(found), "purge", "dayabay")
    assert len(state["failures"]) == 1
    (note,) = state["notes"]
    assert note.startswith("dayabay -> cms01: svn/x/a is not verified")


@pytest.mark.parametrize(
    ("registered", "down"),
    [
        (loop({"unreachable": True, "msg": "x"}), ["cms01"]),
        (loop({"failed": True, "msg": "x"}), ["cms01"]),
        (loop({"usable": False, "failures": [{"reason": "no marker"}]}), ["cms01"]),
        (loop({"failures": [{"reason": "one bad item"}]}), []),
        ({"unreachable": True}, ["dayabay"]),
        ({"unreachable_peers": ["sdu"]}, ["sdu"]),
    ],
)
def test_node_that_cannot_be_used_is_down_for_later_stages(registered: dict[str, Any], down: list[str]) -> None:
    state = outcomes.record({}, registered, "preflight", "dayabay")
    assert state["down"] == down
    left = open_trees(source_trees(PLAN, "dayabay", targets=True), state)
    assert {tree["node"] for tree in left} == {"cms01", "sdu"} - set(down)


OWN = {**TREE, "node": "dayabay"}
"""The tree of a source that is its own target"""


@pytest.mark.parametrize(
    ("registered", "left"),
    [
        ({"usable": True, "unusable": ["/copies"]}, ["source"]),
        ({"usable": True, "unusable": ["/backup"]}, ["target"]),
        ({"usable": False, "unusable": ["/backup", "/copies"]}, []),
        ({"results": [{"ansible_loop_var": "tree", "tree": OWN, "usable": False}]}, ["source"]),
        ({"results": [{"ansible_loop_var": "tree", "tree": OWN, "unreachable": True}]}, []),
    ],
)
def test_base_that_cannot_be_used_closes_its_own_trees_and_no_other_of_the_node(
    registered: dict[str, Any], left: list[str]
) -> None:
    state = outcomes.record({}, registered, "preflight", "dayabay")
    trees = [{"node": "dayabay", "source": "dayabay", "base": "/backup", "role": "source"}, OWN]
    assert [tree["role"] for tree in open_trees(trees, state)] == left
    assert state["down"] == ([] if left else ["dayabay"])


def test_item_passes_only_if_it_was_counted_and_read_good() -> None:
    counted = {"relpaths": {"dybsvn": [SVN], "toolbox": [GIT]}}
    bad = SVN.replace("dybsvn-1", "dybsvn-2")
    assert run_summary.summary(
        PLAN, {"a": outcomes.record_check({}, loop({**counted, "match": [SVN], "bytes_read": 9}), "dayabay")}
    ) == ["dayabay -> cms01: 1 tarball matches its dna, 9 bytes read"]
    for verified, passed in (
        ({"match": [SVN, GIT]}, ["git/toolbox", "svn/dybsvn"]),
        ({"match": [GIT], "mismatch": [SVN]}, ["git/toolbox"]),
        ({"match": [SVN, GIT], "missing": [bad]}, ["git/toolbox"]),
        ({"match": []}, []),
        ({"relpaths": {}, "unreachable": True}, []),
    ):
        state = outcomes.record_check({}, loop({**counted, **verified}), "dayabay")
        assert state["passed"] == {"cms01/dayabay/target": passed}


def test_what_a_run_has_read_is_known_of_each_tree() -> None:
    day = outcomes.record_check({}, loop({"day": "2013/05/10", "match": []}), "dayabay")
    whole = outcomes.record_check(
        {},
        {"results": [{"ansible_loop_var": "tree", "tree": {**TREE, "check_scope": "all"}, "day": "2013/05/10"}]},
        "dayabay",
    )
    proved = outcomes.record({}, drilled("cms01", "aa"), "drill", "cms01")
    assert [outcomes.all_looked([state]) for state in (day, whole, proved)] == [
        {"dayabay -> cms01": ["2013/05/10"]},
        {"dayabay -> cms01": ["all"]},
        {"dayabay -> cms01": [SVN]},
    ]
    assert outcomes.all_looked([day, whole, {}]) == {"dayabay -> cms01": ["2013/05/10", "all"]}


def test_trees_of_a_source_that_is_its_own_target_are_told_apart() -> None:
    trees = [{**TREE, "node": "dayabay", "role": role} for role in ("source", "target")]

    def both(*results: dict[str, Any]) -> dict[str, Any]:
        return {
            "results": [
                {"ansible_loop_var": "tree", "tree": tree, **result}
                for tree, result in zip(trees, results, strict=True)
            ]
        }

    relpaths = {"relpaths": {"dybsvn": [SVN]}}
    found = both({**relpaths, "mismatch": [SVN]}, {**relpaths, "match": [SVN]})
    state = outcomes.record_check({}, found, "dayabay")
    assert state["passed"] == {"dayabay/dayabay/source": [], "dayabay/dayabay/target": ["svn/dybsvn"]}
    assert {title: found["match"] for title, found in state["checked"].items()} == {
        "dayabay": 0,
        "dayabay -> dayabay": 1,
    }


def test_a_discovery_that_failed_is_remembered_by_the_run() -> None:
    state = outcomes.record({}, {"discovered": True}, "preflight", "dayabay")
    assert state["discovered"] is True
    state = outcomes.record(state, {"discovered": False}, "preflight", "dayabay")
    state = outcomes.record(state, loop({"discovered": True}, {}), "preflight", "dayabay")
    assert state["discovered"] is False


def test_predicted_tarballs_pass_in_check_mode() -> None:
    state = outcomes.record(
        {}, {"tarballs": [{"relpath": SVN, "dig": ""}, {"relpath": GIT, "dig": "00"}]}, "dump", "dayabay"
    )
    assert state["predicted"] == [SVN]
    checked = outcomes.record_check(state, loop({"match": [], "relpaths": {"dybsvn": [SVN]}}), "dayabay")
    assert checked["passed"] == {"cms01/dayabay/target": ["svn/dybsvn"]}


def test_trees_that_have_their_marks_are_known_with_what_is_held_there() -> None:
    hold = "svn/dybsvn/2013/05/10/104701"
    state = outcomes.record({}, loop({"marks_kept": True, "held": []}), "synchronize", "dayabay")
    state = outcomes.record(state, loop({"marks_kept": True, "held": [hold]}), "purge", "dayabay")
    state = outcomes.record(state, {"marks_kept": False, "held": []}, "dump", "dayabay")
    assert state["held"] == {"dayabay -> cms01": [hold]}
    state = outcomes.record(state, {"marks_kept": True, "held": []}, "dump", "dayabay")
    assert state["held"] == {"dayabay -> cms01": [hold], "dayabay": []}
