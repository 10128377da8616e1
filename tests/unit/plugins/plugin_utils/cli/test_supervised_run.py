"""Output and files of a run about itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.supervised_run import (
    _is_first_to_tell,
    _is_secret,
    say,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("DB_PASSWORD", True), ("GITHUB_TOKEN", True), ("PWD", False), ("PATH", False), ("MY_PWD", True)],
)
def test_secret_of_the_environment_is_known_by_its_name(name: str, expected: bool) -> None:
    assert _is_secret(name) is expected


def test_going_run_is_told_by_the_first_alone_but_rather_twice_than_never(tmp_path: Path) -> None:
    assert [_is_first_to_tell(str(tmp_path)) for _ in range(3)] == [True, False, False]
    assert [_is_first_to_tell(str(tmp_path / "gone")) for _ in range(2)] == [True, True]


def test_what_is_said_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb")
    assert capsys.readouterr().err == "altbackup: a\\x1b[2Jb\n"
