"""A missing program that tests need is named once."""

from __future__ import annotations

from pathlib import Path

from helpers.tools import missing_tools, told


def test_program_on_the_path_is_not_missing(tmp_path: Path) -> None:
    assert {"git": "git", "svnadmin": "subversion", "sshd": "openssh-server"}.items() <= missing_tools(
        str(tmp_path)
    ).items()
    (tmp_path / "git").write_text("#!/bin/sh\n")
    (tmp_path / "git").chmod(0o755)
    assert "git" not in missing_tools(str(tmp_path))


def test_missing_program_is_named_once_with_a_test_that_wanted_it() -> None:
    failed = [("a", "No such file: 'svn'"), ("b", "svn is not installed"), ("c", "svnadmin: no"), ("d", "strace-x")]
    assert list(told({"svn": "subversion", "strace": "strace"}, failed)) == [
        "svn is not installed (package subversion): a and 1 more"
    ]
