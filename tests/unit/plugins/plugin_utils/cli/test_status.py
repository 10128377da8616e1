"""Output of `altbackup status`, `runs` and `log` on what runs have left."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from helpers.kept_nights import DAY, HOUR, documented, keep, night, own_place, said

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import status
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, opened


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of histories and runs."""
    return own_place(tmp_path, monkeypatch)


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    keep(night(2.25, size=1 << 19), night(1.25), night(0.25, size=3 << 19))
    code, out, err = said(capsys, "status")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["ITEM", "NODE", "COPY", "PROOF", "SIZE", "CHANGE", "NIGHTS"]
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
    keep(night(2.1), night(1.1), Record(bad.run, bad.trees, failed))
    code, out, _ = said(capsys, "status")
    assert code == 1
    lines = out.splitlines()
    assert lines[4:6] == [
        "dayabay/folders/notes  dayabay  26 h  never  1.0 MiB       =  ▄▄·     failed",
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
    for part in ("dyb", "dayabay/dyb"):
        code, out, _ = said(capsys, "status", part)
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
    (folder / "three").mkdir()
    code, _, err = said(capsys, "status", "-i", "three")
    assert code == 1 and f"no record of any run of {folder}/three here" in err
    (folder / "two" / "hosts.yml").unlink()
    assert said(capsys, "status", "-i", "two/hosts.yml")[0] == 1
    assert "does not exist" not in said(capsys, "runs", "-i", "two/hosts.yml")[2], "its history is there"


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status --rebuild",
        "runs",
        "log",
        "log --asked",
        "last",
        "report --html page",
        "watch --cron-line cms01",
        "list",
    ],
)
def test_an_inventory_that_does_not_exist_is_told_as_that(
    words: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "first").mkdir()
    code, out, err = said(capsys, *words.split(), "-i", "frist")
    assert (code, out) == (4 if words == "list" else 1, "")
    assert err == f"altbackup: the inventory {folder}/frist does not exist, did you mean {folder}/first?\n"


def test_what_was_rebuilt_in_vain_is_not_to_be_rebuilt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(status, "SupervisedRun", lambda *_: SimpleNamespace(run=lambda *_: 4))
    (folder / "mine").mkdir()
    code, out, err = said(capsys, "status", "--rebuild", "-i", "mine")
    assert (code, out) == (1, "") and "no record of any run" in err and "--rebuild" not in err


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
    (folder / "mine").mkdir()
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
