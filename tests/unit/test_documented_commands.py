"""The commands that README.md and the pages show are such: the program's own parser takes them, and what they name is one thing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import CATEGORIES
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.commands import COMMANDS, take_rest
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.items import find_item
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import AnsibleSettings, read_job

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_IN_A_BLOCK = re.compile(r"(?m)^ {4,}(?:\$ )?(?:.*(?:&& |\$\())?(?:bin/)?altbackup (?=[a-z])(.*)$")
_IN_A_LINE = re.compile(r"`(?:bin/)?altbackup ([a-z][^`]*)`")
_DESTINATIONS = ("--to", "--in-place", "--into")


@dataclass(frozen=True)
class Shown:
    """A command that a page shows."""

    page: str
    words: tuple[str, ...]
    is_block: bool
    """Whether it stands in a block, from which it is copied, not in a sentence, which may mean the command as such"""


def words_of(text: str) -> tuple[str, ...]:
    """Return the words up to what a shell takes for something else."""
    reader = shlex.shlex(text, posix=True, punctuation_chars="();<>|&")
    reader.whitespace_split = True
    words: list[str] = []
    for word in reader:
        if set(word) <= set("();<>|&"):
            break
        words.append(word)
    return tuple(words[:-1] if text[len(" ".join(words)) :].startswith(">&") else words)


def commands_of(page: Path) -> Iterator[Shown]:
    text = page.read_text(encoding="utf-8")
    for found in _IN_A_BLOCK.finditer(text):
        yield Shown(page.name, words_of(found[1]), is_block=True)
    for found in _IN_A_LINE.finditer(text):
        yield Shown(page.name, words_of(" ".join(found[1].split())), is_block=False)


SHOWN = sorted(
    {command for page in PAGES for command in commands_of(page)},
    key=lambda each: (each.page, each.words, each.is_block),
)
EXAMPLES = [
    f"{path.stem}/{CATEGORIES[item['kind']]}/{item['name']}"
    for path in (ROOT / "inventory" / "example" / "host_vars").glob("*.yml")
    for item in (yaml.safe_load(path.read_text()) or {}).get("altbackup_items") or ()
]


def refusal(words: tuple[str, ...]) -> str:
    """Return why the program would not take a command line, "" if it would. No inventory is read, and no node is asked."""
    try:
        arguments, left = main._arguments(words[:1]).parse_known_args(list(words))
        if arguments.command in COMMANDS:
            left = take_rest(arguments, left)
        if arguments.command == "run":
            job = read_job(arguments.playbook, left, (), AnsibleSettings(Path("/none")), {})
            if not (job.playbook.is_file() or arguments.playbook.isupper()):
                return f"no playbook {arguments.playbook}"
        elif left:
            return f"unknown: {' '.join(left)}"
    except InvalidInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.page}: {' '.join(shown.words)[:60]}")
def test_a_command_that_a_page_shows_is_one(shown: Shown) -> None:
    words = shown.words
    why = refusal(words)
    if why and not shown.is_block and len(words) == 1:
        assert "invalid choice" not in why, "the command as such"
    elif why and not shown.is_block and words[1].startswith("-"):
        assert refusal((*words, "x")) == "", "a command with an option as such"
    else:
        assert why == ""
    if words[0] == "restore" and shown.is_block:
        assert set(words) & set(_DESTINATIONS), "in a script it would be asked where to"
    if words[0] in ("ls", "restore", "diff", "list") and words[1:2] and not words[1].startswith("-"):
        assert not is_ambiguous(words[1])


def is_ambiguous(item: str) -> bool:
    """Return whether several items of the example are called like that."""
    try:
        find_item(item, EXAMPLES)
    except InvalidInput as error:
        return "may be" in str(error)
    return False


def test_commands_are_found_in_blocks_and_in_lines() -> None:
    pages = {shown.page for shown in SHOWN if shown.is_block}
    assert {"README.md", "daily.md", "getting-started.md", "applications.md", "operators.md"} <= pages
    assert len(SHOWN) > 80
    assert EXAMPLES


def test_what_is_asked_every_day_is_a_short_line() -> None:
    rows = (ROOT / "docs" / "daily.md").read_text(encoding="utf-8").split("## ")[0].splitlines()
    typed = [command for row in rows if row.startswith("| ") for command in re.findall("`(altbackup [^`]+)`", row)]
    assert [command for command in typed if len(command) > 60 or "{" in command] == []
    asked = {"status", "list", "ls", "find", "diff", "restore", "runs", "last"}
    assert asked <= {command.split()[1] for command in typed}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ls svn/dybsvn --att tue", "unknown: --att"),
        ("lst", "invalid choice: 'lst'"),
        ("ls", "required: ITEM"),
        ("run bakcup", "bakcup"),
        ("report --htlm x", "--htm"),
        ("status a b", "unknown: b"),
        ("check a b >/tmp/x 2>&1 || cat /tmp/x", ""),
    ],
)
def test_what_is_no_command_is_found(text: str, why: str) -> None:
    said = refusal(words_of(text))
    assert bool(said) == bool(why)
