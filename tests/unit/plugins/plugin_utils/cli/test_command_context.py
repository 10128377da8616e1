"""What commands ask, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from helpers.questions import HOSTS, shown

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.supervised_run import SupervisedRun


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
