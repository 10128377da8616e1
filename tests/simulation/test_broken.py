"""Retention that is broken on purpose loses something, or stays silent, in a history in which the intact one does not."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .test_histories import Event, History, play

pytestmark = pytest.mark.full
_CODE = "ansible_collections.altbackup.core.plugins.module_utils."

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


def story(text: str, kind: str = "folder", min_copies: int = 1, full_every: int = 1) -> History:
    """Return a history from words: each is an event with the hours before its night, 24 by default, and its random choice."""
    parts = [(word.split(":") + ["", ""])[:3] for word in text.split()]
    events = [Event(what, int(hours or 24), float(chance or 0.5)) for what, hours, chance in parts]
    return History(events, kind, min_copies, full_every)


def without(name: str, value: Any) -> Wrapper:
    """Return a function that calls another one with a changed argument."""
    return lambda real: lambda *given, **options: real(*given, **{**options, name: value})


def fewer_contents(real: Callable[..., Any]) -> Callable[..., Any]:
    def slots(*given: Any) -> Any:
        first, *rest = real(*given)
        return [type(first)(first.word, first.number - 2, first.group, first.calendar), *rest]

    return slots


def oldest_of_group(real: Callable[..., Any]) -> Callable[..., Any]:
    def fill(part: Any, rule: Any, seen: set[Any], behind: Any) -> Any:
        return real(part[::-1] if rule.calendar else part, rule, seen, behind)

    return fill


def no_rule(word: str) -> Wrapper:
    return lambda real: lambda *given: [rule for rule in real(*given) if rule.word != word]


def nothing(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **options: []


def none_of(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **options: set()


def all_at_once(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **options: 1000


def nothing_fell(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **options: {}


def all_right(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **options: ([], [])


def never_ahead(real: Any) -> Any:
    return type("Moment", (real,), {"latest": "9999/12/31/235959"})


def refused(real: Callable[..., Any]) -> Callable[..., Any]:
    def refuse(*given: Any) -> Any:
        raise OSError("it was broken on purpose")

    return refuse


def no_target_needed(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tree, due, rules, care, moment: real(tree, due, rules, replace(care, min_copies=0), moment)


def full_ones_go(real: Callable[..., Any]) -> Callable[..., Any]:
    def plan(items: Any, *given: Any) -> Any:
        found = real(items, *given)
        needed = {path for path, why in found.reasons.items() if why and all(_is_of_pairs(text) for text in why)}
        due = [*(one for item in items.values() for one in item.tarballs if one.relpath in needed), *found.due]
        reasons = {path: [] if path in needed else why for path, why in found.reasons.items()}
        return replace(found, due=due, reasons=reasons, rests={})

    return plan


def _is_of_pairs(reason: str) -> bool:
    return reason.startswith("base of ") or reason == "second full"


MANY = "changed " * 6
BROKEN: dict[str, tuple[str, str, Wrapper, History]] = {
    "suspects count as good ones": (
        "stages.purge_plan",
        "judge",
        without("suspects", {}),
        story(MANY + "unmounted " * 5),
    ),
    "nobody doubts": ("tree.doubt", "judge", nothing, story(MANY + "unmounted")),
    "encrypted files are no matter": ("tree.doubt", "_churned", nothing, story("ransom")),
    "another place is no matter": ("tree.doubt", "_churned", nothing, story("repointed")),
    "another repository is no matter": ("tree.doubt", "_changed_identities", nothing, story("recreated", "svn")),
    "rewritten history is no matter": ("kinds.git_history", "judge_moves", all_right, story("rewritten", "git")),
    "two contents fewer": ("tree.retention", "_slots", fewer_contents, story(MANY + "unchanged " * 4)),
    "the oldest of a period": (
        "tree.retention",
        "_fill",
        oldest_of_group,
        story(MANY + "changed:6 changed:6 changed " * 4),
    ),
    "no months": (
        "tree.retention",
        "_slots",
        no_rule("monthly"),
        story(MANY + "changed:744 changed " * 3 + MANY * 2),
    ),
    "no weeks": ("tree.retention", "_slots", no_rule("weekly"), story(MANY + "changed:192 changed " * 2 + MANY * 2)),
    "holds are no matter": ("stages.purge_plan", "judge", without("holds", {}), story(MANY + "hold " + MANY)),
    "late ones take places": ("stages.purge_plan", "late_ones", none_of, story(MANY * 2 + "forge changed " * 4)),
    "all at once": ("stages.purge_plan", "removable", all_at_once, story(MANY * 2 + "fewer::0.9 confirm")),
    "rules that fell": ("stages.care", "fallen", nothing_fell, story(MANY * 2 + "fewer::0.9")),
    "no target needs the newest": (
        "stages.purge",
        "withhold",
        no_target_needed,
        story(MANY + "away " * 3, min_copies=2),
    ),
    "full tarballs go before their differentials": (
        "stages.purge",
        "plan_purge",
        full_ones_go,
        story(MANY * 2, full_every=40),
    ),
    "old ones are never read": (
        "stages.rot",
        "due_share",
        nothing,
        story("rot:24:0.7 " + "away " * 9, min_copies=2),  # nothing goes, so that no purge reads what stays
    ),
    "nothing heals": ("stages.heal", "_put_back", refused, story("rot:24:0.4 " + "unchanged " * 9)),
    "nothing is undone": ("stages.undo", "bring_back", nothing, story(MANY * 2 + "undo")),
    "any disk will do": ("synchronize.target_survey", "differences", nothing, story("replaced")),
    "an older disk will do": ("synchronize.target_survey", "differences", nothing, story("snapshot changed restored")),
    "an item may vanish": ("stages.count", "failures_of_former_items", nothing, story("undeclare")),
    "any clock is right": ("stages.preflight", "clocks", all_right, story("clock_ahead:24:0.01")),
    "any stamp is honest": ("tree.stamps", "Moment", never_ahead, story("ahead:24:0.5")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_retention_is_found(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, wrapper, history = BROKEN[name]
    assert play(place, history) == []
    module = importlib.import_module(_CODE + where)
    monkeypatch.setattr(module, what, wrapper(getattr(module, what)))
    found = play(place, history)
    print(found[:2])
    assert found != []
