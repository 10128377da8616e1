"""Retention rules in the form of modules' parameters."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import Rules
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import parse_ruling


@pytest.mark.parametrize(
    ("keep", "rules", "keeps", "expected"),
    [
        (3, {}, None, [Rules(3), Rules(3)]),
        ("3", {"daily": "7", "within": "1d"}, None, [Rules(3, 7, within=86400.0)] * 2),
        ({"svn/x": 2}, {"weekly": 4}, None, [Rules(2, weekly=4), None]),
        (3, {"weekly": 4}, {"svn/x": 9}, [Rules(9, weekly=4), Rules(3, weekly=4)]),
        (3, {"monthly": 6, "svn/x": {"monthly": 0, "yearly": 5}}, None, [Rules(3, yearly=5), Rules(3, monthly=6)]),
        (3, {"monthly": None, "svn/x": {"yearly": None}}, {}, [Rules(3), Rules(3)]),
    ],
)
def test_an_item_has_its_own_rules_and_else_those_of_all(
    keep: Any, rules: Any, keeps: Any, expected: list[Any]
) -> None:
    ruling = parse_ruling(keep, rules, "purge", keeps)
    assert [ruling.of(key) for key in ("svn/x", "git/y")] == expected


@pytest.mark.parametrize(
    ("keep", "rules", "why"),
    [
        (0, {}, "purge: keep 0 is not a positive whole number"),
        ({}, {}, "purge: keep names no item"),
        ({"svn": 3}, {}, "purge: keep names 'svn', which is not category/name"),
        ({"svn/x": "a"}, {}, "purge: svn/x: keep 'a' is not a positive whole number"),
        (3, 7, "purge: rules 7 is not a mapping of daily, weekly, monthly, yearly, within"),
        (3, None, "purge: rules None is not a mapping"),
        (3, {"day": 7}, "purge: unknown rule 'day', did you mean 'daily'"),
        (3, {"keep": 7}, "purge: unknown rule 'keep', known are daily, weekly, monthly, yearly, within"),
        (3, {"daily": -7}, "purge: daily -7 is not a whole number: write how many, like 7, or 0 for none"),
        (3, {"daily": 1000000}, "purge: daily 1000000 is not a whole number"),
        (3, {"within": "1w"}, "purge: within '1w' is not a duration"),
        (3, {"svn/x": 7}, "purge: svn/x: 7 is not a mapping"),
        (3, {"svn/x": {"dayly": 7}}, "purge: svn/x: unknown rule 'dayly', did you mean 'daily'"),
    ],
)
def test_what_is_no_rule_is_an_error_that_names_it(keep: Any, rules: Any, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_ruling(keep, rules, "purge")
    assert str(caught.value).startswith(why)
