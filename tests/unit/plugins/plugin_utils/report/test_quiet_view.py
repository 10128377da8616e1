"""Default output on a terminal: a line for each stage and host, then notes, a table, and each failure once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.collector import ENDED_EARLY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import RECORDED, Failure, Place
from ansible_collections.altbackup.core.plugins.plugin_utils.report.quiet_view import QuietView, closing, is_ours, took

ROOT = Path(__file__).resolve().parents[5]
FINE: dict[str, Any] = {"failures": (), "notes": (), "unfinished": (), "state": "good"}


def place(role: str, action: str = "altbackup.core.tarball_dump") -> Place:
    """Return a task of a role of this collection."""
    return Place(role=f"altbackup.core.{role}", action=action)


def loop(variable: str, *results: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the results of a loop over trees, given (tree, result) each."""
    return {"results": [{"ansible_loop_var": variable, variable: tree, **result} for tree, result in results]}


def told(view: QuietView, role: str, values: Any, action: str = "altbackup.core.tarball_dump") -> list[str]:
    """Return the line on a stage of a host, after its play."""
    lines = view.started("dayabay", place(role)) + view.ended("dayabay", place(role, action), values)
    return [line.text for line in lines + view.play_ended()]


def tree(node: str) -> dict[str, Any]:
    """Return a tree of dayabay."""
    return {"node": node, "source": "dayabay", "role": "source" if node == "dayabay" else "target"}


MADE = {"relpath": "svn/dybsvn/2013/05/10/104701/dybsvn-4.tar.zst", "size": 2048}
MISSING = {"failures": [{"stage": "check", "reason": "no", "category": "svn", "name": "dybsvn"}]}


@pytest.mark.parametrize(
    ("role", "values", "line"),
    [
        ("preflight", {"usable": True}, "preflight: ready"),
        ("dump", {"tarballs": [MADE, MADE]}, "dump: 2 tarballs, 4.0 KiB"),
        ("dump", {"tarballs": [], **MISSING}, "dump: 1 failed"),
        ("dump", {"tarballs": [MADE], **MISSING}, "dump: 1 tarball, 2.0 KiB; 1 failed"),
        (
            "check",
            loop("t", (tree("dayabay"), {"match": ["a"], "bytes_read": 9})),
            "check: 1 tarball matches its dna, 9 bytes read",
        ),
        (
            "check",
            loop(
                "t",
                (tree("cms01"), {"match": ["a"], "bytes_read": 9}),
                (tree("sdu"), {"match": ["a"], "bytes_read": 9}),
            ),
            "check: 2 tarballs on cms01, sdu match their dna, 18 bytes read",
        ),
        ("synchronize", {"sent": {"sdu": 2048, "cms01": 0}}, "synchronize: 2.0 KiB to sdu"),
        ("synchronize", loop("t", (tree("cms01"), {"linked": ["a", "b"]})), "synchronize: 2 tarballs unchanged"),
        ("synchronize", loop("t", (tree("cms01"), {"send": []})), "synchronize: nothing to send"),
        ("purge", loop("t", (tree("dayabay"), {"removed": []})), "purge: nothing to remove"),
        (
            "purge",
            loop("t", (tree("cms01"), {"removed": ["a"], "bytes_freed": 2048})),
            "purge: 1 tarball removed on cms01, 2.0 KiB freed",
        ),
        ("drill", loop("t", (tree("cms01"), {"proved": [MADE]})), "drill: 1 tarball on cms01 proved to restore"),
        ("preflight", {"unreachable": True, "msg": "no route"}, "preflight: 1 failed"),
    ],
)
def test_each_stage_is_one_line_for_a_host(role: str, values: Any, line: str) -> None:
    assert told(QuietView(lambda: 0.0), role, values) == [f"dayabay: {line}, 0.0 s"]


def test_what_follows_from_a_failure_is_missing_and_no_failure_of_its_stage() -> None:
    view = QuietView(lambda: 0.0)
    failed = {"stage": "dump", "reason": "unreadable", "category": "svn", "name": "dybsvn"}
    missing = {"stage": "check", "reason": "expecting 1", "category": "", "name": "dybsvn", "absent": True}
    assert told(view, "dump", {"tarballs": [], "failures": [failed]}) == ["dayabay: dump: 1 failed, 0.0 s"]
    trees = loop("t", (tree("cms01"), {"failures": [missing]}), (tree("sdu"), {"failures": [missing]}))
    assert told(view, "check", trees) == ["dayabay: check: 2 missing, 0.0 s"]


def test_the_end_tells_what_follows_below_its_cause() -> None:
    failure = Failure(
        "dayabay", "dump: no", RECORDED, good="no good copy there", follows=("so on cms01: check: missing",)
    )
    lines = [line.text for line in closing({}, {**FINE, "failures": (failure,)}, "x")]
    assert lines == [
        "1 failure:",
        "  1. dayabay: dump: no",
        "     no good copy there",
        "     so on cms01: check: missing",
    ]


@pytest.mark.parametrize("role", ["unlock", "list"])
def test_stages_that_have_nothing_to_say_say_nothing(role: str) -> None:
    assert told(QuietView(), role, {}) == []
    assert told(QuietView(), role, MISSING) != []


def test_a_stage_is_told_when_the_next_begins_with_the_time_that_it_took() -> None:
    clock = iter([0.0, 3.14])
    view = QuietView(lambda: next(clock, 9.0))
    view.started("dayabay", place("dump"))
    assert view.ended("dayabay", place("dump"), {"tarballs": [MADE]}) == []
    assert view.started("dayabay", place("altbackup", "debug")) == []
    (line,) = view.started("dayabay", place("check"))
    assert (line.text, line.bad) == ("dayabay: dump: 1 tarball, 2.0 KiB, 3.1 s", False)


def test_names_from_nodes_steer_no_terminal() -> None:
    values = loop("t", ({**tree("cms\x1b[31m01\n"), "role": "target"}, {"proved": [MADE]}))
    (line,) = told(QuietView(), "drill", values)
    assert "\x1b" not in line and "\n" not in line


def test_the_list_and_the_notice_are_told_and_the_settings_are_not() -> None:
    view = QuietView()
    debug = "ansible.builtin.debug"
    for role in ("list", "purge"):
        assert told(view, role, {"msg": ["one\x1b", "two"]}, debug) == ["one\\x1b", "two"]
    assert told(view, "altbackup", {"msg": "Nobody would be told"}, debug) == ["Nobody would be told"]
    assert told(view, "altbackup", {"msg": {"altbackup_base": "/x"}}, debug) == []


def test_the_stamp_is_told_once() -> None:
    view, facts = (
        QuietView(),
        {"ansible_facts": {"__altbackup_plan": {"stamp": "2013/05/10/104701", "timezone": "UTC"}}},
    )
    assert told(view, "altbackup", facts, "ansible.builtin.set_fact") == ["stamp 2013/05/10/104701 (UTC)"]
    assert told(view, "preflight", facts, "ansible.builtin.set_fact") == []


@pytest.mark.parametrize("odd", [None, 5, "text", [], {"results": 5}, {"ansible_facts": 3}, {"msg": b"x"}])
def test_odd_results_are_no_obstacle(odd: Any) -> None:
    view = QuietView()
    for role in ("dump", "list", "altbackup", "report"):
        for action in ("altbackup.core.tarball_dump", "ansible.builtin.debug", "ansible.builtin.set_fact"):
            told(view, role, odd, action)


def test_the_end_tells_notes_a_table_and_each_failure_once() -> None:
    rows = [["dayabay: svn/dybsvn", "2.0 KiB", "3.1", "dayabay, cms01"], ["lingao: git/x", "17 MiB", "12.0", "lingao"]]
    failure = Failure(
        "dayabay", "dump of git/y: no\nsecond line", RECORDED, place=Place(role="altbackup.core.dump", path="/x:1")
    )
    strange = Failure("dayabay", "shown when it came", place=Place(path="/play.yml:1"))
    lines = closing({"told": ["note: n"], "table": rows}, {**FINE, "failures": (failure, strange)}, "backup.yml")
    assert [line.text for line in lines] == [
        "note: n",
        "item                    size  seconds  where",
        "dayabay: svn/dybsvn  2.0 KiB      3.1  dayabay, cms01",
        "lingao: git/x         17 MiB     12.0  lingao",
        "1 failure:",
        "  1. dayabay: dump of git/y: no",
        "     second line",
    ]
    assert [line.text for line in closing({}, FINE, "backup.yml")] == ["backup.yml: nothing failed"]


def test_long_paths_are_shortened_in_the_middle() -> None:
    path = f"/srv/{'x' * 520}/end"
    fields = {
        **FINE,
        "failures": (Failure(host="dayabay", message=f"dump: {path} is gone", kind=RECORDED),),
        "notes": (f"note: {path}",),
    }
    lines = [line.text for line in closing({"told": [f"note: s1: {path}"]}, fields, "backup.yml")]
    assert max(map(len, lines)) < 220
    assert sum("/srv/xxx" in line and "xxx/end" in line and "..." in line for line in lines) == 3


def test_a_node_that_restored_nothing_is_not_done() -> None:
    assert told(QuietView(), "restore", {"found": []}, "altbackup.core.tarball_find") == []
    (line,) = told(QuietView(), "restore", {"restored": []}, "altbackup.core.tarball_restore")
    assert line.startswith("dayabay: restore: done")
    (line,) = told(QuietView(), "restore", MISSING, "altbackup.core.tarball_find")
    assert "1 failed" in line and "done" not in line


def test_many_notes_are_cut_short() -> None:
    lines = [line.text for line in closing({"told": [f"note: {number}" for number in range(50)]}, FINE, "x")]
    assert len(lines) == 14
    assert lines[12] == "and 38 more notes, which -v and the log show"


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (99.9, "99.9 s"), (100, "0:01:40"), (4000, "1:06:40")])
def test_times_are_told_as_people_read_them(seconds: float, text: str) -> None:
    assert took(seconds) == text


def test_tasks_of_this_collection_are_known_by_role_or_file(tmp_path: Path) -> None:
    assert is_ours(Place(role="altbackup.core.dump"))
    assert is_ours(Place(path=f"{ROOT}/playbooks/list.yml:20"))
    (tmp_path / "link").symlink_to(ROOT)
    assert is_ours(Place(path=f"{tmp_path}/link/roles/list/tasks/main.yml:2"))
    assert not is_ours(Place(path=f"{ROOT}/tests/play.yml:2"))
    assert not is_ours(Place(role="other.core.dump", path="/x/play.yml:3"))
    assert not is_ours(Place())


def test_a_run_that_ended_before_its_recap_is_not_called_good() -> None:
    (line,) = closing({}, {**FINE, "state": ENDED_EARLY}, "backup.yml")
    assert line.bad and line.text.startswith("backup.yml: ended early")
    assert closing({}, {**FINE, "state": ENDED_EARLY}, "backup.yml", is_explained=True) == []


def test_the_end_tells_once_what_is_the_same_of_several_hosts() -> None:
    undefined = [
        Failure(host, "'altbackup_x' is undefined", place=place("altbackup")) for host in ("dayabay", "lingao")
    ]
    base = [
        Failure(
            host, "preflight: base /x has no marker", RECORDED, "cms01", where=f"{host} -> cms01", follows=("a line",)
        )
        for host in ("dayabay", "lingao")
    ]
    lines = [line.text for line in closing({}, {**FINE, "failures": (*undefined, *base)}, "x")]
    assert lines == [
        "2 failures:",
        "  1. dayabay, lingao: 'altbackup_x' is undefined",
        "  2. dayabay, lingao -> cms01: preflight: base /x has no marker",
        "     a line",
    ]


def test_one_cause_met_in_several_trees_of_a_host_is_one_failure_of_its_stage() -> None:
    same = {"failures": [{"stage": "drill", "reason": "the kernel does not allow namespaces"}]}
    trees = loop(
        "t", *(({"node": "cms01", "source": source, "role": "target"}, same) for source in ("dayabay", "juno"))
    )
    assert told(QuietView(lambda: 0.0), "drill", trees) == ["dayabay: drill: 1 failed, 0.0 s"]
