"""The items of a plan: good ones, those with an error, and what was discovered."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from helpers.inventories import FOLDER, GIT, SVN, TRAC, plan_of

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import CATEGORIES
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_items import (
    sort_items,
    unclear_categories,
    with_items,
)


def test_items_of_commands_and_servers_are_passed_on_as_they_were_written() -> None:
    command = {
        "kind": "command",
        "name": "etcd",
        "argv": ["/usr/bin/dump", "a b"],
        "user": "etcd",
        "verify": ["/bin/check"],
        "time_limit": "30m",
    }
    server = {
        "kind": "postgresql",
        "name": "main",
        "user": "postgres",
        "host": "/run/postgresql",
        "databases": ["wiki"],
        "may_empty": ["w*"],
    }
    plan = plan_of({"dayabay": {"altbackup_items": [command, server]}})
    first, second = plan["sources"]["dayabay"]["item_list"]
    assert first == {**command, "path": "", "time_limit": 1800.0} and second == {**server, "path": ""}
    assert [parse_item(item) for item in (first, second)] == [parse_item(item) for item in (command, server)]
    assert plan["nodes"]["cms01"]["trees"][0]["verify"] == {"commands/etcd": ["/bin/check"]}
    assert plan["sources"]["dayabay"]["item_keys"] == ["commands/etcd", "databases/main"]
    json.dumps(plan)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "/x"}, "nothing at a path"),
        ({"argv": None}, "key 'argv' is missing"),
        ({"databases": ["a"]}, "key 'databases' is for kind postgresql and mysql only"),
        ({"argv": ["dump"]}, "absolute path of a program"),
    ],
)
def test_what_an_item_of_a_command_cannot_have_is_an_error_of_it(change: dict[str, Any], said: str) -> None:
    command = {"kind": "command", "name": "etcd", "argv": ["/usr/bin/dump"], "user": "etcd", **change}
    (error,) = plan_of({"dayabay": {"altbackup_items": [command]}})["sources"]["dayabay"]["item_errors"]
    assert said in error["reason"]


def test_the_controllers_own_item_is_expected_and_kept_where_it_is_included() -> None:
    plan = plan_of({"dayabay": {"altbackup_include_controller": "yes"}})
    assert plan["errors"] == []
    key = "folders/altbackup-controller"
    trees = [tree for node in plan["nodes"].values() for tree in node["trees"] if tree["source"] == "dayabay"]
    assert [tree["keeps"][key] for tree in trees] == [4, 2, 3]
    for place in [plan["sources"]["dayabay"], *trees]:
        assert key in place["item_keys"]
        assert place["expect"]["altbackup-controller"] == 1
    assert key not in plan["sources"]["juno"]["item_keys"]
    assert with_items(plan, "dayabay", [])["sources"]["dayabay"]["item_keys"] == plan["sources"]["dayabay"]["item_keys"]


@pytest.mark.parametrize(
    ("item", "kind", "name", "reason", "expected"),
    [
        ({**GIT, "name": "a/b"}, "git", "", "a slash", 0),
        ({**GIT, "name": ".git"}, "git", "", "begins with a dot", 0),
        ({**GIT, "kind": "cvs", "name": "x"}, "", "x", "unknown kind 'cvs'", 0),
        ({**GIT, "kind": ["git"], "name": "x"}, "", "x", "", 0),
        ({**GIT, "name": "x", "keep": 0}, "git", "x", "keep 0 is not a positive whole number", 1),
        ({**GIT, "name": "x", "keep": True}, "git", "x", "not a positive whole number", 1),
        ({**GIT, "name": "x", "pth": "/x"}, "git", "x", "unknown key 'pth'", 1),
        ({**GIT, "kind": "gti", "name": "x"}, "", "x", "item gti 'x': unknown kind 'gti', did you mean 'git'?", 0),
        (
            {"kind": "git", "nmae": "x", "path": "/x"},
            "git",
            "x",
            "item git 'x': unknown key 'nmae', did you mean 'name'?",
            1,
        ),
        ({"kind": "ste", "name": "x", "members": [GIT]}, "", "x", "unknown kind 'ste', did you mean 'set'?", 0),
        ({**GIT, "name": "x", "path": "x"}, "git", "x", "not an absolute path", 1),
        ({**FOLDER, "name": "x", "exclude": 5}, "folder", "x", "", 1),
        ({"kind": "git", "name": "x"}, "git", "x", "'path' is missing", 1),
        ("x", "", "", "not a mapping", 0),
    ],
)
def test_a_bad_item_stops_no_other_and_is_missed_by_checks(
    item: Any, kind: str, name: str, reason: str, expected: int
) -> None:
    plan = plan_of({"juno": {"altbackup_items": [item, GIT]}})
    source = plan["sources"]["juno"]
    assert plan["errors"] == []
    assert source["item_list"] == [GIT]
    assert len(source["item_errors"]) == 1
    error = source["item_errors"][0]
    assert (error["kind"], error["name"]) == (kind, name)
    assert reason in error["reason"]
    assert source["expect"] == {"toolbox": 1} | ({name: 1} if expected else {})
    assert len(source["item_keys"]) == 1 + expected
    assert source["keeps"] == {"git/toolbox": 3}
    tree = plan["nodes"]["sdu"]["trees"][1]
    assert (tree["item_keys"], tree["expect"], tree["keeps"]) == (
        source["item_keys"],
        source["expect"],
        source["keeps"],
    )


@pytest.mark.parametrize(
    ("errors", "unclear"),
    [
        ([], []),
        ([{"knd": "svn", "nmae": "x", "pth": "/x"}], []),
        ([{**GIT, "name": "a/b"}, {"kind": "trac", "path": "/x"}], ["git", "tracs"]),
        ([{**GIT, "kind": "cvs"}], sorted(set(CATEGORIES.values()))),
        ([{**GIT, "kind": "gti"}], sorted(set(CATEGORIES.values()))),
        (["x"], sorted(set(CATEGORIES.values()))),
    ],
)
def test_what_an_item_with_an_error_may_be_is_known_as_far_as_it_can_be(errors: list[Any], unclear: list[str]) -> None:
    assert unclear_categories(sort_items(errors)[1]) == unclear


def test_the_same_item_twice_is_bad_and_expected_once() -> None:
    source = plan_of({"juno": {"altbackup_items": [SVN, GIT, {**GIT, "path": "/other"}]}})["sources"]["juno"]
    assert source["item_list"] == [SVN]
    assert [error["path"] for error in source["item_errors"]] == [GIT["path"], "/other"]
    assert "stands 2 times (/home/scm/git/toolbox.git, /other)" in source["item_errors"][0]["reason"]
    assert source["expect"] == {"dybsvn": 1, "toolbox": 1}
    assert source["keeps"] == {"svn/dybsvn": 3}


def discovering(items: list[Any]) -> dict[str, Any]:
    """Given explicit items of juno, return a plan in which it discovers git repositories, too."""
    return plan_of({"juno": {"altbackup_items": items, "altbackup_discover": {"git": "/home/scm/git"}}})


def test_discovered_items_are_merged_everywhere() -> None:
    plan = discovering([GIT])
    before = copy.deepcopy(plan)
    found = [
        {"kind": "git", "name": "toolbox.git", "path": "/home/scm/git/toolbox.git/"},
        {"kind": "git", "name": "g%2Fp", "path": "/home/scm/git/g/p"},
    ]
    merged = with_items(plan, "juno", found)
    assert plan == before
    source = merged["sources"]["juno"]
    assert source["item_list"] == [GIT, found[1]]
    assert source["item_errors"] == []
    for place in [source, merged["nodes"]["juno"]["trees"][0], merged["nodes"]["sdu"]["trees"][1]]:
        assert place["item_keys"] == ["git/g%2Fp", "git/toolbox"]
        assert place["expect"] == {"g%2Fp": 1, "toolbox": 1}
        assert place["keeps"] == {"git/g%2Fp": 3, "git/toolbox": 3}
    assert merged["nodes"]["sdu"]["trees"][0] == plan["nodes"]["sdu"]["trees"][0]
    assert with_items(merged, "juno", found) == merged


def test_a_discovered_item_under_the_name_of_another_is_an_item_error() -> None:
    found = [{"kind": "git", "name": "toolbox", "path": "/home/scm/git/toolbox"}]
    merged = with_items(discovering([GIT]), "juno", found)
    source = merged["sources"]["juno"]
    assert source["item_list"] == [GIT]
    assert [error["path"] for error in source["item_errors"]] == ["/home/scm/git/toolbox"]
    assert "give that item another name" in source["item_errors"][0]["reason"]
    assert source["expect"] == {"toolbox": 1}
    assert source["keeps"] == {"git/toolbox": 3}
    assert with_items(merged, "juno", found) == merged


@pytest.mark.parametrize("found", [{"name": "x"}, {"path": "/home/scm/git/x"}])
def test_a_bad_explicit_item_is_not_taken_in_as_a_discovered_one(found: dict[str, str]) -> None:
    bad = {"kind": "git", "name": "x", "path": "/home/scm/git/x", "keep": 0}
    discovered = {"kind": "git", "name": "other", "path": "/home/scm/git/other"} | found
    source = with_items(discovering([GIT, bad]), "juno", [discovered])["sources"]["juno"]
    assert source["item_list"] == [GIT]
    assert len(source["item_errors"]) == 1


def test_items_of_an_unknown_source_are_refused() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'juno'"):
        with_items(plan_of(), "jumo", [])


@pytest.mark.parametrize(
    "item",
    [
        {"kind": "svn", "name": "a", "path": {"password": "hunter22"}},
        {"kind": "svn", "name": {"password": "hunter22"}, "path": "/x"},
        {"kind": "folder", "name": "a", "path": "/x", "exclude": {"token": "hunter22"}},
        "password=hunter22",
        [{"password": "hunter22"}],
    ],
)
def test_item_that_is_refused_is_named_without_its_secret(item: Any) -> None:
    source = plan_of({"dayabay": {"altbackup_items": [item]}})["sources"]["dayabay"]
    (bad,) = source["item_errors"]
    assert bad["reason"]
    assert "hunter22" not in bad["reason"]


def test_what_was_given_up_and_renamed_is_known_to_all_trees_of_its_source() -> None:
    renamed = {**SVN, "former_names": ["older"]}
    plan = plan_of({"dayabay": {"altbackup_items": [renamed, TRAC], "altbackup_retired": {"svn/old": "2013/05/09"}}})
    assert plan["errors"] == []
    told = {"retired": {"svn/old": "2013/05/09"}, "former": {"svn/older": "svn/dybsvn"}}
    trees = [tree for node in plan["nodes"].values() for tree in node["trees"] if tree["source"] == "dayabay"]
    assert [tree["memory"] for tree in trees] == [told] * 3
    assert plan["sources"]["juno"]["memory"] == {"retired": {}, "former": {}}


@pytest.mark.parametrize(
    ("items", "good", "reasons"),
    [
        ([], [], []),
        ([GIT], ["git/toolbox"], []),
        ([GIT, SVN], ["git/toolbox", "svn/dybsvn"], []),
        ([GIT, GIT], [], ["stands 2 times", "stands 2 times"]),
        ([GIT, SVN, {**GIT, "path": "/x"}, {**GIT, "path": "/y"}], ["svn/dybsvn"], ["stands 3 times"] * 3),
        ([None, 7, "x", [], True], [], ["not a mapping"] * 5),
        ([{}], [], ["key 'kind' is missing"]),
        ([{**GIT, "name": None}], [], ["key 'name' is missing"]),
        ([{**GIT, "name": ["a"]}, SVN], ["svn/dybsvn"], [""]),
        ([{**GIT, 7: "x"}], [], ["unknown key"]),
        ([{**GIT, "path": {"a": 1}}], [], [""]),
        ([{**GIT, "path": "/a\0b"}], [], [""]),
        ([{**GIT, "name": "x" * 300}], [], ["bytes"]),
        ([{**GIT, "keep": {"keep": 1, "hourly": 2}}], [], ["hourly"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_items_are_good_or_have_one_error_each(items: list[Any], good: list[str], reasons: list[str]) -> None:
    found, bad = sort_items(items)
    assert [item.key for item in found] == good
    assert len(bad) == len(reasons)
    for error, reason in zip(bad, reasons, strict=True):
        assert reason in error["reason"] and error["reason"]
        assert set(error) == {"kind", "name", "path", "reason"} and all(
            isinstance(text, str) for text in error.values()
        )
