"""The options of calls that ask stores, fetch from them and drill them."""

from __future__ import annotations

from dataclasses import replace

from helpers.told_runs import EVERY, SVN, filling


def test_stores_are_drilled_by_the_nodes_that_fill_them() -> None:
    told = filling(EVERY, "cms01", drill=2)
    (entry,) = told.over("store_drills")
    assert (entry["node"], entry["server"]) == ("drawer", "cms01")
    options = told.call("store_drill", "drill", {"proved": []}, entry)
    assert (options["items"], options["names"], options["remembered"], options["step_timeout"]) == (
        2,
        ["svn/dybsvn"],
        True,
        99.0,
    )
    assert (options["base"], options["store"]["name"], options["run"]["seconds"]) == ("/copies/dayabay", "drawer", 0)
    assert "drill" not in options["store"] and "identity" not in options
    assert filling(EVERY, "cms01", drill=0).over("store_drills") == []
    assert filling(EVERY, "sdu").over("store_drills") == []
    assert filling(EVERY, "cms01", altbackup_key_drill=True).over("store_drills") == []


def test_what_was_brought_of_a_store_is_looked_into_and_removed() -> None:
    wanted = {"item": "dayabay/svn/dybsvn"}
    told = filling(EVERY, "cms01", altbackup_contents=wanted)
    (entry,) = told.over("contents_in_stores")
    assert told.call("store_fetch", "contents", {"trees": []}, entry, step="find")["keys"] == ["svn/dybsvn"]
    base = "/copies/.altbackup/fetched/drawer/dayabay"
    call = {
        "node": "drawer",
        "server": "cms01",
        "store": "drawer",
        "source": "dayabay",
        "label": "dayabay on drawer",
        "fetch": [{"relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256"}],
        "options": {"base": base, "step": "list"},
    }
    told.run = replace(told.run, choice={"chosen": [call]})
    (bringing,) = told.over("readings_to_bring")
    assert told.over("readings") == []
    brought = told.call(
        "store_fetch", "contents", {"changed": False, "failures": [{"reason": "cut"}]}, bringing, step="fetch"
    )
    assert (brought["tarballs"], told.over("readings")) == (call["fetch"], [])
    told.call("store_fetch", "contents", {"changed": True}, bringing, step="fetch")
    (reading,) = told.over("readings")
    assert told.call("tarball_contents", "contents", {"contents": []}, reading)["base"] == base
    assert told.call("store_fetch", "contents", {"changed": True}, bringing, step="remove")["tarballs"] == call["fetch"]
