"""The plan of a run: who does what, and every error of an inventory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers.inventories import NO_RULES, STAMP, SVN, TARGET_RULES, TRAC, VARIABLES, plan_of

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import effective
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable
from ansible_collections.altbackup.core.plugins.plugin_utils.report.secrecy import MASK


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
        "encrypt_to": [],
        "signing_key": "",
        "verify_every": 7,
        "shrink": 0.3,
        "churn": 0.5,
        "hooks": {},
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


def test_the_plan_is_json() -> None:
    plan = plan_of()
    assert json.loads(json.dumps(plan)) == plan


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


def test_a_pause_is_entered_at_its_node_and_one_that_is_too_long_is_an_error() -> None:
    plan = plan_of({"dayabay": {"altbackup_pause_until": "2013/05/11 08:00"}})
    assert plan["errors"] == []
    assert [plan["nodes"][host]["pause_until"] for host in ("dayabay", "cms01")] == [1368259200.0, 0.0]
    (error,) = plan_of({"cms01": {"altbackup_pause_until": "2014/05/11"}})["errors"]
    assert error.startswith("cms01: altbackup_pause_until is more than 90 days ahead")


def test_hooks_stand_in_the_plan_in_one_form() -> None:
    stop = ["/usr/bin/systemctl", "stop", "wiki"]
    item = {**SVN, "before": [stop], "after": [{"argv": stop, "user": "www", "time_limit": "1m"}]}
    source = {"altbackup_items": [item], "altbackup_before": [stop], "altbackup_on_failure": [{"argv": stop}]}
    plan = plan_of({"dayabay": source})
    assert plan["errors"] == []
    plain = {"argv": stop, "time_limit": 600.0}
    assert plan["sources"]["dayabay"]["hooks"] == {"before": [plain], "on_failure": [plain]}
    (kept,) = plan["sources"]["dayabay"]["item_list"]
    assert (kept["before"], kept["after"]) == ([plain], [{"argv": stop, "user": "www", "time_limit": 60.0}])
    assert parse_item(kept) == parse_item(item)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("/usr/bin/systemctl stop wiki", "is not a list"),
        (["/usr/bin/systemctl", "stop"], "list of words, not of programs"),
        ([["systemctl"]], "absolute path"),
        ([{"argv": ["/bin/true"], "shell": True}], "unknown key 'shell'"),
    ],
)
def test_a_bad_hook_of_a_source_is_an_error_of_its_variable(value: Any, said: str) -> None:
    (error,) = plan_of({"dayabay": {"altbackup_before": value}})["errors"]
    assert "dayabay" in error and "altbackup_before" in error and said in error


def test_a_bad_hook_of_an_item_is_an_error_of_the_item_alone() -> None:
    plan = plan_of({"dayabay": {"altbackup_items": [{**SVN, "after": "/bin/true"}, TRAC]}})
    entry = plan["sources"]["dayabay"]
    assert plan["errors"] == [] and [item["kind"] for item in entry["item_list"]] == ["trac"]
    assert "after" in entry["item_errors"][0]["reason"]
