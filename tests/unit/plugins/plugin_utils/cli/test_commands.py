"""How the commands of a day are read, and what they refuse."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from helpers.questions import HOSTS, shown

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory
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
