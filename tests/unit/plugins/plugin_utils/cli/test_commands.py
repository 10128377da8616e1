"""How the commands of a day are read, and what they refuse."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.questions import HOSTS, shown

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.commands import COMMANDS, _number, take_rest
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import _arguments, main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.supervised_run import SupervisedRun


def test_what_is_shown_is_quoted_for_a_shell(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(["accept", "it's $HOME `id`", "--", "--vault-password-file", "a b; id"], capsys)
    variables = {"altbackup_accept": ["dayabay/folders/it's $HOME `id`"]}
    assert said[-4:] == ["-e", json.dumps(variables), "--vault-password-file", "a b; id"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("ls dybsvn", "may be 2 items: dayabay/svn/dybsvn, dayabay/tracs/dybsvn"),
        ("ls svn/dybsvn --at someday", "'someday' is no night"),
        ("restore svnsetup", "--to PATH, or --in-place for /etc/apache2/svnsetup on dayabay"),
        ("restore svnsetup --file /etc/passwd --to /tmp/x", "is not in the item, which is /etc/apache2/svnsetup"),
        ("restore svnsetup --to x", "--to x is not an absolute path"),
        ("restore svnsetup a --to /x --file b", "one file or folder at a time, but there are a and --file b"),
        ("adopt cms01", "cms01 is a node"),
        ("adopt", "say which items are adopted"),
        ("accept svnsetup --at -1", "--at takes the stamp"),
        ("diff svnsetup -1 -2 -3", "two nights are compared"),
        ("ls svnsetup conf --jsn", "unknown: --jsn"),
        ("list --most 0", "'0' is not a whole number above 0"),
        ("list -i /nowhere", "the inventory /nowhere does not exist"),
    ],
)
def test_what_cannot_be_done_says_what_to_write(
    words: str, why: str, hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 4
    said = capsys.readouterr()
    assert why in said.err and said.out == ""
    assert not (hosts.parent / "state").exists()


def test_without_an_inventory_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ALTBACKUP_INVENTORY", raising=False)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "x"]) == 4
    assert "no inventory is named" in capsys.readouterr().err


def test_where_items_are_discovered_the_whole_name_is_taken_without_asking(
    hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {**HOSTS, "sources": {"hosts": {"dayabay": {"altbackup_discover": {"git": "/srv/git"}}}}}
    hosts.write_text(yaml.safe_dump(found))
    assert "dayabay/git/group%2Fproject" in shown(["ls", "dayabay/git/group%2Fproject"], capsys)[-1]
    assert main(["ls", "project", "--show"]) == 4
    assert "for --show write the item as source/category/name" in capsys.readouterr().err
    inventory.keep_items(hosts.parent / "state", [str(hosts)], ["dayabay/git/group%2Fproject"])
    assert "dayabay/git/group%2Fproject" in shown(["ls", "project"], capsys)[-1]


DAILY = Path(__file__).parents[5] / "docs" / "daily.md"


TABLE = DAILY.read_text().partition("| you want to know")[2].partition("\n\n")[0]


@pytest.mark.parametrize("line", re.findall(r"`(altbackup [^`]+)`", TABLE))
def test_each_question_of_a_day_is_a_short_line(line: str) -> None:
    assert len(line) <= 60
    arguments, rest = _arguments().parse_known_args(shlex.split(line)[1:])
    assert take_rest(arguments, rest) == []
    assert arguments.command in COMMANDS


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


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("1000", 1000), ("007", 7)])
def test_a_number_is_one_above_0(text: str, number: int) -> None:
    assert _number(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1e3", "²", "٣", "x", " 1", "00"])
def test_what_is_no_number_above_0_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number above 0"):
        _number(text)


@pytest.mark.parametrize("words", ["list", "ls svn/dybsvn", "find x", "diff svnsetup", "hold svnsetup", "doctor"])
def test_where_runs_cannot_be_kept_nothing_is_asked_and_that_is_said(
    words: str, hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALTBACKUP_ARTIFACTS", str(hosts / "state"))
    assert main(words.split()) == 4
    said = capsys.readouterr()
    assert f"runs cannot be kept in {hosts}/state: " in said.err and "Not a directory" in said.err
    assert said.out == "" and len(said.err.splitlines()) == 1


def test_an_answer_is_shown_though_its_names_cannot_be_kept(
    hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(self: SupervisedRun, playbook: str, words: list[str], *_: object) -> int:
        del self, playbook
        path = Path(json.loads(words[words.index("-e") + 1])["altbackup_list_file"])
        path.write_text("[]")
        (hosts.parent / "state" / "items.json.new").mkdir()
        return 0

    monkeypatch.setattr(SupervisedRun, "run", asked)
    assert main(["list", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["items"] == []
    assert "the names of items are not kept for the next question" in said.err
