"""The place of the simulated worlds, and the number of histories that were tried."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
"""A file system in memory: thousands of small writes are flushed one by one"""
TRIED = "tried"
"""Property of a test with {what was tried: how often}"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Return a folder in memory, if there is one."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many histories were tried, and what happened in them."""
    tried: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, value in getattr(report, "user_properties", []):
                tried.update(value if key == TRIED else {})
    if tried:
        histories, nights, seconds = (tried.pop(word) for word in ("histories", "nights", "seconds"))
        terminalreporter.section("histories")
        each = f"{histories / seconds * 60:.1f} a minute and worker" if seconds else ""
        terminalreporter.write_line(
            f"{histories} histories of {nights} nights were tried, {each}; what happened in them:"
        )
        terminalreporter.write_line(", ".join(f"{word} {number}" for word, number in sorted(tried.items())))
