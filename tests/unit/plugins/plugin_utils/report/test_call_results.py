"""The results of a task's calls: what each was about, and on which node."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import TREE

from ansible_collections.altbackup.core.plugins.plugin_utils.report.call_results import CallResult, calls_of

OWN = {**TREE, "node": "dayabay", "role": "source"}
PLACELESS = ("dayabay", "", "")


def of_loop(about: Any, **more: Any) -> CallResult:
    return CallResult({"ansible_loop_var": "about", "about": about, **more}, "dayabay")


@pytest.mark.parametrize(
    ("about", "node", "delegate", "tree", "title", "place", "source"),
    [
        (TREE, "cms01", "cms01", "dayabay -> cms01", "dayabay -> cms01", ("cms01", "dayabay", "target"), "dayabay"),
        (OWN, "dayabay", "", "", "dayabay", ("dayabay", "dayabay", "source"), "dayabay"),
        ("sdu", "sdu", "sdu", "", "sdu", PLACELESS, "dayabay"),
        ({"target": "sdu"}, "sdu", "sdu", "", "sdu", PLACELESS, "dayabay"),
        ({"target": "sdu", "base": "/x"}, "sdu", "sdu", "", "dayabay -> sdu", PLACELESS, "dayabay"),
        ({"node": "dayabay", "base": "/x"}, "dayabay", "", "", "dayabay", PLACELESS, "dayabay"),
        ({}, "dayabay", "", "", "dayabay", PLACELESS, "dayabay"),
        ("", "dayabay", "", "", "dayabay", PLACELESS, "dayabay"),
        (None, "dayabay", "", "", "dayabay", PLACELESS, "dayabay"),
        ({"node": None}, "dayabay", "", "", "dayabay", PLACELESS, "dayabay"),
        ({"source": "juno"}, "dayabay", "", "", "dayabay", ("dayabay", "juno", "source"), "juno"),
        ({**TREE, "node": "dayabay"}, "dayabay", "", "dayabay -> dayabay", "dayabay -> dayabay", ("dayabay", "dayabay", "target"), "dayabay"),
    ],
)  # fmt: skip
def test_a_call_knows_what_it_was_about(
    about: Any, node: str, delegate: str, tree: str, title: str, place: tuple[str, str, str], source: str
) -> None:
    call = of_loop(about)
    assert call.is_of_loop
    assert (call.node, call.delegate, call.tree, call.title, call.place, call.source) == (
        node,
        delegate,
        tree,
        title,
        place,
        source,
    )


def test_a_call_without_a_loop_is_of_its_host() -> None:
    call = CallResult({"changed": False}, "dayabay")
    assert (call.is_of_loop, call.about, call.node, call.delegate) == (False, {}, "dayabay", "")


@pytest.mark.parametrize(
    ("values", "entries"),
    [({}, []), ({"kept": None}, []), ({"kept": []}, []), ({"kept": ["a", "b"]}, ["a", "b"]), ({"other": ["a"]}, [])],
)
def test_what_is_not_there_is_no_entry(values: dict[str, Any], entries: list[str]) -> None:
    assert CallResult(values, "dayabay").entries("kept") == entries


@pytest.mark.parametrize(
    ("registered", "count"),
    [
        ({}, 0),
        ({"skipped": True}, 0),
        ({"changed": False}, 1),
        ({"results": []}, 0),
        ({"results": [{"changed": False}, {"skipped": True}, {"failed": True}]}, 2),
    ],
)
def test_the_calls_of_a_task_are_those_that_were_made(registered: dict[str, Any], count: int) -> None:
    assert len(calls_of(registered, "dayabay")) == count


def test_what_is_no_result_is_a_failure_of_the_call() -> None:
    (call,) = calls_of({"kept": {"a": 1}, "notes": ["fine"]}, "dayabay")
    assert (call.entries("kept"), call.entries("notes")) == ([], ["fine"])
    (failure,) = call.entries("failures")
    assert failure["reason"].startswith("said what is no result: kept ")
