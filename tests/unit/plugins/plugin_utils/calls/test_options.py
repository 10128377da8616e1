"""The options of each call, by the plan and by what was found so far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.told_runs import EVERY, HELD, MARKS, SAID, SEEN, STAMP, SVN, Told, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import options
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.handed import TAKES
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY

EVIL = "{{ lookup('pipe', 'touch executed') }}"


def test_a_source_is_locked_with_its_targets_in_a_chain_alone() -> None:
    chain, single = Told(), Told(EVERY)
    assert chain.call("preflight", "preflight", {})["locks"] == ["/backup"]
    for entry in chain.over("targets"):
        options = chain.call("preflight", "preflight", {}, entry)
        assert (options["locks"], options["bases"], options["fetch"]) == (["/copies/dayabay"], ["/copies"], True)
    assert chain.nodes("unlock") == ["dayabay", "cms01", "sdu"]
    options = single.call("preflight", "preflight", {})
    assert (options["locks"], [tree["base"] for tree in options["trees"]]) == ([], ["/backup"])
    assert single.nodes("unlock") == []


def test_the_targets_of_a_source_that_is_down_are_looked_at_and_not_taken() -> None:
    told = Told()
    told.call("preflight", "preflight", {"unreachable": True, "msg": "no route"})
    assert told.over("usable") == []
    assert told.call("preflight", "preflight", {}, told.over("targets")[0])["locks"] == []


def test_what_was_discovered_is_dumped_and_expected_and_never_a_template() -> None:
    told = Told()
    found = [
        {"kind": "git", "name": "toolbox", "path": "/git/toolbox"},
        {"kind": "git", "name": EVIL, "path": "/git/x"},
    ]
    told.call("preflight", "preflight", {"items": found})
    items = told.call("tarball_dump", "dump", {"tarballs": []})["items"]
    assert [item["name"] for item in items] == ["dybsvn", "toolbox", EVIL]
    options = told.call("tarball_check", "check", {}, told.over("check")[0])
    assert options["items"] == sorted([f"git/{EVIL}", "git/toolbox", "svn/dybsvn"])
    assert (options["listing"], options["remembered"]) == (True, True)


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


def test_a_target_has_what_was_known_of_it_under_a_former_name() -> None:
    told = Told()
    told.run.plan["targets"]["cms01"]["former_names"] = ["older", "old"]
    told.call("preflight", "preflight", {"pairs": {"old": SEEN}})
    assert told.call("tarball_prepare", "synchronize", {}, told.over("targets")[0])["pair"] == SEEN


def test_what_was_given_up_is_told_to_each_check_and_what_could_not_be_discovered() -> None:
    told = Told(altbackup_retired={"svn/old": "2013/05/09"})
    told.call("preflight", "preflight", {"discovered": False})
    memory = {"retired": {"svn/old": "2013/05/09"}, "former": {}, "undiscovered": ["git"]}
    assert told.call("tarball_check", "check", {}, told.over("check")[0])["memory"] == memory
    assert told.call("tarball_purge", "purge", {}, told.over("purge")[0])["check"]["memory"] == memory
    alone = Told(EVERY, "cms01", altbackup_retired={"svn/old": "2013/05/09"})
    assert alone.call("tarball_check", "check", {}, alone.over("check")[0])["memory"] == {**memory, "undiscovered": []}


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


def test_nodes_are_told_by_which_rules_they_keep() -> None:
    told = offered()
    (target, *_), own = told.over("targets"), told.over("purge")[-1]
    rules = {"daily": 7, "weekly": 4, "monthly": 6, "yearly": 0, "within": 86400.0}
    assert told.call("tarball_prepare", "synchronize", {}, target)["rules"] == rules
    assert told.call("tarball_purge", "purge", {}, told.over("purge")[0])["rules"] == rules
    assert told.call("tarball_purge", "purge", {}, own)["rules"] == dict.fromkeys(rules, 0)
    assert told.call("tarball_purge", "purge", {}, own)["explain"] is False


def test_every_call_that_goes_by_marks_is_handed_those_of_its_source() -> None:
    told = Told(**SAID)
    assert told.call("tarball_dump", "dump", {})["marks"] == MARKS
    told.run = told.run.knowing({**told.run.state, "offer": []})
    (cms01, _) = told.over("targets")
    assert told.call("tarball_prepare", "synchronize", {}, cms01)["marks"] == MARKS
    assert [told.call("tarball_purge", "purge", {}, entry)["marks"] for entry in told.over("purge")] == [MARKS] * 3
    assert Told().call("tarball_dump", "dump", {})["marks"] == {}


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


def knowing(told: Told, **state: Any) -> Told:
    told.run = told.run.knowing({**EMPTY, **state})
    return told


def test_each_module_that_is_completed_is_one_that_a_plan_says_something_of() -> None:
    assert set(options.COMPLETED) <= set(TAKES)
    assert options.options_of("dna_verify", Told().run, {}, {}) == {}


@pytest.mark.parametrize(
    ("host", "discovered", "categories"),
    [("dayabay", True, []), ("dayabay", False, ["git"]), ("cms01", False, []), ("cms01", True, [])],
)
def test_what_could_not_be_discovered_is_known_to_the_source_alone(
    host: str, discovered: bool, categories: list[str]
) -> None:
    assert options.undiscovered(knowing(Told(EVERY, host), discovered=discovered).run, "dayabay") == categories


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "2013/05/10"),
        ({"failures": [{"reason": "x"}]}, ""),
        ({"predicted": ["x"]}, ""),
        ({"offer": []}, None),
    ],
)
def test_a_source_is_asked_for_the_day_where_nothing_failed(state: dict[str, Any], expected: str | None) -> None:
    asked = options.options_of("tarball_list", knowing(Told(), **state).run, {}, {})
    assert (asked["expected"] if asked else None) == expected


def test_a_shelf_is_listed_whole_and_a_list_by_its_day() -> None:
    told = Told(EVERY, "cms01", altbackup_day="-1")
    (tree,) = told.over("list")
    for about, day in ((tree, "2013/05/09"), ({**tree, "shelf": True}, "all")):
        assert options.options_of("tarball_list", told.run, about, {}) == {"base": "/copies/dayabay", "day": day}


@pytest.mark.parametrize("module", ["tarball_send", "tarball_find", "restore_adopt"])
def test_where_there_is_nothing_to_do_no_call_is_made(module: str) -> None:
    assert options.options_of(module, Told().run, {}, {}) is None


def test_nothing_is_accepted_of_a_target_to_which_nothing_goes() -> None:
    told = Told()
    assert options.options_of("tarball_accept", told.run, told.over("targets")[0], {}) is None


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


def test_guides_are_the_files_that_every_target_has_beside_its_copies() -> None:
    assert all(text.strip() for text in options.guides().values()) and options.guides()


@pytest.mark.parametrize("lacking", ["dayabay", "cms01"])
def test_a_plan_with_errors_is_examined_as_far_as_it_goes(lacking: str) -> None:
    told = Told(EVERY)
    part, name = ("sources", "base") if lacking == "dayabay" else ("targets", "target_base")
    told.run.plan[part][lacking][name] = None
    asked = options.options_of("node_examine", told.run, {}, {})
    assert asked is not None
    assert [peer["node"] for peer in asked["peers"]] == ([] if lacking == "dayabay" else ["sdu"])
    assert [owner["base"] for owner in asked["owners"]] == ([] if lacking == "dayabay" else ["/backup"])


def test_preflight_asks_for_what_encrypts_and_for_what_fills_stores() -> None:
    asked = {"tools": ["tar", "rsync"]}
    assert Told().call("preflight", "preflight", {}, **asked)["programs"] == []
    told = Told(
        altbackup_encrypt_to=["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        altbackup_single_recipient=True,
    )
    assert told.call("preflight", "preflight", {}, **asked)["programs"] == ["age", "ssh-keygen"]
    assert told.call("preflight", "preflight", {}, tools=[])["programs"] == [], "nothing is packed"
    tree = {"role": "store", "node": "vault", "server": "cms01", "source": "dayabay", "base": "/copies/dayabay"}
    plan = {**told.run.plan, "stores": {"vault": {"trees": [tree]}}}
    told.run = replace(told.run, plan=plan)
    cms01, sdu = told.over("targets")
    assert told.call("preflight", "preflight", {}, cms01, **asked)["programs"] == ["rclone"]
    assert told.call("preflight", "preflight", {}, sdu, **asked)["programs"] == []
    assert told.call("preflight", "preflight", {}, **asked)["programs"] == ["age", "ssh-keygen"]
    alone = Told(EVERY, "cms01")
    alone.run = replace(alone.run, plan={**alone.run.plan, "stores": plan["stores"]})
    assert alone.call("preflight", "preflight", {}, tools=[])["programs"] == ["rclone"]
