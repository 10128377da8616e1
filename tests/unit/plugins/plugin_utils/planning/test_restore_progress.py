"""How far the orders of a restore are, how long they took, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.restores import (
    FOLDER,
    NEW,
    SVN,
    UNREACHABLE,
    choose_one,
    found,
    order_of,
    tarball,
)

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore_progress import (
    _SPEEDS,
    done_note,
    is_good,
    learn_speeds,
    progress_after,
    read_speeds,
    with_progress,
)


def test_speeds_are_learnt_from_what_was_done() -> None:
    chosen = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))})["chosen"]
    known = {"sdu -> fresh": {"bytes": 1, "seconds": 1}}
    assert learn_speeds(known, chosen, {chosen[0]["label"]: 2.0}) == {
        **known,
        "cms01 -> fresh": {"bytes": 1000, "seconds": 2.0},
    }
    assert learn_speeds(known, chosen, {}) == known


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", {}), ("[1]", {}), ("{", {}), ("[" * 200_000, {}), ('{"a -> b": {}}', {"a -> b": {}})],
    ids=["empty", "a list", "cut", "too deep", "one"],
)
def test_a_file_of_speeds_that_is_damaged_is_none(text: str, expected: dict[str, Any]) -> None:
    assert read_speeds(text) == expected


GOOD: dict[str, Any] = {"failures": []}


BAD = {"failures": [{"reason": "x"}]}


def progress_of(order: dict[str, Any], *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what is noted of an order after calls, each a step and its result."""
    progress: dict[str, Any] = {}
    for step, result in calls:
        progress = progress_after(order, step, result, progress)
    return progress


def test_only_what_was_prepared_and_arrived_is_restored() -> None:
    (order,) = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))})["chosen"]
    prepared = ("prepare", {**GOOD, "incoming": "/x/incoming"})
    for bad in (BAD, {"unreachable": True}, {"failed": True}, {**GOOD, "done": True}):
        assert with_progress(order, progress_of(order, ("prepare", bad)))["ready"] is False
    ready = with_progress(order, progress_of(order, prepared))
    assert (ready["ready"], ready["arrived"]) == (True, False)
    assert ready["carry"]["destination"]["folder"] == "/x/incoming"
    assert with_progress(order, progress_of(order, prepared, ("carry", BAD)))["arrived"] is False
    assert with_progress(order, progress_of(order, prepared, ("carry", GOOD)))["arrived"] is True
    assert with_progress(order, progress_of(order, prepared, ("look", BAD)))["ready"] is False
    assert with_progress({**order, "carry": None}, {})["arrived"] is True


def test_time_is_counted_of_what_was_restored_alone() -> None:
    order = {"label": "x"}
    calls = [("prepare", {**GOOD, "seconds": 9}), ("carry", {**GOOD, "seconds": 2.0})]
    done = {**GOOD, "seconds": 1.0, "destination": "/x", "changed": True}
    progress = progress_of(order, *calls, ("restore", done))
    assert (progress["done"], progress["seconds"]) == (True, 3.0)
    for other in ({**done, "changed": False}, {**done, **BAD}):
        assert progress_of(order, *calls, ("restore", other))["done"] is False


def test_what_was_restored_is_told() -> None:
    (order,) = choose_one(order_of(), {"dayabay": found(tarball(NEW)), "cms01": UNREACHABLE, "sdu": UNREACHABLE})[
        "chosen"
    ]
    note = done_note(order, {"changed": True, "destination": "/d", "aside": "/d.old", "seconds": 1.5})
    assert "restored svn/dybsvn of dayabay from dayabay" in note
    assert ": 1.0 KiB of tarballs, 1.5 s; what stood there is now /d.old" in note


def test_a_file_of_an_item_is_told_by_its_name() -> None:
    (order,) = choose_one(
        order_of(to="/tmp/passwd", member="./conf/passwd"),
        {"dayabay": found(tarball(NEW)), "cms01": UNREACHABLE, "sdu": UNREACHABLE},
    )["chosen"]
    note = done_note(order, {"changed": True, "destination": "/tmp/passwd", "seconds": 1.5})
    assert note.startswith(
        "restored conf/passwd of svn/dybsvn of dayabay from dayabay to /tmp/passwd: out of 1.0 KiB of tarballs, "
    )


@pytest.mark.parametrize(
    ("more", "marked", "told"),
    [
        (
            {},
            "/home/scm/svn/dybsvn",
            "It is not backed up while /home/scm/svn/dybsvn.altbackup-restored is there: altbackup adopt dayabay/svn/dybsvn -i INVENTORY",
        ),
        (
            {"to": "/home/scm/svn/dybsvn/db", "member": "dybsvn-3/db"},
            "/home/scm/svn/dybsvn",
            "/home/scm/svn/dybsvn is not backed up while /home/scm/svn/dybsvn.altbackup-restored is there: altbackup adopt dayabay/svn/dybsvn ",
        ),
        (
            {"to": "/home/scm/git/x"},
            "/home/scm/git/x",
            "It is not backed up while /home/scm/git/x.altbackup-restored is there: altbackup adopt dayabay/git/x ",
        ),
        (
            {"to": "/home/scm"},
            "/home/scm",
            "What lies in it is not backed up while /home/scm.altbackup-restored is there: altbackup adopt dayabay/svn/dybsvn ",
        ),
        (
            {"to": "/tmp/look"},
            "/tmp/look",
            "/tmp/look.altbackup-restored says what it is: if it becomes an item, it is not backed up before it is adopted",
        ),
        ({"to": "/etc/apache2/svnsetup/x", "member": "dybsvn-3/x"}, "", ""),
    ],
)
def test_what_a_marker_means_for_backups_is_told_as_it_is(more: dict[str, Any], marked: str, told: str) -> None:
    (order,) = choose_one(order_of(**more), {"dayabay": found(tarball(NEW))})["chosen"]
    assert [item["path"] for item in order["restore"]["live_items"]] == [SVN["path"], FOLDER["path"]]
    assert order["restore"]["live_discover"] == {"git": "/home/scm/git"}
    destination = order["restore"]["destination"]
    note = done_note(order, {"destination": destination, "marked": marked, "aside": "", "seconds": 1.5})
    assert told in note
    assert bool(told) == ("altbackup-restored" in note)


@pytest.mark.parametrize(
    ("result", "good"),
    [
        ({}, True),
        ({"changed": True, "failures": []}, True),
        ({"failed": False, "unreachable": False}, True),
        ({"failed": True}, False),
        ({"unreachable": True}, False),
        ({"failures": [{"reason": "x"}]}, False),
    ],
)
def test_a_call_did_what_it_was_for_unless_it_says_otherwise(result: dict[str, Any], good: bool) -> None:
    assert is_good(result) is good


def test_the_speeds_of_the_last_pairs_are_kept() -> None:
    speeds: dict[str, Any] = {}
    for number in range(_SPEEDS + 5):
        order = {"label": "x", "pair": f"a -> {number}", "size": 10}
        speeds = learn_speeds(speeds, [order], {"x": 1.0})
        speeds = learn_speeds(speeds, [{**order, "pair": "first"}], {"x": 1.0})
    assert len(speeds) == _SPEEDS and list(speeds)[-1] == "first" and "a -> 0" not in speeds
    assert learn_speeds({}, [{"label": "x", "pair": "p", "size": 1}], {"x": 0.0}) == {}, "no time is no speed"
