"""The state folder: folders of runs, locks, rotation."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import run_store
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.run_store import Run

NOW = datetime(2013, 5, 10, 2, 0, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("option", "environment", "folder"),
    [
        ("/a", {"ALTBACKUP_ARTIFACTS": "/b"}, "/a"),
        ("", {"ALTBACKUP_ARTIFACTS": "/b", "XDG_STATE_HOME": "/c"}, "/b"),
        ("", {"XDG_STATE_HOME": "/c"}, "/c/altbackup"),
        ("", {"XDG_STATE_HOME": "relative"}, "~/.local/state/altbackup"),
        ("", {}, "~/.local/state/altbackup"),
    ],
)
def test_state_folder_is_the_users_choice(option: str, environment: dict[str, str], folder: str) -> None:
    assert run_store.state_folder(option, environment) == Path(folder).expanduser()


def make_run(state: Path, name: str, days: float = 0) -> Path:
    """Make the folder of a run that ended some days ago."""
    folder = state / "runs" / name
    folder.mkdir(parents=True)
    Run(folder).write({"state": "good", "started": NOW.isoformat()})
    (folder / "stdout").write_text("x")
    when = NOW.timestamp() - days * 86400
    os.utime(folder / "result.json", (when, when))
    return folder


def names(state: Path) -> set[str]:
    """Return the names beside the runs."""
    return {path.name for path in (state / "runs").iterdir()}


@pytest.mark.parametrize(("keep_runs", "keep_days", "kept"), [(9, 9, 4), (2, 9, 2), (9, 2, 3), (1, 1, 1), (9, 0.1, 1)])
def test_runs_are_rotated_by_number_and_age(keep_runs: int, keep_days: float, kept: int, tmp_path: Path) -> None:
    for day, age in ((7, 3), (8, 1.9), (9, 1.1), (10, 0.5)):
        make_run(tmp_path, f"201305{day:02}T020003Z-backup-{day}", age)
    assert run_store.rotate(tmp_path, keep_runs, keep_days, NOW.timestamp()) == []
    assert len(names(tmp_path)) == kept
    assert "20130510T020003Z-backup-10" in names(tmp_path)


def test_nothing_but_runs_that_are_over_is_removed(tmp_path: Path) -> None:
    for day in (5, 6, 7, 8):
        make_run(tmp_path, f"201305{day:02}T020003Z-backup-{day}", 100)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "20130101T000000Z-mine-1").mkdir()
    foreign = tmp_path / "elsewhere"
    make_run(foreign, "20130102T000000Z-backup-1", 100)
    (tmp_path / "runs" / "20130102T000000Z-backup-1").symlink_to(foreign / "runs" / "20130102T000000Z-backup-1")
    held = Run(tmp_path / "runs" / "20130505T020003Z-backup-5")
    assert held.hold()
    assert run_store.rotate(tmp_path, 1, 1, NOW.timestamp()) == []
    assert names(tmp_path) == {
        "20130505T020003Z-backup-5",
        "20130508T020003Z-backup-8",
        "notes",
        "20130101T000000Z-mine-1",
        "20130102T000000Z-backup-1",
    }
    assert (foreign / "runs" / "20130102T000000Z-backup-1" / "stdout").exists()
    held.release()
    run_store.rotate(tmp_path, 1, 1, NOW.timestamp())
    assert "20130505T020003Z-backup-5" not in names(tmp_path)


def test_new_run_is_held_and_private(tmp_path: Path) -> None:
    run = run_store.new_run(tmp_path / "state", "odd name/é", NOW)
    assert run.folder.name == f"20130510T020003Z-odd_name__-{os.getpid()}"
    assert run.folder.stat().st_mode & 0o777 == 0o700
    assert not Run(run.folder).hold()
    run.write({"state": "running", "started": NOW.isoformat()})
    assert [found.folder for found in run_store.all_runs(tmp_path / "state")] == [run.folder]
    run.release()
    assert Run(run.folder).hold()


def test_lock_is_for_one_and_names_its_holder(tmp_path: Path) -> None:
    first = run_store.take_lock(tmp_path, "job")
    first.sign({"pid": os.getpid(), "since": "2013-05-10 02:00:03 UTC", "run": "/r"})
    with pytest.raises(
        run_store.Taken, match=f"already running since 2013-05-10 02:00:03 UTC, pid {os.getpid()}: .* wait for its end"
    ) as taken:
        run_store.take_lock(tmp_path, "job")
    assert taken.value.holder["run"] == "/r"
    other = run_store.take_lock(tmp_path, "another job")
    os.close(first.descriptor)
    again = run_store.take_lock(tmp_path, "job")
    assert again.before["run"] == "/r"
    again.sign({"pid": 1})
    assert first.path.read_text() == '{"pid": 1}\n'
    os.close(again.descriptor)
    os.close(other.descriptor)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"pid": '])
def test_lock_file_with_anything_in_it_is_no_obstacle(text: str, tmp_path: Path) -> None:
    lock = run_store.take_lock(tmp_path, "job")
    lock.path.write_text(text)
    with pytest.raises(run_store.Taken, match="since a moment ago, pid unknown"):
        run_store.take_lock(tmp_path, "job")
    fcntl.flock(lock.descriptor, fcntl.LOCK_UN)
    os.close(lock.descriptor)
    lock = run_store.take_lock(tmp_path, "job")
    assert lock.before == {}
    os.close(lock.descriptor)


GOOD = {"format": "altbackup run 1", "state": "good", "started": "2026-11-28T01:30:00+00:00"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"ended": None, "failures": [], "inventory": []},
        {"ended": "2026-11-28T01:31:00+00:00", "failures": [{"message": "x"}], "inventory": ["/x"]},
        {"failures": None, "inventory": None, "more": 7},
        {"started": "2026-11-28T01:30:00"},
    ],
)
def test_what_has_all_that_every_result_has_is_one(more: dict[str, Any]) -> None:
    assert run_store.is_result({**GOOD, **more})


@pytest.mark.parametrize(
    "more",
    [
        {"format": "altbackup run 2"},
        {"state": None},
        {"state": ["good"]},
        {"started": None},
        {"started": "yesterday"},
        {"started": 1795915800},
        {"started": "0001-01-01T00:00:00"},
        {"ended": "never"},
        {"ended": 7},
        {"failures": "it broke"},
        {"failures": [1]},
        {"failures": {"message": "x"}},
        {"inventory": 7},
        {"inventory": "/x"},
    ],
    ids=str,
)
def test_a_damaged_result_is_none(more: dict[str, Any], tmp_path: Path) -> None:
    assert not run_store.is_result({**GOOD, **more})
    (tmp_path / "result.json").write_text(json.dumps({**GOOD, **more}))
    assert Run(tmp_path).result == {}


def test_a_result_that_is_too_deep_is_none(tmp_path: Path) -> None:
    for name in ("result.json", "mail.json"):
        (tmp_path / name).write_text("[" * 200_000)
    assert (Run(tmp_path).result, Run(tmp_path).receipt()) == ({}, {})


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"format": "another"}'])
def test_folder_that_is_no_runs_has_no_result(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    assert Run(tmp_path).result == {}


def test_events_come_in_their_order_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    for number in (10, 9, 2):
        (folder / f"{number}-x.json").write_text(f'{{"counter": {number}}}')
    (folder / "3-x.json").write_text("{")
    (folder / "abc-partial.json").write_text("{}")
    assert [event["counter"] for event in Run(tmp_path).events()] == [2, 9, 10]


def test_long_log_keeps_beginning_and_end(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_text("a" * 1000 + "b" * 1000)
    text = Run(tmp_path).log(300)
    assert text == f"{'a' * 100}\n[... the middle is left out ...]\n{'b' * 200}"
    assert Run(tmp_path / "nowhere").log(300) == ""
