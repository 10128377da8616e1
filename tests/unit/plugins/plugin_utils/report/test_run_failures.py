"""Failures of a run, each once, and those that several nodes show."""

from __future__ import annotations

from helpers.plans import SVN, TREE, counted, drilled

from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import failure
from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes, run_failures

DNA, OTHER = "sha256:aa:5", "sha256:bb:5"


def test_nodes_that_hold_different_contents_under_one_stamp_are_a_failure_that_names_them() -> None:
    states = [
        outcomes.record({}, drilled("cms01", "aa"), "drill", "cms01"),
        outcomes.record({}, drilled("dayabay", "bb", "source"), "drill", "dayabay"),
        outcomes.record_check({}, counted("sdu", DNA), "sdu"),
    ]
    (failure,) = run_failures.all_failures(states)
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
    assert run_failures.all_failures(states) == []


def test_one_thing_that_several_stages_find_is_told_once() -> None:
    registered = {"failures": [{"stage": "check", "reason": "is stamped later", "relpath": SVN}]}
    state = outcomes.record({}, registered, "synchronize", "dayabay")
    state = outcomes.record(state, registered, "purge", "dayabay")
    assert len(run_failures.all_failures([state])) == 1


def test_what_is_known_of_good_copies_makes_no_second_failure_of_one() -> None:
    told = failure("check", "is of a time that has not come", relpath="svn/x/2099/01/01/000000/x.tar")
    states = [{"failures": [told]}, {"failures": [{**told, "good": "2013/05/09/104701"}]}, {"failures": [told]}]
    assert run_failures.all_failures(states) == [{**told, "good": "2013/05/09/104701"}]


def test_what_was_healed_is_said_first_and_is_itself_the_last_good_copy() -> None:
    told = {**failure("check", f"{SVN} does not match its dna", relpath=SVN), "good": "2013/05/09/104701"}
    file = {"failures": [told], "outcome": "healed from cms01: it is back", "healed": {SVN: "cms01"}}
    (healed,) = run_failures.all_failures([{"rotten": [file]}])
    assert healed["reason"] == f"healed from cms01: it is back; {SVN} does not match its dna"
    assert healed["good"] == "2013/05/10/104701"
    (lost,) = run_failures.all_failures([{"rotten": [{**file, "outcome": "NOT healed", "healed": {}}]}])
    assert (lost["reason"], lost["good"]) == (f"NOT healed; {told['reason']}", told["good"])
