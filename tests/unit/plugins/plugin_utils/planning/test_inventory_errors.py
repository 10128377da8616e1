"""Errors of an inventory are told once each, with all the hosts that they concern."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.inventory_errors import Errors


@pytest.mark.parametrize(
    ("hosts", "added", "sentences"),
    [
        ([], [], []),
        (["a"], [("a", "v", "is bad")], ["a: v is bad"]),
        (["a", "b"], [("a", "v", "is bad")], ["a: v is bad"]),
        (["a", "b"], [("b", "v", "is bad"), ("a", "v", "is bad")], ["all hosts: v is bad"]),
        (["a", "b", "c"], [("c", "v", "is bad"), ("a", "v", "is bad")], ["c, a: v is bad"]),
        (["a", "b"], [("a", "v", "is bad"), ("a", "v", "is bad")], ["a: v is bad"]),
        (["a", "b"], [("a", "v", "is bad"), ("b", "v", "is worse")], ["a: v is bad", "b: v is worse"]),
        (["a", "b"], [("a", "v", "is bad"), ("a", "w", "is bad")], ["a: v is bad", "a: w is bad"]),
    ],
)
def test_an_error_is_told_once_with_its_hosts(
    hosts: list[str], added: list[tuple[str, str, str]], sentences: list[str]
) -> None:
    errors = Errors(hosts)
    for entry in added:
        errors.add(*entry)
    assert errors.sentences() == sentences


def test_what_is_of_no_host_comes_first() -> None:
    errors = Errors(["a"])
    errors.add("a", "v", "is bad")
    errors.general.append("all is bad")
    assert errors.sentences() == ["all is bad", "a: v is bad"]


@pytest.mark.parametrize(
    ("variable", "host", "has"),
    [("v", "", True), ("v", "a", True), ("v", "b", False), ("w", "", False), ("", "", False)],
)
def test_it_is_known_whether_a_host_has_an_error_of_a_variable(variable: str, host: str, has: bool) -> None:
    errors = Errors(["a", "b"])
    errors.add("a", "v", "is bad")
    assert errors.has(variable, host) is has
