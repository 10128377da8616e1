"""The options of calls that drill, restore and look into tarballs."""

from __future__ import annotations

from dataclasses import replace

from helpers.told_runs import EVERY, STAMP, SVN, Told, drilled

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.loops import calls
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.contents import choose as choose_contents
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.results import of_module


def test_an_errand_is_carried_proved_and_its_proofs_kept() -> None:
    told, errand = drilled({"changed": True})
    assert told.over("errands_with_room") == [errand]
    assert told.call("tarball_carry", "drill", {"changed": True}, errand)["tree"] is True
    proof = {"relpath": SVN, "when": "2013-05-11T04:00:00Z"}
    options = told.call("tarball_drill_away", "drill", {"proved": [proof], "notes": ["old"]}, errand)
    assert options["step"] == "drill"
    assert (told.run.state["proved"], told.run.state["notes"]) == ([], ["dayabay: drilled on scratch: old"])
    (kept,) = told.over("errands_with_proofs")
    assert told.call("tarball_drill_away", "drill", {"proved": [proof]}, kept, step="keep")["proofs"] == [proof]
    assert [(entry["node"], entry["relpath"]) for entry in told.run.state["proved"]] == [("dayabay", SVN)]


def restoring(check_mode: bool = False) -> Told:
    """Return a run with one restore from another machine."""
    restore = {"destination": "/svn/dybsvn", "base": "", "live_items": [], "live_discover": {}}
    order = {
        "host": "dayabay",
        "holder": "cms01",
        "held_in": "/copies/dayabay",
        "label": "svn/dybsvn of dayabay",
        "size": 7,
        "prediction": "would restore it",
        "pair": "cms01 -> dayabay",
        "seconds": 1000,
        "restore": restore,
        "carry": {
            "origin": {"node": "cms01", "folder": "/copies/dayabay"},
            "destination": {"node": "dayabay"},
            "relpaths": [SVN],
        },
    }
    told = Told(EVERY, check_mode=check_mode)
    choice = {"chosen": [order, {**order, "host": "sdu", "label": "of another host"}], "notes": {}, "failures": []}
    told.run = Run(told.run.plan, "dayabay", EMPTY, told.run.hostvars, choice, check_mode)
    return told


def test_an_order_is_prepared_carried_and_restored() -> None:
    told = restoring()
    (order,) = told.over("orders")
    assert told.call("tarball_restore", "restore", {"incoming": "/in"}, order, step="prepare")["step_timeout"] == 240
    options = told.call("tarball_carry", "restore", {"seconds": 2}, told.over("orders_to_carry")[0])
    assert (options["destination"]["folder"], options["step_timeout"]) == ("/in", 1000)
    done = {"destination": "/svn/dybsvn", "changed": True, "seconds": 1}
    assert told.call("tarball_restore", "restore", done, order)["step"] == "restore"
    assert told.run.state["orders"][order["label"]] == {
        "ready": True,
        "incoming": "/in",
        "arrived": True,
        "seconds": 3.0,
        "done": True,
    }
    assert told.run.state["notes"] == ["dayabay: restored svn/dybsvn of dayabay: 7 bytes of tarballs, 1 s"]


def test_an_order_that_did_not_arrive_is_abandoned_and_its_failure_is_the_hosts() -> None:
    told = restoring()
    (order,) = told.over("orders")
    told.call("tarball_restore", "restore", {"incoming": "/in"}, order, step="prepare")
    told.call("tarball_carry", "restore", {"failures": [{"reason": "cut"}]}, order)
    assert told.call("tarball_restore", "restore", {}, order)["step"] == "abandon"
    assert [(entry["node"], entry["delegate"], entry["reason"]) for entry in told.run.state["failures"]] == [
        ("dayabay", "", "cut")
    ]


def test_check_mode_looks_into_the_tarballs_where_they_lie() -> None:
    told = restoring(check_mode=True)
    (order,) = told.over("orders")
    told.call("tarball_restore", "restore", {}, order, step="prepare")
    assert told.call("tarball_restore", "restore", {}, order, step="look")["base"] == "/copies/dayabay"
    assert told.run.state["notes"] == ["dayabay: would restore it"]
    told.call("tarball_restore", "restore", {"failures": [{"reason": "no such member"}]}, order, step="look")
    assert len(told.run.state["notes"]) == 1
    assert told.over("orders_ready") == []


def test_tarballs_are_looked_into_where_they_were_found() -> None:
    told = Told(EVERY, "cms01", altbackup_contents={"item": "dayabay/svn/dybsvn", "path": "conf"})
    (search,) = told.over("searches")
    entry = {"relpath": SVN, "stamp": STAMP, "size": 7, "dig": "aa", "alg": "sha256", "base": "", "base_dig": ""}
    there = {"source": "dayabay", "base": "/copies/dayabay", "problem": ""}
    found = {"trees": [{**there, "tarballs": [{**entry, "state": "verified", "problem": "", "record": {}}]}]}
    options = told.call("tarball_find", "contents", found, search)
    assert options["trees"] == [{"source": "dayabay", "base": "/copies/dayabay", "keys": ["svn/dybsvn"]}]
    told.run = replace(told.run, choice=choose_contents(told.run.plan, {"cms01": told.run.state["found"]}))
    (reading,) = told.over("readings")
    result = {"contents": [{"relpath": SVN, "path": "conf/passwd"}], "totals": {"entries": 1}}
    options = told.call("tarball_contents", "contents", of_module(result), reading)
    assert (options["base"], options["path"], options["user"]) == ("/copies/dayabay", "conf", "nobody")
    assert options["tarballs"] == [{"relpath": SVN, "base": ""}]
    assert told.run.state["readings"] == [{"source": "dayabay", "node": "cms01", **result}]
    assert replace(told.run, host="sdu").choice["chosen"][0]["node"] == "cms01"
    assert calls("readings", replace(told.run, host="sdu")) == []
