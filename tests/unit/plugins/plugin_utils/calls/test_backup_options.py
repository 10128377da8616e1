"""The options of calls of a backup, by the plan and by what was found so far."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.told_runs import EVERY, MARKS, SAID, SEEN, Told, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import backup_options, options
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY

EVIL = "{{ lookup('pipe', 'touch executed') }}"


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


def test_an_item_with_an_error_that_hides_what_it_is_is_given_up_nowhere() -> None:
    told = Told(
        altbackup_items=[{"kind": "gti", "name": "x", "path": "/x"}, {"kind": "git", "nmae": "y", "path": "/y"}]
    )
    options = [told.call("tarball_check", "check", {}, about) for about in told.over("check")]
    options.append(told.call("tarball_purge", "purge", {}, told.over("purge")[0])["check"])
    for each in options:
        assert {"svn", "git", "folders"} < {*each["memory"]["undiscovered"]}
        assert each["items"] == ["git/y"]


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


def knowing(told: Told, **state: Any) -> Told:
    told.run = told.run.knowing({**EMPTY, **state})
    return told


@pytest.mark.parametrize(
    ("host", "discovered", "categories"),
    [("dayabay", True, []), ("dayabay", False, ["git"]), ("cms01", False, []), ("cms01", True, [])],
)
def test_what_could_not_be_discovered_is_known_to_the_source_alone(
    host: str, discovered: bool, categories: list[str]
) -> None:
    assert backup_options.undiscovered(knowing(Told(EVERY, host), discovered=discovered).run, "dayabay") == categories


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


def test_nothing_is_accepted_of_a_target_to_which_nothing_goes() -> None:
    told = Told()
    assert options.options_of("tarball_accept", told.run, told.over("targets")[0], {}) is None


def test_guides_are_the_files_that_every_target_has_beside_its_copies() -> None:
    assert all(text.strip() for text in backup_options.guides().values()) and backup_options.guides()
