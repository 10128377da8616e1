"""Files that the role schedule writes are valid: checked by the programs of cron and systemd, as no systemd runs here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setting_values import parse_times
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setup import jobs

TEMPLATES = Path(__file__).resolve().parents[3] / "roles" / "schedule" / "templates"
SETUP = {"schedule_at": parse_times({"drill": "mon 9:05"}), "schedule_delay": 1200.0}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The jobs of a controller whose folders have odd names."""
    root = tmp_path_factory.mktemp("a b%c")
    program = root / "bin" / "altbackup"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return jobs(
        {"setup": SETUP, "targets": {}, "nodes": {}},
        [str(root / "my 50% 'inventory'")],
        str(root),
        "/usr/bin/python3",
        {"LANG": "C.UTF-8"},
    )


def test_units_are_what_systemd_takes(planned: list[dict[str, Any]], tmp_path: Path) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for job in planned:
        for kind in ("service", "timer"):
            text = environment.from_string((TEMPLATES / f"unit.{kind}.j2").read_text()).render(__schedule_job=job)
            (tmp_path / f"{job['unit']}.{kind}").write_text(text)
    files = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "altbackup" in line]
    assert said == [], done.stderr
    times = [job["calendar"] for job in planned]
    done = subprocess.run(["systemd-analyze", "calendar", *times], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(": ", 1)[1] for line in done.stdout.splitlines() if "Normalized form" in line] == [
        *("*-*-* 01:30:00", "Sun *-*-* 07:30:00", "Mon *-*-* 09:05:00"),
    ]


def test_the_shell_of_cron_reads_entries_as_they_were_meant(planned: list[dict[str, Any]]) -> None:
    for job in planned:
        assert job["command"].count("%") == job["command"].count("\\%"), "cron takes a bare one for the end of the line"
        command = job["command"].replace("\\%", "%")
        told = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True).stdout
        assert told.splitlines() == job["argv"]
