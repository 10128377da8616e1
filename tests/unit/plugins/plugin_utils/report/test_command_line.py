"""Command lines that can be shown and pasted."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.command_line import (
    command_line,
    mending_command,
    rerun_command,
)


@pytest.mark.parametrize(
    ("argv", "stamp", "hosts", "line"),
    [
        (
            ["ansible-playbook", "b.yml"],
            "2013/05/10/104701",
            [],
            "cd '/a b' && ansible-playbook b.yml -e altbackup_stamp=2013/05/10/104701",
        ),
        (["x", "-e", "altbackup_stamp=S"], "S", ["a"], "cd '/a b' && x -e altbackup_stamp=S"),
        (["x", "b.yml"], "", ["a", "b c"], "cd '/a b' && x b.yml --limit 'a,b c'"),
        (["x", "-e", "password=hushpuppy", "$HOME"], "", [], "cd '/a b' && x -e password=******** '$HOME'"),
    ],
)
def test_command_does_again_what_is_missing(argv: list[str], stamp: str, hosts: list[str], line: str) -> None:
    assert rerun_command(argv, "/a b", stamp, hosts) == line


def test_command_line_can_be_pasted() -> None:
    assert command_line(["a b", "c'd", "-e", "x=1", ""]) == """'a b' 'c'"'"'d' -e x=1 ''"""


@pytest.mark.parametrize(
    ("argv", "playbook", "line"),
    [
        (["altbackup", "run", "check", "-i", "check"], "check.yml", "cd /x && altbackup run backup -i check"),
        (["ansible-playbook", "-C", "play/check.yml"], "check.yml", "cd /x && ansible-playbook play/backup.yml"),
        (
            ["ansible-playbook", "-l", "cms01", "altbackup.core.check", "-v"],
            "check.yml",
            "cd /x && ansible-playbook altbackup.core.backup -v --limit dayabay,lingao",
        ),
        (
            ["altbackup", "run", "check.yml", "--limit=sdu"],
            "check.yml",
            "cd /x && altbackup run backup.yml --limit dayabay,lingao",
        ),
        (["altbackup", "run", "backup"], "backup.yml", ""),
        (["something", "else.yml"], "check.yml", ""),
    ],
)
def test_backup_is_named_that_mends_what_a_check_finds(argv: list[str], playbook: str, line: str) -> None:
    assert mending_command(argv, "/x", playbook, ["dayabay -> cms01", "dayabay", "lingao"]) == line
