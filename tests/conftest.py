"""Shared by all tests: the collection of this checkout can be imported as it is installed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from helpers.tools import missing_tools, told

COLLECTIONS = str(Path(__file__).resolve().parents[1] / ".collections")

# No test's run mails anybody, except those that set a recipient.
os.environ["ALTBACKUP_MAIL_TO"] = "none"

# Nor does one leave its record among those of the user who runs the tests.
os.environ["ALTBACKUP_HISTORY"] = str(_HISTORY := Path(tempfile.gettempdir(), f"altbackup-history-{os.getpid()}"))

# Payloads of modules are kept from run to run, but not among this user's.
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).resolve().parents[1] / "var" / "cache")

if COLLECTIONS not in sys.path:
    sys.path.insert(0, COLLECTIONS)


def pytest_unconfigure() -> None:
    """Remove the records of the runs that tests have made."""
    shutil.rmtree(_HISTORY, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each missing program once, however many tests failed without it."""
    reports = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
    for line in told(missing_tools(), [(report.nodeid, report.longreprtext) for report in reports]) if reports else ():
        terminalreporter.write_line(line, red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked sampled(step), leave the first of each `step` variants to make test; the others run in full suites only."""
    seen: Counter[str] = Counter()
    for item in items:
        if marker := item.get_closest_marker("sampled"):
            test = item.nodeid.partition("[")[0]
            if seen[test] % marker.args[0]:
                item.add_marker(pytest.mark.full)
            seen[test] += 1
