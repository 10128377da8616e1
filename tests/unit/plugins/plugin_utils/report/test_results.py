"""Results of nodes are data with bounds: tables of lies, each a failure of that node, and the remaining result."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import action as module_call
from ansible_collections.altbackup.core.plugins.plugin_utils.report import (
    bounds,
    call_failures,
    outcomes,
    results,
    tarball_table,
)

ROOT = Path(__file__).resolve().parents[5]
MODULES = sorted(path.stem for path in (ROOT / "library").glob("[a-z]*.py"))
KEY = f"ssh-ed25519 {'A' * 68}"
STAMP = "2013/05/10/104701"
SVN = f"svn/dybsvn/{STAMP}/dybsvn-1.tar.zst"
GOOD = {"relpath": SVN, "size": 7, "dig": "00", "alg": "md5", "state": "verified"}
TREE = {"node": "liar", "source": "dayabay", "role": "target", "base": "/copies/dayabay"}
DEEP = json.loads("[" * 200 + "]" * 200)


def of_target(**result: Any) -> dict[str, Any]:
    """Return what a task of the source's registered that ran on a target."""
    return {"results": [{"ansible_loop_var": "tree", "tree": TREE, **result}]}


@pytest.mark.parametrize(
    ("lie", "said", "left"),
    [
        ({"notes": 5}, "notes is no list", None),
        ({"notes": {"a": 1}}, "notes is no list", None),
        ({"notes": ["good", 5, None]}, "notes entry 2 is no text; entry 3 is no text", ["good"]),
        ({"send": [{"a": 1}, SVN]}, "send entry 1 is no text", [SVN]),
        ({"send": [5] * 9}, "send entry 1 is no text; entry 2 is no text; entry 3 is no text; 6 more", []),
        ({"unreachable_peers": 5}, "unreachable_peers is no list", None),
        ({"usable": "maybe"}, "usable is neither true nor false", None),
        ({"busy": []}, "busy is neither true nor false", None),
        ({"incoming": 5}, "incoming is no text", None),
        ({"sent": {"cms01": "many"}}, "sent cms01 is no number", {}),
        ({"sent": {"cms01": -1}}, "sent cms01 is no number from 0", {}),
        ({"wire": float("nan")}, "wire is no number", None),
        ({"seconds": True}, "seconds is no number", None),
        ({"relpaths": {"a": ["../x"]}}, "is no path below a base", {"a": []}),
        ({"dnas": {SVN: "x"}}, "is no digest and size", {}),
        ({"items": [{"kind": "svn", "name": "a"}]}, "path is missing", []),
        ({"items": ["x"]}, "items entry 1 is no mapping", []),
        ({"contents": [{"relpath": SVN}]}, "path is missing", []),
        ({"contents": [{"relpath": SVN, "path": "x", "size": -1}]}, "size is no number from 0", []),
        ({"contents": [{"relpath": SVN, "path": "x", "type": "\x1b[31m"}]}, "type is no type of a member", []),
        ({"contents": [{"relpath": "../x", "path": "x"}]}, "relpath is no path below a base", []),
        ({"totals": {"read": "many"}}, "totals read is no number", {}),
        ({"tarballs": "x"}, "tarballs is no list", None),
        ({"tarballs": [GOOD, 5, {"size": 1}]}, "entry 2 is no mapping; entry 3 relpath is missing", [GOOD]),
        ({"tarballs": [{**GOOD, "relpath": "../../x"}]}, "relpath is no path below a base", []),
        ({"tarballs": [{**GOOD, "relpath": "/etc/shadow"}]}, "relpath is no path below a base", []),
        ({"tarballs": [{**GOOD, "size": 1 << 80}]}, "size is no number from 0 to 2**60", []),
        ({"tarballs": [{**GOOD, "size": "many"}]}, "size is no number", []),
        ({"tarballs": [{**GOOD, "dig": "é" * 64}]}, "dig is no digest", []),
        ({"tarballs": [{**GOOD, "stamp": "2099/01/01/000000"}]}, "has another stamp than its path", []),
        ({"tarballs": [{**GOOD, "name": "other"}]}, "has another name than its path", []),
        ({"tarballs": [{**GOOD, "record": [1]}]}, "record is no mapping", None),
        ({"tarballs": [{**GOOD, "record": {"a": DEEP}}]}, "record is larger or deeper", None),
        ({"tarballs": [{**GOOD, "record": {"a": "x" * (5 << 20)}}]}, "record is larger or deeper", None),
        ({"trees": [5, {"source": "a", "tarballs": "x"}]}, "entry 1 is no mapping; entry 2 tarballs is no list", []),
        (
            {"public_keys": [KEY, f"{KEY} comment", f'{KEY}\nrestrict,command="x" {KEY}', 5]},
            "entry 2 is no public key",
            [KEY],
        ),
        ({"host_keys": KEY}, "host_keys is no list", None),
        ({"answer": {"address": "192.0.2.7\n*", "does": "add"}}, "address is no address", {"does": "add"}),
        (
            {"answer": {"does": "\x1b[2J", "landlock": 1, "add_host": {}}},
            "does is no thing that a key does",
            {"landlock": 1},
        ),
        ({"answer": ["x"]}, "answer is no mapping", None),
        ({"refused": {"a": 1}}, "refused is no text", None),
        ({"sources": '*",command="x'}, "sources is no list of addresses", None),
        ({"sources": "any\n*"}, "sources is no list of addresses", None),
        ({"folder": "../x"}, "folder is no absolute path", None),
        ({"missing": "git"}, "missing is no list", None),
        ({"size": -1}, "size is no number from 0", None),
        ({"file_system": "ext4 {{ x }}"}, "file_system is no type of a file system", None),
        ({"proved": [5, {"relpath": SVN, "when": "\x1b[2J"}]}, "entry 2 when is no time", None),
    ],
)
def test_lie_is_a_failure_and_what_is_good_is_left(lie: dict[str, Any], said: str, left: Any) -> None:
    (key,) = lie
    read = results.read_result(lie, "check")
    (failure,) = read["failures"]
    assert failure["reason"].startswith("said what is no result: ")
    assert said in failure["reason"]
    assert failure["stage"] == "check"
    if left is not None:
        assert read.get(key) == left
    again = results.read_result(read)
    assert again == read, "what was read is not told again"


@pytest.mark.parametrize(
    "failures", ["x", 5, [5], DEEP, [{"stage": "check"}], [{"reason": 5}], [{"reason": "x" * (1 << 20)}]]
)
def test_failures_that_are_none_are_one(failures: Any) -> None:
    (told,) = call_failures.failures_of(of_target(failures=failures), "check", "dayabay")
    assert (told["node"], told["delegate"], told["stage"]) == ("dayabay", "liar", "check")
    assert told["reason"].startswith("said what is no result: failures ")
    assert len(told["reason"]) < 1200


def test_failures_without_end_are_cut_and_counted() -> None:
    told = call_failures.failures_of(of_target(failures=[{"reason": "bad"}] * 20_000), "check", "dayabay")
    assert len(told) == 1001
    assert "has 20000 entries, of which the first 1000 were read" in told[-1]["reason"]


def test_what_a_module_cannot_say_to_ansible_is_dropped() -> None:
    lie = {
        "changed": True,
        "notes": ["good"],
        "skipped": True,
        "unreachable": True,
        "results": [{"failed": True}],
        "ansible_loop_var": "x",
        "ansible_facts": {"altbackup_ssh_args": "-oProxyCommand=x"},
        "add_host": {"host_name": "evil"},
        "_ansible_no_log": True,
        "_ansible_item_label": "x",
        "censored": "x",
        "exceptional": 1,
    }
    assert results.of_module(lie) == {"changed": True, "notes": ["good"]}


def test_the_lines_in_which_a_folder_differs_are_shown_without_what_steers_a_terminal() -> None:
    shown = results.of_module({"diff": {"prepared": "-[mine]\n+\x1b]0;evil\x07\n", "before": "x"}})
    assert shown == {"diff": {"prepared": "-[mine]\n+\\x1b]0;evil\\x07\n"}}
    assert results.of_module(shown) == shown
    assert results.of_module({"diff": [{"before": "x"}]})["failures"]


def test_how_a_module_ended_is_told_within_bounds() -> None:
    ended = {
        "failed": True,
        "msg": "MODULE FAILURE",
        "rc": 1,
        "module_stdout": "x" * (20 << 20),
        "module_stderr": "why",
    }
    read = results.of_module(ended)
    assert {**read, "module_stdout": ""} == {**ended, "module_stdout": ""}
    assert len(read["module_stdout"]) == bounds.LONGEST
    assert "rc" not in results.of_module({"rc": "x"})


def test_a_targets_word_takes_no_other_node_out_of_the_run() -> None:
    lie = of_target(unreachable_peers=["cms01", "dayabay"], unusable=["/"], discovered=False, sent={"cms01": 5})
    state = outcomes.record({}, lie, "preflight", "dayabay")
    assert state["down"] == []
    assert (state["discovered"], state["sent"]) == (True, {})
    (told,) = state["failures"]
    assert (told["delegate"], told["reason"]) == ("liar", "says that / cannot be used, and not why")


def test_a_target_blames_itself_only() -> None:
    lie = of_target(failures=[{"reason": "is damaged", "delegate": "cms01", "node": "cms01"}])
    (told,) = call_failures.failures_of(lie, "check", "dayabay")
    assert (told["node"], told["delegate"]) == ("dayabay", "liar")


def test_a_target_that_a_source_does_not_reach_is_down_with_a_failure_of_its_own() -> None:
    why = {"stage": "preflight", "delegate": "cms01", "reason": "no route"}
    state = outcomes.record({}, {"unreachable_peers": ["cms01", "sdu"], "failures": [why]}, "preflight", "dayabay")
    assert state["down"] == ["cms01", "sdu"]
    assert [(entry["delegate"], entry["reason"]) for entry in state["failures"]] == [
        ("cms01", "no route"),
        ("sdu", "says that it cannot reach this one, and not why"),
    ]


def test_list_of_other_types_is_a_table_all_the_same() -> None:
    lie = {"tarballs": [{"relpath": SVN, "size": "\x1b"}, 5, {"relpath": SVN}, {"relpath": 3}]}
    rows = tarball_table.table(tarball_table.listed(lie, "dayabay"))
    assert [row.endswith(SVN) for row in rows] == [True]
    assert tarball_table.table([{**GOOD, "source": "a", "node": "a", "role": "source", "size": "many"}])


@pytest.mark.parametrize("module", MODULES)
def test_every_key_that_a_module_documents_is_read_and_its_sample_is_good(module: str) -> None:
    documented = yaml.safe_load(
        importlib.import_module(f"ansible_collections.altbackup.core.plugins.modules.{module}").RETURN
    )
    samples = {key: entry["sample"] for key, entry in documented.items()}
    assert set(samples) <= set(results.SCHEMA)
    assert "failures" not in results.read_result({key: value for key, value in samples.items() if key != "failures"})


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_called_by_what_reads_its_result(module: str) -> None:
    action = importlib.import_module(f"ansible_collections.altbackup.core.plugins.action.{module}")
    assert action.ActionModule is module_call.ActionModule


@pytest.mark.parametrize(
    "lie", ["yesterday", 5, ["x"], {"a": 1}, "2026/11/27/013000/../x", "2099/13/01/000000", "x" * (1 << 20)]
)
def test_lie_about_a_good_copy_changes_nothing_else_of_the_failure(lie: Any) -> None:
    honest = {"stage": "check", "category": "svn", "name": "x", "reason": "is damaged", "good": "2026/11/27/013000"}
    (good,) = call_failures.failures_of(of_target(failures=[honest]), "check", "dayabay")
    lied, told = call_failures.failures_of(of_target(failures=[{**honest, "good": lie}]), "check", "dayabay")
    assert lied == {key: value for key, value in good.items() if key != "good"}
    assert told["reason"].startswith("said what is no result: failures entry 1 good is ")
    (silent,) = call_failures.failures_of(of_target(failures=[{**honest, "good": ""}]), "check", "dayabay")
    assert silent == {**good, "good": ""}
