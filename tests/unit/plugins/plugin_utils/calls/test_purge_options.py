"""The options of purges, marks and what is put back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.told_runs import EVERY, HELD, MARKS, SAID, STAMP, SVN, Told, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import options


def test_in_a_chain_only_what_passed_is_purged_and_on_targets_the_check_is_part_of_it() -> None:
    told = offered()
    own = told.over("purge")[-1]
    assert (own["node"], told.nodes("purge")) == ("dayabay", ["cms01", "sdu", "dayabay"])
    assert told.call("tarball_purge", "purge", {}, own)["names"] == []
    told.call("tarball_check", "check", {"match": [SVN], "relpaths": {"dybsvn": [SVN]}}, own)
    options = told.call("tarball_purge", "purge", {}, own)
    assert (options["names"], options["unlock"], options["verify"]) == (["svn/dybsvn"], True, False)
    target = told.over("purge")[0]
    checked = {"match": [SVN], "relpaths": {"dybsvn": [SVN]}, "removed": [SVN], "bytes_freed": 7, "bytes_read": 7}
    options = told.call("tarball_purge", "purge", checked, target)
    assert (options["check"]["expect"], options["names"]) == ({"dybsvn": 1}, ["svn/dybsvn"])
    assert told.run.state["passed"]["cms01/dayabay/target"] == ["svn/dybsvn"]
    assert told.run.state["purged"][0]["tree"] == "dayabay -> cms01"


def test_a_purge_by_itself_reads_what_would_count_and_keeps_no_tree() -> None:
    told = Told(EVERY, "cms01")
    told.states["dayabay"] = {"identities": {"source dayabay": {"id": "1" * 32}}}
    (tree,) = told.over("purge")
    options = told.call("tarball_purge", "purge", {}, tree)
    assert (options["verify"], options["unlock"], options["run"]["seconds"]) == (True, False, 0)
    origin = {"name": "dayabay", "base": "/backup", "id": "1" * 32, "machine": "", "adopt": False}
    assert options["origin"] == origin
    assert "check" not in options and not options["quarantine"] and not options["reverify_days"]


def test_what_was_reviewed_goes_and_nothing_else_does() -> None:
    own = {
        "node": "cms01",
        "source": "dayabay",
        "role": "target",
        "relpath": SVN,
        "size": 7,
        "dig": "aa",
        "alg": "sha256",
    }
    for reviewed, only in (([own, {**own, "node": "sdu"}], [SVN]), ([{**own, "node": "sdu"}], []), ([], [])):
        told = Told(EVERY, "cms01")
        told.states["dayabay"] = {}
        told.run = replace(told.run, reviewed=reviewed)
        (tree,) = told.over("purge")
        options = told.call("tarball_purge", "purge", {}, tree)
        assert [entry["relpath"] for entry in options["only"]] == only
        assert options["only"] == [] or options["only"] == [{"relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256"}]
        assert options["explain"] is False


def test_marks_are_handed_to_the_sources_base_first_and_to_its_copies_with_its_id() -> None:
    source, target = Told(EVERY, **SAID), Told(EVERY, "cms01", **SAID)
    (own,) = source.over("mark")
    identity = {
        "base": "/backup",
        "role": "source",
        "name": "dayabay",
        "id": "1" * 32,
        "boot": "",
        "device": 0,
        "inode": 0,
    }
    options = source.call("tarball_mark", "mark", {"marks_kept": True, "held": [HELD], "identities": [identity]}, own)
    assert (options["base"], options["marks"], options["source"], options["origin"]) == (
        "/backup",
        MARKS,
        "dayabay",
        {},
    )
    assert options["run"]["seconds"] == 0
    target.states["dayabay"] = dict(source.run.state)
    (copies,) = target.over("mark_copies")
    options = target.call("tarball_mark", "mark", {"marks_kept": True, "held": []}, copies)
    assert (options["base"], options["source"], options["origin"]["id"]) == ("/copies/dayabay", "", "1" * 32)
    assert (target.over("mark"), source.over("mark_copies")) == ([], [])
    assert (source.run.state["held"], target.run.state["held"]) == ({"dayabay": [HELD]}, {"dayabay -> cms01": []})


def test_a_purge_is_told_on_how_many_targets_the_newest_one_is_verified() -> None:
    told = offered()
    cms01, sdu = told.over("targets")
    own = told.over("purge")[-1]
    assert told.call("tarball_purge", "purge", {}, own)["copies"] == {"svn/dybsvn": 0}
    told.call("tarball_prepare", "synchronize", {"have": [SVN]}, cms01)
    told.call("tarball_prepare", "synchronize", {"send": [SVN]}, sdu)
    checked = {"match": [SVN], "relpaths": {"dybsvn": [SVN]}}
    options = told.call("tarball_purge", "purge", checked, told.over("purge")[0])
    assert (options["copies"], options["trash_days"]) == ({"svn/dybsvn": 1}, 2)
    told.call("tarball_accept", "synchronize", {"tarballs": [{"relpath": SVN}]}, sdu)
    options = told.call("tarball_purge", "purge", {}, own)
    assert (options["copies"], options["min_copies"]) == ({"svn/dybsvn": 2}, 1)
    assert (options["trash_days"], options["confirm"]) == (0, False)
    told.call("tarball_purge", "purge", {"mismatch": [SVN]}, told.over("purge")[1])
    assert told.call("tarball_purge", "purge", {}, own)["copies"] == {"svn/dybsvn": 1}


@pytest.mark.parametrize(
    ("undo", "days", "stamps"),
    [
        ([], [], []),
        (["2013/05/10"], ["2013/05/10"], []),
        ([f"dayabay/svn/dybsvn/{STAMP}"], [], [f"svn/dybsvn/{STAMP}"]),
        ([f"dayabay2/svn/dybsvn/{STAMP}", "dayabay"], [], []),
    ],
)
def test_a_tree_is_asked_for_what_is_its_own(undo: list[str], days: list[str], stamps: list[str]) -> None:
    told = Told(EVERY, "cms01")
    told.run.plan["undo"][:] = undo
    asked = options.options_of("tarball_undo", told.run, {"source": "dayabay", "base": "/copies/dayabay"}, {})
    assert asked is not None and (asked["days"], asked["stamps"]) == (days, stamps)
