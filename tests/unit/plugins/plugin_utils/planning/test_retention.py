"""How much of the past each node retains."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import GIT, NO_RULES, TARGET_RULES, plan_of

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_items import with_items
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.retention import (
    has_keep_alone,
    item_keeps,
    item_rules,
    node_rules,
)


@pytest.mark.parametrize(
    ("given", "rules", "alone"),
    [
        pytest.param({}, TARGET_RULES, False, id="nothing is set"),
        pytest.param({"altbackup_keep": 30}, NO_RULES, True, id="days and contents alone"),
        pytest.param({"altbackup_keep": 3}, NO_RULES, True, id="also where that is the default"),
        pytest.param({"altbackup_keep": None}, TARGET_RULES, False, id="null is not set"),
        pytest.param({"altbackup_keep": 3, "altbackup_keep_yearly": 2}, TARGET_RULES | {"yearly": 2}, False, id="and one more"),
        pytest.param({"altbackup_keep": 3, "altbackup_keep_daily": 0}, TARGET_RULES | {"daily": 0}, False, id="and none of one"),
        pytest.param({"altbackup_keep_within": "7d"}, TARGET_RULES | {"within": 604800.0}, False, id="another time"),
    ],
)  # fmt: skip
def test_a_target_keeps_a_long_past_unless_it_sets_days_and_contents_alone(
    given: dict[str, Any], rules: dict[str, float], alone: bool
) -> None:
    plan = plan_of({"sdu": given, "cms01": {"altbackup_keep": None}})
    assert plan["errors"] == []
    assert plan["targets"]["sdu"]["rules"] == rules
    assert [tree["rules"] for tree in plan["nodes"]["sdu"]["trees"]] == [rules, rules]
    told = f"sdu: altbackup_keep is set, and no other rule, so as a target it keeps the last {given.get('altbackup_keep')} days"
    assert [note.startswith(told) for note in plan["notes"]] == ([True] if alone else [])


def test_a_source_keeps_days_and_contents_alone_unless_it_says_more() -> None:
    plan = plan_of({"juno": {"altbackup_keep_weekly": 2}})
    assert plan["sources"]["dayabay"]["rules"] == NO_RULES
    assert plan["nodes"]["juno"]["trees"][0]["rules"] == NO_RULES | {"weekly": 2}
    assert [note for note in plan["notes"] if note.startswith(("dayabay", "juno"))] == []


def test_an_items_own_rules_go_before_those_of_the_node_wherever_it_is() -> None:
    own = {"keep": 9, "daily": "0", "yearly": 5, "within": "2d"}
    items = [
        {**GIT, "keep": own},
        {**GIT, "name": "tools", "path": "/tools.git", "keep": {"monthly": 12}},
        {**GIT, "name": "x", "path": "/x", "keep": 2},
    ]
    plan = plan_of({"juno": {"altbackup_items": items, "altbackup_keep_daily": 1}})
    assert plan["errors"] == []
    both = {"git/toolbox": {"daily": 0, "yearly": 5, "within": 172800.0}, "git/tools": {"monthly": 12}}
    places = [plan["sources"]["juno"], plan["nodes"]["juno"]["trees"][0], plan["nodes"]["sdu"]["trees"][1]]
    assert [place["rules"] for place in places] == [
        {**rules, **both} for rules in (NO_RULES | {"daily": 1}, NO_RULES | {"daily": 1}, TARGET_RULES)
    ]
    assert [place["keeps"] for place in places] == [{"git/toolbox": 9, "git/tools": 3, "git/x": 2}] * 3
    again = with_items(plan, "juno", [{"kind": "git", "name": "new", "path": "/new.git"}])
    assert again["nodes"]["sdu"]["trees"][1]["rules"] == {**TARGET_RULES, **both}
    assert [parse_item(item).rules for item in plan["sources"]["juno"]["item_list"]] == [
        (("daily", 0), ("yearly", 5), ("within", 172800.0)), (("monthly", 12),), ()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "alone"),
    [
        ({}, False),
        ({"altbackup_keep": 3}, True),
        ({"altbackup_keep": 0}, True),
        ({"altbackup_keep": None}, False),
        ({"altbackup_keep": 3, "altbackup_keep_daily": None}, True),
        ({"altbackup_keep": 3, "altbackup_keep_daily": 0}, False),
        ({"altbackup_keep_weekly": 1}, False),
    ],
)
def test_days_and_contents_are_set_alone_where_no_other_rule_is(given: dict[str, Any], alone: bool) -> None:
    assert has_keep_alone(given) is alone


def test_a_rule_of_nought_is_kept_and_one_that_is_not_set_is_the_nodes() -> None:
    values = {f"altbackup_keep_{rule}": None for rule in NO_RULES} | {"altbackup_keep_daily": 0}
    assert node_rules(values, {"altbackup_keep_daily": 0}, target=True) == TARGET_RULES | {"daily": 0}
    assert node_rules(values, {}, target=False) == NO_RULES


@pytest.mark.parametrize(
    ("keep", "keeps", "rules"),
    [
        (None, 3, {}),
        (9, 9, {}),
        ({"keep": 9}, 9, {}),
        ({"daily": 0}, 3, {"git/x": {"daily": 0}}),
        ({"keep": 1, "within": 60.0}, 1, {"git/x": {"within": 60.0}}),
        ({}, 3, {}),
    ],
)
def test_an_item_keeps_by_its_own_rules_or_those_of_its_place(keep: Any, keeps: int, rules: dict[str, Any]) -> None:
    item = {"kind": "git", "name": "x", **({} if keep is None else {"keep": keep})}
    place = {"keep": 3, "rules": {**NO_RULES, "git/gone": {"daily": 5}}}
    assert item_keeps(place, [item]) == {"git/x": keeps}
    assert item_rules(place, [item]) == {**NO_RULES, **rules}, "what an item had before is not carried on"
    assert (item_keeps(place, []), item_rules(place, [])) == ({}, NO_RULES)
