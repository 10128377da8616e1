"""The table of faults: each test adds rows, printed when all tests on all workers have ended."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from faults.modules import Caller, caller

COLUMNS = {"fault": 44, "seen": 62, "invariants": 10, "rerun": 26, "bytes": 24}
KEY = "fault"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    fault: str
    seen: str
    invariants: str = "hold"
    rerun: str = "same tree"
    bytes: str = ""


@pytest.fixture
def add_row(request: pytest.FixtureRequest) -> Callable[[Row], None]:
    """Return a function that adds a row to the table: a test calls it when everything in the row has been verified."""
    return lambda row: request.node.user_properties.append((KEY, asdict(row)))


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Yield the caller of modules with faults at their system calls."""
    if not shutil.which("strace"):
        pytest.fail("strace is not installed")
    with caller(tmp_path_factory.mktemp("caller")) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    rows: list[dict[str, str]] = []
    for outcome, word in (("passed", ""), ("failed", "FAILED"), ("error", "FAILED"), ("skipped", "SKIPPED")):
        for report in terminalreporter.stats.get(outcome, []):
            if Path(report.location[0]).parts[:2] != ("tests", "faults"):
                continue
            own = [value for key, value in getattr(report, "user_properties", []) if key == KEY]
            rows += own if report.when == "call" or word else []
            if word:
                why = report.longreprtext.strip().splitlines()[-1] if word == "FAILED" else str(report.longrepr[-1])
                rows.append({"fault": report.location[2], "seen": why, "invariants": word, "rerun": word, "bytes": ""})
    if rows:
        terminalreporter.section("faults")
        for line in table(rows):
            terminalreporter.write_line(line)


def table(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """Yield the lines of a table of rows; long texts are wrapped."""
    yield " | ".join(name.ljust(width) for name, width in COLUMNS.items()).rstrip()
    for row in sorted(rows, key=lambda row: row["fault"]):
        yield "-+-".join("-" * width for width in COLUMNS.values())
        cells = [textwrap.wrap(row[name], width) or [""] for name, width in COLUMNS.items()]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            yield " | ".join(part.ljust(width) for part, width in zip(parts, COLUMNS.values(), strict=True)).rstrip()
