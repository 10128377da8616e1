"""Earlier failures are remembered: since when, in how many runs, and what is mended."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.mail.memory import (
    hosts_down,
    identity,
    job_key,
    recall,
    remember,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import Failure, Place, Report

NIGHT = datetime(2013, 5, 10, 2, 0, tzinfo=UTC)
A = Failure("dayabay", "no space", place=Place(name="Make tonight's tarballs"))
B = Failure(
    "lingao",
    "expecting 2 tarballs on 2013/05/10 but got 1",
    delegate="cms01",
    place=Place(name="Count", role="altbackup.core.synchronize"),
)


DUMP = "altbackup.core.dump : Make tonight's tarballs"
ITEM = Failure(
    "dayabay",
    "dump of svn/dybsvn: path /nowhere does not exist",
    place=Place(name="Make tonight's tarballs", role="altbackup.core.dump"),
    item="svn/dybsvn",
)
RAN = {"dayabay": ("Make tonight's tarballs", DUMP), "lingao -> cms01": ("altbackup.core.synchronize : Ask",)}
RECAP: dict[str, dict[str, int]] = {host: {} for host in ("dayabay", "lingao")}


def report(night: int, *failures: Failure) -> Report:
    """Return the report of a night that came to its end."""
    return Report("backup.yml", failures, ended=NIGHT + timedelta(days=night), key="job", done=RAN, recap=RECAP)


OLD = "tracs/dybsvn/2013/05/08/104701/dybsvn.tar.gz"
DAMAGED = Failure("alpha", "synchronize of tracs/dybsvn: an older copy is damaged", where="alpha -> north", relpath=OLD)


@pytest.mark.parametrize(
    ("looked", "seen"),
    [
        ({}, False),
        ({"alpha -> north": ("2013/05/11",)}, False),
        ({"alpha -> south": ("all",)}, False),
        ({"alpha -> north": ("2013/05/11", "2013/05/08")}, True),
        ({"alpha -> north": ("all",)}, True),
        ({"alpha -> north": (OLD,)}, True),
    ],
)
def test_damage_is_gone_only_where_the_tarball_was_read_again(looked: dict[str, tuple[str, ...]], seen: bool) -> None:
    job, _ = recall({}, report(0, DAMAGED))
    _, good = recall(json.loads(json.dumps(job)), replace(report(1), looked=looked))
    (failure,) = good.failures
    assert (good.status, failure.title) == ("RECOVERED", "alpha -> north")
    assert failure.since.startswith("failed since 2013-05-10 02:00 UTC, in 1 run")
    assert ("this run did not read that tarball" in failure.since) is not seen
    _, bad = recall(json.loads(json.dumps(job)), replace(report(1, A), looked=looked))
    (note,) = bad.notes
    assert note.startswith("No longer failing: alpha -> north: " if seen else "Not looked at: alpha -> north: ")


def test_what_was_not_read_again_comes_last() -> None:
    job, _ = recall({}, report(0, DAMAGED, A))
    _, good = recall(json.loads(json.dumps(job)), report(1))
    assert [failure.host for failure in good.failures] == ["dayabay", "alpha"]


SEND = Failure(
    "lingao",
    "synchronize: the connection ended",
    delegate="cms01",
    place=Place(name="Send", role="altbackup.core.synchronize"),
)
WHOLE = Failure("dayabay", "dump: no space", place=ITEM.place)
NOT_STARTED = Failure("desk", "the inventory cannot be read", kind="run", identity="not started")


@pytest.mark.parametrize(
    ("earlier", "now", "seen"),
    [
        (ITEM, {"failures": (NOT_STARTED,), "done": {}, "recap": {}}, False),
        (ITEM, {"failures": (A,)}, True),
        (ITEM, {"failures": (A,), "done": {"dayabay": ("altbackup.core.preflight : Look",)}}, False),
        (ITEM, {"failures": (A,), "done": {"lingao": (DUMP,)}}, False),
        (ITEM, {"failures": (WHOLE,)}, False),
        (WHOLE, {"failures": (ITEM,)}, True),
        (SEND, {"failures": (A,)}, True),
        (SEND, {"failures": (A,), "recap": {}}, False),
        (SEND, {"failures": (A,), "done": {"lingao": ("altbackup.core.synchronize : Ask",)}}, False),
        (NOT_STARTED, {"failures": (A,)}, True),
        (NOT_STARTED, {"failures": (replace(NOT_STARTED, identity="broken"),), "done": {}, "recap": {}}, False),
    ],
)
def test_what_a_run_did_not_come_to_is_neither_gone_nor_forgotten(
    earlier: Failure, now: dict[str, Any], seen: bool
) -> None:
    job, _ = recall({}, report(0, earlier))
    job, bad = recall(json.loads(json.dumps(job)), replace(report(1), **now))
    (note,) = bad.notes
    beginning, end = ("No longer failing: ", " UTC)") if seen else ("Not looked at: ", "; this run did not come to it")
    assert (note.startswith(f"{beginning}{earlier.title}: {earlier.headline}"), note.endswith(end)) == (True, True)
    _, again = recall(json.loads(json.dumps(job)), report(2, earlier))
    assert again.failures[0].since == ("" if seen else "still failing since 2013-05-10 02:00 UTC, 2 runs")


def test_what_no_run_will_come_to_is_told_once() -> None:
    job, _ = recall({}, report(0, ITEM))
    job, bad = recall(job, replace(report(1, B), done={}, recap={"lingao": {}}))
    assert bad.notes[0].startswith("Not looked at: dayabay: ")
    assert recall(job, report(2, B))[1].notes == ()


def test_good_run_says_what_it_did_not_come_to() -> None:
    job, _ = recall({}, report(0, ITEM))
    kept, good = recall(job, replace(report(1), done={}))
    (failure,) = good.failures
    assert (kept, failure.headline) == ({}, f"not looked at: {ITEM.message}")
    assert failure.since.endswith("; this run did not come to it")


def nights(*failures: tuple[Failure, ...]) -> list[Report]:
    """Return the memory's notes of each of several nights."""
    job: dict[str, Any] = {}
    told = []
    for night, found in enumerate(failures):
        job, new = recall(json.loads(json.dumps(job)), report(night, *found))
        told.append(new)
    return told


def test_same_failure_says_since_when_and_how_often() -> None:
    told = nights((A,), (A,), (A,))
    assert [entry.failures[0].since for entry in told] == [
        "",
        "still failing since 2013-05-10 02:00 UTC, 2 runs",
        "still failing since 2013-05-10 02:00 UTC, 3 runs",
    ]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (replace(B, message="expecting 3 tarballs on 2013/05/11 but got 0"), True),
        (replace(B, message="expecting 2 tarballs on 2013/05/10 but got 1\nmore"), True),
        (replace(B, message="no space left"), False),
        (replace(B, host="dayabay"), False),
        (replace(B, delegate="sdu"), False),
        (replace(B, where="lingao -> cms01"), False),
        (replace(B, place=Place(name="x")), False),
    ],
)
def test_failure_is_the_same_but_for_numbers(other: Failure, same: bool) -> None:
    assert (identity(other) == identity(B)) == same


def test_failure_that_is_gone_is_noted_while_others_remain() -> None:
    told = nights((A, B), (B,), (A, B))
    assert told[1].notes == ("No longer failing: dayabay: no space (since 2013-05-10 02:00 UTC)",)
    assert [failure.since for failure in told[2].failures] == ["", "still failing since 2013-05-10 02:00 UTC, 3 runs"]


def test_first_good_run_names_what_had_failed() -> None:
    told = nights((A, B), (B,), (), ())
    assert [entry.status for entry in told] == ["FAILED", "FAILED", "RECOVERED", "FAILED"]
    (failure,) = told[2].failures
    assert (failure.host, failure.delegate) == ("lingao", "cms01")
    assert failure.since == "failed since 2013-05-10 02:00 UTC, in 2 runs"
    assert told[3].failures == ()


def test_one_failure_on_many_tasks_counts_runs_not_failures() -> None:
    told = nights((A, A), (A, A))
    assert [failure.since for failure in told[1].failures] == ["still failing since 2013-05-10 02:00 UTC, 2 runs"] * 2


def test_jobs_do_not_mix(tmp_path: Path) -> None:
    remember(tmp_path, report(0, A))
    other = replace(report(1), key="another")
    assert remember(tmp_path, other) == other
    assert hosts_down(tmp_path, "job") == ["dayabay"]
    assert hosts_down(tmp_path, "another") == []
    assert remember(tmp_path, report(1)).status == "RECOVERED"
    assert hosts_down(tmp_path, "job") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": 5}', '{"job": {"failures": {"x": 1, "y": {"since": 3}}}}'])
def test_damaged_memory_is_no_crash(text: str, tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text(text)
    assert hosts_down(tmp_path, "nothing") == []
    hosts_down(tmp_path, "job")
    assert remember(tmp_path, report(0, A)).failures[0].message == "no space"
    assert remember(tmp_path, report(1, A)).failures[0].since


def test_memory_that_cannot_be_written_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert remember(tmp_path / "file" / "spool", report(0, A)) == report(0, A)


def test_ad_hoc_calls_are_not_remembered(tmp_path: Path) -> None:
    remember(tmp_path / "spool", replace(report(0, A), key=""))
    assert not (tmp_path / "spool").exists()


def test_lock_that_another_holds_for_ever_hangs_nothing(tmp_path: Path) -> None:
    remember(tmp_path, report(0, A))
    with open(tmp_path / ".memory.lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remember(tmp_path, report(1, A)) == report(1, A)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),
        ({"subset": None, "tags": ("all",), "check": False}, True),
        ({"subset": "dayabay"}, False),
        ({"check": True}, False),
        ({"inventory": ["there"]}, False),
        ({"inventory": [os.path.join(os.getcwd(), "here")]}, True),
    ],
)
def test_job_is_playbook_inventory_and_limit(other: dict[str, Any], same: bool) -> None:
    assert (job_key(["backup.yml"], ["here"]) == job_key(["backup.yml"], **{"inventory": ["here"], **other})) == same
