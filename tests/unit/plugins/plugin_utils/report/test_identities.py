"""Bases claimed by several owners, and targets on one file system."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import PLAN, TREE

from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes, run_failures, run_summary


def identity(role: str, name: str, **known: Any) -> dict[str, Any]:
    """Return preflight's report of a base."""
    base = {"base": "/backup", "role": role, "name": name, "id": "", "boot": "b1", "device": 5, "inode": 7}
    return {**base, **known}


def seen(*entries: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the states of a run in which nodes reported their bases."""
    return [outcomes.record({}, {"identities": [entry]}, "preflight", node) for node, entry in entries]


@pytest.mark.parametrize(
    ("more", "shared"),
    [
        ({}, True),
        ({"inode": 8}, False),
        ({"device": 6}, False),
        ({"boot": "b2"}, False),
        ({"id": "a" * 32, "boot": "b2"}, True),
        ({"id": "b" * 32, "boot": "b2"}, False),
        ({"boot": "", "inode": 9}, False),
    ],
)
@pytest.mark.parametrize(("role", "other"), [("source", "source"), ("target", "target"), ("source", "target")])
def test_one_base_of_two_owners_is_one_failure_that_names_both(
    more: dict[str, Any], shared: bool, role: str, other: str
) -> None:
    first = identity(role, "dayabay", id="a" * 32 if more.get("id") else "")
    states = seen(("dayabay", first), ("lingao", identity(other, "lingao", **more)))
    failures = run_failures.all_failures(states)
    assert len(failures) == int(shared)
    for entry in failures:
        assert f"{role} dayabay" in entry["reason"] and f"{other} lingao" in entry["reason"]
        assert "/backup" in entry["reason"]


def test_bases_of_which_nothing_is_known_are_no_failure() -> None:
    unknown = {"boot": "", "device": 0, "inode": 0}
    states = seen(("dayabay", identity("source", "dayabay", **unknown)), ("lingao", identity("source", "l", **unknown)))
    assert run_failures.all_failures(states) == []


def test_a_target_that_several_sources_saw_is_one() -> None:
    results = {"ansible_loop_var": "tree", "tree": TREE, "identities": [identity("target", "cms01")]}
    states = [outcomes.record({}, {"results": [results]}, "preflight", node) for node in ("dayabay", "lingao")]
    assert run_failures.all_failures(states) == []


def test_targets_on_one_file_system_are_a_note() -> None:
    states = seen(
        ("cms01", identity("target", "cms01")),
        ("sdu", identity("target", "sdu", inode=8)),
        ("dayabay", identity("source", "dayabay", inode=9)),
    )
    named = dict(zip(("cms01", "sdu", "dayabay"), states, strict=True))
    assert run_failures.all_failures(states) == []
    (note,) = [line for line in run_summary.summary(PLAN, named) if line.startswith("note: ")]
    assert "cms01" in note and "sdu" in note and "one file system" in note and "dayabay" not in note


def test_a_node_cannot_tell_of_another_ones_base() -> None:
    states = seen(("dayabay", identity("source", "lingao")), ("lingao", identity("source", "lingao", inode=8)))
    assert run_failures.all_failures(states) == []
