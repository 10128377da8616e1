"""Findings of the stages are gathered completely: failures of every form, nodes that are down, items that passed."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import GIT, PLAN, SVN, TREE, loop

from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import KEYS, failure
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.trees import open_trees, source_trees
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Place, failure_of_entry


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        ({}, []),
        ({"skipped": True, "failures": [{"reason": "no"}]}, []),
        ({"changed": True, "failures": []}, []),
        (
            {"failures": [{"reason": "no space", "category": "svn", "name": "dybsvn"}]},
            [("dayabay", "", "dump", "svn", "no space")],
        ),
        ({"unreachable": True, "msg": "no route"}, [("dayabay", "", "dump", "", "unreachable: no route")]),
        ({"failed": True, "msg": "MODULE FAILURE", "rc": 1}, [("dayabay", "", "dump", "", "MODULE FAILURE")]),
        ({"failed": True}, [("dayabay", "", "dump", "", "it said nothing")]),
        (loop({"unreachable": True, "msg": "timed out"}), [("dayabay", "cms01", "dump", "", "unreachable: timed out")]),
        (loop({"failures": [{"reason": "no"}]}, {"failures": []}), [("dayabay", "cms01", "dump", "", "no")]),
        (
            {"failures": [{"reason": "cut", "delegate": "sdu", "stage": "synchronize"}]},
            [("dayabay", "sdu", "synchronize", "", "cut")],
        ),
    ],
)
def test_failures_of_every_form_are_recorded(registered: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    state = outcomes.record({}, registered, "dump", "dayabay")
    assert [
        tuple(entry[key] for key in ("node", "delegate", "stage", "category", "reason")) for entry in state["failures"]
    ] == expected
    assert all(set(KEYS) <= set(entry) for entry in state["failures"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Task failed: over ssh: no route to host", "over ssh: no route to host"),
        (
            "Task failed: Make sure it can be reached over ssh: ",
            "Make sure it can be reached over ssh; ssh said nothing",
        ),
        (None, "it said nothing"),
        (
            f"Failed to connect via ssh: {'@' * 59}\r\n@    WARNING: HOST KEY HAS CHANGED!     @\r\n{'@' * 59}\r\nIT IS",
            "Failed to connect via ssh: WARNING: HOST KEY HAS CHANGED!\nIT IS",
        ),
    ],
)
def test_unreachable_node_is_said_to_be_so_with_the_words_of_ssh(said: str | None, expected: str) -> None:
    (failure,) = outcomes.failures_of({"unreachable": True, "msg": said}, "dump", "dayabay")
    assert failure["reason"] == f"unreachable: {expected}"


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (137, "Killed\n", "killed by SIGKILL (was memory short? the kernel's log of that node tells): Killed"),
        (-15, "", "killed by SIGTERM"),
        (1, "Traceback:\nMemoryError\n", "exit code 1: MemoryError"),
        (255, "", "exit code 255"),
        (None, "", "exit code None"),
    ],
)
def test_module_without_a_result_is_said_to_have_ended_so(code: int | None, said: str, expected: str) -> None:
    result = {"failed": True, "rc": code, "module_stdout": "", "module_stderr": said, "msg": "No start of json char"}
    (failure,) = outcomes.failures_of(result, "dump", "dayabay")
    assert failure["reason"] == f"the module ended without a result: {expected}"


@pytest.mark.parametrize("key", ["module_stderr", "module_stdout"])
@pytest.mark.parametrize(
    "said",
    [
        "/bin/sh: 1: /usr/bin/python3: not found\n",
        "bash: line 1: /opt/bin/python3.12: No such file or directory\r\nShared connection to cms01 closed.\r\n",
        "sh: python: command not found\n",
        "sudo: /usr/bin/python3: command not found\n",
        "pyenv: python3.13: command not found\n\nThe `python3.13' command exists in these versions:\n  3.13.1\n\nNote: how to have both\n",
    ],
)
def test_a_node_without_python_is_said_to_have_none(said: str, key: str) -> None:
    result = {
        "failed": True,
        "rc": 127,
        "module_stdout": "",
        "module_stderr": "",
        "msg": "No start of json char",
        key: said,
    }
    (failure,) = outcomes.failures_of(result, "preflight", "dayabay")
    assert failure["reason"].startswith(
        "Python is missing on this node, or ansible_python_interpreter names another place ("
    )
    assert "install python3 there" in failure["reason"]
    assert failure["reason"].endswith(said.split("\n", maxsplit=1)[0].strip())


def test_records_add_up() -> None:
    state = outcomes.record({}, {"failures": [{"reason": "one"}], "notes": ["a note"]}, "dump", "dayabay")
    state = outcomes.record(state, {"failures": [{"reason": "two"}]}, "purge", "dayabay")
    assert [entry["reason"] for entry in state["failures"]] == ["one", "two"]
    assert state["notes"] == ["dayabay: a note"]


@pytest.mark.parametrize(
    ("item", "node", "title"),
    [
        ({"node": "cms01", "source": "dayabay", "role": "target"}, "cms01", "dayabay -> cms01"),
        ({"node": "cms01", "source": "dayabay", "role": "target"}, "dayabay", "dayabay -> cms01"),
        ({"node": "cms01", "base": "/x", "source": {"host": "x"}}, "dayabay", "dayabay -> cms01"),
        ({"node": "dayabay", "source": "dayabay", "role": "source"}, "dayabay", "dayabay"),
        ("cms01", "dayabay", "cms01"),
    ],
)
def test_a_note_names_the_tree_that_it_is_of(item: object, node: str, title: str) -> None:
    registered = {"results": [{"item": item, "ansible_loop_var": "item", "notes": ["a note"]}]}
    assert outcomes.record({}, registered, "purge", node)["notes"] == [f"{title}: a note"]


def test_what_purge_leaves_alone_is_told_once() -> None:
    found = {"unverified": ["svn/x/a", "svn/x/b"], "failures": [{"reason": "b does not match", "relpath": "svn/x/b"}]}
    state = outcomes.record({}, loop(found), "purge", "dayabay")
    assert len(state["failures"]) == 1
    (note,) = state["notes"]
    assert note.startswith("dayabay -> cms01: svn/x/a is not verified")


@pytest.mark.parametrize(
    ("registered", "down"),
    [
        (loop({"unreachable": True, "msg": "x"}), ["cms01"]),
        (loop({"failed": True, "msg": "x"}), ["cms01"]),
        (loop({"usable": False, "failures": [{"reason": "no marker"}]}), ["cms01"]),
        (loop({"failures": [{"reason": "one bad item"}]}), []),
        ({"unreachable": True}, ["dayabay"]),
        ({"unreachable_peers": ["sdu"]}, ["sdu"]),
    ],
)
def test_node_that_cannot_be_used_is_down_for_later_stages(registered: dict[str, Any], down: list[str]) -> None:
    state = outcomes.record({}, registered, "preflight", "dayabay")
    assert state["down"] == down
    left = open_trees(source_trees(PLAN, "dayabay", targets=True), state)
    assert {tree["node"] for tree in left} == {"cms01", "sdu"} - set(down)


OWN = {**TREE, "node": "dayabay"}
"""The tree of a source that is its own target"""


@pytest.mark.parametrize(
    ("registered", "left"),
    [
        ({"usable": True, "unusable": ["/copies"]}, ["source"]),
        ({"usable": True, "unusable": ["/backup"]}, ["target"]),
        ({"usable": False, "unusable": ["/backup", "/copies"]}, []),
        ({"results": [{"ansible_loop_var": "tree", "tree": OWN, "usable": False}]}, ["source"]),
        ({"results": [{"ansible_loop_var": "tree", "tree": OWN, "unreachable": True}]}, []),
    ],
)
def test_base_that_cannot_be_used_closes_its_own_trees_and_no_other_of_the_node(
    registered: dict[str, Any], left: list[str]
) -> None:
    state = outcomes.record({}, registered, "preflight", "dayabay")
    trees = [{"node": "dayabay", "source": "dayabay", "base": "/backup", "role": "source"}, OWN]
    assert [tree["role"] for tree in open_trees(trees, state)] == left
    assert state["down"] == ([] if left else ["dayabay"])


def test_item_passes_only_if_it_was_counted_and_read_good() -> None:
    counted = {"relpaths": {"dybsvn": [SVN], "toolbox": [GIT]}}
    bad = SVN.replace("dybsvn-1", "dybsvn-2")
    assert outcomes.summary(
        PLAN, {"a": outcomes.record_check({}, loop({**counted, "match": [SVN], "bytes_read": 9}), "dayabay")}
    ) == ["dayabay -> cms01: 1 tarball matches its dna, 9 bytes read"]
    for verified, passed in (
        ({"match": [SVN, GIT]}, ["git/toolbox", "svn/dybsvn"]),
        ({"match": [GIT], "mismatch": [SVN]}, ["git/toolbox"]),
        ({"match": [SVN, GIT], "missing": [bad]}, ["git/toolbox"]),
        ({"match": []}, []),
        ({"relpaths": {}, "unreachable": True}, []),
    ):
        state = outcomes.record_check({}, loop({**counted, **verified}), "dayabay")
        assert state["passed"] == {"cms01/dayabay/target": passed}


def test_what_a_run_has_read_is_known_of_each_tree() -> None:
    day = outcomes.record_check({}, loop({"day": "2013/05/10", "match": []}), "dayabay")
    whole = outcomes.record_check(
        {},
        {"results": [{"ansible_loop_var": "tree", "tree": {**TREE, "check_scope": "all"}, "day": "2013/05/10"}]},
        "dayabay",
    )
    proved = outcomes.record({}, drilled("cms01", "aa"), "drill", "cms01")
    assert [outcomes.all_looked([state]) for state in (day, whole, proved)] == [
        {"dayabay -> cms01": ["2013/05/10"]},
        {"dayabay -> cms01": ["all"]},
        {"dayabay -> cms01": [SVN]},
    ]
    assert outcomes.all_looked([day, whole, {}]) == {"dayabay -> cms01": ["2013/05/10", "all"]}


def test_what_purge_removed_is_told_with_node_items_and_bytes() -> None:
    gone = [SVN, SVN.replace("104701", "104702"), GIT]
    result = {"removed": gone, "bytes_freed": 3 << 20, "failures": [{"reason": "one could not be removed"}]}
    state = outcomes.record({}, loop(result, {"removed": [], "bytes_freed": 0}), "purge", "dayabay")
    own = {"removed": [SVN], "bytes_freed": 0}
    state = outcomes.record(state, own, "purge", "dayabay", True)
    own_tree = {"ansible_loop_var": "tree", "tree": {**TREE, "node": "dayabay"}}
    state = outcomes.record(state, {"results": [{**own_tree, **own}]}, "purge", "dayabay")
    assert [line for line in outcomes.summary(PLAN, {"dayabay": state}) if "purge" in line] == [
        "dayabay: would purge 1 tarball on dayabay, 0 bytes would be freed: 1 of svn/dybsvn",
        "dayabay -> cms01: purged 3 tarballs on cms01, 3.0 MiB freed: 1 of git/toolbox, 2 of svn/dybsvn",
        "dayabay -> dayabay: purged 1 tarball on dayabay, 0 bytes freed: 1 of svn/dybsvn",
    ]
    assert [entry["items"] for entry in outcomes.purges([state])][1] == {"git/toolbox": 1, "svn/dybsvn": 2}


def test_a_purge_of_many_items_is_one_line() -> None:
    gone = [f"folders/n{number:03}/2013/05/10/104701/n{number:03}.tar.gz" for number in range(100)]
    state = outcomes.record({}, loop({"removed": gone, "bytes_freed": 1}), "purge", "dayabay")
    (line,) = outcomes.summary(PLAN, {"dayabay": state})
    assert "purged 100 tarballs on cms01, 1 byte freed: 1 of folders/n000, " in line
    assert line.endswith("1 of folders/n019, 80 of 80 more items")


def test_trees_of_a_source_that_is_its_own_target_are_told_apart() -> None:
    trees = [{**TREE, "node": "dayabay", "role": role} for role in ("source", "target")]

    def both(*results: dict[str, Any]) -> dict[str, Any]:
        return {
            "results": [
                {"ansible_loop_var": "tree", "tree": tree, **result}
                for tree, result in zip(trees, results, strict=True)
            ]
        }

    relpaths = {"relpaths": {"dybsvn": [SVN]}}
    found = both({**relpaths, "mismatch": [SVN]}, {**relpaths, "match": [SVN]})
    state = outcomes.record_check({}, found, "dayabay")
    assert state["passed"] == {"dayabay/dayabay/source": [], "dayabay/dayabay/target": ["svn/dybsvn"]}
    assert {title: found["match"] for title, found in state["checked"].items()} == {
        "dayabay": 0,
        "dayabay -> dayabay": 1,
    }


def test_a_discovery_that_failed_is_remembered_by_the_run() -> None:
    state = outcomes.record({}, {"discovered": True}, "preflight", "dayabay")
    assert state["discovered"] is True
    state = outcomes.record(state, {"discovered": False}, "preflight", "dayabay")
    state = outcomes.record(state, loop({"discovered": True}, {}), "preflight", "dayabay")
    assert state["discovered"] is False


def test_predicted_tarballs_pass_in_check_mode() -> None:
    state = outcomes.record(
        {}, {"tarballs": [{"relpath": SVN, "dig": ""}, {"relpath": GIT, "dig": "00"}]}, "dump", "dayabay"
    )
    assert state["predicted"] == [SVN]
    checked = outcomes.record_check(state, loop({"match": [], "relpaths": {"dybsvn": [SVN]}}), "dayabay")
    assert checked["passed"] == {"cms01/dayabay/target": ["svn/dybsvn"]}


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
    text = outcomes.report(outcomes.all_failures([*states, states[0]]))
    assert text.splitlines() == [
        "2 failures:",
        "  1. dayabay -> cms01: check of svn/dybsvn: first line",
        "    second",
        "  2. lingao: preflight: unreachable: timed out",
    ]
    own = outcomes.record({}, loop({"failures": [{"reason": "no"}]}), "check", "cms01")
    assert outcomes.report(own["failures"]).endswith("1. dayabay -> cms01: check: no")


def test_table_aligns_what_was_listed() -> None:
    entry = {
        "category": "svn",
        "name": "dybsvn",
        "stamp": "2013/05/10/104701",
        "relpath": SVN,
        "size": 1234567,
        "dig": "ab" * 32,
        "alg": "sha256",
        "state": "verified",
        "path": "/x",
    }
    (listed,) = outcomes.listed(loop({"tarballs": [entry]}), "dayabay")
    assert set(listed) == {*outcomes.LISTED_KEYS}
    assert outcomes.table([listed]) == [f"dayabay -> cms01  verified  1,234,567  abababababab  {SVN}"]
    stored = {**listed, "node": "vault", "role": "store"}
    assert outcomes.table([stored])[0].startswith("dayabay -> vault  verified")


@pytest.mark.parametrize(
    ("more", "state", "shown"),
    [
        ({"suspect": ["shrunk"]}, "suspect", "suspect"),
        ({"suspect": ["shrunk"], "incomplete": True}, "suspect", "suspect"),
        ({"incomplete": True, "hold": "x"}, "incomplete", "incomplete, hold: x"),
        ({"hold": "before\nthe move"}, "verified", "verified, hold: before\\nthe move"),
        ({"suspect": ["shrunk"], "state": "mismatch"}, "mismatch", "mismatch"),
    ],
)
def test_what_is_suspect_and_what_is_held_is_listed(more: dict[str, Any], state: str, shown: str) -> None:
    entry = {"relpath": SVN, "size": 1, "dig": "ab" * 32, "alg": "sha256", "state": "verified", **more}
    (listed,) = outcomes.listed(loop({"tarballs": [entry]}), "dayabay")
    assert (listed["state"], listed["suspect"], listed["hold"]) == (
        state,
        more.get("suspect", []),
        more.get("hold", ""),
    )
    assert outcomes.table([listed]) == [f"dayabay -> cms01  {shown}  1  abababababab  {SVN}"]


def test_trees_that_have_their_marks_are_known_with_what_is_held_there() -> None:
    hold = "svn/dybsvn/2013/05/10/104701"
    state = outcomes.record({}, loop({"marks_kept": True, "held": []}), "synchronize", "dayabay")
    state = outcomes.record(state, loop({"marks_kept": True, "held": [hold]}), "purge", "dayabay")
    state = outcomes.record(state, {"marks_kept": False, "held": []}, "dump", "dayabay")
    assert state["held"] == {"dayabay -> cms01": [hold]}
    state = outcomes.record(state, {"marks_kept": True, "held": []}, "dump", "dayabay")
    assert state["held"] == {"dayabay -> cms01": [hold], "dayabay": []}


DNA, OTHER = "sha256:aa:5", "sha256:bb:5"


def drilled(node: str, dig: str, role: str = "target") -> dict[str, Any]:
    tree = {**TREE, "node": node, "role": role}
    proof = {"relpath": SVN, "dig": dig, "alg": "sha256", "size": 5, "when": "2013-05-11T04:00:00Z"}
    return {"results": [{"tree": tree, "ansible_loop_var": "tree", "proved": [proof]}]}


def counted(node: str, dna: str, role: str = "target") -> dict[str, Any]:
    tree = {**TREE, "node": node, "role": role}
    return {"results": [{"tree": tree, "ansible_loop_var": "tree", "relpaths": {}, "dnas": {SVN: dna}}]}


def test_nodes_that_hold_different_contents_under_one_stamp_are_a_failure_that_names_them() -> None:
    states = [
        outcomes.record({}, drilled("cms01", "aa"), "drill", "cms01"),
        outcomes.record({}, drilled("dayabay", "bb", "source"), "drill", "dayabay"),
        outcomes.record_check({}, counted("sdu", DNA), "sdu"),
    ]
    (failure,) = outcomes.all_failures(states)
    assert (failure["node"], failure["category"], failure["name"]) == ("dayabay", "svn", "dybsvn")
    told = "nodes hold different contents under the one stamp 2013/05/10/104701: cms01 has sha256:aa:5; dayabay has sha256:bb:5; sdu has"
    assert failure["reason"].startswith(told)


def test_nodes_that_agree_or_hold_other_sources_copies_are_no_failure() -> None:
    states = [
        outcomes.record({}, drilled("cms01", "aa"), "drill", "cms01"),
        outcomes.record_check({}, counted("sdu", DNA), "sdu"),
        outcomes.record_check(
            {}, {"results": [{**counted("sdu", OTHER)["results"][0], "tree": {**TREE, "source": "x"}}]}, "sdu"
        ),
    ]
    assert outcomes.all_failures(states) == []


def test_one_thing_that_several_stages_find_is_told_once() -> None:
    registered = {"failures": [{"stage": "check", "reason": "is stamped later", "relpath": SVN}]}
    state = outcomes.record({}, registered, "synchronize", "dayabay")
    state = outcomes.record(state, registered, "purge", "dayabay")
    assert len(outcomes.all_failures([state])) == 1


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
    lines = outcomes.summary({}, states)
    assert [line for line in lines if "exfat" in line] == [f"note: cms01: {note}"]
    assert len([line for line in lines if "another" in line]) == 2


def test_what_is_known_of_good_copies_makes_no_second_failure_of_one() -> None:
    told = failure("check", "is of a time that has not come", relpath="svn/x/2099/01/01/000000/x.tar")
    states = [{"failures": [told]}, {"failures": [{**told, "good": "2013/05/09/104701"}]}, {"failures": [told]}]
    assert outcomes.all_failures(states) == [{**told, "good": "2013/05/09/104701"}]


def test_notes_of_the_plan_are_told() -> None:
    assert outcomes.summary({"notes": ["s2: altbackup_items is set"]}, {}) == ["note: s2: altbackup_items is set"]


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
    assert outcomes.report([entry]).endswith(f": {told}")
    assert failure_of_entry(entry, Place()).message.endswith(f": {told}")


def steady(base: str, needed: int, held: int, free: int = 10 << 30, device: int = 1) -> dict[str, Any]:
    return {"base": base, "needed": needed << 30, "held": held << 30, "free": free, "device": device}


def test_a_disk_that_will_be_too_small_is_noted_with_figures_once_for_all_its_trees() -> None:
    ihep = outcomes.record({}, loop({"steady": [steady("/copies/ihep", 9, 1)]}), "preflight", "ihep")
    dayabay = outcomes.record({}, loop({"steady": [steady("/copies/dayabay", 5, 2)]}), "preflight", "dayabay")
    assert outcomes.small_disks([ihep]) == []
    (note,) = outcomes.small_disks([ihep, dayabay])
    assert note.startswith(
        "cms01: 14 GiB are needed for what is kept below /copies/dayabay, /copies/ihep, once all of it is there"
    )
    assert "there is room for 13 GiB, of which 3.0 GiB are taken" in note
    assert f"note: {note}" in outcomes.summary(PLAN, {"ihep": ihep, "dayabay": dayabay})
    other = outcomes.record({}, {"steady": [steady("/backup", 5, 2, device=2)]}, "preflight", "cms01")
    assert outcomes.small_disks([ihep, other]) == []


def test_bytes_in_the_trash_are_told_beside_those_that_were_freed() -> None:
    state = outcomes.record(
        {}, loop({"removed": ["svn/x/1"], "bytes_freed": 5, "bytes_in_trash": 2048}), "purge", "dayabay"
    )
    (line,) = [line for line in outcomes.summary(PLAN, {"dayabay": state}) if "purge" in line]
    assert "purged 1 tarball on cms01, 5 bytes freed (2.0 KiB more when the trash is emptied): 1 of svn/x" in line
