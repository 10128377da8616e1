"""Output of `altbackup last` on a failed run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import _lines
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.run_store import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.runner_events import failure_lines
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import RECORDED, Failure, Place

RESULT = {"playbook": "backup.yml", "state": "failed", "started": "2026-11-28T01:30:00", "user": "scm", "node": "hub"}
FAILURE = Failure(
    "dayabay", "dump of svn/a: unreadable", RECORDED, place=Place(name="Dump", path="x:1"), follows=("so on cms01",)
)


def told(*failures: Failure, **more: Any) -> list[str]:
    """Return the output on failures."""
    lines = _lines({**RESULT, "failures": [{**entry, **more} for entry in failure_lines(failures)]}, Run(Path("/x")))
    return lines[lines.index("failures:") + 1 : -1]


_WITHOUT_ANSIBLE = """
import sys
program = sys.argv[1]
class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("ansible", "ansible_runner", "yaml", "jinja2"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
sys.argv = ["altbackup", *sys.argv[2:]]
import runpy
runpy.run_path(program, run_name="__main__")
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("command", ["run", "mail", "last"])
def test_what_runs_by_itself_needs_nothing_that_is_to_be_installed(command: str) -> None:
    program = Path(str(main.__file__)).with_name("__main__.py").resolve()
    done = subprocess.run(
        [sys.executable, "-P", "-c", _WITHOUT_ANSIBLE, str(program), command, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0) and done.stdout.startswith(f"usage: altbackup {command}")


def test_last_tells_of_good_copies() -> None:
    good = "last good copy there: 2026/11/27 01:30:00"
    assert told(replace(FAILURE, good=good)) == [
        "  dayabay: dump of svn/a: unreadable",
        f"    {good}",
        "    so on cms01",
    ]
    assert told(FAILURE) == ["  dayabay: dump of svn/a: unreadable", "    so on cms01"]


def test_last_tells_once_what_is_the_same_of_several_hosts() -> None:
    base = replace(FAILURE, message="preflight: no marker", delegate="cms01", follows=(), where="dayabay -> cms01")
    other = replace(base, host="lingao", where="lingao -> cms01")
    assert told(base, other) == ["  dayabay, lingao -> cms01: preflight: no marker"]
    assert told(base, replace(other, message="another")) == [
        "  dayabay -> cms01: preflight: no marker",
        "  lingao -> cms01: another",
    ]


def test_last_reads_what_an_older_run_left() -> None:
    assert told(FAILURE, title=None, good=None)[0] == "  dayabay: dump of svn/a: unreadable"
