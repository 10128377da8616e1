"""Drills on a scratch host: what goes there, and whose failure it is when something on the way goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.drill import (
    drill_ready,
    plan_errands,
    record_drill,
)

FULL = "svn/dybsvn/2013/05/09/104701/dybsvn-1.tar.zst"
DIFF = "svn/dybsvn/2013/05/10/104701/dybsvn-2.diff.tar.zst"
TREE = {
    "role": "target",
    "source": "dayabay",
    "node": "cms01",
    "base": "/copies/dayabay",
    "drill_host": "scratch01",
    "drill_folder": "/scratch",
    "drill_limit": 0,
    "drill_user": "nobody",
    "nice": 0,
    "ionice": "",
}
CHOSEN = [
    {
        "relpath": DIFF,
        "record": {"kind": "svn"},
        "tarballs": [{"relpath": FULL, "size": 70, "dna": "{}"}, {"relpath": DIFF, "size": 7, "dna": "{}"}],
    }
]
PEERS: dict[str, dict[str, Any]] = {
    "cms01": {"node": "cms01", "host": "203.0.113.7"},
    "scratch01": {"node": "scratch01", "host": "203.0.113.9"},
}


def registered(*results: dict[str, Any], variable: str, entry: Any) -> dict[str, Any]:
    """Return what a loop registers."""
    return {"results": [{"ansible_loop_var": variable, variable: entry, **result} for result in results]}


def errands(peers: dict[str, dict[str, Any]] | None = None, **tree: Any) -> list[dict[str, Any]]:
    """Return the errands of one tree."""
    chosen = registered({"chosen": CHOSEN}, variable="tree", entry={**TREE, **tree})
    return plan_errands(chosen, peers or PEERS)


def after(result: dict[str, Any], errand: dict[str, Any]) -> dict[str, Any]:
    """Return what a call away from the node registered for an errand."""
    return registered(result, variable="errand", entry=errand)


def test_an_errand_brings_a_differential_with_its_full_to_a_tree_of_its_own() -> None:
    (errand,) = errands()
    assert errand["away"] == "/scratch/.altbackup-drill-cms01-dayabay"
    assert (errand["size"], errand["problem"], errand["chosen"]) == (77, "", CHOSEN)
    assert errand["carry"] == {
        "origin": {"node": "cms01", "host": "203.0.113.7", "folder": "/copies/dayabay"},
        "destination": {"node": "scratch01", "host": "203.0.113.9", "folder": errand["away"]},
        "relpaths": [FULL, DIFF],
    }
    (own,) = errands(role="source")
    assert own["away"] == "/scratch/.altbackup-drill-cms01-own"


def test_of_a_tree_of_which_nothing_was_chosen_nothing_goes_anywhere() -> None:
    assert plan_errands(registered({"chosen": []}, {"unreachable": True}, variable="tree", entry=TREE), PEERS) == []


def test_a_host_that_is_not_reached_by_ssh_is_a_failure_of_the_drill() -> None:
    found = errands({**PEERS, "scratch01": {"node": "scratch01", "problem": "is reached by docker, not by ssh"}})
    state = record_drill({}, "cms01", found, [{}, {}, {}], {})
    (failure,) = state["failures"]
    assert failure["reason"] == "drilled on scratch01: scratch01 is reached by docker, not by ssh"
    assert (failure["node"], failure["stage"], failure["tree"]) == ("cms01", "drill", "dayabay -> cms01")


@pytest.mark.parametrize(
    "result",
    [
        {"unreachable": True, "msg": "no route"},
        {"failed": True, "msg": "no route"},
        {"failures": [{"reason": "no route"}]},
    ],
)
@pytest.mark.parametrize("step", [0, 1, 2])
def test_what_goes_wrong_on_the_way_is_a_failure_and_leaves_the_node_up(result: dict[str, Any], step: int) -> None:
    (errand,) = errands()
    steps = [after({"changed": True}, errand)] * step + [after(result, errand)] + [{}] * (2 - step)
    state = record_drill({}, "cms01", [errand], steps, {})
    (failure,) = state["failures"]
    assert failure["reason"].startswith("drilled on scratch01: ") and failure["reason"].endswith("no route")
    assert (state["down"], state["proved"], failure["delegate"]) == ([], [], "")


def test_only_what_has_a_tree_is_drilled_and_what_did_not_arrive_is_given_up() -> None:
    (errand,) = errands()
    made = after({"changed": True}, errand)
    assert drill_ready([errand], after({"changed": False, "failures": [{"reason": "full"}]}, errand)) == []
    assert drill_ready([errand], after({"unreachable": True}, errand)) == []
    for carried, arrived in (
        ({"changed": True, "failures": [{"reason": "one cannot be read"}]}, True),
        ({"changed": False, "failures": [{"reason": "no route"}]}, False),
        ({"failed": True}, False),
    ):
        (ready,) = drill_ready([errand], made, after(carried, errand))
        assert (ready["arrived"], ready["proofs"]) == (arrived, [])
    proof = {"relpath": DIFF, "when": "2013-05-11T04:00:00Z"}
    (ready,) = drill_ready([errand], made, made, after({"proved": [proof]}, errand))
    assert ready["proofs"] == [proof]


def test_what_was_proved_is_what_was_kept() -> None:
    (errand,) = errands()
    proved = {
        "proved": [{"relpath": DIFF, "when": "2013-05-11T04:00:00Z", "seconds": 3}],
        "changed": True,
        "notes": ["old"],
    }
    steps = [after({"changed": True}, errand)] * 2 + [after(proved, errand)]
    state = record_drill({}, "cms01", [errand], steps, after({"failures": [{"reason": "another tarball"}]}, errand))
    assert state["proved"] == []
    assert state["notes"] == ["dayabay -> cms01: drilled on scratch01: old"]
    assert [failure["reason"] for failure in state["failures"]] == ["another tarball"]
    state = record_drill({}, "cms01", [errand], steps, after({"proved": proved["proved"]}, errand))
    assert [(entry["node"], entry["relpath"]) for entry in state["proved"]] == [("cms01", DIFF)]


def test_check_mode_tells_what_would_be_drilled_where_there_is_room() -> None:
    (errand,) = errands()
    state = record_drill({}, "cms01", [errand], [after({"changed": True}, errand), {}, {}], {}, check_mode=True)
    assert state["proved"] == [{"relpath": DIFF, "when": "", "node": "cms01"}]
    assert state["notes"] == ["cms01: would bring 77 bytes of dayabay to scratch01 to drill them there"]
    state = record_drill(
        {},
        "cms01",
        [{**errand, "size": 77 << 20}],
        [after({"changed": True}, {**errand, "size": 77 << 20}), {}, {}],
        {},
        check_mode=True,
    )
    assert state["notes"] == ["cms01: would bring 77 MiB of dayabay to scratch01 to drill them there"]
    full = after({"changed": False, "failures": [{"reason": "full"}]}, errand)
    state = record_drill({}, "cms01", [errand], [full, {}, {}], {}, check_mode=True)
    assert (state["proved"], state["notes"], len(state["failures"])) == ([], [], 1)
