"""Faults that a target's own check finds, and which are news."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.watching import Watched
from ansible_collections.altbackup.core.plugins.module_utils.watch.clock import Reckoned
from ansible_collections.altbackup.core.plugins.module_utils.watch.judge import (
    Fault,
    after_telling,
    judge,
    news_of,
    pause_of,
)

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
WATCHED = Watched("dayabay", "cms01", ("svn/dybsvn",), 36 * HOUR, "UTC", NOW - DAY, NOW - 90 * DAY)


@pytest.mark.parametrize(
    ("age", "first", "pause", "said"),
    [
        pytest.param(35, None, 0, "", id="young"),
        pytest.param(37, None, 0, "is 37 h old (at most 36 h)", id="old"),
        pytest.param(200, None, 0, "is 8 days old", id="very old"),
        pytest.param(None, 35, 0, "", id="none yet, of a new item"),
        pytest.param(None, 37, 0, "it has no verified copy (at most 36 h)", id="none"),
        pytest.param(None, None, 0, "", id="none, seen for the first time"),
        pytest.param(200, None, 1, "", id="paused"),
        pytest.param(200, None, -35, "", id="the pause ended, and the next run has its time"),
        pytest.param(200, None, -37, "is 8 days old", id="the pause ended, and no run came"),
        pytest.param(37, None, -1000, "is 37 h old", id="a pause of long ago"),
        pytest.param(200, None, 24 * 100, "is 8 days old", id="a pause beyond all bounds is none"),
    ],
)
def test_ages_are_judged_by_the_newest_copy_and_by_pauses(
    age: float | None, first: float | None, pause: float, said: str
) -> None:
    watched = replace(WATCHED, pause_until=NOW + pause * HOUR if pause else 0.0)
    newest = {"svn/dybsvn": NOW - age * HOUR} if age is not None else {"svn/dybsvn": 0.0}
    seen = {"svn/dybsvn": NOW - first * HOUR} if first is not None else {}
    found = [fault.message for fault in judge(watched, newest, seen, Reckoned(NOW))]
    assert len(found) == bool(said)
    assert not said or said in found[0]


def test_a_pause_is_until_its_end() -> None:
    assert pause_of(replace(WATCHED, pause_until=NOW + 1), NOW) == (NOW + 1, True)
    assert pause_of(replace(WATCHED, pause_until=NOW + 1), NOW + 1) == (NOW + 1, False)
    assert pause_of(WATCHED, NOW) == (0.0, False)


def fault(name: str) -> Fault:
    """Return a fault."""
    return Fault("dayabay", name, "old")


def test_each_change_is_told_once_and_what_lasts_once_a_day() -> None:
    told: dict[str, Any] = {}
    heard = []
    for hour in range(80):
        faults = [fault("svn/a")] if 10 <= hour < 70 else []
        faults += [fault("svn/b")] if 30 <= hour < 40 else []
        news = news_of(told, faults, NOW + hour * HOUR)
        if news.is_due:
            heard.append((hour, [one.what for one in news.new], [one.what for one in news.lasting], list(news.ended)))
            told = after_telling(told, faults, NOW + hour * HOUR)
    assert heard == [
        (10, ["svn/a"], [], []),
        (30, ["svn/b"], ["svn/a"], []),
        (40, [], ["svn/a"], ["dayabay/svn/b"]),
        (64, [], ["svn/a"], []),
        (70, [], [], ["dayabay/svn/a"]),
    ]


def test_what_could_not_be_told_is_news_again() -> None:
    assert news_of({}, [fault("svn/a")], NOW).is_due
    assert news_of({}, [fault("svn/a")], NOW + HOUR).is_due


@pytest.mark.parametrize("told", [{"faults": [], "at": "x"}, {"faults": {"a": "b"}, "at": True}, {"at": 9e99}])
def test_a_damaged_memory_is_rather_told_once_too_often(told: dict[str, Any]) -> None:
    assert news_of(told, [fault("svn/a")], NOW).is_due
