"""How the commands of a day are read, and what they refuse."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.questions import refused, shown

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.commands import COMMANDS, take_rest
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import _arguments, main


def test_what_is_shown_is_quoted_for_a_shell(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(["accept", "it's $HOME `id`", "--", "--vault-password-file", "a b; id"], capsys)
    variables = {"altbackup_accept": ["dayabay/folders/it's $HOME `id`"]}
    assert said[-4:] == ["-e", json.dumps(variables), "--vault-password-file", "a b; id"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("ls dybsvn", "may be 2 items: dayabay/svn/dybsvn, dayabay/tracs/dybsvn"),
        ("ls svn/dybsvn --at someday", "'someday' is no night"),
        ("adopt", "say which items are adopted"),
        ("diff svnsetup -1 -2 -3", "two nights are compared"),
        ("ls svnsetup conf --jsn", "unknown: --jsn"),
        ("list --most 0", "'0' is not a whole number above 0"),
        ("list -i /nowhere", "the inventory /nowhere does not exist"),
    ],
)
def test_what_cannot_be_done_says_what_to_write(
    words: str, why: str, hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(words, hosts, capsys)


def test_without_an_inventory_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ALTBACKUP_INVENTORY", raising=False)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "x"]) == 4
    assert "no inventory is named" in capsys.readouterr().err


DAILY = Path(__file__).parents[5] / "docs" / "daily.md"


TABLE = DAILY.read_text().partition("| you want to know")[2].partition("\n\n")[0]


@pytest.mark.parametrize("line", re.findall(r"`(altbackup [^`]+)`", TABLE))
def test_each_question_of_a_day_is_a_short_line(line: str) -> None:
    assert len(line) <= 60
    arguments, rest = _arguments().parse_known_args(shlex.split(line)[1:])
    assert (take_rest(arguments, rest) if arguments.command in COMMANDS else rest) == []


def test_every_command_is_told_of() -> None:
    told = DAILY.read_text()
    assert [name for name in COMMANDS if f"altbackup {name}" not in told] == []


@pytest.mark.parametrize(
    ("line", "filled", "left"),
    [
        ("ls x", {"item": "x", "path": ""}, []),
        ("ls x y", {"item": "x", "path": "y"}, []),
        ("ls x --at -1 y", {"item": "x", "path": "y", "at": "-1"}, []),
        ("ls x y z", {"item": "x", "path": "y"}, ["z"]),
        ("list", {"item": ""}, []),
        ("list --all x", {"item": "x"}, []),
        ("diff x -1 -2", {"item": "x", "days": ["-1", "-2"]}, []),
        ("diff x --path y -1", {"item": "x", "days": ["-1"]}, []),
        ("drill a b", {"nodes": ["a", "b"]}, []),
        ("drill --check a", {"nodes": ["a"]}, []),
        ("hold x --at -1 why", {"item": "x", "why": "why"}, []),
        ("ls x --jsn", {"item": "x", "path": ""}, ["--jsn"]),
        ("drill --jsn a --al b", {"nodes": ["a", "b"]}, ["--jsn", "--al"]),
        ("ls x --jsn y", {"item": "x", "path": ""}, ["--jsn", "y"]),
    ],
)
def test_what_stands_behind_options_has_its_place(line: str, filled: dict[str, Any], left: list[str]) -> None:
    arguments, rest = _arguments().parse_known_args(shlex.split(line))
    assert take_rest(arguments, rest) == left
    assert {name: getattr(arguments, name) or type(value)() for name, value in filled.items()} == filled
