"""What of an item is to go, and how much of it now: the plan of a purge, from what is known alone."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.tarballs import copies, paths, seen, stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_plan import (
    Copies,
    PurgePlan,
    Reviewed,
    plan_purge,
    plan_reviewed,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, Tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import Rules
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

TREE = Tree("/backup", "/backup/.altbackup")
NOW = stamp_of("10")


@pytest.mark.parametrize(
    ("history", "known", "failed", "due", "going"),
    [
        pytest.param("01a 02b", {}, "", "", "", id="all is kept"),
        pytest.param("01a 02b 03c 04d", {}, "", "01 02", "01", id="the oldest goes"),
        pytest.param("01a 02b 03c 04d", {}, "01", "01 02", "02", id="another one goes in its place"),
        pytest.param("01a 02b 09c 10d", {}, "", "01 02", "01 02", id="one more than the run added"),
        pytest.param("01a 02b 03c 04d", {"readable": False}, "", "", "", id="a folder cannot be read"),
        pytest.param("01a 02b 03c 04d", {"partial": paths("04")}, "", "01", "01", id="one is not whole"),
        pytest.param(
            "01a 02b 03c 04d",
            {"came": dict.fromkeys(paths("03"), "2013/05/09/104701")},
            "",
            "01 03",
            "01",
            id="one came late",
        ),
        pytest.param("01a 02b 03c", {"imagined": copies("10d")}, "", "01 02", "01 02", id="a run would add one"),
    ],
)
def test_plan_tells_what_is_due_and_what_of_it_goes_now(
    history: str, known: dict[str, Any], failed: str, due: str, going: str
) -> None:
    plan = plan_purge({"svn/x": Copies(copies(history), Rules(2), **known)}, ["2013/05/10/104701"])
    assert [one.relpath for one in plan.due] == paths(due)
    assert [one.relpath for one in plan.going(paths(failed))] == paths(going)


def days(tarballs: Any) -> str:
    """Return the days of tarballs, or of their relpaths."""
    return " ".join(str(getattr(one, "relpath", one)).split("/")[4] for one in tarballs)


@pytest.mark.parametrize(
    ("history", "known", "reasons"),
    [
        pytest.param("01a 02b 03c", {"readable": False}, {"01": "a folder of the item cannot be read"}, id="unread"),
        pytest.param("01a 02b 03c", {"holds": {f"svn/x/{stamp_of('01')}": "court"}}, {"01": "hold: court"}, id="held"),
        pytest.param(
            "01a 02b 03c",
            {"awaited": {("sha256", "a", 5)}},
            {"01": "another node lost a copy of that, and has none again"},
            id="another node needs it",
        ),
        pytest.param("01a 02b 03c", {"awaited": {("sha256", "a", 6)}}, {"01": ""}, id="another node needs other bytes"),
        pytest.param("01a 02b 03c", {"awaited": {None}}, {"01": ""}, id="nothing is no bytes"),
        pytest.param(
            "01a 02b 03c", {"needed": {"a": stamp_of("20")}}, {"01": f"base of {stamp_of('20')}"}, id="a base"
        ),
        pytest.param(
            "01a 02b 03c 04d",
            {"suspects": {paths("04")[0]: ["shrunk"]}},
            {"01": "a suspect of the item is not accepted", "04": "suspect, not accepted"},
            id="a suspect freezes what no rule demands",
        ),
    ],
)
def test_why_a_tarball_stays_is_told(history: str, known: dict[str, Any], reasons: dict[str, str]) -> None:
    plan = plan_purge({"svn/x": Copies(copies(history), Rules(2), **known)}, [NOW])
    for day, reason in reasons.items():
        assert list(plan.reasons[paths(day)[0]]) == ([reason] if reason else [])
    assert days(plan.due) == " ".join(day for day, reason in reasons.items() if not reason)


def test_items_have_rules_and_numbers_of_their_own_and_an_item_without_tarballs_harms_nothing() -> None:
    other = [seen(word, name="y") for word in ("01a", "02b", "10c")]
    items = {
        "svn/x": Copies(copies("01a 02b 03c"), Rules(1)),
        "svn/y": Copies(other, Rules(1)),
        "svn/z": Copies([], Rules(1)),
    }
    plan = plan_purge(items, [NOW])
    assert [(one.key, one.stamp[8:10]) for one in plan.due] == [
        ("svn/x", "01"),
        ("svn/y", "01"),
        ("svn/x", "02"),
        ("svn/y", "02"),
    ]
    assert plan.allowed == {"svn/x": 1, "svn/y": 2, "svn/z": 1}
    assert [(one.key, one.stamp[8:10]) for one in plan.going()] == [("svn/x", "01"), ("svn/y", "01"), ("svn/y", "02")]
    assert plan_purge({}).going() == []


def test_one_item_may_be_taken_out_of_a_plan_with_the_reason() -> None:
    items = {"svn/x": Copies(copies("01a 02b"), Rules(1))}
    plan = plan_purge(items)
    assert days(plan.due) == "01"
    left = plan.without({"svn/x": "it shrank", "svn/other": "whatever"})
    assert (left.due, left.reasons[paths("01")[0]]) == ([], ["it shrank"])
    assert plan.without({}).due == plan.due


def pair(base: str, own: str) -> Tarball:
    """Return a differential of a day against a full tarball of a content."""
    return seen(f"{own}z", filename="x.diff.tar", dna=Dna(f"z{own}", 5, "sha256", "base", base))


@pytest.mark.parametrize(
    ("allowed", "failed", "going"),
    [
        pytest.param(0, [], "", id="nothing may go"),
        pytest.param(1, [], "02", id="the differential first"),
        pytest.param(2, [], "02 03", id="one after the other"),
        pytest.param(3, [], "02 03 01", id="then the full one"),
        pytest.param(9, ["02"], "03", id="the full one waits for one that cannot be removed"),
    ],
)
def test_a_full_tarball_goes_after_all_that_need_it(allowed: int, failed: list[str], going: str) -> None:
    full, first, second = seen("01a"), pair("a", "02"), pair("a", "03")
    plan = PurgePlan([first, second, full], {"svn/x": allowed}, rests={full.relpath: [first.relpath, second.relpath]})
    relpaths = [one.relpath for one in (first, second) if one.stamp[8:10] in failed]
    assert days(plan.going(relpaths)) == going


@pytest.mark.parametrize(
    ("there", "is_it"),
    [
        (None, False),
        (seen("01a"), True),
        (seen("02a"), True),
        (seen("01b"), False),
        (seen("01a", dna=Dna("a", 6, "sha256")), False),
        (seen("01a", dna=Dna("a", 5, "md5")), False),
        (seen("01a", dna=None), False),
    ],
)
def test_what_was_reviewed_is_known_by_its_bytes(there: Tarball | None, is_it: bool) -> None:
    assert Reviewed(paths("01")[0], 5, "a", "sha256").is_of(there) is is_it


def reviewed(*words: str) -> list[Reviewed]:
    return [Reviewed(paths(word[:2])[0], 5, word[2:], "sha256") for word in words]


@pytest.mark.parametrize(
    ("only", "going", "reasons"),
    [
        pytest.param([], "", [], id="nothing was reviewed"),
        pytest.param(reviewed("01a"), "01", [], id="what goes anyway"),
        pytest.param(reviewed("02b"), "02", [], id="what would have to wait for another one"),
        pytest.param(reviewed("01a", "02b"), "01", ["so it has to wait"], id="more than may go"),
        pytest.param(reviewed("01z"), "", ["it has sha256 a and 5 bytes now, not sha256 z and 5"], id="other bytes"),
        pytest.param(reviewed("09a"), "", ["no tarball that counts is there now"], id="what is not there"),
        pytest.param(reviewed("04d"), "", ["it is to be kept now (newest, content 1/2, day 1/2)"], id="what stays"),
    ],
)
def test_a_reviewed_plan_is_carried_out_as_it_was_seen_or_says_why_not(
    only: list[Reviewed], going: str, reasons: list[str]
) -> None:
    history = copies("01a 02b 03c 04d")
    plan = plan_purge({"svn/x": Copies(history, Rules(2))})
    left, refused = plan_reviewed(TREE, plan, history, only)
    assert days(left.going()) == going
    assert len(refused) == len(reasons)
    for entry, reason in zip(refused, reasons, strict=True):
        assert reason in entry["reason"] and entry["reason"].startswith("/backup/svn/x/")
