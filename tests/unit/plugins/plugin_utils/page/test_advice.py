"""What is not well, in the order in which a person wants to know it, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.history.standing import Base, Standing, State
from ansible_collections.altbackup.core.plugins.plugin_utils.page.advice import troubles

HOUR = 3600.0
RUN = {"playbook": "backup.yml", "state": "failed", "folder": "/x", "message": "it broke"}


def standing(name: str = "dybsvn", node: str = "cms01", age: float | None = HOUR, **more: Any) -> Standing:
    return Standing("dayabay", node, "target", "svn", name, age=age, **more)


GOOD = standing()


def test_where_all_is_well_nothing_is_told() -> None:
    assert troubles(State((GOOD,))) == []


@pytest.mark.parametrize(
    ("more", "what", "first", "last"),
    [
        ({"age": None}, "has no good copy", "altbackup list dayabay/svn/dybsvn", "altbackup run backup"),
        ({"age": 37 * HOUR}, "has no new good copy", "altbackup list dayabay/svn/dybsvn", "altbackup run backup"),
        ({"problem": "no space"}, "failed in the last run about it", "altbackup log", "altbackup run backup"),
        (
            {"suspect": "it shrank"},
            "is suspect: not what the nights before let expect",
            "altbackup diff dayabay/svn/dybsvn",
            "altbackup accept dayabay/svn/dybsvn",
        ),
        (
            {"suspect": "it shrank", "problem": "no space"},
            "is suspect: not what the nights before let expect",
            "altbackup diff dayabay/svn/dybsvn",
            "altbackup accept dayabay/svn/dybsvn",
        ),
        (
            {"age": 37 * HOUR, "problem": "no space"},
            "has no new good copy and failed in the last run about it",
            "altbackup log",
            "altbackup run backup",
        ),
    ],
)
def test_an_item_that_is_not_well_has_what_to_do(more: dict[str, Any], what: str, first: str, last: str) -> None:
    (found,) = troubles(State((standing(**more),)))
    assert (found.what, found.item, found.steps[0], found.steps[-1]) == (what, "dayabay/svn/dybsvn", first, last)
    assert found.why == ((more.get("suspect") or more["problem"],) if len(more) > ("age" in more) else ())


def test_the_age_of_the_newest_good_copy_stands_beside_each_node() -> None:
    (found,) = troubles(State((standing(age=None), standing(node="sdu", age=None))))
    assert found.where == "cms01 (no good copy), sdu (no good copy)"
    (found,) = troubles(State(tuple(standing(node=f"n{number}", age=50 * HOUR) for number in range(5))))
    assert found.where.startswith("n0 (newest good copy 2 d old), n1 ") and "2 more" in found.where


def test_what_is_wrong_for_another_reason_is_another_trouble() -> None:
    found = troubles(
        State((standing(problem="a"), standing(node="sdu", problem="b"), standing(node="ihep", problem="a")))
    )
    assert [(entry.why, entry.where.count("(")) for entry in found] == [(("a",), 2), (("b",), 1)]


def test_the_worst_comes_first_and_what_is_of_all_before_items() -> None:
    copies = (
        standing("a", age=50 * HOUR),
        standing("b", problem="x"),
        standing("c", suspect="x"),
        standing("d", age=None),
        standing("e"),
    )
    base = Base("dayabay", "cms01", "target", "/copies", None, problem="no marker")
    found = troubles(State(copies, (base,), (RUN, {**RUN, "state": "good"})))
    assert [entry.item.rpartition("/")[2] for entry in found] == ["", "", "d", "c", "b", "a"]
    assert [entry.what for entry in found[:2]] == [
        "dayabay -> cms01 could not be used",
        "The last backup.yml ended with: failed",
    ]
    assert (found[0].why, found[1].why) == (("no marker",), ("it broke",))


@pytest.mark.parametrize(
    ("more", "why", "steps"),
    [
        ({}, ("it broke",), ("altbackup last", "altbackup log")),
        ({"folder": ""}, ("it broke",), ("altbackup run backup",)),
        ({"message": ""}, (), ("altbackup last", "altbackup log")),
    ],
)
def test_of_a_run_its_log_is_shown_where_there_is_one(
    more: dict[str, Any], why: tuple[str, ...], steps: tuple[str, ...]
) -> None:
    (found,) = troubles(State((GOOD,), runs=({**RUN, **more},)))
    assert (found.why, found.steps) == (why, steps)


def test_no_copy_at_all_is_the_first_thing() -> None:
    (found,) = troubles(State())
    assert found.what == "There is no copy of anything" and found.steps[-1] == "altbackup status --rebuild"


@pytest.mark.parametrize("name", ["it's", "a b", "$(reboot)", "`id`", "-x"])
def test_a_command_is_one_for_a_shell_whatever_an_item_is_called(name: str) -> None:
    import shlex

    (found,) = troubles(State((standing(name, age=None),)))
    assert shlex.split(found.steps[0]) == ["altbackup", "list", f"dayabay/svn/{name}"]
