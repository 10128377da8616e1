"""The record of a run: nights as the controller sees them, without nodes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.loops import calls
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.notes import noted
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.history.record import (
    Circumstances,
    concerns,
    record_of,
    standing_of,
    token_of,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.checks import Scope
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.results import of_module
from ansible_collections.altbackup.core.plugins.plugin_utils.report.run_failures import all_failures

NOW = 1368182821.0
STAMP, BEFORE = "2013/05/10/104701", "2013/05/09/104701"
KEY = "svn/dybsvn"
SVN, OLD = (f"{KEY}/{stamp}/dybsvn-1.tar.zst" for stamp in (STAMP, BEFORE))
VARIABLES: dict[str, dict[str, Any]] = {
    "dayabay": {
        "altbackup_base": "/backup",
        "altbackup_items": [{"kind": "svn", "name": "dybsvn", "path": "/svn/dybsvn"}],
        "altbackup_discover": {"git": "/git"},
        "altbackup_targets": ["cms01"],
    },
    "cms01": {"altbackup_target_base": "/copies", "altbackup_max_age": "2d"},
}
ENTRY = {"relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256"}
IDENTITY = {
    "host": "h",
    "boot": "b",
    "pid": 5,
    "ticks": 9,
    "user": "scm",
    "controller": "hub",
    "command": "x y",
    "started": "2013-05-10 10:47:01 UTC",
}


class Night:
    """A run whose calls the test answers."""

    def __init__(
        self, parts: tuple[str, ...] = ("sources",), host: str = "dayabay", marks: Any = None, **more: Any
    ) -> None:
        groups = {"all": list(VARIABLES), "sources": ["dayabay"], "targets": ["cms01"]}
        scope = Scope(parts, list(VARIABLES), "")
        variables = {name: {**values, **more} for name, values in VARIABLES.items()}
        plan = build_plan(variables, groups, {}, NOW, scope=scope, run=IDENTITY, marks=marks or {})
        assert plan["errors"] == []
        hostvars = {name: {"ansible_connection": "ssh"} for name in VARIABLES}
        self.run = Run(plan, host, EMPTY, hostvars, {}, state_of=lambda _: {})

    def call(self, module: str, stage: str, result: dict[str, Any], over: str = "", **given: Any) -> None:
        """Make a call with this result, for the first entry of the loop."""
        about = calls(over, self.run)[0] if over else {}
        options = options_of(module, self.run, about, given) or {}
        read = result if result.get("unreachable") else of_module(result, stage)
        self.run = self.run.knowing(noted(module, stage, self.run, about, {**options, **given}, read))

    def record(self, **told: Any) -> Record:
        """Return the record of the run."""
        states = {self.run.host: self.run.state}
        circumstances = Circumstances("backup.yml", "inventory/x", "/runs/1", NOW + 60, {"ansible": "2.19"}, **told)
        return record_of(self.run.plan, states, all_failures(states.values()), circumstances)


def chain(night: Night, *, suspect: bool = False, passed: bool = True) -> Night:
    """Run a night from preflight to purge."""
    doubts = {"suspect": ["it shrank"]} if suspect else {}
    made = {**ENTRY, "seconds": 4.5, "bytes": 20, "record": doubts}
    good = {
        "match": [SVN],
        "relpaths": {"dybsvn": [SVN]},
        "dnas": {SVN: "sha256:aa:7"},
        "day": "2013/05/10",
        "bytes_read": 7,
    }
    newest = {
        "newest": [{**ENTRY, "relpath": OLD, "size": 6} if suspect else ENTRY],
        "suspects": {SVN: ["it shrank"]} if suspect else {},
    }
    bad = {
        "mismatch": [SVN],
        "failures": [
            {
                "stage": "check",
                "category": "svn",
                "name": "dybsvn",
                "relpath": SVN,
                "reason": "does not match",
                "good": BEFORE,
            }
        ],
    }
    steady = [{"base": "/backup", "held": 10, "needed": 20, "free": 500, "device": 1}]
    night.call(
        "preflight",
        "preflight",
        {"free": {"/backup": 500}, "steady": steady, "items": [{"kind": "git", "name": "new", "path": "/git/new"}]},
    )
    night.call("preflight", "preflight", {"free": {"/copies": 900}}, "targets")
    night.call("tarball_dump", "dump", {"tarballs": [made]})
    night.call(
        "tarball_check",
        "check",
        {**good, "listed": True, "tarballs": [{**ENTRY, "state": "verified", "record": doubts}]},
        "check",
    )
    night.call("tarball_prepare", "synchronize", {"send": [SVN], "free": 890}, "targets")
    night.call("tarball_send", "synchronize", {"sent": {"cms01": 7}, "wire": {"cms01": 3}})
    night.call("tarball_accept", "synchronize", {"tarballs": [ENTRY]}, "targets", retry=True)
    purged = {
        "kept": [OLD, SVN],
        "removed": [f"{KEY}/2013/05/01/104701/dybsvn-1.tar.zst"],
        "bytes_freed": 5,
        "free": 880,
        "marks_kept": True,
    }
    held = {"held": [f"{KEY}/{BEFORE}"]}
    on_target = {
        **purged,
        **held,
        **(good if passed else bad),
        **(newest if passed else {"newest": [], "suspects": {}, "removed": []}),
    }
    night.call("tarball_purge", "purge", on_target, "targets")
    night.call("tarball_purge", "purge", {**purged, **newest, "removed": [], "held": [], "free": 480}, "check")
    return night


def row(record: Record, node: str, key: str = KEY) -> dict[str, Any]:
    """Return what the record says of a copy, without its place."""
    (found,) = [
        entry for entry in record.copies if (entry["node"], f"{entry['category']}/{entry['name']}") == (node, key)
    ]
    return {name: value for name, value in found.items() if name not in ("node", "source", "role", "category", "name")}


def tree(record: Record, node: str) -> dict[str, Any]:
    (found,) = [dict(entry) for entry in record.trees if entry["node"] == node]
    return found


def test_a_good_night_tells_what_was_done_with_each_copy() -> None:
    record = chain(Night()).record()
    assert {
        name: record.run[name]
        for name in ("stamp", "state", "failures", "message", "user", "controller", "command", "folder")
    } == {
        "stamp": STAMP,
        "state": "good",
        "failures": 0,
        "message": "",
        "user": "scm",
        "controller": "hub",
        "command": "x y",
        "folder": "/runs/1",
    }
    assert (record.run["started"], record.run["ended"]) == (NOW, NOW + 60)
    assert row(record, "dayabay") == {
        "stamp": STAMP,
        "size": 7,
        "dumped": 1,
        "bytes": 20,
        "seconds": 4.5,
        "checked": 1,
        "holds": "",
        "suspect": "",
    }
    assert row(record, "cms01") == {
        "stamp": STAMP,
        "size": 7,
        "sent": 7,
        "checked": 1,
        "purged": 1,
        "holds": BEFORE,
        "suspect": "",
    }
    assert tree(record, "dayabay") == {
        "node": "dayabay",
        "source": "dayabay",
        "role": "source",
        "base": "/backup",
        "whole": 1,
        "max_age": 129600.0,
        "free": 480,
        "held": 10,
        "needed": 20,
        "sent": None,
        "wire": None,
        "matched": 1,
        "bytes_read": 7,
        "purged": 0,
        "bytes_freed": 0,
        "bytes_in_trash": 0,
        "problem": "",
    }
    told = tree(record, "cms01")
    assert {name: told[name] for name in ("base", "max_age", "free", "sent", "wire", "purged", "bytes_freed")} == {
        "base": "/copies/dayabay",
        "max_age": 172800.0,
        "free": 880,
        "sent": 7,
        "wire": 3,
        "purged": 1,
        "bytes_freed": 5,
    }
    assert record.failures == []


def test_an_item_that_was_discovered_and_not_dumped_has_its_rows() -> None:
    record = chain(Night()).record()
    assert row(record, "cms01", "git/new") == {"sent": 0, "checked": 0, "holds": ""}


def test_what_failed_of_an_item_stands_with_the_newest_copy_that_is_good_there() -> None:
    record = chain(Night(), passed=False).record()
    told = row(record, "cms01")
    assert (told["stamp"], told["problem"], told["checked"]) == (BEFORE, "does not match", 0)
    assert "size" not in told, "of that one it is not known"
    assert "problem" not in row(record, "dayabay"), "its own is good"
    assert (record.run["state"], record.run["failures"], record.run["message"]) == ("failed", 1, "does not match")
    (failed,) = record.failures
    assert (failed["tree"], failed["category"], failed["name"], failed["good"]) == (
        "dayabay -> cms01",
        "svn",
        "dybsvn",
        BEFORE,
    )
    assert tree(record, "cms01")["problem"] == ""


def test_what_a_check_of_the_source_finds_bad_is_no_good_copy() -> None:
    night = Night()
    night.call("preflight", "preflight", {})
    night.call("tarball_dump", "dump", {"tarballs": [ENTRY]})
    assert row(night.record(), "dayabay")["stamp"] == STAMP
    found = {"stage": "check", "category": "svn", "name": "dybsvn", "relpath": SVN, "reason": "does not match"}
    night.call("tarball_check", "check", {"mismatch": [SVN], "failures": [found]}, "check")
    assert "stamp" not in row(night.record(), "dayabay"), "which one is good is not known"


def test_a_suspect_is_no_good_copy_on_any_node() -> None:
    record = chain(Night(), suspect=True).record()
    for node in ("dayabay", "cms01"):
        told = row(record, node)
        assert (told["stamp"], told["size"], told["suspect"]) == (BEFORE, 6, "it shrank"), node


def test_a_suspect_is_known_from_its_record_where_nothing_was_purged_unless_it_was_accepted() -> None:
    for marks, expected in (({}, (None, "it shrank")), ({"dayabay": {"accepted": {KEY: STAMP}}}, (STAMP, ""))):
        night = Night(marks=marks)
        night.call("preflight", "preflight", {})
        night.call("tarball_dump", "dump", {"tarballs": [{**ENTRY, "record": {"suspect": ["it shrank"]}}]})
        told = row(night.record(), "dayabay")
        assert (told.get("stamp"), told["suspect"]) == expected


def test_what_is_not_whole_is_no_good_copy() -> None:
    night = Night()
    night.call("preflight", "preflight", {})
    night.call("tarball_dump", "dump", {"tarballs": [{**ENTRY, "record": {"incomplete": ["one file"]}}]})
    assert "stamp" not in row(night.record(), "dayabay")


def test_a_target_that_was_not_reached_is_told_of_as_a_tree() -> None:
    night = Night()
    night.call("preflight", "preflight", {})
    night.call("preflight", "preflight", {"unreachable": True, "msg": "no route"}, "targets")
    record = night.record()
    assert (tree(record, "cms01")["problem"], tree(record, "cms01")["whole"]) == ("unreachable: no route", 1)
    assert tree(record, "dayabay")["problem"] == ""
    assert row(record, "cms01") == {}


@pytest.mark.parametrize(
    ("doubts", "late"), [({}, [BEFORE]), ({"suspect": ["it shrank"]}, []), ({"incomplete": ["wiki"]}, [])]
)
def test_what_a_target_gets_of_an_earlier_night_is_told_if_it_is_good(doubts: dict[str, Any], late: list[str]) -> None:
    night = Night()
    old = {**ENTRY, "relpath": OLD, "size": 6, "state": "verified", "record": doubts}
    offer = [{**ENTRY, "state": "verified", "record": {}}, old]
    night.run = night.run.knowing({**night.run.state, "offer": offer})
    night.call("tarball_accept", "synchronize", {"tarballs": [ENTRY, old]}, "targets", retry=True)
    place = {"node": "cms01", "source": "dayabay", "role": "target", "category": "svn", "name": "dybsvn"}
    assert night.record().late == [{**place, "stamp": stamp, "size": 6} for stamp in late]


def test_hosts_that_ansible_gave_up_are_a_failure() -> None:
    record = chain(Night()).record(gone=["dayabay"])
    assert (record.run["state"], record.run["failures"], record.run["message"]) == (
        "failed",
        1,
        "dayabay: given up by Ansible",
    )


LISTED = [
    {**ENTRY, "relpath": OLD, "size": 6, "state": "verified", "hold": "why", "proved": "2013-05-09T12:00:00Z"},
    {**ENTRY, "state": "verified", "suspect": ["it shrank"]},
    {**ENTRY, "relpath": "git/x/2013/05/10/104701/x.tar.zst", "state": "missing", "dig": "", "alg": ""},
]
LISTED = [
    {
        **dict(zip(("category", "name"), entry["relpath"].split("/"), strict=False)),
        **entry,
        "stamp": "/".join(entry["relpath"].split("/")[2:6]),
    }
    for entry in LISTED
]


def listing(**more: Any) -> Record:
    night = Night(("sources", "targets"), "cms01", **more)
    night.call("tarball_list", "list", {"listed": True, "tarballs": LISTED, "free": 800}, "list")
    return night.record()


def test_a_list_tells_how_copies_stand() -> None:
    record = listing()
    assert [entry["node"] for entry in record.trees] == ["cms01"], "of the node that was asked"
    assert row(record, "cms01") == {
        "stamp": BEFORE,
        "size": 6,
        "suspect": "it shrank",
        "holds": BEFORE,
        "proved": "2013-05-09T12:00:00Z",
    }
    assert row(record, "cms01", "git/x") == {"stamp": "", "suspect": "", "holds": ""}
    assert (tree(record, "cms01")["free"], tree(record, "cms01")["whole"]) == (800, 1)


def test_all_trees_of_the_inventory_are_told_unless_some_were_left_out() -> None:
    both = [("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target")]
    record = listing()
    assert record.inventory == both, "also those that the run was not about"
    assert record.of(["juno"]).inventory == [] and record.of(["dayabay"]).inventory == both
    assert Night(altbackup_only_targets=["cms01"]).record().inventory is None


def test_a_list_of_one_day_does_not_tell_what_is_newest() -> None:
    assert "stamp" not in row(listing(altbackup_day="2013/05/09"), "cms01")


def test_what_is_retired_is_not_missed() -> None:
    assert [entry["name"] for entry in listing(altbackup_retired={"git/x": "2013/05/01"}).copies] == ["dybsvn"]
    for day, names in (("2013/05/01", ["dybsvn"]), ("", ["dybsvn", "x"])):
        marks = {"dayabay": {"retired": {"git/x": day}}}
        assert [entry["name"] for entry in listing(marks=marks).copies] == names, "nor what a mark retires"


def test_a_drill_tells_of_what_it_proved_alone() -> None:
    items = [*VARIABLES["dayabay"]["altbackup_items"], {"kind": "svn", "name": "other", "path": "/svn/other"}]
    night = Night(("sources", "targets"), "cms01", altbackup_items=items)
    proof = {**ENTRY, "kind": "svn", "when": "2013-05-10T12:00:00Z", "seconds": 3.0}
    night.call("tarball_drill", "drill", {"proved": [proof]}, "drill")
    record = night.record()
    assert row(record, "cms01") == {"proved": "2013-05-10T12:00:00Z", "proof_seconds": 3.0}
    assert (len(record.copies), tree(record, "cms01")["whole"]) == (1, 0)


def test_a_drill_tells_of_items_that_were_discovered_too() -> None:
    night = Night(("sources", "targets"), "cms01")
    proof = {**ENTRY, "relpath": SVN.replace(KEY, "git/y"), "kind": "git", "when": "2013-05-10T12:00:00Z"}
    bad = {"stage": "drill", "category": "git", "name": "x", "reason": "it does not restore", "good": None}
    night.call("tarball_drill", "drill", {"proved": [proof], "failures": [bad]}, "drill")
    record = night.record()
    assert row(record, "cms01", "git/y")["proved"] == "2013-05-10T12:00:00Z"
    assert row(record, "cms01", "git/x")["problem"] == "it does not restore"


def test_secrets_do_not_come_into_a_record() -> None:
    night = Night()
    night.call(
        "preflight",
        "preflight",
        {"failures": [{"stage": "preflight", "reason": "fatal: https://scm:hunter2@example.org/x"}]},
    )
    record = night.record()
    assert "hunter2" not in str(record) and "https://scm:" in record.run["message"]


def test_a_run_is_told_from_others_by_its_process() -> None:
    assert token_of(IDENTITY) == token_of(dict(IDENTITY, command="z"))
    assert (
        len({token_of({**IDENTITY, **other}) for other in ({}, {"pid": 6}, {"boot": "c"}, {"ticks": 1}, {"host": "i"})})
        == 5
    )


@pytest.mark.parametrize(
    ("entry", "of"),
    [
        ({"node": "dayabay"}, ["source"]),
        ({"node": "dayabay", "delegate": "cms01"}, ["target"]),
        ({"node": "cms01"}, ["target"]),
        ({"node": "dayabay", "delegate": "cms01", "tree": "dayabay -> cms01"}, ["target"]),
        ({"node": "cms01", "tree": "juno -> cms01"}, []),
        ({"node": "juno", "delegate": "cms01"}, []),
        ({"node": "juno"}, []),
    ],
)
def test_a_failure_concerns_the_trees_on_its_node(entry: dict[str, str], of: list[str]) -> None:
    trees = [
        {"node": "dayabay", "source": "dayabay", "role": "source"},
        {"node": "cms01", "source": "dayabay", "role": "target"},
    ]
    assert [tree["role"] for tree in trees if concerns(entry, tree)] == of


def test_of_nothing_nothing_stands() -> None:
    assert standing_of([]) == {"stamp": "", "suspect": "", "holds": ""}
