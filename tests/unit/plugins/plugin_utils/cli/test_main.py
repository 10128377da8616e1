"""Output of `altbackup last` on a failed run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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
