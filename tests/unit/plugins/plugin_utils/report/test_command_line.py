"""Command lines that can be shown and pasted."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.command_line import command_line, rerun_command


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
