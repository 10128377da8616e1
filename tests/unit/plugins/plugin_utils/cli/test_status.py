"""Output of `altbackup status`, `runs` and `log` on what runs have left."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import screen, status
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.run_store import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, opened, write_records
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import quantities

HOUR, DAY = 3600.0, 86400.0
PLACES = (("dayabay", "source"), ("cms01", "target"))
ITEMS = (("svn", "dybsvn"), ("folders", "notes"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of histories and runs."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))
    monkeypatch.setenv("ALTBACKUP_ARTIFACTS", str(tmp_path / "state"))
    for name in ("ALTBACKUP_INVENTORY", "ANSIBLE_INVENTORY", "ANSIBLE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def night(days: float, *, run: dict[str, Any] | None = None, **copies: Any) -> Record:
    """Return the record of a night so many days ago."""
    started = time.time() - days * DAY
    stamp = stamp_at(started, "UTC")
    places = [{"node": node, "source": "dayabay", "role": role} for node, role in PLACES]
    told = {"stamp": stamp, "size": 1 << 20, "suspect": "", "holds": "", **copies}
    return Record(
        {
            "token": f"{days}",
            "stamp": stamp,
            "playbook": "backup.yml",
            "state": "good",
            "started": started,
            "ended": started + 90,
            **(run or {}),
        },
        [{**place, "whole": 1, "free": 1 << 30} for place in places],
        [{**place, "category": category, "name": name, **told} for place in places for category, name in ITEMS],
    )


def keep(*records: Record, inventory: str = "") -> None:
    assert write_records(inventory, list(records), 400, time.time()) == []


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Call the entry point; return its exit code and output."""
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    keep(night(2.2, size=1 << 19), night(1.2), night(0.25, size=3 << 19))
    code, out, err = said(capsys, "status")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["item", "node", "copy", "proof", "size", "change", "nights"]
    assert lines[1] == "dayabay/folders/notes  dayabay   6 h  never  1.5 MiB  +512 KiB  ▁▅█"
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["dayabay/folders/notes", "dayabay"],
        ["dayabay/folders/notes", "cms01"],
        ["dayabay/svn/dybsvn", "dayabay"],
        ["dayabay/svn/dybsvn", "cms01"],
    ]
    assert lines[5:] == [
        "free: cms01 1.0 GiB, dayabay 1.0 GiB",
        "all is well: 4 copies of 2 items on 2 nodes, none older than 6 h",
    ]


def test_what_is_wrong_stands_last_with_why_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    bad = night(0.1, run={"state": "failed", "message": "dayabay: it\nbroke"})
    failed = [
        {**row, "stamp": None, "problem": "cannot be read"}
        if row["name"] == "notes" and row["node"] == "dayabay"
        else row
        for row in bad.copies
    ]
    keep(night(2), night(1), Record(bad.run, bad.trees, failed))
    code, out, _ = said(capsys, "status")
    assert code == 1
    lines = out.splitlines()
    assert lines[4:6] == [
        "dayabay/folders/notes  dayabay  24 h  never  1.0 MiB       =  ▄▄·     failed",
        "  cannot be read",
    ]
    assert lines[-2:] == [
        "the last backup.yml ended with: failed: dayabay: it\\nbroke",
        "NOT well: 4 copies of 2 items on 2 nodes: 1 failed, 1 more above",
    ]


def test_old_copies_are_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    keep(night(3))
    code, out, _ = said(capsys, "status")
    assert code == 1 and out.splitlines()[-1] == "NOT well: 4 copies of 2 items on 2 nodes: 4 too old"


def test_one_item_is_told_by_a_part_of_its_name_and_judged_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    late = night(0.1)
    rows = [{**row, "suspect": "it shrank"} if row["name"] == "notes" else row for row in late.copies]
    keep(Record(late.run, late.trees, rows))
    assert said(capsys, "status")[0] == 1
    code, out, _ = said(capsys, "status", "dyb")
    assert code == 0 and "notes" not in out
    code, out, _ = said(capsys, "status", "notes")
    assert code == 1 and "suspect: it shrank" in out and "dybsvn" not in out
    code, out, err = said(capsys, "status", "xyz")
    assert (code, out) == (1, "") and "no item is called like 'xyz'" in err


def test_json_has_a_format_and_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    keep(night(0.25))
    code, out, _ = said(capsys, "status", "--json")
    told = json.loads(out)
    assert (code, told["format"], told["version"], told["well"], told["faults"]) == (0, "altbackup status", 1, True, [])
    first = told["copies"][0]
    assert (first["item"], first["age"] // 60, first["faults"], first["nights"]) == (
        "dayabay/folders/notes",
        360,
        [],
        [1 << 20],
    )
    assert [set(entry) for entry in (first, told["bases"][0], told["runs"][0])] == documented("copies", "bases", "runs")


def documented(*lists: str) -> list[set[str]]:
    """Return the documented keys of entries in docs/monitoring.md."""
    page = (Path(status.__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    section = page.partition("\n## JSON\n")[2].partition("\n## ")[0]
    found = []
    for name in lists:
        (text,) = re.findall(rf"^\| `{name}` \| (.*) \|$", section, re.MULTILINE)
        found.append(set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", text))))
    return found


def test_without_any_record_it_says_how_to_get_some(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "status")
    assert (code, out) == (1, "") and "no record of any run here" in err and "--rebuild" in err


def test_of_several_inventories_one_is_named(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "hosts.yml").touch()
        keep(night(0.1 if name == "one" else 5), inventory=str(folder / name / "hosts.yml"))
    code, _, err = said(capsys, "status")
    assert code == 1 and "say which one with -i" in err and "two/hosts.yml" in err
    assert [said(capsys, "status", "-i", name)[0] for name in ("one", "one/hosts.yml", "two")] == [0, 0, 1]
    code, _, err = said(capsys, "status", "-i", "three")
    assert code == 1 and f"no record of any run of {folder}/three here" in err


def test_a_damaged_history_is_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    keep(night(0.1))
    (path,) = (folder / "history").glob("*.sqlite")
    path.write_bytes(b"x" * 9000)
    code, out, err = said(capsys, "status")
    assert (code, out) == (1, "") and f"{path}, this controller's history, cannot be read" in err


class Asking:
    """Stands in for a supervised run of list.yml: it writes what such a run writes."""

    rc = 0
    listed: tuple[dict[str, Any], ...] = ()
    words: ClassVar[list[str]] = []

    def __init__(self, words: list[str], artifacts: str = "") -> None:
        type(self).words = list(words)

    def run(self, playbook: str, options: list[str], *limits: Any) -> int:
        """Note what is there, and write the list if one is requested."""
        keep(
            night(
                0.01, run={"playbook": f"{playbook}.yml", "token": "asked"}, stamp=stamp_at(time.time() - HOUR, "UTC")
            )
        )
        for word in options:
            if word.startswith("altbackup_list_file="):
                Path(word.partition("=")[2]).write_text(json.dumps(self.listed))
        return self.rc


def test_nodes_are_asked_by_a_run_of_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(status, "SupervisedRun", Asking)
    keep(night(3))
    assert said(capsys, "status")[0] == 1
    code, out, _ = said(capsys, "status", "--ask", "-i", "mine")
    assert Asking.words == ["run", "list.yml", "-i", str(folder / "mine")]
    monkeypatch.setattr(Asking, "rc", 2)
    assert said(capsys, "status", "--ask")[0] == 1, "a run that failed is not well, whatever it found"
    monkeypatch.setattr(Asking, "rc", 0)
    code, out, _ = said(capsys, "status", "--ask")
    assert code == 0 and "none older than 1 h" in out


def test_a_lost_history_is_rebuilt_from_what_nodes_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = [stamp_at(time.time() - days * DAY, "UTC") for days in (3, 2, 1)]
    entry = {
        "node": "dayabay",
        "source": "dayabay",
        "role": "source",
        "category": "svn",
        "name": "dybsvn",
        "state": "verified",
    }
    more = [{**entry, "stamp": stamp, "size": 1000 * number} for number, stamp in enumerate(nights, 1)]
    unfinished = stamp_at(time.time() - 4 * DAY, "UTC")
    told = Record(
        {
            "token": "told",
            "stamp": nights[1],
            "playbook": "backup.yml",
            "state": "good",
            "started": time.time() - 2 * DAY,
        }
    )
    keep(told)
    monkeypatch.setattr(Asking, "listed", (*more, {**entry, "stamp": unfinished, "size": 7, "state": "missing"}))
    monkeypatch.setattr(status, "SupervisedRun", Asking)
    for _ in range(2):
        code, out, err = said(capsys, "status", "--rebuild")
        assert "2 nights were entered from what nodes hold: failures and durations of those nights are lost" in err
    (line,) = [line for line in out.splitlines() if line.startswith("dayabay/svn/dybsvn  ") and " dayabay " in line]
    assert line.split()[-1] == "▁█", "the sizes of those two"
    (history,) = opened(())
    assert len(history.rows("SELECT * FROM runs WHERE rebuilt")) == 2
    history.database.close()
    _, out, _ = said(capsys, "runs")
    assert [row.split()[3] for row in out.splitlines()[1:] if "rebuilt" in row] == ["rebuilt"] * 2
    assert code == 0


def make_run(folder: Path, name: str, **result: Any) -> Path:
    """Make the folder of a run under altbackup."""
    place = folder / "state" / "runs" / name
    place.mkdir(parents=True)
    told = {
        "playbook": "backup.yml",
        "state": "good",
        "started": "2026-11-28T01:30:00+00:00",
        "user": "scm",
        "node": "hub",
        "inventory": ["/x"],
    }
    Run(place).write({**told, **result})
    (place / "stdout").write_text(f"the log of {name}\n\x1b[31mred\n")
    return place


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0, "now"),
        (59, "59 s"),
        (90, "1 min"),
        (3600, "1 h"),
        (47.9 * HOUR, "47 h"),
        (48 * HOUR, "2 d"),
        (400 * DAY, "400 d"),
    ],
)
def test_ages_are_told_in_one_unit(seconds: float | None, text: str) -> None:
    assert quantities.age(seconds) == text


def test_a_table_on_a_terminal_is_in_colour_and_tells_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    rows = [screen.Row(("x\x1b[0m[bold]", "1")), screen.Row(("y", "22"), True, ("why",))]
    screen.show(screen.table_of(("a", "number"), rows, (1,)), sys.stdout, everything=True)
    out = capsys.readouterr().out
    assert "\x1b[31my" in out and "\x1b[31m  why" in out
    assert "x\\x1b[0m[bold]" in out, "what names say is text"
