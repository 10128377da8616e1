"""What is told of an answer: the exit code, the items that are meant, and how much is not shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.questions import answering, listed

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main

STAMP = "2026/11/24/013000"
TARBALL = {"relpath": f"folders/svnsetup/{STAMP}/svnsetup.tar", "node": "cms01", "stamp": STAMP, "source": "dayabay"}
ENTRY = {
    "relpath": TARBALL["relpath"],
    "source": "dayabay",
    "path": "users.conf",
    "type": "file",
    "size": 9,
    "mtime": 0,
}
INSIDE: dict[str, Any] = {
    "item": "dayabay/folders/svnsetup",
    "tarballs": [TARBALL],
    "answers": [],
    "entries": [ENTRY],
    "totals": {"listed": 3, "entries": 3, "bytes": 2048, "found": 3, "read": 1},
}


@pytest.mark.parametrize(
    ("words", "code", "nights", "said"),
    [
        ("list svnsetup", 0, [STAMP], ""),
        ("list svnsetup --at 2026/11/24", 0, [STAMP], ""),
        ("list svnsetup --at 2026/11/23", 4, [], "no node has a tarball of dayabay/folders/svnsetup of 2026/11/23"),
        ("list svn/dybsvn", 4, [], "no node has a tarball of dayabay/svn/dybsvn"),
    ],
)
def test_the_nights_of_an_item_are_listed_and_none_is_told(
    words: str,
    code: int,
    nights: list[str],
    said: str,
    hosts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answering(monkeypatch, [listed("cms01", STAMP)])
    assert main([*words.split(), "--json"]) == code
    shown = capsys.readouterr()
    assert [night["stamp"] for night in json.loads(shown.out)["nights"]] == nights
    assert said in shown.err and bool(said) == bool(shown.err)


@pytest.mark.parametrize(("day", "items"), [("2026/11/24", 1), ("2026/11/23", 0)])
def test_all_items_of_a_day_are_listed(
    day: str, items: int, hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, [listed("cms01", STAMP), listed("dayabay", STAMP)])
    assert main(["list", "--at", day, "--json"]) == 0
    assert [entry["copies"] for entry in json.loads(capsys.readouterr().out)["items"]] == [2] * items


def test_what_is_not_shown_of_a_tarball_is_counted(
    hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answering(monkeypatch, INSIDE)
    assert main(["ls", "svnsetup", "conf", "--most", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 entries, 2,048 bytes; 2 more: --most shows them"
    wanted = {"step": "list", "item": "dayabay/folders/svnsetup", "path": "conf", "most": 1}
    assert asked == [("contents.yml", {"altbackup_contents": wanted})]
    assert main(["ls", "svnsetup", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert entry == {name: value for name, value in ENTRY.items() if name != "source"}


@pytest.mark.parametrize(
    ("words", "last"), [(["ls", "svnsetup"], "1 entry, 1 byte"), (["find", "*.conf"], "1 found in 1 tarball")]
)
def test_one_of_a_thing_is_told_as_one(
    words: list[str], last: str, hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, {**INSIDE, "totals": {"listed": 1, "entries": 1, "bytes": 1, "found": 1, "read": 1}})
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize(
    ("answer", "code", "ended"), [(None, 2, 2), (None, 0, 4), ({**INSIDE, "entries": []}, 2, 2), (INSIDE, 2, 2)]
)
def test_a_question_ends_as_its_run_did_and_not_well_without_an_answer(
    answer: Any, code: int, ended: int, hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, answer, code)
    assert main(["ls", "svnsetup"]) == ended
    assert bool(capsys.readouterr().out) == bool(answer and answer["entries"])
