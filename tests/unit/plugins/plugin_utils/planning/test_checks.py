"""What is wrong with an inventory beyond single variables."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import STAMP, SVN, VARIABLES, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import checks
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.inventory_errors import Errors
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable


def test_the_controllers_own_item_leaves_its_name_to_no_other() -> None:
    item = {"kind": "folder", "name": "altbackup-controller", "path": "/srv/thing"}
    settings = {"altbackup_items": [item], "altbackup_targets": ["cms01", "sdu"]}
    assert plan_of({"dayabay": settings})["errors"] == []
    (error,) = plan_of({"dayabay": {**settings, "altbackup_include_controller": True}})["errors"]
    assert error.startswith(
        "dayabay: altbackup_items names folders/altbackup-controller, which altbackup_include_controller"
    )


@pytest.mark.parametrize(
    ("changes", "groups", "expected"),
    [
        ({"cms01": {"altbackup_bsae": 1}}, {}, "cms01: altbackup_bsae is an unknown variable, did you mean altbackup_base?"),
        ({"other": {"altbackup_keeep": 1}}, {"all": [*VARIABLES, "other"]}, "other: altbackup_keeep is an unknown variable"),
        ({"juno": {"altbackup_base": None}}, {}, "juno: altbackup_base is required and missing."),
        ({"sdu": {"altbackup_target_base": None}}, {}, "sdu: altbackup_target_base is required and missing."),
        ({"juno": {"altbackup_targets": None}}, {}, "juno: altbackup_targets is required and missing."),
        ({"juno": {"altbackup_targets": []}}, {}, "juno: altbackup_targets is empty"),
        ({"juno": {"altbackup_targets": ["sdv"]}}, {}, "juno: altbackup_targets names 'sdv', which is no host"),
        ({"juno": {"altbackup_targets": ["sdu", "dayabay"]}}, {}, "juno: altbackup_targets names 'dayabay', which is a host"),
        ({"juno": {"altbackup_targets": ["sdu", "sdu"]}}, {}, "juno: altbackup_targets names 'sdu' 2 times"),
        ({"juno": {"altbackup_min_copies": 3}}, {}, "juno: altbackup_min_copies 3 asks for more than altbackup_targets names, 1: nothing would"),
        ({"juno": {"altbackup_base": "backup"}}, {}, "juno: altbackup_base 'backup' is not an absolute path"),
        ({"sdu": {"altbackup_target_base": "./x"}}, {}, "sdu: altbackup_target_base './x' is not an absolute path"),
        ({"juno": {"altbackup_items": []}}, {}, "juno: altbackup_items is empty and altbackup_discover, too"),
        ({"juno": {"altbackup_items": "git"}}, {}, "juno: altbackup_items 'git' is not a list"),
        ({"sdu": {"altbackup_keep": 0}}, {}, "sdu: altbackup_keep 0 is not a positive whole number"),
        ({"juno": {"altbackup_ext": ".zip"}}, {}, "juno: altbackup_ext '.zip' is not one of"),
        ({"juno": {"altbackup_transport": {"cms01": "push"}}}, {}, "juno: altbackup_transport names 'cms01', to which it does not send"),
        ({"juno": {"altbackup_transport": {"sdv": "push"}}}, {}, "juno: altbackup_transport names 'sdv', to which it does not send: did you mean 'sdu'?"),
        ({"juno": {"altbackup_transport": {"sdv": "push", "sdu": "pull"}}}, {}, "juno: altbackup_transport names 'sdv', to which it does not send: known are"),
        ({"juno": {"altbackup_keep": Unreadable("is a template with 'x'")}}, {}, "juno: altbackup_keep is a template with 'x'"),
        ({"dayabay": {"altbackup_targets": ["sdu"]}}, {}, "cms01: no source names this target"),
        ({"juno": {"altbackup_timezone": "Asia/Taipei"}}, {}, "altbackup_timezone is one for the whole run, but is 'UTC' on dayabay, cms01, sdu; 'Asia/Tai"),
        ({"juno": {"altbackup_stamp": STAMP}}, {}, "altbackup_stamp is one for the whole run"),
        ({}, {"sources": []}, "group sources is missing or empty"),
        ({"sdu": {"altbackup_drill_host": "cms1", "altbackup_drill_folder": "/x"}}, {}, "sdu: altbackup_drill_host 'cms1' is no host of the inv"),
        ({"sdu": {"altbackup_drill_host": "cms01"}}, {}, "sdu: altbackup_drill_folder is empty, but drills are to unpack on cms01"),
        ({"../x": VARIABLES["juno"]}, {"sources": ["dayabay", "juno", "../x"], "all": []}, "../x: a source's name is that of its folder"),
        ({"juno": {"altbackup_target_base": "/"}}, {"targets": ["cms01", "sdu", "juno"]}, "juno: no source names this target"),
    ],
)  # fmt: skip
def test_structural_errors_name_host_and_variable(
    changes: dict[str, dict[str, Any]], groups: dict[str, list[str]], expected: str
) -> None:
    errors = plan_of(changes, groups)["errors"]
    assert len(errors) == 1, errors
    assert errors[0].startswith(expected)


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ({"altbackup_bsae": "/x"}, "all hosts: altbackup_bsae is an unknown variable, did you mean altbackup_base?"),
        ({"altbackup_keep": "0"}, "all hosts: altbackup_keep '0' is not a positive whole number"),
        ({"altbackup_base": "x"}, "dayabay, juno: altbackup_base 'x' is not an absolute path"),
        ({"altbackup_only_targets": "cms1"}, "altbackup_only_targets: 'cms1' is no host of the inventory, but should be one of group targets: did you mean '"),
        ({"altbackup_only_targets": ["juno"]}, "altbackup_only_targets: 'juno' is a host of the inventory, but not in group targets"),
        ({"altbackup_day": "yesterday"}, "altbackup_day: day 'yesterday' is neither empty"),
        ({"altbackup_day": "+1"}, "altbackup_day: day '+1' is neither empty"),
        ({"altbackup_stamp": "2013/05/10"}, "altbackup_stamp: stamp '2013/05/10' is not a date and time"),
        ({"altbackup_stamp": "2013/05/10/104803"}, "altbackup_stamp 2013/05/10/104803 is later than now, 2013/05/10/104701 (UTC)"),
        ({"altbackup_timezone": "Asia/Taibei"}, "altbackup_timezone: time zone 'Asia/Taibei' is not known"),
        ({"altbackup_full_every": 0}, "dayabay, juno: altbackup_full_every 0 is not a whole number from 1 to 100: write one, like 7"),
        (
            {"altbackup_full_every": 7, "altbackup_dna_algorithm": "md5"},
            "dayabay, juno: altbackup_full_every 7 makes differentials, which the original scripts do not know, but altbackup_dna_algorithm is md5",
        ),
        ({"altbackup_ionice": "best"}, "all hosts: altbackup_ionice ionice 'best' is not idle"),
    ],
)  # fmt: skip
def test_one_error_for_all_hosts_is_told_once(every: dict[str, Any], expected: str) -> None:
    errors = plan_of(every=every)["errors"]
    assert len(errors) == 1, errors
    assert errors[0].startswith(expected)


@pytest.mark.parametrize(
    ("base", "target_base", "errors"),
    [
        ("/b/juno", "/b", 1),
        ("/b/juno/", "/b/", 1),
        ("/b/dayabay", "/b", 1),
        ("/b", "/b", 1),
        ("/b/own", "/b", 0),
        ("/c", "/b", 0),
    ],
)
def test_a_source_does_not_store_where_it_keeps_copies(base: str, target_base: str, errors: int) -> None:
    changes = {
        "juno": {"altbackup_base": base, "altbackup_target_base": target_base, "altbackup_targets": ["sdu", "juno"]}
    }
    found = plan_of(changes, {"targets": ["cms01", "sdu", "juno"]})["errors"]
    assert len(found) == errors
    assert all("juno: altbackup_base" in error and "choose another folder" in error for error in found)


@pytest.mark.parametrize(
    ("items", "retired", "error"),
    [
        (
            [SVN],
            {"svn/dybsvn": "2013/05/09"},
            "altbackup_retired names svn/dybsvn, which is declared in altbackup_items, too",
        ),
        (
            [{**SVN, "former_names": ["old"]}, {**SVN, "name": "old", "path": "/o"}],
            {},
            "altbackup_items names svn/old among the former_names of svn/dybsvn, but it is an item itself",
        ),
        (
            [{**SVN, "former_names": ["old"]}, {**SVN, "name": "x", "path": "/o", "former_names": ["svn/old"]}],
            {},
            "altbackup_items names svn/old among the former_names of svn/dybsvn and svn/x",
        ),
        (
            [{**SVN, "former_names": ["old"]}],
            {"svn/old": "2013/05/09"},
            "altbackup_retired names svn/old, which is among the former_names",
        ),
        ([SVN], {"svm/old": "2013/05/09"}, "did you mean 'svn'?"),
        ([SVN], {"svn/": "2013/05/09"}, "which is not category/name, such as svn/old"),
        ([SVN], {"svn/a/b": "2013/05/09"}, "contains a slash"),
        ([SVN], {"svn/old": "yesterday"}, "svn/old: 'yesterday' is not the day from which on it is given up"),
        ([SVN], {"svn/old": "2013/02/30"}, "2013/02/30"),
        ([SVN], ["svn/old"], "is not a mapping"),
    ],
)
def test_what_cannot_be_meant_of_items_that_are_none_any_more_is_an_error(
    items: list[dict[str, Any]], retired: Any, error: str
) -> None:
    errors = plan_of({"dayabay": {"altbackup_items": items, "altbackup_retired": retired}})["errors"]
    assert len(errors) == 1 and error in errors[0], errors


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"dayabay": {"altbackup_former_names": ["juno"]}},
            "dayabay: altbackup_former_names names 'juno', which is a node of this inventory itself",
        ),
        (
            {"dayabay": {"altbackup_former_names": ["old"]}, "juno": {"altbackup_former_names": ["old"]}},
            "dayabay, juno: altbackup_former_names names 'old' for each of them",
        ),
        (
            {"cms01": {"altbackup_former_names": ["a/b"]}},
            "altbackup_former_names names 'a/b', which is no name of a node",
        ),
        ({"cms01": {"altbackup_absent_for": "14 days"}}, "altbackup_absent_for"),
    ],
)
def test_former_names_are_of_one_node_each(changes: dict[str, dict[str, Any]], error: str) -> None:
    errors = plan_of(changes)["errors"]
    assert len(errors) == 1 and error in errors[0], errors


def test_items_and_nodes_are_adopted_each_by_their_names() -> None:
    plan = plan_of(every={"altbackup_adopt": ["dayabay/svn/dybsvn", "cms01"]})
    assert (plan["errors"], plan["adopt"], plan["adopted_nodes"]) == ([], ["dayabay/svn/dybsvn"], ["cms01"])
    errors = plan_of(every={"altbackup_adopt": ["cms1"]})["errors"]
    assert errors == [
        "altbackup_adopt: 'cms1' is neither an item, written as source/category/name, nor a source, target or store, did you mean 'cms01'?"
    ]


PLAN: dict[str, Any] = {
    "sources": {"dayabay": {"targets": ["cms01"]}, "juno": {"targets": []}},
    "targets": {"cms01": {}, "sdu": {}},
    "locked": False,
    "only_targets": [],
}


@pytest.mark.parametrize(
    ("parts", "play_hosts", "limit", "more", "error"),
    [
        ([], [], "", {}, ""),
        ([], ["localhost"], "x", {}, ""),
        (["sources"], ["dayabay"], "", {}, ""),
        (["sources", "targets"], ["cms01"], "cms01", {}, ""),
        (
            ["sources"],
            ["cms01", "localhost"],
            "cms01",
            {},
            "No sources among the nodes of this playbook: cms01, localhost (limited to cms01); its sources are dayabay, juno",
        ),
        (
            ["sources", "targets"],
            ["localhost"],
            "",
            {},
            "No sources or targets among the nodes of this playbook: localhost; its sources and targets are dayabay, juno, cms01, sdu",
        ),
        (["sources"], [], "", {}, "No sources among the nodes of this playbook: none; its sources are dayabay, juno"),
        (["targets"], ["dayabay"], "", {"targets": {}}, "No targets among the nodes of this playbook: dayabay; its targets are none"),
        (["sources"], ["juno"], "", {"locked": True}, ""),
        (["sources"], ["juno"], "", {"only_targets": ["cms01"]}, ""),
        (["sources"], ["juno", "dayabay"], "", {"locked": True, "only_targets": ["cms01"]}, ""),
        (
            ["sources"],
            ["juno"],
            "",
            {"locked": True, "only_targets": ["cms01", "x"]},
            "altbackup_only_targets: none of cms01, x is a target of juno. Name one of their altbackup_targets, or leave",
        ),
    ],
)  # fmt: skip
def test_a_playbook_with_nothing_to_do_is_an_error(
    parts: list[str], play_hosts: list[str], limit: str, more: dict[str, Any], error: str
) -> None:
    found = checks.check_scope({**PLAN, **more}, checks.Scope(parts, play_hosts, limit))
    assert len(found) == bool(error)
    assert not error or found[0].startswith(error)


@pytest.mark.parametrize("name", ["a/b", "..", ".x", "", "a\nb", "a\0b"])
def test_a_source_is_called_as_a_folder_may_be(name: str) -> None:
    (error,) = checks.check_names(["dayabay", name, "with space", "-x"])
    assert error.startswith(f"{name}: a source's name is that of its folder on the targets. ")


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ([], ""),
        (["cms01"], ""),
        (["dayabay"], "'dayabay' is a host of the inventory, but not in group targets: add it there"),
        (["cms1"], "'cms1' is no host of the inventory, but should be one of group targets: did you mean 'cms01'?"),
        ([""], "'' is no host of the inventory"),
    ],
)
def test_a_run_is_narrowed_to_targets_alone(only: list[str], said: str) -> None:
    found = checks.check_only_targets(only, ["dayabay", "cms01"], ["cms01"])
    assert len(found) == bool(said)
    assert not said or said in found[0]


def test_where_there_is_no_target_none_is_proposed() -> None:
    (error,) = checks.check_only_targets(["cms01"], ["dayabay"], [])
    assert error.endswith("should be one of group targets: add it to the inventory")


@pytest.mark.parametrize(
    ("undo", "wrong"),
    [
        ([], []),
        (["2013/05/10"], []),
        (["dayabay/svn/x/2013/05/10/104701"], []),
        (["2013/05/10", "daiabay/svn/x/2013/05/10/104701"], ["daiabay"]),
        (["2013/02/30"], ["2013"]),
        (["dayabay"], []),
        ([""], [""]),
    ],
)
def test_what_is_put_back_is_a_sources(undo: list[str], wrong: list[str]) -> None:
    found = checks.check_undo(undo, ["dayabay", "juno"])
    assert [error.partition(" is no source")[0].rpartition(": ")[2] for error in found] == list(map(repr, wrong))


def test_what_is_encrypted_anew_is_a_sources() -> None:
    (error,) = checks.check_rekey(["dayabay/svn/x", "daiabay/svn/x"], ["dayabay", "juno"])
    assert error.startswith("altbackup_rekey: daiabay/svn/x: 'daiabay' is no source")


@pytest.mark.parametrize(
    ("targets", "sources", "lonely"),
    [
        ([], {}, []),
        (["a"], {}, []),
        (["a"], {"s": ["a"]}, []),
        (["a", "b"], {"s": ["a"], "t": None}, ["b"]),
        (["a", "b"], {"s": []}, ["a", "b"]),
        (["b"], {"s": ["a"]}, ["b"]),
    ],
)
def test_each_target_is_named_by_a_source(
    targets: list[str], sources: dict[str, list[str] | None], lonely: list[str]
) -> None:
    found = checks.check_named(targets, {name: {"altbackup_targets": named} for name, named in sources.items()})
    assert [error.partition(":")[0] for error in found] == lonely


@pytest.mark.parametrize(
    ("host", "folder", "hosts", "variable"),
    [
        ("", "", ["a"], ""),
        ("a", "", ["a", "b"], ""),
        ("b", "/x", ["a", "b"], ""),
        ("b", "", ["a", "b"], "altbackup_drill_folder"),
        ("c", "/x", ["a", "b"], "altbackup_drill_host"),
        ("c", "", ["a", "b"], "altbackup_drill_host"),
    ],
)
def test_a_drill_elsewhere_needs_a_host_and_a_folder(host: str, folder: str, hosts: list[str], variable: str) -> None:
    errors = Errors(hosts)
    checks.check_drill_hosts({"a": {"altbackup_drill_host": host, "altbackup_drill_folder": folder}}, hosts, errors)
    assert [name for name, _ in errors.found] == ([variable] if variable else [])


@pytest.mark.parametrize(
    ("base", "above", "is_error"),
    [
        ("/b/own", "/b", False),
        ("/backup", "/b", False),
        ("/b", "/b/x", False),
        ("/b", "/b", True),
        ("/b/here", "/b", True),
        ("/b/other", "/b", True),
        ("/b/here/own", "/b", True),
        ("/b/other/a/b", "/b", True),
        ("/b/hereafter", "/b", False),
        ("/here/x", "/", True),
        (None, "/b", False),
        ("/b", None, False),
    ],
)
def test_own_tarballs_lie_in_no_tree_that_is_kept_for_a_source(
    base: str | None, above: str | None, is_error: bool
) -> None:
    sources: dict[str, dict[str, Any]] = {"here": {"altbackup_base": base}, "other": {"altbackup_base": "/b/here"}}
    assert bool(checks.check_bases(sources, {"here": {"altbackup_target_base": above}})) is is_error
    assert checks.check_bases(sources, {}) == []
