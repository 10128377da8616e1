"""The state of copies, by real histories."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import earliest_moment
from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.standing import (
    State,
    spark,
    state_of,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, opened, write_records

HOUR = 3600.0
NIGHTS = [f"2026/11/{day:02}/013000" for day in range(20, 29)]
NOW = earliest_moment(NIGHTS[-1], "UTC") + 8 * HOUR
KEY = ("svn", "dybsvn")
PLACES = (("dayabay", "source"), ("cms01", "target"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of histories."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))
    return tmp_path / "history"


def night(
    stamp: str, *, playbook: str = "backup.yml", keys: Sequence[tuple[str, str]] = (KEY,), whole: int = 1, **more: Any
) -> Record:
    """Return the record of a good night, with changes to its run, trees and copies."""
    told = {"stamp": stamp, "size": 1000, "suspect": "", "holds": "", **more.pop("copies", {})}
    trees = more.pop("trees", {})
    places = [{"node": node, "source": "dayabay", "role": role} for node, role in PLACES]
    run = {"token": f"{playbook} {stamp}", "stamp": stamp, "playbook": playbook, "state": "good", **more}
    return Record(
        {"started": earliest_moment(stamp, "UTC"), **run},
        [{**place, "base": f"/{place['node']}", "whole": whole, "free": 5, **trees} for place in places],
        [{**place, "category": key[0], "name": key[1], **told} for place in places for key in keys],
    )


def state(*records: Record, now: float = NOW) -> State:
    """Write records to a history; return the state by it."""
    assert write_records("", list(records), 400, now) == []
    histories = opened(())
    try:
        return state_of(histories, now)
    finally:
        for history in histories:
            history.database.close()


def test_a_good_night_is_well() -> None:
    found = state(*(night(stamp, copies={"size": 1000 + number}) for number, stamp in enumerate(NIGHTS)))
    assert found.is_well and found.bad == []
    assert [(entry.item, entry.node, entry.age) for entry in found.copies] == [
        ("dayabay/svn/dybsvn", "dayabay", 8 * HOUR),
        ("dayabay/svn/dybsvn", "cms01", 8 * HOUR),
    ]
    entry = found.copies[0]
    assert (entry.stamp, entry.size, entry.change, entry.proof_age, entry.max_age) == (
        NIGHTS[-1],
        1008,
        1,
        None,
        36 * HOUR,
    )
    assert entry.nights == tuple(range(1002, 1009)), "seven of them"
    assert [(base.title, base.free) for base in found.bases] == [("dayabay -> cms01", 5), ("dayabay", 5)]


def test_nothing_is_not_well() -> None:
    assert not state().is_well
    assert not state(night(NIGHTS[-1], keys=())).is_well


@pytest.mark.parametrize(
    ("hours", "max_age", "faults"), [(35, None, []), (37, None, ["old"]), (37, 48 * HOUR, []), (8, 7 * HOUR, ["old"])]
)
def test_a_copy_is_too_old_by_the_limit_of_its_node(hours: float, max_age: float | None, faults: list[str]) -> None:
    found = state(night(NIGHTS[0], trees={"max_age": max_age}), now=earliest_moment(NIGHTS[0], "UTC") + hours * HOUR)
    assert [entry.faults for entry in found.copies] == [faults] * 2


def test_an_age_is_by_the_zone_of_the_run() -> None:
    found = state(night(NIGHTS[-1], timezone="Asia/Taipei"))
    assert found.copies[0].age == 16 * HOUR


def test_what_failed_last_night_stands_with_the_copy_of_the_night_before() -> None:
    failed = night(
        NIGHTS[-1],
        state="failed",
        message="dayabay: it broke",
        copies={"stamp": None, "size": None, "suspect": None, "problem": "it broke"},
    )
    found = state(*(night(stamp) for stamp in NIGHTS[:-1]), failed)
    entry = found.copies[0]
    assert (entry.stamp, entry.age, entry.faults) == (NIGHTS[-2], 32 * HOUR, ["failed"])
    assert entry.problem == "it broke"
    assert entry.nights == (*[1000] * 6, None)
    assert found.faults == ("the last backup.yml ended with: failed: dayabay: it broke",)
    mended = state(night(NIGHTS[-1], playbook="dump.yml", started=NOW - HOUR))
    assert mended.copies[0].faults == []
    assert not mended.is_well, "the chain itself has not been good since"


def test_what_failed_is_mended_by_what_does_it_again_and_by_nothing_else() -> None:
    nights = [night(stamp) for stamp in NIGHTS]
    drill = {"playbook": "drill.yml", "whole": 0, "started": NOW - 3 * HOUR}
    broken = night(NIGHTS[-1], **drill, copies={"stamp": None, "suspect": None, "problem": "does not restore"})
    later = night(NIGHTS[-1], token="later", started=NOW - 2 * HOUR)
    assert {entry.problem for entry in state(*nights, broken, later).copies} == {"does not restore"}
    proved = {**drill, "token": "again", "started": NOW - HOUR}
    mended = night(NIGHTS[-1], **proved, copies={"stamp": None, "suspect": None, "proved": "2026-11-28T08:00:00Z"})
    assert {entry.problem for entry in state(mended).copies} == {""}
    failed = night(NIGHTS[-1], token="failed", started=NOW - 50, copies={"stamp": None, "problem": "it broke"})
    listed = night(NIGHTS[-1], playbook="list.yml", started=NOW - 40)
    assert {entry.problem for entry in state(failed, listed).copies} == {"it broke"}, "who looks mends nothing"
    restored = night(
        NIGHTS[-1],
        playbook="restore.yml",
        started=NOW - 30,
        whole=0,
        copies={"stamp": None, "problem": "is there already"},
    )
    assert {entry.problem for entry in state(restored).copies} == {"it broke"}, "nor is it about the copy"


def test_a_playbook_of_ones_own_is_a_chain_if_it_made_one_and_what_was_killed_counts() -> None:
    own = night(NIGHTS[-1], playbook="night.yml", state="failed", message="it broke")
    found = state(*(night(stamp) for stamp in NIGHTS[:-1]), own)
    assert found.faults == ("the last night.yml ended with: failed: it broke",)
    assert found.copies[0].nights == (1000,) * 7
    other = Record({"token": "other", "playbook": "other.yml", "state": "failed", "started": NOW - 5})
    assert state(other).faults == found.faults, "what is not about copies is no chain"
    killed = Record(
        {
            "token": "killed",
            "playbook": "backup.yml",
            "state": "died",
            "message": "killed by SIGKILL",
            "started": NOW - 4,
        }
    )
    assert state(killed).faults == ("the last backup.yml ended with: died: killed by SIGKILL",)


def test_an_item_without_a_copy_ever_and_one_that_lost_all_are_told_alike() -> None:
    never = night(NIGHTS[-1], keys=[("git", "new")], copies={"stamp": None, "size": None})
    lost = night(
        NIGHTS[-1],
        playbook="list.yml",
        started=NOW - HOUR,
        keys=[("git", "new"), KEY],
        copies={"stamp": "", "size": None},
    )
    for records in ([never], [night(NIGHTS[-2]), lost]):
        found = state(*records)
        assert {tuple(entry.faults) for entry in found.copies} == {("none",)}, records


def test_an_item_that_is_none_any_more_is_not_missed() -> None:
    both = [KEY, ("git", "old")]
    found = state(*(night(stamp, keys=both) for stamp in NIGHTS[:3]), *(night(stamp) for stamp in NIGHTS[3:]))
    assert {entry.item for entry in found.copies} == {"dayabay/svn/dybsvn"}
    drill = night(
        NIGHTS[-1], playbook="drill.yml", started=NOW - HOUR, keys=[("git", "old")], whole=0, copies={"stamp": None}
    )
    assert {entry.item for entry in state(drill).copies} == {"dayabay/svn/dybsvn"}, (
        "a run that was about some tells of these alone"
    )


def test_a_node_that_is_none_any_more_is_not_missed() -> None:
    both = [("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target")]
    assert len(state(replace(night(NIGHTS[0]), inventory=both)).copies) == 2
    alone = night(NIGHTS[-1])
    alone = replace(alone, trees=alone.trees[:1], copies=alone.copies[:1])
    assert len(state(alone).copies) == 2, "a run that was about some"
    assert [entry.node for entry in state(replace(alone, inventory=both[:1])).copies] == ["dayabay"]


def test_a_proof_counts_from_when_it_was_made() -> None:
    proved = night(
        NIGHTS[1],
        playbook="drill.yml",
        whole=0,
        copies={"stamp": None, "proved": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - 90 * HOUR))},
    )
    older = night(NIGHTS[2], playbook="drill.yml", whole=0, copies={"stamp": None, "proved": "2026-01-01T00:00:00Z"})
    found = state(proved, older, *(night(stamp) for stamp in NIGHTS))
    assert {entry.proof_age for entry in found.copies} == {90 * HOUR}


def test_a_suspect_is_one_until_a_run_says_otherwise() -> None:
    suspect = night(
        NIGHTS[-2], copies={"stamp": NIGHTS[-3], "suspect": "entries fell from 300 to 1", "problem": "x is suspect"}
    )
    later = night(NIGHTS[-1], playbook="check.yml", copies={"stamp": None, "suspect": None, "problem": ""})
    found = state(night(NIGHTS[-3]), suspect, later, now=earliest_moment(NIGHTS[-2], "UTC") + HOUR)
    assert {tuple(entry.faults) for entry in found.copies} == {("suspect",)}
    assert found.copies[0].suspect == "entries fell from 300 to 1"
    accepted = state(night(NIGHTS[-1], started=NOW - 1))
    assert {tuple(entry.faults) for entry in accepted.copies} == {()}


def test_what_is_held_is_told() -> None:
    found = state(
        night(NIGHTS[-2], copies={"holds": f"{NIGHTS[0]} {NIGHTS[1]}"}), night(NIGHTS[-1], copies={"holds": None})
    )
    assert found.copies[0].holds == (NIGHTS[0], NIGHTS[1])


def test_a_tree_that_was_not_reached_in_the_last_run_about_it_is_a_fault() -> None:
    down = night(
        NIGHTS[-1], trees={"problem": "unreachable: no route", "free": None}, copies={"stamp": None, "suspect": None}
    )
    found = state(night(NIGHTS[-2]), down)
    assert found.faults == ("dayabay -> cms01: unreachable: no route", "dayabay: unreachable: no route")
    assert {base.free for base in found.bases} == {5}, "as was known before"
    assert state(night(NIGHTS[-1], playbook="list.yml", started=NOW - 1)).faults == ()


def test_runs_of_long_ago_are_looked_through_for_a_copy() -> None:
    quiet = [
        night(f"2026/10/{day:02}/0{hour}3000", playbook="check.yml", copies={"stamp": None})
        for day in range(1, 31)
        for hour in range(3)
    ]
    found = state(night("2026/09/01/013000"), *quiet)
    assert found.copies[0].stamp == "2026/09/01/013000"


def test_a_check_by_itself_is_no_night() -> None:
    check = night(NIGHTS[-1], playbook="check.yml", copies={"stamp": None})
    assert state(*(night(stamp) for stamp in NIGHTS[:-1]), check).copies[0].nights == (1000,) * 7


def test_two_hundred_items_are_told_in_time() -> None:
    keys = [("folders", f"item {number}") for number in range(200)]
    write_records(
        "",
        [night(f"2026/{month:02}/{day:02}/013000", keys=keys) for month in (10, 11) for day in range(1, 29)],
        400,
        NOW,
    )
    before = time.process_time()
    found = state(night(NIGHTS[-1], keys=keys))
    assert len(found.copies) == 400 and found.is_well
    assert time.process_time() - before < 1.5


@pytest.mark.parametrize(
    ("nights", "shown"),
    [
        ((), ""),
        ((5,), "▄"),
        ((5, 5), "▄▄"),
        ((1, None, 8), "▁·█"),
        ((0, 1, 2, 3, 4, 5, 6, 7), "▁▂▃▄▅▆▇█"),
        ((None,), "·"),
    ],
)
def test_nights_are_bars(nights: tuple[int | None, ...], shown: str) -> None:
    assert spark(nights) == shown


def test_a_night_whose_copy_came_with_a_later_run_has_one() -> None:
    first, missed, later = (night(stamp) for stamp in NIGHTS[-3:])
    (row,) = (row for row in missed.copies if row["node"] == "cms01")
    row.update({"stamp": NIGHTS[-3], "problem": "unreachable"})
    late = {name: row[name] for name in ("node", "source", "role", "category", "name")}
    before = state(first, missed, later).copies[1]
    assert (before.node, before.nights) == ("cms01", (1000, None, 1000))
    filled = replace(later, late=[{**late, "stamp": NIGHTS[-2], "size": 1000}])
    found = state(first, missed, filled)
    assert [entry.nights for entry in found.copies] == [(1000, 1000, 1000)] * 2 and found.is_well
    other = replace(filled, late=[{**filled.late[0], "name": "other"}, {**filled.late[0], "stamp": NIGHTS[0]}])
    assert state(first, missed, other.of(["dayabay"])).copies[1].nights == (1000, None, 1000)


def test_a_damaged_history_is_no_answer(folder: Path) -> None:
    write_records("", [night(NIGHTS[-1])], 400, NOW)
    (history,) = opened(())
    with closing(history.database):
        history.database.execute("PRAGMA query_only = OFF")
        history.database.execute("DROP TABLE copies")
        with pytest.raises(store.AltbackupError, match="cannot be read"):
            state_of([history], NOW)
