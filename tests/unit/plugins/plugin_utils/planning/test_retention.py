"""How much of the past each node retains."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import GIT, NO_RULES, TARGET_RULES, plan_of

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan_items import with_items


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
