"""What the tasks of a stage go over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.told_runs import CHAIN, EVERY, STAMP, SVN, Told, filling, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.loops import LOOPS, calls
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.run_failures import all_failures


def test_a_node_that_is_down_or_whose_base_cannot_be_used_is_left_alone() -> None:
    told = Told()
    cms01, sdu = told.over("targets")
    told.call("preflight", "preflight", {"unreachable": True, "msg": "no route"}, cms01)
    assert told.nodes("targets") == ["sdu"]
    told.call("preflight", "preflight", {"usable": False, "failures": [{"reason": "no marker"}]}, sdu)
    assert told.nodes("targets") == []
    assert [(entry["delegate"], entry["reason"]) for entry in told.run.state["failures"]] == [
        ("cms01", "unreachable: no route"),
        ("sdu", "no marker"),
    ]


def test_nothing_is_sent_to_a_target_that_went_down_after_it_had_asked() -> None:
    told = offered()
    for entry in told.over("targets"):
        told.call("tarball_prepare", "synchronize", {"send": [SVN]}, entry)
    why = {"stage": "synchronize", "delegate": "cms01", "reason": "cut"}
    told.call("tarball_send", "synchronize", {"unreachable_peers": ["cms01"], "failures": [why]})
    assert [target["peer"]["node"] for target in told.call("tarball_send", "synchronize", {})["targets"]] == ["sdu"]
    assert told.nodes("deliveries") == ["sdu"]


def test_targets_that_fetch_are_served_one_by_one_and_busy_ones_waited_for() -> None:
    told = Told(altbackup_transport="pull")
    told.call("tarball_check", "check", {"listed": True, "tarballs": []}, told.over("check")[0])
    assert [together["nodes"] for together in told.over("rounds")] == [["cms01"], ["sdu"]]
    cms01, sdu = told.over("targets")
    told.call("tarball_prepare", "synchronize", {"busy": True}, cms01)
    told.call("tarball_prepare", "synchronize", {"busy": True}, sdu)
    assert told.over("deliveries") == []
    waiting = told.over("last_rounds")
    assert [entry["nodes"] for entry in waiting] == [["cms01"], ["sdu"]]
    assert {entry["slot_wait"] for entry in waiting} == {int(told.run.plan["nodes"]["dayabay"]["step_timeout"])}
    told.call("tarball_prepare", "synchronize", {"send": []}, cms01)
    assert [entry["nodes"] for entry in told.over("last_rounds")] == [["sdu"]]


def test_sources_of_which_nothing_is_said_are_left_alone() -> None:
    told = Told(EVERY)
    assert (told.over("mark"), told.over("mark_copies")) == ([], [])


def test_a_purge_by_itself_lists_its_trees_and_those_of_nodes_that_have_no_part_in_the_play() -> None:
    listed = {
        "category": "svn",
        "name": "dybsvn",
        "stamp": STAMP,
        "alg": "sha256",
        "dig": "aa",
        "size": 7,
        "state": "verified",
    }
    told = Told(EVERY)
    told.states.update(dict.fromkeys(("cms01", "sdu"), EMPTY))
    for hosts, nodes in (
        (["dayabay", "cms01", "sdu"], []),
        (["dayabay", "sdu"], ["cms01"]),
        (["dayabay"], ["cms01", "sdu"]),
    ):
        told.run = replace(told.run, play_hosts=hosts)
        assert told.nodes("shelves") == ["dayabay", *nodes]
    assert told.call("tarball_purge", "purge", {}, told.over("purge")[0])["copies"] == {}
    for entry in told.over("shelves"):
        options = told.call("tarball_list", "purge", {"tarballs": [listed] if entry["node"] != "sdu" else []}, entry)
        assert options["day"] == "all"
    assert told.run.state["listed"] == []
    assert told.call("tarball_purge", "purge", {}, told.over("purge")[0])["copies"] == {"svn/dybsvn": 1}


def test_a_purge_of_one_target_asks_others_only_where_its_own_copy_is_not_enough() -> None:
    for copies, nodes in ((1, ["cms01"]), (2, ["cms01", "sdu"])):
        told = Told(EVERY, "cms01", altbackup_min_copies=copies)
        told.run = replace(told.run, play_hosts=["cms01"])
        assert told.nodes("shelves") == nodes


def test_an_undo_goes_over_the_trees_that_are_meant_and_tells_if_nothing_was_found() -> None:
    one = f"dayabay/{'/'.join(SVN.split('/')[:-1])}"
    told = Told(EVERY, "cms01", altbackup_undo=["2013/05/20", one])
    (tree,) = told.over("undo")
    options = told.call("tarball_undo", "undo", {}, tree)
    assert (options["days"], options["stamps"], options["run"]["seconds"]) == (["2013/05/20"], [one[8:]], 0)
    assert told.run.state["undone"] == {"2013/05/20": False, one: False}
    assert len(all_failures([told.run.state])) == 2
    told.call("tarball_undo", "undo", {"put_back": [SVN]}, tree)
    assert told.run.state["undone"] == {"2013/05/20": False, one: True}, "it went on another day"
    told.call("tarball_undo", "undo", {"put_back": [SVN], "days": ["2013/05/20"]}, tree)
    assert told.run.state["undone"] == {"2013/05/20": True, one: True}
    assert all_failures([{**EMPTY, "undone": {one: False}}, told.run.state]) == []
    assert Told(EVERY, "cms01").over("undo") == []


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("host", ["scratch", "localhost"])
def test_a_host_without_a_part_goes_over_nothing_but_itself(name: str, host: str) -> None:
    for parts in (CHAIN, EVERY):
        found = Told(parts, host).over(name)
        assert found == ([{"node": host, "label": host}] if name == "usable" else [])


@pytest.mark.parametrize("name", LOOPS)
def test_a_node_that_is_down_goes_over_nothing_of_its_own(name: str) -> None:
    told = Told(EVERY, "cms01")
    told.run = told.run.knowing({**EMPTY, "down": ["cms01"]})
    assert told.over(name) == []


@pytest.mark.parametrize("name", [name for name in LOOPS if name not in ("heal_rounds", "rounds", "last_rounds")])
def test_entries_have_a_label_of_their_own_and_are_narrowed_to_nodes(name: str) -> None:
    told = offered()
    cms01, sdu = told.over("targets")
    for entry in (cms01, sdu):
        told.call("preflight", "preflight", {}, entry)
        told.call("tarball_prepare", "synchronize", {"send": [SVN]}, entry)
    entries = told.over(name)
    labels = [entry["label"] for entry in entries]
    assert len(labels) == len(set(labels)) and all(labels)
    assert told.over(name, ["sdu"]) == [entry for entry in entries if entry.get("node") == "sdu"]
    assert told.over(name, ["nowhere"]) == []


def test_what_is_no_loop_is_an_error() -> None:
    with pytest.raises(KeyError):
        calls("chekc", Told().run)


@pytest.mark.parametrize(
    ("undo", "gone_over"),
    [
        ([], []),
        (["2013/05/10"], ["dayabay"]),
        ([f"dayabay/{SVN}"], ["dayabay"]),
        ([f"dayabay2/{SVN}"], []),
        (["2013/05/10", f"dayabay/{SVN}"], ["dayabay"]),
    ],
)
def test_the_trees_are_those_of_the_sources_that_are_asked_for(undo: list[str], gone_over: list[str]) -> None:
    told = Told(EVERY, "cms01")
    told.run = replace(told.run, plan={**told.run.plan, "undo": undo})
    assert [entry["source"] for entry in told.over("undo")] == gone_over


@pytest.mark.parametrize(
    ("locked", "check", "purge"),
    [(True, ["dayabay"], ["cms01", "sdu", "dayabay"]), (False, ["dayabay"], ["dayabay"])],
)
def test_a_chain_purges_its_own_tree_last(locked: bool, check: list[str], purge: list[str]) -> None:
    told = Told(CHAIN if locked else EVERY)
    assert (told.nodes("check"), told.nodes("purge")) == (check, purge)


@pytest.mark.parametrize(
    ("state", "rounds"),
    [
        ({}, []),
        ({"offer": []}, [["cms01", "sdu"]]),
        ({"offer": [], "down": ["cms01", "sdu"]}, []),
        ({"offer": [], "down": ["sdu"]}, [["cms01"]]),
    ],
)
def test_targets_are_served_once_it_is_known_what_there_is(state: dict[str, Any], rounds: list[list[str]]) -> None:
    told = Told()
    told.run = told.run.knowing({**EMPTY, **state})
    assert [entry["nodes"] for entry in told.over("rounds")] == rounds


def test_the_doctor_asks_for_stores_by_the_nodes_that_fill_them() -> None:
    asked = filling(EVERY, "cms01").call("node_examine", "doctor", {"facts": {}})
    assert [store["name"] for store in asked["stores"]] == ["drawer"] and "rclone" in asked["tools"]
    assert filling(EVERY, "sdu").call("node_examine", "doctor", {"facts": {}})["stores"] == []
