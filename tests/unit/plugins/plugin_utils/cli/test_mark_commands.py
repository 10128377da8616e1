"""Which night of an item is held or released, by what the nodes list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.questions import answering, listed

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main

OLD, NEW, NEWEST = "2026/11/23/013000", "2026/11/24/013000", "2026/11/25/013000"
LISTED = [
    listed("cms01", OLD, hold="audit"),
    listed("cms01", NEW, state="suspect"),
    listed("dayabay", NEWEST, state="missing"),
    listed("dayabay", NEWEST, name="other", hold="x"),
]
HOLD = {"altbackup_hold": {f"dayabay/folders/svnsetup/{NEW}": "held by hand"}}


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        ("hold svnsetup", HOLD),
        ("hold svnsetup --at 2026/11/24", HOLD),
        (
            "hold svnsetup --at 2026/11/23 before",
            {"altbackup_hold": {f"dayabay/folders/svnsetup/{OLD}": "before"}},
        ),
        ("release svnsetup", {"altbackup_release": [f"dayabay/folders/svnsetup/{OLD}"]}),
    ],
)
def test_the_newest_good_night_is_held_and_the_only_held_one_released(
    words: str, variables: dict[str, Any], hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, LISTED)
    assert main(words.split()) == 0
    assert [(playbook, given) for playbook, given in asked if playbook != "list.yml"] == [("mark.yml", variables)]


@pytest.mark.parametrize(
    ("words", "more", "why"),
    [
        ("hold svnsetup --at 2026/11/25", [], "no node has a good tarball of dayabay/folders/svnsetup of 2026/11/25"),
        (
            "release svnsetup --at 2026/11/24",
            [],
            "no node has a held tarball of dayabay/folders/svnsetup of 2026/11/24",
        ),
        (
            "release svnsetup",
            [listed("cms01", NEW, hold="move")],
            f"has 2 tarballs that are held: say which with --at, {NEW}, {OLD}",
        ),
        ("hold svnsetup --show", [], "for --show give the stamp, like --at 2026/11/23/013000"),
        ("accept svnsetup --at -1", [], "--at takes the stamp"),
    ],
)
def test_what_cannot_be_meant_is_told_and_nothing_is_marked(
    words: str,
    more: list[dict[str, Any]],
    why: str,
    hosts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = answering(monkeypatch, [*LISTED, *more])
    assert main(words.split()) == 4
    assert why in capsys.readouterr().err
    assert [playbook for playbook, _ in asked if playbook != "list.yml"] == []


def test_an_item_is_retired_from_a_day_on_and_that_is_taken_back(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, [])
    for words in ("retire svnsetup --since 2026-11-23", "retire svnsetup --undo"):
        assert main(words.split()) == 0
    assert [given["altbackup_retired"] for _, given in asked] == [
        {"folders/svnsetup": "2026/11/23"},
        {"folders/svnsetup": ""},
    ]
