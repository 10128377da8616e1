"""The plan of a run: who does what, and every error of an inventory."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.checks import Scope
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan, effective
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_items import with_items
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable
from ansible_collections.altbackup.core.plugins.plugin_utils.report.secrecy import MASK, mask

NOW = 1368182821.0
STAMP = "2013/05/10/104701"
SVN = {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn"}
TRAC = {"kind": "trac", "name": "dybsvn", "path": "/home/scm/tracs/dybsvn"}
FOLDER = {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup/", "keep": "5", "exclude": ["*.pyc"]}
GIT = {"kind": "git", "name": "toolbox", "path": "/home/scm/git/toolbox.git"}

VARIABLES: dict[str, dict[str, Any]] = {
    "dayabay": {
        "altbackup_base": "/home/scm/backup/dayabay/",
        "altbackup_items": [SVN, TRAC, FOLDER],
        "altbackup_targets": ["cms01", "sdu"],
        "altbackup_keep": 4,
    },
    "juno": {"altbackup_base": "/backup", "altbackup_items": [GIT], "altbackup_targets": ["sdu"]},
    "cms01": {
        "altbackup_target_base": "/data/backup/",
        "altbackup_keep": "2",
        "altbackup_keep_daily": "5",
        "altbackup_target_slots": 3,
    },
    "sdu": {"altbackup_target_base": "/data/backup"},
}
GROUPS = {"all": list(VARIABLES), "sources": ["dayabay", "juno"], "targets": ["cms01", "sdu"]}
NO_RULES = {"daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "within": 0}
TARGET_RULES = {"daily": 7, "weekly": 4, "monthly": 6, "yearly": 0, "within": 86400.0}


def plan_of(
    changes: dict[str, dict[str, Any]] | None = None,
    groups: dict[str, list[str]] | None = None,
    connection: dict[str, dict[str, Any]] | None = None,
    every: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Given changes of variables by host (None: removed), other groups, and variables of every host, return the plan."""
    variables = copy.deepcopy(VARIABLES)
    for host, changed in (changes or {}).items():
        variables.setdefault(host, {}).update(changed)
    for values in variables.values():
        values.update(every or {})
    return build_plan(variables, GROUPS | (groups or {}), connection or {}, NOW, **options)


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


def test_a_good_inventory_gives_the_whole_plan() -> None:
    plan = plan_of()
    assert plan["errors"] == []
    assert {key: plan[key] for key in ("stamp", "day", "timezone", "only_targets", "list_file")} == {
        "stamp": STAMP,
        "day": "2013/05/10",
        "timezone": "UTC",
        "only_targets": [],
        "list_file": "",
    }
    assert plan["sources"]["dayabay"] == {
        "base": "/home/scm/backup/dayabay",
        "item_list": [
            SVN,
            TRAC,
            {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup", "keep": 5, "exclude": ["*.pyc"]},
        ],
        "item_errors": [],
        "discover": {},
        "retired": {},
        "include_controller": False,
        "targets": ["cms01", "sdu"],
        "local_targets": [],
        "transport": {"cms01": "push", "sdu": "push"},
        "ext": ".tar.zst",
        "compress_level": 1,
        "algorithm": "sha256",
        "full_every": 1,
        "verify_every": 7,
        "shrink": 0.3,
        "churn": 0.5,
        "former_names": [],
        "keep": 4,
        "trash_days": None,
        "min_copies": 1,
        "item_keys": ["folders/svnsetup", "svn/dybsvn", "tracs/dybsvn"],
        "expect": {"dybsvn": 2, "svnsetup": 1},
        "keeps": {"svn/dybsvn": 4, "tracs/dybsvn": 4, "folders/svnsetup": 5},
        "memory": {"retired": {}, "former": {}},
        "verify": {},
        "rules": NO_RULES,
        "check_scope": "day",
        "reverify_days": 7,
        "max_age": 129600.0,
        "proof_age": 0.0,
        "drill_share": 1.0,
        "drill_limit": 0,
        "drill_host": "",
        "drill_folder": "",
        "drill_user": "nobody",
        "ssh_key": "",
        "ssh_args": [],
        "rsync_host": "dayabay",
        "rsync_port": None,
        "rsync_user": "",
        "rrsync": False,
        "trust_from": "seen",
        "node_user": "",
        "allow_root_filesystem": False,
        "stores": [],
        "bwlimit": 0,
        "min_rate": 50,
        "connect_timeout": 15.0,
        "io_timeout": 60.0,
        "step_timeout": 21600.0,
        "nice": 0,
        "ionice": "",
        "mail_to": "",
        "node_metrics_dir": "",
    }
    target = plan["targets"]["cms01"]
    assert (target["target_base"], target["keep"], target["slots"], target["sources"]) == (
        "/data/backup",
        2,
        3,
        ["dayabay"],
    )
    assert plan["targets"]["sdu"]["sources"] == ["dayabay", "juno"]
    assert plan["nodes"]["cms01"] == {
        "check_scope": "day",
        "reverify_days": 7,
        "max_age": 129600.0,
        "proof_age": 0.0,
        "drill_share": 1.0,
        "drill_limit": 0,
        "drill_host": "",
        "drill_folder": "",
        "drill_user": "nobody",
        "step_timeout": 21600.0,
        "nice": 0,
        "ionice": "",
        "mail_to": "",
        "node_metrics_dir": "",
        "pause_until": 0.0,
        "trees": [
            {
                "role": "target",
                "source": "dayabay",
                "base": "/data/backup/dayabay",
                "keep": 2,
                "former_names": [],
                "memory": {"retired": {}, "former": {}},
                "verify": {},
                "trash_days": 2,
                "min_copies": 1,
                "item_keys": ["folders/svnsetup", "svn/dybsvn", "tracs/dybsvn"],
                "expect": {"dybsvn": 2, "svnsetup": 1},
                "keeps": {"svn/dybsvn": 2, "tracs/dybsvn": 2, "folders/svnsetup": 5},
                "rules": TARGET_RULES | {"daily": 5},
                "discover": False,
            }
        ],
    }
    assert [tree["base"] for tree in plan["nodes"]["dayabay"]["trees"]] == ["/home/scm/backup/dayabay"]
    assert [tree["source"] for tree in plan["nodes"]["sdu"]["trees"]] == ["dayabay", "juno"]


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


def test_the_controllers_own_item_leaves_its_name_to_no_other() -> None:
    item = {"kind": "folder", "name": "altbackup-controller", "path": "/srv/thing"}
    settings = {"altbackup_items": [item], "altbackup_targets": ["cms01", "sdu"]}
    assert plan_of({"dayabay": settings})["errors"] == []
    (error,) = plan_of({"dayabay": {**settings, "altbackup_include_controller": True}})["errors"]
    assert error.startswith(
        "dayabay: altbackup_items names folders/altbackup-controller, which altbackup_include_controller"
    )


@pytest.mark.parametrize(
    ("given", "rules", "alone"),
    [
        pytest.param({}, TARGET_RULES, False, id="nothing is set"),
        pytest.param({"altbackup_keep": 30}, NO_RULES, True, id="days and contents alone"),
        pytest.param({"altbackup_keep": 3}, NO_RULES, True, id="also where that is the default"),
        pytest.param({"altbackup_keep": None}, TARGET_RULES, False, id="null is not set"),
        pytest.param({"altbackup_keep": 3, "altbackup_keep_yearly": 2}, TARGET_RULES | {"yearly": 2}, False, id="and one more"),
        pytest.param({"altbackup_keep": 3, "altbackup_keep_daily": 0}, TARGET_RULES | {"daily": 0}, False, id="and none of one"),
        pytest.param({"altbackup_keep_within": "7d"}, TARGET_RULES | {"within": 604800.0}, False, id="another time"),
    ],
)  # fmt: skip
def test_a_target_keeps_a_long_past_unless_it_sets_days_and_contents_alone(
    given: dict[str, Any], rules: dict[str, float], alone: bool
) -> None:
    plan = plan_of({"sdu": given, "cms01": {"altbackup_keep": None}})
    assert plan["errors"] == []
    assert plan["targets"]["sdu"]["rules"] == rules
    assert [tree["rules"] for tree in plan["nodes"]["sdu"]["trees"]] == [rules, rules]
    told = f"sdu: altbackup_keep is set, and no other rule, so as a target it keeps the last {given.get('altbackup_keep')} days"
    assert [note.startswith(told) for note in plan["notes"]] == ([True] if alone else [])


def test_a_source_keeps_days_and_contents_alone_unless_it_says_more() -> None:
    plan = plan_of({"juno": {"altbackup_keep_weekly": 2}})
    assert plan["sources"]["dayabay"]["rules"] == NO_RULES
    assert plan["nodes"]["juno"]["trees"][0]["rules"] == NO_RULES | {"weekly": 2}
    assert [note for note in plan["notes"] if note.startswith(("dayabay", "juno"))] == []


def test_an_items_own_rules_go_before_those_of_the_node_wherever_it_is() -> None:
    own = {"keep": 9, "daily": "0", "yearly": 5, "within": "2d"}
    items = [
        {**GIT, "keep": own},
        {**GIT, "name": "tools", "path": "/tools.git", "keep": {"monthly": 12}},
        {**GIT, "name": "x", "path": "/x", "keep": 2},
    ]
    plan = plan_of({"juno": {"altbackup_items": items, "altbackup_keep_daily": 1}})
    assert plan["errors"] == []
    both = {"git/toolbox": {"daily": 0, "yearly": 5, "within": 172800.0}, "git/tools": {"monthly": 12}}
    places = [plan["sources"]["juno"], plan["nodes"]["juno"]["trees"][0], plan["nodes"]["sdu"]["trees"][1]]
    assert [place["rules"] for place in places] == [
        {**rules, **both} for rules in (NO_RULES | {"daily": 1}, NO_RULES | {"daily": 1}, TARGET_RULES)
    ]
    assert [place["keeps"] for place in places] == [{"git/toolbox": 9, "git/tools": 3, "git/x": 2}] * 3
    again = with_items(plan, "juno", [{"kind": "git", "name": "new", "path": "/new.git"}])
    assert again["nodes"]["sdu"]["trees"][1]["rules"] == {**TARGET_RULES, **both}
    assert [parse_item(item).rules for item in plan["sources"]["juno"]["item_list"]] == [
        (("daily", 0), ("yearly", 5), ("within", 172800.0)), (("monthly", 12),), ()
    ]  # fmt: skip


def test_the_plan_is_json() -> None:
    plan = plan_of()
    assert json.loads(json.dumps(plan)) == plan


def test_a_host_may_be_both() -> None:
    plan = build_plan(
        {
            "here": {
                "altbackup_base": "/a",
                "altbackup_target_base": "/b",
                "altbackup_items": [GIT],
                "altbackup_targets": ["here"],
            }
        },
        {"sources": ["here"], "targets": ["here"]},
        {},
        NOW,
    )
    assert plan["errors"] == []
    assert [(tree["role"], tree["base"]) for tree in plan["nodes"]["here"]["trees"]] == [
        ("source", "/a"),
        ("target", "/b/here"),
    ]
    assert plan["sources"]["here"]["local_targets"] == ["here"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("altbackup_purge_confirm", True),
        ("altbackup_accept", ["dayabay/svn/dybsvn"]),
        ("altbackup_release", [f"dayabay/svn/dybsvn/{STAMP}"]),
    ],
)
def test_what_somebody_says_of_one_run_cannot_stand_in_the_inventory(name: str, value: Any) -> None:
    for where, changes in (("all hosts", {"every": {name: value}}), ("sdu", {"changes": {"sdu": {name: value}}})):
        (error,) = plan_of(**changes, extra=["altbackup_stamp"])["errors"]
        told = "is set in the inventory, where it would hold for all runs to come: take it out, and give it to one run, with -e"
        assert error == f"{where}: {name} {told}"
    for extra in (None, [name]):
        assert plan_of(every={name: value}, extra=extra)["errors"] == []
    assert plan_of(every={name: type(value)()}, extra=[])["errors"] == []


@pytest.mark.parametrize(
    ("changes", "groups", "expected"),
    [
        ({"cms01": {"altbackup_bsae": 1}}, {}, "cms01: altbackup_bsae is an unknown variable, did you mean altbackup_base?"),
        ({"other": {"altbackup_keeep": 1}}, {"all": [*VARIABLES, "other"]}, "other: altbackup_keeep is an unknown variable"),
        ({"juno": {"altbackup_base": None}}, {}, "juno: altbackup_base is required and missing."),
        ({"sdu": {"altbackup_target_base": None}}, {}, "sdu: altbackup_target_base is required and missing."),
        ({"juno": {"altbackup_targets": None}}, {}, "juno: altbackup_targets is required and missing."),
        ({"juno": {"altbackup_targets": []}}, {}, "juno: altbackup_targets is empty"),
        ({"juno": {"altbackup_targets": ["sdv"]}}, {}, "juno: altbackup_targets names 'sdv' is no host"),
        ({"juno": {"altbackup_targets": ["sdu", "dayabay"]}}, {}, "juno: altbackup_targets names 'dayabay' is a host"),
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


def test_drills_take_place_on_another_host_or_on_the_node_itself() -> None:
    scratch = {"altbackup_drill_host": "cms01", "altbackup_drill_folder": "/scratch"}
    plan = plan_of(every=scratch)
    assert plan["errors"] == []
    assert {host: node["drill_host"] for host, node in plan["nodes"].items()} == {
        "dayabay": "cms01",
        "juno": "cms01",
        "cms01": "",
        "sdu": "cms01",
    }
    assert plan_of({"cms01": {"altbackup_drill_host": "cms01"}})["errors"] == []


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


def test_all_errors_are_told_together() -> None:
    errors = plan_of({"juno": {"altbackup_base": "x", "altbackup_keep": 0}, "sdu": {"altbackup_target_base": None}})[
        "errors"
    ]
    assert [error.split(" ")[0] + error.split(" ")[1] for error in errors] == [
        "juno:altbackup_base",
        "juno:altbackup_keep",
        "sdu:altbackup_target_base",
    ]


def test_a_known_variable_on_a_node_without_use_for_it_is_no_error() -> None:
    changes = {
        "cms01": {"altbackup_base": "x", "altbackup_items": 5, "altbackup_ext": Unreadable("is a template")},
        "juno": {"altbackup_target_base": "x"},
        "other": {"altbackup_keep": 0, "altbackup_timezone": "Asia/Taipei"},
    }
    assert plan_of(changes, {"all": [*VARIABLES, "other"]})["errors"] == []


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


def test_only_targets_narrows_sources_and_nodes_without_an_error() -> None:
    plan = plan_of(every={"altbackup_only_targets": ["cms01"]})
    assert plan["errors"] == []
    assert plan["sources"]["dayabay"]["targets"] == ["cms01"]
    assert plan["sources"]["juno"]["targets"] == []
    assert plan["targets"]["sdu"]["sources"] == []
    assert plan["nodes"]["sdu"]["trees"] == []
    assert [len(plan["nodes"][host]["trees"]) for host in ("dayabay", "juno", "cms01")] == [1, 1, 1]


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


def test_the_same_item_twice_is_bad_and_expected_once() -> None:
    source = plan_of({"juno": {"altbackup_items": [SVN, GIT, {**GIT, "path": "/other"}]}})["sources"]["juno"]
    assert source["item_list"] == [SVN]
    assert [error["path"] for error in source["item_errors"]] == [GIT["path"], "/other"]
    assert "stands 2 times (/home/scm/git/toolbox.git, /other)" in source["item_errors"][0]["reason"]
    assert source["expect"] == {"dybsvn": 1, "toolbox": 1}
    assert source["keeps"] == {"svn/dybsvn": 3}


def test_items_may_all_be_discovered() -> None:
    plan = plan_of({"juno": {"altbackup_items": [], "altbackup_discover": {"git": "/home/scm/git/"}}})
    assert plan["errors"] == []
    assert plan["sources"]["juno"]["discover"] == {"git": "/home/scm/git"}
    assert [tree["discover"] for tree in plan["nodes"]["sdu"]["trees"]] == [False, True]


@pytest.mark.parametrize(
    ("every", "options", "stamp", "day"),
    [
        ({}, {}, STAMP, "2013/05/10"),
        ({"altbackup_timezone": "Asia/Taipei"}, {}, "2013/05/10/184701", "2013/05/10"),
        ({"altbackup_stamp": "2013/05/09/000000"}, {}, "2013/05/09/000000", "2013/05/09"),
        ({"altbackup_stamp": "2013/05/10/104801"}, {}, "2013/05/10/104801", "2013/05/10"),
        ({"altbackup_stamp": "2013/03/01/000000", "altbackup_day": -1}, {}, "2013/03/01/000000", "2013/02/28"),
        ({"altbackup_day": "-2"}, {}, STAMP, "2013/05/08"),
        ({"altbackup_day": "2012/02/29"}, {}, STAMP, "2012/02/29"),
        ({"altbackup_day": "2012/02/29"}, {"chain": True}, STAMP, "2013/05/10"),
        ({}, {"stamp": "2013/05/09/235959"}, "2013/05/09/235959", "2013/05/09"),
        ({"altbackup_stamp": STAMP}, {"stamp": "2013/05/09/235959"}, STAMP, "2013/05/10"),
    ],
)
def test_stamp_and_day(every: dict[str, Any], options: dict[str, Any], stamp: str, day: str) -> None:
    plan = plan_of(every=every, **options)
    assert plan["errors"] == []
    assert (plan["stamp"], plan["day"]) == (stamp, day)


@pytest.mark.parametrize(
    ("changes", "connection", "reached"),
    [
        ({}, {}, ("sdu", None, "")),
        ({}, {"ansible_host": "192.0.2.7", "ansible_port": "2222", "ansible_user": "scm"}, ("192.0.2.7", 2222, "scm")),
        ({"altbackup_rsync_host": "x.example.org", "altbackup_rsync_port": 22, "altbackup_rsync_user": "b"},
         {"ansible_host": "192.0.2.7", "ansible_port": Unreadable("broken"), "ansible_user": "scm"}, ("x.example.org", 22, "b")),
    ],
)  # fmt: skip
def test_peers_reach_a_node_as_ansible_does_unless_told_otherwise(
    changes: dict[str, Any], connection: dict[str, Any], reached: tuple[Any, ...]
) -> None:
    plan = plan_of({"sdu": changes}, connection={"sdu": connection})
    assert plan["errors"] == []
    target = plan["targets"]["sdu"]
    assert (target["rsync_host"], target["rsync_port"], target["rsync_user"]) == reached


@pytest.mark.parametrize("port", ["ssh", [22], {"cms01": 22}, float("inf"), Unreadable("is a template")])
def test_an_unusable_port_of_the_connection_is_an_error(port: object) -> None:
    errors = plan_of(connection={"sdu": {"ansible_port": port}})["errors"]
    assert len(errors) == 1
    assert errors[0].startswith("sdu: ansible_port is ")


@pytest.mark.parametrize(
    ("source", "target", "changes", "local"),
    [
        ("local", "local", {}, True),
        ("ansible.builtin.local", "local", {}, True),
        ("ssh", "local", {}, False),
        (None, None, {}, False),
        ("local", "local", {"altbackup_rsync_host": "192.0.2.7"}, False),
    ],
)
def test_a_pair_on_the_controller_needs_no_ssh(source: Any, target: Any, changes: dict[str, Any], local: bool) -> None:
    connection = {"juno": {"ansible_connection": source}, "sdu": {"ansible_connection": target}}
    plan = plan_of({"sdu": changes}, connection=connection)
    assert plan["sources"]["juno"]["local_targets"] == (["sdu"] if local else [])


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


def test_what_is_effective_is_shown_without_secrets() -> None:
    changes = {
        "dayabay": {
            "altbackup_ssh_key": "/home/scm/.ssh/secret_key",
            "altbackup_ssh_args": "-4 -o 'ProxyCommand=sshpass -p hunter2 ssh gate' -o ProxyJump=gate.example.org -o SetEnv=TOKEN=hunter2",
        }
    }
    plan = plan_of(changes)
    shown = effective(plan, "dayabay")
    assert "hunter2" not in json.dumps(shown)
    assert shown["source"]["ssh_key"] == "/home/scm/.ssh/secret_key"
    assert shown["source"]["ssh_args"] == [
        "-4",
        "-o",
        f"ProxyCommand={MASK}",
        "-o",
        "ProxyJump=gate.example.org",
        "-o",
        f"SetEnv={MASK}",
    ]
    assert {"host", "stamp", "day", "timezone"} <= set(shown)
    assert "target" not in shown
    assert set(effective(plan, "sdu")) & {"source", "target"} == {"target"}
    assert effective(plan, "other")["host"] == "other"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": "x"}, {"password": MASK}),
        ({"db_passwd": ["x"]}, {"db_passwd": MASK}),
        ({"api_token": "x", "client_secret": "y"}, {"api_token": MASK, "client_secret": MASK}),
        ({"password": ""}, {"password": ""}),
        ({"expect": {"secrets": 2}}, {"expect": {"secrets": 2}}),
        ({"keys": ["git/x"], "ssh_key": "/x"}, {"keys": ["git/x"], "ssh_key": "/x"}),
        ({"private_key": "x", "key_content": "x"}, {"private_key": MASK, "key_content": MASK}),
        ({"a": "-----BEGIN RSA PRIVATE KEY-----"}, {"a": MASK}),
        ({"a": ["https://user:hunter2@example.org/x"]}, {"a": [f"https://user:{MASK}@example.org/x"]}),
        ({"a": "x password=hunter2 y"}, {"a": f"x password={MASK} y"}),
    ],
)
def test_secrets_are_masked(value: Any, shown: Any) -> None:
    assert mask(value) == shown


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


ITEMS = {"altbackup_base": "/b", "altbackup_items": [SVN], "altbackup_targets": ["cms01"]}


@pytest.mark.parametrize(
    ("group", "values", "meant"),
    [
        ("source", ITEMS, "sources"),
        ("Sources", ITEMS, "sources"),
        ("srouces", ITEMS, "sources"),
        ("soures", {"altbackup_discover": {"git": "/git"}}, "sources"),
        ("target", {"altbackup_target_base": "/copies"}, "targets"),
        ("TARGETS", {"altbackup_target_base": "/copies"}, "targets"),
        ("source", {"altbackup_base": "/b"}, "sources"),
        ("source", {"altbackup_items": Unreadable("is a template with 'x', which is undefined")}, "sources"),
    ],
)
def test_host_in_a_misspelt_group_is_an_error(group: str, values: dict[str, Any], meant: str) -> None:
    plan = plan_of({"s2": values}, groups={"all": [*VARIABLES, "s2"], group: ["s2"], "jinan": ["s2", "cms01"]})
    (error,) = plan["errors"]
    assert error.startswith("s2: ") and repr(group) in error and f"did you mean {meant!r}?" in error
    assert any(name in error for name in values)
    assert plan["notes"] == []


@pytest.mark.parametrize("groups", [{}, {"resources": ["s2"]}, {"jinan": ["s2", "cms01"]}, {"ungrouped": ["s2"]}])
def test_host_with_items_in_neither_group_is_a_note(groups: dict[str, list[str]]) -> None:
    plan = plan_of({"s2": ITEMS}, groups={"all": [*VARIABLES, "s2"], **groups})
    assert plan["errors"] == []
    (note,) = plan["notes"]
    assert "s2" in note and "altbackup_items" in note and "sources" in note


@pytest.mark.parametrize("group", ["ungrouped", "source"])
@pytest.mark.parametrize(
    "values",
    [{"altbackup_keep": 5}, {"altbackup_base": "/b"}, {"altbackup_items": [], "altbackup_discover": {}}],
    ids=["other variables", "a base alone", "nothing in them"],
)
def test_fresh_host_is_no_alarm(values: dict[str, Any], group: str) -> None:
    plan = plan_of({"fresh": values}, groups={"all": [*VARIABLES, "fresh"], group: ["fresh"]})
    assert plan["notes"] == []
    assert bool(plan["errors"]) == (group == "source" and "altbackup_base" in values)


@pytest.mark.parametrize("group", ["ungrouped", "source", "target"])
def test_what_all_hosts_have_from_the_group_all_makes_none_a_node(group: str) -> None:
    every = {"altbackup_items": [SVN], "altbackup_base": "/b", "altbackup_target_base": "/copies"}
    plan = plan_of({"fresh": {}}, groups={"all": [*VARIABLES, "fresh"], group: ["fresh"]}, every=every)
    assert (plan["errors"], plan["notes"]) == ([], [])


def test_what_was_given_up_and_renamed_is_known_to_all_trees_of_its_source() -> None:
    renamed = {**SVN, "former_names": ["older"]}
    plan = plan_of({"dayabay": {"altbackup_items": [renamed, TRAC], "altbackup_retired": {"svn/old": "2013/05/09"}}})
    assert plan["errors"] == []
    told = {"retired": {"svn/old": "2013/05/09"}, "former": {"svn/older": "svn/dybsvn"}}
    trees = [tree for node in plan["nodes"].values() for tree in node["trees"] if tree["source"] == "dayabay"]
    assert [tree["memory"] for tree in trees] == [told] * 3
    assert plan["sources"]["juno"]["memory"] == {"retired": {}, "former": {}}


def test_what_is_retired_with_extra_variables_is_retired_at_the_sources_of_the_play() -> None:
    given = {"altbackup_retired": {"svn/dybsvn": ""}}
    hosts = {source: dict(given) for source in ("dayabay", "juno")}
    for here, there in (("dayabay", "juno"), ("juno", "dayabay")):
        scope = Scope(["sources", "targets"], [here, "cms01"], here)
        plan = plan_of(hosts, scope=scope, extra=["altbackup_retired"])
        assert (plan["errors"], plan["given"]) == ([], {here: {"retired": {"svn/dybsvn": ""}}}), there
        assert plan["sources"][here]["memory"]["retired"] == {}
    scope = Scope(["sources", "targets"], ["cms01"], "cms01")
    (error,) = plan_of(hosts, scope=scope, extra=["altbackup_retired"])["errors"]
    assert "there is none among cms01" in error and "--limit" in error


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


def test_names_that_changed_and_times_away_are_known_where_they_matter() -> None:
    plan = plan_of(
        {
            "dayabay": {"altbackup_former_names": ["old"]},
            "cms01": {"altbackup_absent_for": "14d", "altbackup_former_names": ["old"]},
        }
    )
    assert plan["errors"] == []
    assert [tree["former_names"] for node in ("cms01", "sdu") for tree in plan["nodes"][node]["trees"]] == [
        ["old"],
        ["old"],
        [],
    ]
    assert [plan["targets"][name]["absent_for"] for name in ("cms01", "sdu")] == [1209600.0, 0.0]


def test_items_and_nodes_are_adopted_each_by_their_names() -> None:
    plan = plan_of(every={"altbackup_adopt": ["dayabay/svn/dybsvn", "cms01"]})
    assert (plan["errors"], plan["adopt"], plan["adopted_nodes"]) == ([], ["dayabay/svn/dybsvn"], ["cms01"])
    errors = plan_of(every={"altbackup_adopt": ["cms1"]})["errors"]
    assert errors == [
        "altbackup_adopt: 'cms1' is neither an item, written as source/category/name, nor a source, target or store, did you mean 'cms01'?"
    ]


def test_a_pause_is_entered_at_its_node_and_one_that_is_too_long_is_an_error() -> None:
    plan = plan_of({"dayabay": {"altbackup_pause_until": "2013/05/11 08:00"}})
    assert plan["errors"] == []
    assert [plan["nodes"][host]["pause_until"] for host in ("dayabay", "cms01")] == [1368259200.0, 0.0]
    (error,) = plan_of({"cms01": {"altbackup_pause_until": "2014/05/11"}})["errors"]
    assert error.startswith("cms01: altbackup_pause_until is more than 90 days ahead")
