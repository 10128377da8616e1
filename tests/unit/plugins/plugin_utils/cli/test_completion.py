"""Completion in shells: asked of the program itself, as their scripts do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from helpers.entry_point import PROGRAM, python

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import completion, inventory


def completed(line: str, state: Path) -> list[str]:
    """Ask for completions of a command line as bash does."""
    reading, writing = os.pipe()
    environment = {
        "PATH": f"{python().parent}:/usr/bin:/bin",
        "HOME": str(state.parent),
        "ALTBACKUP_ARTIFACTS": str(state),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    command = f'exec 8>&{writing} 9>/dev/null; exec "$0"'
    with os.fdopen(reading, encoding="utf-8") as stream:
        subprocess.run(
            ["bash", "-c", command, str(PROGRAM)], env=environment, pass_fds=[writing], timeout=60, check=False
        )
        os.close(writing)
        return stream.read().split("\n")


@pytest.mark.sampled(7)
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("altbackup ret", ["retire"]),
        ("altbackup ls dayabay/sv", ["dayabay/svn/dybsvn"]),
        ("altbackup adopt dayabay/svn/dybsvn tool", ["lingao/git/toolbox"]),
        ("altbackup find x --item lin", ["lingao/git/toolbox"]),
        ("altbackup diff dayabay/svn/dybsvn tu", ["tuesday"]),
        ("altbackup restore x --to-h", ["--to-host"]),
        ("altbackup completion z", ["zsh"]),
    ],
)
def test_commands_options_and_items_are_completed(line: str, found: list[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    inventory.keep_items(tmp_path / "state", ["hosts.yml"], ["dayabay/svn/dybsvn", "lingao/git/toolbox"])
    assert [word.strip() for word in completed(line, tmp_path / "state")] == found


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_each_shell_has_a_script(shell: str) -> None:
    pytest.importorskip("argcomplete")
    assert "altbackup" in completion.script(shell)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="'tcsh' is none of bash, zsh, fish"):
        completion.script("tcsh")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="pip install argcomplete"):
        completion.script("bash")


def test_items_of_the_last_lists_are_kept_for_each_inventory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert inventory.kept_items(state, ["a"]) is None
    for number in range(25):
        inventory.keep_items(state, [f"i{number}"], [f"s/svn/{number}"])
    assert inventory.kept_items(state, ["i24"]) == ["s/svn/24"]
    assert inventory.kept_items(state, ["i0"]) is None
    assert len(inventory.all_kept_items(state)) == 20
    assert (state / "items.json").stat().st_mode & 0o777 == 0o600
    (state / "items.json").write_text("{")
    assert inventory.all_kept_items(state) == []
