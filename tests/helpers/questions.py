"""An inventory for commands of a day, and what they show of what they would do."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import Job
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main

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
