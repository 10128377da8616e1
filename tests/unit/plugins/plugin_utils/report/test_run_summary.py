"""What a run has to say."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import GIT, PLAN, SVN, TREE, loop

from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import KEYS
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes, run_failures, run_summary
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Place, failure_of_entry


def test_what_purge_removed_is_told_with_node_items_and_bytes() -> None:
    gone = [SVN, SVN.replace("104701", "104702"), GIT]
    result = {"removed": gone, "bytes_freed": 3 << 20, "failures": [{"reason": "one could not be removed"}]}
    state = outcomes.record({}, loop(result, {"removed": [], "bytes_freed": 0}), "purge", "dayabay")
    own = {"removed": [SVN], "bytes_freed": 0}
    state = outcomes.record(state, own, "purge", "dayabay", True)
    own_tree = {"ansible_loop_var": "tree", "tree": {**TREE, "node": "dayabay"}}
    state = outcomes.record(state, {"results": [{**own_tree, **own}]}, "purge", "dayabay")
    assert [line for line in run_summary.summary(PLAN, {"dayabay": state}) if "purge" in line] == [
        "dayabay: would purge 1 tarball on dayabay, 0 bytes would be freed: 1 of svn/dybsvn",
        "dayabay -> cms01: purged 3 tarballs on cms01, 3.0 MiB freed: 1 of git/toolbox, 2 of svn/dybsvn",
        "dayabay -> dayabay: purged 1 tarball on dayabay, 0 bytes freed: 1 of svn/dybsvn",
    ]
    assert [entry["items"] for entry in run_summary.purges([state])][1] == {"git/toolbox": 1, "svn/dybsvn": 2}


def test_a_purge_of_many_items_is_one_line() -> None:
    gone = [f"folders/n{number:03}/2013/05/10/104701/n{number:03}.tar.gz" for number in range(100)]
    state = outcomes.record({}, loop({"removed": gone, "bytes_freed": 1}), "purge", "dayabay")
    (line,) = run_summary.summary(PLAN, {"dayabay": state})
    assert "purged 100 tarballs on cms01, 1 byte freed: 1 of folders/n000, " in line
    assert line.endswith("1 of folders/n019, 80 of 80 more items")


def test_report_lists_every_failure_once_with_its_place() -> None:
    states = [
        outcomes.record(
            {},
            loop({"failures": [{"reason": "first line\nsecond", "category": "svn", "name": "dybsvn"}]}),
            "check",
            "dayabay",
        )
    ]
    states.append(outcomes.record({}, {"unreachable": True, "msg": "timed out"}, "preflight", "lingao"))
    text = run_summary.report(run_failures.all_failures([*states, states[0]]))
    assert text.splitlines() == [
        "2 failures:",
        "  1. dayabay -> cms01: check of svn/dybsvn: first line",
        "    second",
        "  2. lingao: preflight: unreachable: timed out",
    ]
    own = outcomes.record({}, loop({"failures": [{"reason": "no"}]}), "check", "cms01")
    assert run_summary.report(own["failures"]).endswith("1. dayabay -> cms01: check: no")


def test_what_a_base_has_not_is_told_once_though_each_of_its_sources_looks_at_it() -> None:
    note = "/copies: its file system (exfat) has no hard links"
    states = {}
    for source in ("dayabay", "lingao"):
        result = {
            "ansible_loop_var": "tree",
            "tree": {**TREE, "source": source},
            "lacking": [note],
            "notes": [note, "another"],
        }
        states[source] = outcomes.record({}, {"results": [result]}, "preflight", source)
    lines = run_summary.summary({}, states)
    assert [line for line in lines if "exfat" in line] == [f"note: cms01: {note}"]
    assert len([line for line in lines if "another" in line]) == 2


def test_notes_of_the_plan_are_told() -> None:
    assert run_summary.summary({"notes": ["s2: altbackup_items is set"]}, {}) == ["note: s2: altbackup_items is set"]


@pytest.mark.parametrize(
    ("category", "name", "reason", "told"),
    [
        ("git", "r14", "item git 'r14': path /srv/x is no repository", "path /srv/x is no repository"),
        ("folders", "ex8", "item folder 'ex8': it is gone", "it is gone"),
        ("folders", "it's: a", 'item folder "it\'s: a": it is gone', "it is gone"),
        ("git", "r14", "item git 'r15': it is gone", "item git 'r15': it is gone"),
        ("", "r14", "item git 'r14': it is gone", "item git 'r14': it is gone"),
        ("git", "r14", "the item git 'r14': it is gone", "the item git 'r14': it is gone"),
    ],
)
def test_the_item_is_named_once(category: str, name: str, reason: str, told: str) -> None:
    entry = {
        **dict.fromkeys(KEYS, ""),
        "node": "s1",
        "stage": "dump",
        "category": category,
        "name": name,
        "reason": reason,
    }
    assert run_summary.report([entry]).endswith(f": {told}")
    assert failure_of_entry(entry, Place()).message.endswith(f": {told}")


def steady(base: str, needed: int, held: int, free: int = 10 << 30, device: int = 1) -> dict[str, Any]:
    return {"base": base, "needed": needed << 30, "held": held << 30, "free": free, "device": device}


def test_a_disk_that_will_be_too_small_is_noted_with_figures_once_for_all_its_trees() -> None:
    ihep = outcomes.record({}, loop({"steady": [steady("/copies/ihep", 9, 1)]}), "preflight", "ihep")
    dayabay = outcomes.record({}, loop({"steady": [steady("/copies/dayabay", 5, 2)]}), "preflight", "dayabay")
    assert run_summary.small_disks([ihep]) == []
    (note,) = run_summary.small_disks([ihep, dayabay])
    assert note.startswith(
        "cms01: 14 GiB are needed for what is kept below /copies/dayabay, /copies/ihep, once all of it is there"
    )
    assert "there is room for 13 GiB, of which 3.0 GiB are taken" in note
    assert f"note: {note}" in run_summary.summary(PLAN, {"ihep": ihep, "dayabay": dayabay})
    other = outcomes.record({}, {"steady": [steady("/backup", 5, 2, device=2)]}, "preflight", "cms01")
    assert run_summary.small_disks([ihep, other]) == []


def test_bytes_in_the_trash_are_told_beside_those_that_were_freed() -> None:
    state = outcomes.record(
        {}, loop({"removed": ["svn/x/1"], "bytes_freed": 5, "bytes_in_trash": 2048}), "purge", "dayabay"
    )
    (line,) = [line for line in run_summary.summary(PLAN, {"dayabay": state}) if "purge" in line]
    assert "purged 1 tarball on cms01, 5 bytes freed (2.0 KiB more when the trash is emptied): 1 of svn/x" in line
