"""What the tasks of a stage go over."""

from __future__ import annotations

from dataclasses import replace

from helpers.told_runs import EVERY, STAMP, SVN, Told, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY, all_failures


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
    waiting = told.over("busy")
    assert [entry["nodes"] for entry in waiting] == [["cms01"], ["sdu"]]
    assert {entry["slot_wait"] for entry in waiting} == {int(told.run.plan["nodes"]["dayabay"]["step_timeout"])}
    told.call("tarball_prepare", "synchronize", {"send": []}, cms01)
    assert [entry["nodes"] for entry in told.over("busy")] == [["sdu"]]


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
