"""The collected events of a run: every row of what Ansible really sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report import call_failures, run_summary
from ansible_collections.altbackup.core.plugins.plugin_utils.report.collector import Collector
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import RECORDED, UNREACHABLE, Place

TASK = Place(uuid="1", name="Do it", path="/x/play.yml:7", play="Play")
REFUSED = "Failed to connect to the host via ssh: Connection refused"
ENTRY = {
    "node": "",
    "delegate": "",
    "stage": "check",
    "category": "svn",
    "name": "dybsvn",
    "relpath": "",
    "reason": "expecting 2 tarballs but got 1",
    "rc": 23,
    "stderr": "rsync: broken",
}


def messages(collector: Collector, *, ended: bool = True, **recap: dict[str, int]) -> list[tuple[str, str]]:
    """Return (title, message) of the failures at the end of a run."""
    return [(failure.title, failure.message) for failure in collector.finish(recap, ended=ended)["failures"]]


def test_failure_knows_all_of_its_task() -> None:
    collector = Collector()
    collector.ok("a", replace(TASK, uuid="0", name="First"), {})
    collector.failed_on("a", replace(TASK, delegate="b"), {"msg": "no"})
    (failure,) = collector.finish({"a": {"failures": 1}})["failures"]
    assert (failure.title, failure.headline, failure.place.path, failure.before) == (
        "a -> b",
        "no",
        "/x/play.yml:7",
        "1 task, the last: First",
    )


def test_ignored_failures_are_none() -> None:
    collector = Collector()
    collector.started()
    collector.failed_on("a", TASK, {"msg": "no"}, ignored=True)
    collector.failed_on("a", replace(TASK, uuid="2", ignore_unreachable=True), {"msg": REFUSED}, unreachable=True)
    assert messages(collector, a={"ok": 2, "ignored": 2}) == []


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"failures": 0, "rescued": 2}, []),
        ({"failures": 1, "rescued": 1}, ["second"]),
        ({"failures": 2, "rescued": 0}, ["first", "second"]),
        ({}, ["first", "second"]),
    ],
)
def test_rescued_failures_are_none(counts: dict[str, int], expected: list[str]) -> None:
    collector = Collector()
    collector.started()
    collector.failed_on("a", TASK, {"msg": "first"})
    collector.failed_on("a", replace(TASK, uuid="2"), {"msg": "second"})
    assert [message for _, message in messages(collector, a=counts)] == expected


def test_unreachable_host_is_told_beside_a_rescue() -> None:
    collector = Collector()
    collector.failed_on("a", TASK, {"msg": "mended"})
    collector.failed_on("a", replace(TASK, uuid="2"), {"msg": REFUSED, "unreachable": True}, unreachable=True)
    (failure,) = collector.finish({"a": {"rescued": 1, "unreachable": 1}})["failures"]
    assert (failure.kind, failure.message) == (UNREACHABLE, REFUSED)


def test_two_events_of_one_task_are_one_failure() -> None:
    collector = Collector()
    collector.failed_on("a", TASK, {"msg": "no", "async": 1})
    collector.failed_on("a", TASK, {"msg": "no", "finished": 1})
    assert messages(collector, a={"failures": 1}) == [("a", "no")]


def loop(collector: Collector, delegates: Sequence[str], items: list[dict[str, Any]], **options: Any) -> None:
    """Let a loop over delegates fail."""
    for delegate in delegates:
        collector.item("a", replace(TASK, delegate=delegate))
    collector.failed_on("a", TASK, {"results": items, "msg": "All items completed"}, **options)


def test_delegate_of_a_loop_is_known_from_its_items() -> None:
    collector = Collector()
    loop(
        collector,
        ["b", "gone"],
        [{"ok": 1}, {"unreachable": True, "msg": REFUSED, "d": "gone", "ansible_loop_var": "d"}],
        unreachable=True,
    )
    assert messages(collector) == [("a -> gone", f"item gone: {REFUSED}")]


def test_each_delegate_that_failed_is_told() -> None:
    collector = Collector()
    items = [
        {"failed": True, "msg": "no", "item": 1},
        {"unreachable": True, "msg": REFUSED, "item": 2},
        {"failed": True, "msg": "nor", "item": 3},
    ]
    loop(collector, ["b", "gone", "b"], items)
    failures = collector.finish({"a": {"failures": 1}})["failures"]
    assert [(failure.title, failure.kind, failure.headline) for failure in failures] == [
        ("a -> b", "failed", "2 of 3 items failed: item 1: no"),
        ("a -> gone", "unreachable", f"item 2: {REFUSED}"),
    ]


def test_loop_on_the_host_itself_has_no_delegate() -> None:
    collector = Collector()
    loop(collector, ["", "a"], [{"failed": True, "msg": "no", "item": 1}, {"failed": True, "msg": "nor", "item": 2}])
    assert [title for title, _ in messages(collector)] == ["a"]


def test_failures_that_a_stage_noted_are_told_with_its_task() -> None:
    collector = Collector()
    collector.ok("dayabay", TASK, {"failures": [ENTRY], "tarballs": []})
    collector.ok(
        "dayabay",
        replace(TASK, uuid="2"),
        {
            "results": [
                {"failures": [ENTRY], "item": {"node": "cms01", "source": "dayabay", "role": "target"}},
                {"failures": [{**ENTRY, "reason": "another"}], "item": {"node": "sdu"}},
            ]
        },
    )
    failures = collector.finish({"dayabay": {"ok": 2}})["failures"]
    assert [(failure.title, failure.kind, failure.message) for failure in failures] == [
        ("dayabay", RECORDED, "check of svn/dybsvn: expecting 2 tarballs but got 1"),
        ("dayabay -> cms01", RECORDED, "check of svn/dybsvn: expecting 2 tarballs but got 1"),
        ("dayabay -> sdu", RECORDED, "check of svn/dybsvn: another"),
    ]
    assert failures[0].place == TASK
    assert dict(failures[0].outputs) == {"return code": "23", "stderr": "rsync: broken"}


def test_same_failure_in_trees_of_two_sources_on_one_node_is_told_for_each() -> None:
    collector = Collector()
    trees = [{"node": "cms01", "source": source, "role": "target"} for source in ("dayabay", "lingao")]
    results = [{"failures": [ENTRY], "item": tree} for tree in trees]
    collector.ok("cms01", TASK, {"results": results})
    noted = call_failures.failures_of({"results": results}, "check", "cms01")
    collector.ok("cms01", TASK, {"ansible_facts": {"__report_outcome": {"failures": noted, "fine": []}}})
    failures = collector.finish({"cms01": {"ok": 2}})["failures"]
    assert [failure.title for failure in failures] == ["dayabay -> cms01", "lingao -> cms01"]


@pytest.mark.parametrize(
    "failures",
    [
        5,
        "text",
        [],
        [1],
        [{"reason": "no stage"}],
        [{"stage": "x"}],
        {"reason": "x", "stage": "y"},
        [{"stage": "x", "reason": ""}],
    ],
)
def test_what_other_modules_call_failures_is_none_of_ours(failures: Any) -> None:
    collector = Collector()
    collector.started()
    collector.ok("a", TASK, {"failures": failures, "item": {"role": "target"}})
    assert messages(collector, a={"ok": 1}) == []


def test_module_that_fails_with_failures_is_told_by_these() -> None:
    collector = Collector()
    collector.failed_on("a", TASK, {"msg": "2 failures:\n- x", "failures": [ENTRY, {**ENTRY, "reason": "another"}]})
    assert [message for _, message in messages(collector, a={"failures": 1})] == [
        "check of svn/dybsvn: expecting 2 tarballs but got 1",
        "check of svn/dybsvn: another",
    ]


def recorded(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Return entries as the controller records them."""
    return [{**ENTRY, "tree": "", "node": "dayabay", **entry} for entry in entries]


def test_report_at_the_end_adds_what_was_not_told_and_nothing_twice() -> None:
    collector = Collector()
    stage = replace(TASK, ignore_unreachable=True)
    collector.ok("dayabay", TASK, {"failures": [ENTRY]})
    items = [{"unreachable": True, "msg": REFUSED, "item": {"node": "cms01"}}]
    loop_place = replace(stage, uuid="2", path="/roles/check.yml:3")
    collector.failed_on("dayabay", loop_place, {"results": items, "msg": "All items completed"}, unreachable=True)
    entries = recorded(
        {}, {"delegate": "cms01", "category": "", "name": "", "reason": f"unreachable: {REFUSED}", "rc": None}
    )
    report = replace(TASK, uuid="9", path="/roles/report.yml:1", run_once=True)
    collector.ok(
        "localhost", report, {"ansible_facts": {"__report_outcome": {"failures": entries, "fine": ["dayabay: x"]}}}
    )
    collector.play_started("Report", ["dayabay", "localhost"], ["dayabay", "localhost"], False)
    collector.failed_on("localhost", report, {"msg": run_summary.report(entries), "assertion": "x"}, gone=[])
    collector.play_ended(["dayabay", "localhost"])
    fields = collector.finish({"dayabay": {"ok": 1}, "localhost": {"failures": 1}})
    assert [(failure.title, failure.kind, failure.place.path) for failure in fields["failures"]] == [
        ("dayabay", RECORDED, "/x/play.yml:7"),
        ("dayabay -> cms01", UNREACHABLE, "/roles/report.yml:1"),
    ]
    assert fields["fine"] == ("dayabay: x",)
    assert fields["unfinished"] == ()


def test_other_assertion_at_the_end_is_told() -> None:
    collector = Collector()
    collector.ok("localhost", TASK, {"ansible_facts": {"__report_outcome": {"failures": [], "fine": []}}})
    collector.failed_on("localhost", replace(TASK, uuid="2"), {"msg": "Nobody would be told of failures"})
    assert messages(collector) == [("localhost", "Nobody would be told of failures")]


def test_stamp_is_that_of_the_plan() -> None:
    collector = Collector()
    collector.ok("a", TASK, {"ansible_facts": {"__altbackup_plan": {"stamp": "2013/05/10/104701"}}})
    assert collector.finish({})["stamp"] == "2013/05/10/104701"
    for facts in (5, None, {"__altbackup_plan": 5}, {"__report_outcome": {"failures": 5, "fine": 7, "purged": 9}}):
        collector.ok("a", TASK, {"ansible_facts": facts})


@pytest.mark.parametrize(("fatal", "expected"), [(True, ("b", "c")), (False, ())])
def test_hosts_stopped_by_the_failure_of_another_did_not_finish(fatal: bool, expected: tuple[str, ...]) -> None:
    collector = Collector()
    collector.play_started("Play", "abcd", "abcd", False)
    collector.failed_on("a", replace(TASK, fatal=fatal), {"msg": "no"}, gone=["d", "a"])
    collector.play_ended("abcd")
    assert collector.finish({"a": {"failures": 1}})["unfinished"] == expected


def test_batches_that_never_began_did_not_finish() -> None:
    collector = Collector()
    collector.playbook_started(["Play", "Later"])
    collector.play_started("Play", "abcdef", "ab", True)
    collector.play_ended([])
    collector.play_started("Play", "abcdef", "cd", True)
    collector.failed_on("c", TASK, {"msg": "no"}, gone=["c"])
    collector.play_ended("cd")
    fields = collector.finish({"c": {"failures": 1}})
    assert fields["unfinished"] == ("d", "e", "f")
    assert fields["notes"] == ("Not started: play 'Later'.",)


@pytest.mark.parametrize(
    ("patterns", "words"), [(["nobody"], "no host of the inventory matched 'nobody'"), ([], "no task ran on any host")]
)
def test_run_that_did_nothing_is_a_failure(patterns: list[str], words: str) -> None:
    collector = Collector()
    for pattern in patterns:
        collector.no_hosts(pattern)
    fields = collector.finish({})
    assert words in fields["failures"][0].message
    assert "nothing was done" in fields["state"]


def test_play_without_hosts_beside_others_is_no_failure_but_noted_in_one() -> None:
    collector = Collector()
    collector.no_hosts("nobody")
    collector.started()
    assert collector.finish({"a": {"ok": 1}})["failures"] == ()
    collector.failed_on("a", TASK, {"msg": "no"})
    assert "'nobody'" in collector.finish({"a": {"failures": 1}})["notes"][0]


def test_failure_that_was_only_counted_is_told() -> None:
    collector = Collector()
    collector.started()
    assert [title for title, _ in messages(collector, a={"failures": 1}, b={"unreachable": 1}, c={"ok": 1})] == [
        "a",
        "b",
    ]


def test_run_that_ended_early_tells_what_had_failed() -> None:
    collector = Collector()
    assert not collector.failed
    collector.failed_on("a", TASK, {"msg": "no"})
    assert collector.failed
    fields = collector.finish({}, ended=False)
    assert (len(fields["failures"]), fields["state"]) == (1, "ended early")


def test_what_was_purged_is_kept_in_one_form() -> None:
    purged = {
        "node": "cms01",
        "source": "a",
        "tree": "a -> cms01",
        "tarballs": 2,
        "bytes": 7,
        "in_trash": 9,
        "predicted": False,
    }
    entry = {**purged, "items": {"svn/x": 2}}
    told = [{**entry, "more": 1}, 5, {"node": "x"}, {**entry, "items": 3}]
    collector = Collector()
    collector.ok("localhost", TASK, {"ansible_facts": {"__report_outcome": {"failures": [], "purged": told}}})
    assert collector.finish({"localhost": {"ok": 1}})["purged"] == (entry,)


def test_what_follows_from_a_failure_is_told_with_it_and_counts_for_none() -> None:
    collector = Collector()
    failed = {**ENTRY, "stage": "dump", "reason": "unreadable", "good": "2026/11/27/013000"}
    missing = {**ENTRY, "category": "", "reason": "expecting 1 tarball but got 0", "absent": True}
    collector.ok("dayabay", TASK, {"failures": [failed]})
    collector.ok("dayabay", replace(TASK, uuid="2"), {"failures": [missing]})
    trees = [{"node": node, "source": "dayabay", "role": "target"} for node in ("cms01", "sdu")]
    results = [{"ansible_loop_var": "tree", "tree": tree, "failures": [missing]} for tree in trees]
    collector.ok("dayabay", replace(TASK, uuid="3"), {"results": results})
    (failure,) = collector.finish({"dayabay": {"ok": 3}})["failures"]
    assert failure.message == "dump of svn/dybsvn: unreadable"
    assert failure.good == "last good copy there: 2026/11/27 01:30:00"
    assert failure.follows == ("so on dayabay, cms01, sdu: check: expecting 1 tarball but got 0",)


def test_tasks_that_ended_are_told_by_host_and_pair() -> None:
    collector = Collector()
    stage = Place(uuid="2", name="Ask", role="altbackup.core.synchronize")
    looked = [
        {"ansible_loop_var": "call", "call": {"node": "b", "source": "a", "role": "target"}},
        {"ansible_loop_var": "call", "call": {"node": "c"}, "unreachable": True},
        {"ansible_loop_var": "call", "call": {"node": "d"}, "skipped": True},
    ]
    collector.ok("a", TASK, {"msg": "x"})
    collector.failed_on("a", stage, {"results": looked, "msg": "All items completed"}, unreachable=True)
    collector.failed_on("e", TASK, {"msg": "no"})
    collector.failed_on("f", TASK, {"msg": "1 failure", "failures": [ENTRY]})
    collector.ok("a", replace(TASK, name="Report"), {"ansible_facts": {"__report_outcome": {"failures": []}}})
    asked = ("altbackup.core.synchronize : Ask",)
    assert collector.finish({}, ended=False)["done"] == {
        "a": ("Do it", "Report"),
        "b": asked,
        "a -> b": asked,
        "f": ("Do it",),
        "": ("Report",),
    }
