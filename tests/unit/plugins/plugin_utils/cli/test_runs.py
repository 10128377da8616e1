"""What ran, and what a run printed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from helpers.kept_nights import DAY, documented, keep, make_run, night, own_place, said

from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where histories and runs lie."""
    return own_place(tmp_path, monkeypatch)


def test_runs_are_listed_newest_first_each_once(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    newest = make_run(
        folder, "20261129T013000Z-backup-2", started="2026-11-29T01:30:00+00:00", ended="2026-11-29T01:31:30+00:00"
    )
    make_run(
        folder, "20261128T013000Z-check-1", playbook="check.yml", state="failed", failures=[{"message": "it broke"}]
    )
    keep(night(200, run={"message": "", "state": "good"}))
    keep(
        Record(
            {
                **night(1).run,
                "token": "t",
                "folder": str(newest),
                "started": 1795915800.0,
                "state": "killed",
                "failures": 3,
                "message": "by SIGKILL",
            }
        )
    )
    code, out, _ = said(capsys, "runs")
    rows = out.splitlines()
    assert code == 0
    assert rows[0].split() == ["started", "playbook", "state", "took", "failures", "run"]
    assert [row.split()[2:4] for row in rows[1:] if not row.startswith("  ")] == [
        ["backup.yml", "killed"],
        ["check.yml", "failed"],
        ["backup.yml", "good"],
    ]
    assert "  by SIGKILL" in rows and "  it broke" in rows
    told = json.loads(said(capsys, "runs", "--json")[1])
    assert (told["format"], told["version"], len(told["runs"])) == ("altbackup runs", 1, 3)
    assert [set(told["runs"][0])] == documented("runs")


def test_only_the_newest_runs_are_listed_unless_all_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    keep(*(night(number) for number in range(25)))
    out = said(capsys, "runs")[1].splitlines()
    assert len(out) == 22 and out[-1] == "and 5 older ones: altbackup runs --all"
    assert len(said(capsys, "runs", "--all")[1].splitlines()) == 26


def test_no_run_is_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs") == (1, "", "altbackup: there is no run\n")
    assert said(capsys, "log")[0] == 1


def test_a_log_is_shown_of_the_last_run_or_of_one_that_is_named_in_part(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    make_run(folder, "20261128T013000Z-check-1", playbook="check.yml")
    make_run(folder, "20261129T013000Z-backup-2", started="2026-11-29T01:30:00+00:00")
    assert said(capsys, "log")[1] == "the log of 20261129T013000Z-backup-2\n\\x1b[31mred\n", (
        "nothing steers the terminal"
    )
    for part in ("check", "20261128", "check-1"):
        assert said(capsys, "log", part)[1].startswith("the log of 20261128T013000Z-check-1"), part
    assert said(capsys, "log", "xyz")[0] == 1


def test_the_log_of_a_question_is_shown_apart_from_runs(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert "no question that could not be answered" in said(capsys, "log", "--asked")[2]
    make_run(folder, "20261129T013000Z-backup-2")
    for number in (1, 2):
        place = folder / "state" / "asked" / f"question-{number}"
        make_run(place, f"2026112{number}T013000Z-list-{number}", playbook="list.yml", inventory=[f"/{number}"])
        (place / "state").rename(place / "asked")
        (place / "asked" / "runs").rename(place / "runs")
    assert said(capsys, "log", "--asked")[1].startswith("the log of 20261122T013000Z-list-2")
    assert said(capsys, "log", "--asked", "list-1")[1].startswith("the log of 20261121T013000Z-list-1")
    assert said(capsys, "log", "--asked", "backup")[0] == 1
    assert said(capsys, "log")[1].startswith("the log of 20261129T013000Z-backup-2")
    assert "list.yml" not in said(capsys, "runs")[1]


def test_the_last_run_may_have_been_called_without_altbackup(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    keep(
        night(
            3,
            run={"state": "failed", "failures": 2, "message": "it\x1b[31m\nbroke", "user": "scm", "controller": "hub"},
        )
    )
    code, out, _ = said(capsys, "last")
    lines = out.splitlines()
    assert (code, lines[0], lines[-1]) == (
        0,
        "backup.yml: failed",
        "no log is kept of what did not run under altbackup",
    )
    assert lines[1].endswith(", by scm on hub") and lines[3] == "failures: 2, the first: it\\x1b[31m\\nbroke"
    assert set(json.loads(said(capsys, "last", "--json")[1])) == documented("runs")[0]
    assert said(capsys, "last", "backup")[1] == out and said(capsys, "last", "check")[0] == 1
    started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - 2 * DAY))
    make_run(folder, "20261129T013000Z-backup-2", started=started, path="x")
    assert "by scm on hub\ninventory: /x" in said(capsys, "last")[1] and "state: " not in said(capsys, "last")[1]
    assert said(capsys, "last")[1].splitlines()[-1].startswith("log: ")


def test_of_a_log_that_is_gone_the_record_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    keep(night(100, run={"folder": "/gone/20260801T013000Z-backup-1", "state": "failed", "message": "it broke"}))
    code, out, err = said(capsys, "log", "20260801")
    assert (code, out) == (
        1,
        "",
    ) and "failed: it broke; the log /gone/20260801T013000Z-backup-1/stdout is not kept any more" in err
