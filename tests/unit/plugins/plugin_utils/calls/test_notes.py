"""What a call has found is noted, and what later calls go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from helpers.told_runs import APART, EVERY, SAID, SEEN, STAMP, SVN, Told, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import notes
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.results import of_module


@pytest.mark.parametrize("as_given", [int, str], ids=["number", "text"])  # text before ansible-core 2.19
@pytest.mark.parametrize("transport", ["push", "pull"])
def test_a_target_that_always_says_that_bytes_were_wrong_is_served_twice_and_no_more(
    transport: str, as_given: Callable[[int], Any]
) -> None:
    told = offered(altbackup_transport=transport)
    lie = {"wrong": [{"relpath": SVN, "wrong": "sha256 bb"}]}
    sent: Counter[str] = Counter()

    def play(together: dict[str, Any]) -> None:
        """Do what exchange.yml says."""
        for entry in told.over("targets", together["nodes"]) if together["nodes"] else ():
            slot_wait = as_given(together["slot_wait"])
            told.call("tarball_prepare", "synchronize", {"send": [SVN]}, entry, slot_wait=slot_wait)
        for entry in told.over("deliveries"):
            sent[entry["node"]] += 1
            told.call("tarball_accept", "synchronize", lie, entry)

    for together in told.over("rounds"):
        play(together)
    for together in told.over("last_rounds"):
        assert (together["nodes"], together["slot_wait"]) == ([], 0) and together["label"].startswith("once more: ")
        play(together)
    assert sent == {"cms01": 2, "sdu": 2}
    assert told.over("deliveries") == told.over("last_rounds") == []


def test_what_a_busy_target_gets_in_a_round_of_its_own_is_sent_once() -> None:
    told = offered()
    cms01 = told.over("targets")[0]
    told.call("tarball_prepare", "synchronize", {"busy": True, "send": [SVN]}, cms01, slot_wait=0)
    assert told.over("deliveries") == []
    (last,) = told.over("last_rounds")
    assert last["nodes"] == ["cms01"] and last["slot_wait"] > 0
    told.call("tarball_prepare", "synchronize", {"send": [SVN]}, cms01, slot_wait=last["slot_wait"])
    (delivery,) = told.over("deliveries")
    assert told.call("tarball_accept", "synchronize", {}, delivery)["retry"] is False, "other bytes are a failure"
    assert told.over("deliveries") == told.over("last_rounds") == []


@pytest.mark.parametrize("asked", ["../../etc/shadow", SVN.replace("dybsvn", "other")])
def test_a_target_that_asks_for_what_is_not_there_is_told_of(asked: str) -> None:
    told = offered()
    told.call("tarball_prepare", "synchronize", {"send": [asked]}, told.over("targets")[0])
    (failure,) = told.run.state["failures"]
    assert (failure["node"], failure["delegate"], failure["stage"]) == ("dayabay", "cms01", "synchronize")
    assert told.over("deliveries") == []


def test_a_node_that_says_odd_things_of_its_quarantine_moves_nothing() -> None:
    told = offered()
    odd = [{**APART, "relpath": "../../etc/shadow"}, {**APART, "relpath": "etc/shadow"}, {**APART, "dig": "$(id)"}, 7]
    result = of_module({"quarantined": odd, "failures": []}, "check")
    told.call("tarball_check", "check", result, told.over("check")[0])
    assert told.over("rotten") == []


@pytest.mark.parametrize("how", ["peer", "unreachable", "not mounted"])
@pytest.mark.parametrize("absent_for", ["2d", ""])
def test_an_absent_target_is_a_note_while_it_may_be_away_and_is_left_alone(how: str, absent_for: str) -> None:
    told = Told(altbackup_absent_for=absent_for)
    said = {"pairs": {"cms01": SEEN, "sdu": SEEN}}
    away = {"reason": "x", "delegate": "cms01"}
    if how == "peer":
        said |= {"unreachable_peers": ["cms01"], "failures": [away, {"reason": "own"}]}
    told.call("preflight", "preflight", said)
    if how == "unreachable":
        told.call("preflight", "preflight", {"unreachable": True, "msg": "x"}, told.over("targets")[0])
    if how == "not mounted":
        found = {
            "usable": False,
            "unusable": ["/copies"],
            "absent": {"/copies": "x"},
            "failures": [{"reason": "x"}, {"reason": "tool"}],
        }
        told.call("preflight", "preflight", found, told.over("targets")[0])
    others = {"peer": ["own"], "unreachable": [], "not mounted": ["tool"]}[how]
    reasons = [entry["reason"] for entry in told.run.state["failures"]]
    assert set(others) <= set(reasons)
    assert len(reasons) == len(others) + (not absent_for)
    assert any("cms01 is absent, as it may be for 2d" in note for note in told.run.state["notes"]) == bool(absent_for)
    assert told.nodes("targets") == ["sdu"], "its purge waits for it alone"


def test_a_call_that_crashed_is_a_failure_and_its_node_down() -> None:
    told = Told()
    told.call("tarball_dump", "dump", {"failed": True, "rc": 137, "module_stdout": "", "module_stderr": "Killed"})
    (failure,) = told.run.state["failures"]
    assert (failure["stage"], told.over("usable")) == ("dump", [])
    assert failure["reason"].startswith("the module ended without a result: killed by SIGKILL")
    assert told.call("tarball_list", "synchronize", {"listed": True, "tarballs": []})["expected"] == ""
    assert told.nodes("targets") == ["cms01", "sdu"], "what earlier nights made is sent all the same"


def test_what_a_node_does_not_hold_is_no_failure_of_a_search() -> None:
    order = [{"source": "dayabay", "kind": "svn", "name": "dybsvn"}]
    told = Told(EVERY, "cms01", altbackup_restore=order)
    told.call("tarball_find", "restore", {"unreachable": True, "msg": "no route"})
    assert (told.run.state["failures"], told.run.state["found"]["unreachable"]) == ([], True)
    assert options_of("tarball_find", Told(EVERY, "cms01").run, {}, {}) is None


def test_a_later_play_of_a_run_begins_anew_with_what_there_is_to_send() -> None:
    told = offered()
    told.call("preflight", "preflight", {})
    assert (told.run.state["offer"], told.over("rounds")) == (None, [])


def test_a_node_that_is_not_reached_gets_marks_later_and_that_is_no_failure() -> None:
    told = Told(EVERY, **SAID)
    told.call("tarball_mark", "mark", {"unreachable": True, "msg": "no\n route"}, told.over("mark")[0])
    assert (told.run.state["failures"], told.run.state["held"], told.over("mark")) == ([], {}, [])
    assert told.run.state["notes"] == ["dayabay: unreachable: no route"]


@pytest.mark.parametrize("module", ["tarball_mark", "preflight"])
def test_what_was_not_reached_by_one_playbook_of_a_run_is_used_by_the_next(module: str) -> None:
    told = Told(EVERY, **SAID)
    about = told.over("mark")[0] if module == "tarball_mark" else None
    told.call(module, "mark", {"unreachable": True, "msg": "no route"}, *([about] if about else []))
    told.call("preflight", "preflight", {"usable": True})
    assert (told.nodes("usable"), told.nodes("list")) == (["dayabay"], ["dayabay"])


def test_a_node_that_says_it_marks_and_does_not_is_a_failure() -> None:
    told = Told(EVERY, **SAID)
    told.call("tarball_mark", "mark", {"failed": True, "msg": "no python"}, told.over("mark")[0])
    assert [entry["reason"] for entry in told.run.state["failures"]] == ["no python"]


def test_in_check_mode_what_would_be_sent_counts_as_arrived() -> None:
    told = Told(check_mode=True)
    told.call("tarball_dump", "dump", {"tarballs": [{"relpath": SVN}]})
    told.call("tarball_check", "check", {"listed": True, "tarballs": []}, told.over("check")[0])
    told.call("tarball_prepare", "synchronize", {"send": [SVN]}, told.over("targets")[0])
    assert told.call("tarball_purge", "purge", {}, told.over("purge")[-1])["copies"] == {"svn/dybsvn": 1}


@pytest.mark.parametrize(
    ("result", "said", "unreachable"),
    [
        ({"facts": {"uid": 0}}, "", False),
        ({}, "", False),
        ({"unreachable": True, "msg": "no route"}, "no route", True),
        ({"unreachable": True}, "unreachable, without a word", True),
        ({"failed": True, "rc": 127}, "no result, exit code 127", False),
        ({"failed": True, "module_stderr": "python: not found", "module_stdout": ""}, "python: not found", False),
        ({"failed": True, "msg": "a", "module_stderr": "b", "module_stdout": "c"}, "a\nb\nc", False),
        ({"failures": [{"reason": "x"}, {"reason": "y"}]}, "x\ny", False),
        ({"failures": [{}]}, "None", False),
    ],
)
def test_what_keeps_a_node_from_being_examined_is_a_finding(
    result: dict[str, Any], said: str, unreachable: bool
) -> None:
    told = Told(EVERY)
    told.call("node_examine", "examine", result)
    examined = told.run.state["examined"]
    assert (examined["said"], examined["unreachable"]) == (said, unreachable)
    assert told.run.state["failures"] == [] and examined["facts"] == result.get("facts", {})


@pytest.mark.parametrize(
    ("given", "result", "undone"),
    [
        ({}, {}, {}),
        ({"days": ["2013/05/10"]}, {}, {"2013/05/10": False}),
        ({"days": ["2013/05/10"]}, {"days": ["2013/05/10"]}, {"2013/05/10": True}),
        ({"stamps": [f"svn/dybsvn/{STAMP}"]}, {}, {f"dayabay/svn/dybsvn/{STAMP}": False}),
        ({"stamps": [f"svn/dybsvn/{STAMP}"]}, {"put_back": [SVN]}, {f"dayabay/svn/dybsvn/{STAMP}": True}),
        ({"stamps": ["svn/other/x"]}, {"put_back": [SVN], "days": None}, {"dayabay/svn/other/x": False}),
    ],
)
def test_what_was_put_back_is_known_by_what_was_asked(
    given: dict[str, Any], result: dict[str, Any], undone: dict[str, bool]
) -> None:
    run = Told(EVERY, "cms01").run
    about = {"node": "cms01", "source": "dayabay", "role": "target", "base": "/copies/dayabay"}
    state = notes.noted("tarball_undo", "undo", run, about, given, result)
    assert state["undone"] == undone
    again = notes.noted("tarball_undo", "undo", run.knowing(state), about, given, {})
    assert again["undone"] == undone, "what one tree had put back is not lost by another"


@pytest.mark.parametrize(
    ("result", "asked", "busy"),
    [
        ({}, {}, []),
        ({"send": None}, {}, []),
        ({"send": [SVN]}, {SVN: ""}, []),
        ({"busy": True, "send": [SVN]}, {}, ["cms01"]),
        ({"busy": "yes", "send": [SVN]}, {SVN: ""}, []),
    ],
)
def test_a_busy_target_asks_for_nothing_yet(result: dict[str, Any], asked: dict[str, str], busy: list[str]) -> None:
    told = offered()
    told.call("tarball_prepare", "synchronize", result, told.over("targets")[0])
    assert (told.run.state["asked"], told.run.state["busy"]) == ({"cms01": asked}, busy)


def test_what_preflight_begins_anew_is_known_to_a_run() -> None:
    assert set(notes._FORGOTTEN) <= set(EMPTY)
    assert "failures" not in notes._FORGOTTEN, "no failure is ever forgotten"


def test_a_store_may_have_several_sources() -> None:
    run = Told().run
    for source in ("dayabay", "juno"):
        about = {"node": "vault", "source": source, "stage": "restore"}
        state = notes.noted("store_fetch", "restore", run, about, {"step": "find"}, {"trees": [{"source": source}]})
        run = run.knowing(state)
    assert [tree["source"] for tree in run.state["found_in"]["vault"]["trees"]] == ["dayabay", "juno"]
