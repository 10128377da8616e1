"""What ran, and what a run printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers.entry_point import PROGRAM
from helpers.kept_nights import DAY, documented, keep, make_run, night, own_place, said

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import runs
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.runner_events import failure_lines
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import RECORDED, Failure


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where histories and runs lie."""
    return own_place(tmp_path, monkeypatch)


def test_the_name_of_a_run_is_shown_whole_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    name = "20261129T013000Z-backup-12345"
    make_run(folder, name, ended="2026-11-29T01:31:30+00:00", state="failed", failures=[{"message": "it broke " * 40}])
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((80, 24)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in said(capsys, "runs")[1].splitlines()]
    assert lines[1].rstrip().endswith(f"  {name}") and max(len(line.rstrip()) for line in lines[:2]) <= 80


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
    assert rows[0].split() == ["STARTED", "PLAYBOOK", "STATE", "TOOK", "FAILED", "RUN"]
    assert [row.split()[2:4] for row in rows[1:] if not row.startswith("  ")] == [
        ["backup", "killed"],
        ["check", "failed"],
        ["backup", "good"],
    ]
    assert "  by SIGKILL" in rows and "  it broke" in rows
    told = json.loads(said(capsys, "runs", "--json")[1])
    assert (told["format"], told["version"], len(told["runs"])) == ("altbackup runs", 1, 3)
    assert [set(told["runs"][0])] == documented("runs")


def test_runs_of_several_inventories_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    keep(night(3, run={"inventory": "/mine"}))
    assert "/mine" not in said(capsys, "runs")[1]
    keep(night(2, run={"inventory": "/other"}), inventory="/other/hosts.yml")
    first, *rows = said(capsys, "runs")[1].splitlines()
    assert first.split()[-1] == "INVENTORY"
    assert [row.split()[-1] for row in rows] == ["/other", "/mine"]


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


def test_a_question_that_was_answered_is_no_run(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    make_run(folder, "20261129T013000Z-backup-2")
    asked = folder / "state" / "asked" / "question" / "runs" / "20261130T013000Z-list-3"
    keep(night(0, run={"playbook": "list.yml", "folder": str(asked)}))
    assert "list.yml" not in said(capsys, "runs")[1]
    assert said(capsys, "log")[1].startswith("the log of 20261129T013000Z-backup-2")


@pytest.mark.parametrize("words", [("runs",), ("log",), ("last",), ("status",), ("list", "--show")])
def test_who_reads_no_further_gets_no_error(folder: Path, words: tuple[str, ...]) -> None:
    keep(night(1))
    make_run(folder, "20261129T013000Z-backup-2", started=datetime.now(UTC).isoformat())
    (folder / "hosts.yml").write_text("sources: {hosts: {dayabay: }}\n")
    own = {**os.environ, "ALTBACKUP_INVENTORY": str(folder / "hosts.yml")} if words[0] == "list" else {**os.environ}
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as gone:
        done = subprocess.run([str(PROGRAM), *words], env=own, stdout=gone, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


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
    assert json.loads(said(capsys, "last", "--json")[1])["playbook"] == "backup.yml"
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


RUN = {"run": "20261128T013000Z-backup-1", "folder": "/state/a", "stamp": "2026/11/28/013000", "playbook": "backup.yml"}
OTHER = {"run": "20261127T013000Z-check-2", "folder": "/state/b", "stamp": "2026/11/27/013000", "playbook": "check.yml"}
OLDEST = {"run": "20261126T013000Z-backup-1", "folder": "", "stamp": "", "playbook": "backup.yml"}


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("", RUN),
        ("20261128T013000Z-backup-1", RUN),
        ("/state/b", OTHER),
        ("2026/11/27/013000", OTHER),
        ("check", OTHER),
        ("backup", RUN),
        ("20261126", OLDEST),
        ("2026112", RUN),
        ("state", None),
        ("BACKUP", None),
        ("*", None),
    ],
)
def test_the_newest_run_that_a_part_of_its_name_means_is_found(part: str, found: dict[str, str] | None) -> None:
    assert runs.find_run([RUN, OTHER, OLDEST], part) is found
    assert runs.find_run([], part) is None


@pytest.mark.parametrize(
    ("recorded", "kept", "expected"),
    [
        ([], [], []),
        ([("", "t1", 1, "good")], [], [("t1", "good")]),
        ([], [("/a", "/a", 1, "killed")], [("/a", "killed")]),
        ([("/a", "t1", 1, "good")], [("/a", "/a", 1, "running")], [("t1", "good")]),
        ([("/b", "t1", 1, "good")], [("/a", "/a", 2, "failed")], [("/a", "failed"), ("t1", "good")]),
        ([("", "t1", 1, "good"), ("", "t2", 3, "failed")], [("/a", "/a", 2, "x")], [("t2", "failed"), ("/a", "x"), ("t1", "good")]),
    ],
    ids=["none", "recorded", "kept", "both", "two", "three"],
)  # fmt: skip
def test_a_run_is_told_once_and_the_newest_first(
    recorded: list[Any], kept: list[Any], expected: list[tuple[str, str]]
) -> None:
    def of(entries: list[Any]) -> list[dict[str, Any]]:
        names = ("folder", "token", "started", "state")
        return [dict(zip(names, entry, strict=True)) for entry in entries]

    assert [(run["token"], run["state"]) for run in runs.merged(of(recorded), of(kept))] == expected


@pytest.mark.parametrize(
    "more", [{"started": "yesterday"}, {"state": None}, {"failures": "it broke"}, {"inventory": 7}], ids=str
)
def test_a_damaged_run_hides_no_other(more: dict[str, Any], capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    make_run(folder, "20261128T013000Z-check-1", playbook="check.yml")
    make_run(folder, "20261129T013000Z-backup-2", **more)
    assert said(capsys, "log")[1].startswith("the log of 20261128T013000Z-check-1")
    assert "  check  " in said(capsys, "runs")[1] and "check.yml: good" in said(capsys, "last")[1]


PURGED = {"node": "cms01", "source": "dayabay", "tree": "dayabay -> cms01", "tarballs": 1, "bytes": 5, "in_trash": 0}
PURGED |= {"items": {"svn/a": 1}, "predicted": False}


def test_the_last_run_is_that_of_the_inventory_that_is_named(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for day, name in enumerate(("one", "two"), 20):
        (folder / name).mkdir()
        stamp = f"2026-11-{day}T01:30:00+00:00"
        make_run(folder, f"202611{day}T013000Z-backup-1", started=stamp, inventory=[str(folder / name)])
    for name in ("one", "two"):
        code, out, _ = said(capsys, "last", "-i", name)
        assert code == 0 and f"inventory: {folder}/{name}\n" in out
    (folder / "three").mkdir()
    code, out, err = said(capsys, "last", "-i", "three")
    assert (code, out) == (1, "") and f"there is no run with the inventory {folder}/three in " in err


@pytest.mark.parametrize("by_altbackup", [True, False], ids=["supervised", "by-ansible-playbook"])
def test_the_last_run_has_one_documented_form(
    by_altbackup: bool, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    ended = {"ended": "2026-11-28T01:31:30+00:00", "seconds": 90.0, "exit_code": 2, "state": "failed"}
    more = {
        "failures": failure_lines([Failure("one", "it broke", RECORDED)]),
        "purged": [PURGED],
        "hosts": {"one": {"ok": 3}},
        "pings": ["no ping came"],
    }
    if by_altbackup:
        place = make_run(folder, "20261128T013000Z-backup-2", **ended, **more)
    else:
        keep(night(1, run={"message": "it broke", "state": "failed", "failures": 1}))
    told = json.loads(said(capsys, "last", "--json")[1])
    keys, extra, failed, purged = documented("runs", "last", "failed", "purged")
    assert (told["format"], told["version"]) == ("altbackup last", 1)
    assert set(told) == {"format", "version", *keys, *extra}
    assert (told["state"], told["failures"], told["message"]) == ("failed", 1, "it broke")
    if by_altbackup:
        assert (told["run"], told["folder"], told["seconds"]) == (place.name, str(place), 90.0)
        assert [set(entry) for entry in (*told["failed"], *told["purged"])] == [failed, purged]
        assert (told["hosts"], told["pings"]) == (more["hosts"], more["pings"])


def test_who_calls_without_altbackup_is_told_in_lines() -> None:
    told = {"playbook": "backup.yml", "state": "good", "started": "s", "ended": "", "user": "u", "controller": "c"}
    told |= {"inventory": "", "failures": 0, "message": ""}
    assert runs.lines_of(told) == [
        "backup.yml: good",
        "started s, by u on c",
        "inventory: none was named",
        "no log is kept of what did not run under altbackup",
    ]
    assert runs.lines_of({**told, "ended": "e", "failures": 2, "message": "a\nb"})[1:4] == [
        "started s, ended e, by u on c",
        "inventory: none was named",
        "failures: 2, the first: a\\nb",
    ]
