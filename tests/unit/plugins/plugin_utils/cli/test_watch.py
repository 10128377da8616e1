"""The crontab line of a target's watch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.watch_program import build
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.watch import cron_lines

TARGET: dict[str, Any] = {"altbackup_target_base": "/data/backup/", "altbackup_watch": True}
REPOSITORY = Path(__file__).resolve().parents[5]


@pytest.mark.parametrize(
    ("more", "whose", "command"),
    [
        (
            {"ansible_user": "scm"},
            "scm, as",
            "/usr/bin/python3 -I /data/backup/.altbackup/watch/altbackup-watch /data/backup",
        ),
        ({"ansible_user": "scm", "ansible_become": True}, "root, as", "/usr/bin/python3 -I /data"),
        ({"ansible_become": True, "ansible_become_user": "backup"}, "backup, as", "/usr/bin/python3 -I /data"),
        ({}, "the user as", "/usr/bin/python3 -I /data"),
        ({"ansible_python_interpreter": "/opt/py/bin/python"}, "the user as", "/opt/py/bin/python -I /data"),
        ({"ansible_python_interpreter": "{{ x }}"}, "the user as", "/usr/bin/python3 -I /data"),
        (
            {"altbackup_target_base": "/a b/50%"},
            "the user as",
            r"-I '/a b/50\%/.altbackup/watch/altbackup-watch' '/a b/50\%'",
        ),
    ],
)
def test_the_line_is_for_the_user_of_the_runs(more: dict[str, Any], whose: str, command: str) -> None:
    note, line = cron_lines("cms01", {**TARGET, **more})
    assert note.startswith(f"# For the crontab of {whose}")
    minute, rest = line.split(" ", 1)
    assert 0 <= int(minute) < 60
    assert rest.startswith("* * * *  ") and command in rest


def test_a_target_that_does_not_watch_yet_is_told_first() -> None:
    assert "Set altbackup_watch: true" in cron_lines("cms01", {**TARGET, "altbackup_watch": False})[1]


@pytest.mark.parametrize("base", [None, "", "relative", "{{ base }}", "/a\n* * * * * reboot"])
def test_what_is_no_target_has_no_line(base: Any) -> None:
    with pytest.raises(InvalidInput, match="is cms01 a target"):
        cron_lines("cms01", {"altbackup_target_base": base})


def test_the_program_can_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "program"
    assert main(["watch", "--program", str(path)]) == 0
    assert path.read_bytes() == build()
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.full
def test_the_inventory_knows_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    inventory = str(REPOSITORY / "inventory" / "example")
    assert main(["watch", "--cron-line", "cms01", "-i", inventory]) == 0
    assert "-I /data/backup/.altbackup/watch/altbackup-watch /data/backup" in capsys.readouterr().out
    assert main(["watch", "--cron-line", "cms02", "-i", inventory]) == 1
    assert "did you mean 'cms01'" in capsys.readouterr().err
