"""An inventory for commands of a day, and what they show of what they would do."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import Job
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.supervised_run import SupervisedRun

HOSTS: dict[str, Any] = {
    "sources": {
        "hosts": {
            "dayabay": {
                "altbackup_items": [
                    {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn"},
                    {"kind": "trac", "name": "dybsvn", "path": "/home/scm/tracs/dybsvn"},
                    {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup"},
                    {"kind": "folder", "name": "it's $HOME `id`", "path": "/srv/odd"},
                ]
            }
        }
    },
    "targets": {"hosts": {"cms01": {}}},
}
LOADED: dict[str, Any] = {}


def once(job: Job, _passed: Any, *more: Any, load: Any = inventory.load_site) -> Any:
    """Read an inventory as the program does, but each text once, and without its vault: ansible-inventory takes its time."""
    text = Path(job.inventory[0]).read_text()
    if text not in LOADED:
        LOADED[text] = load(job, (), *more)
    return LOADED[text]


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Call the program with --show; return the words that it shows, as a shell reads them, behind the program."""
    assert main([words[0], "--show", *words[1:]]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return shlex.split(line)[1:]


def listed(node: str, stamp: str, name: str = "svnsetup", **more: Any) -> dict[str, Any]:
    """Return a tarball of a folder of dayabay as the list has it."""
    entry = {"node": node, "source": "dayabay", "category": "folders", "name": name, "stamp": stamp, "role": "target"}
    told = {"size": 1024, "dig": "aa", "alg": "sha256", "state": "verified", "hold": ""}
    return {**entry, "relpath": f"folders/{name}/{stamp}/{name}.tar", **told, **more}


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any, code: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Let runs write this answer where they are asked for one, and do nothing; return (playbook, other variables) of those that began, as they begin."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def run(self: SupervisedRun, playbook: str, words: list[str], *_: object) -> int:
        del self
        given = json.loads(words[words.index("-e") + 1])
        if file := given.pop("altbackup_list_file", ""):
            Path(file).write_text(json.dumps(answer))
        asked.append((playbook, given))
        return code

    monkeypatch.setattr(SupervisedRun, "run", run)
    return asked
