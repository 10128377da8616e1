"""Prints the matrix of the failure mail, if it ran."""

from __future__ import annotations

from typing import Any

import pytest

TABLE = pytest.StashKey[list[tuple[str, ...]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty table."""
    config.stash[TABLE] = []


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> list[tuple[str, ...]]:
    """The rows to be printed at the end."""
    return request.config.stash[TABLE]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the rows."""
    rows = config.stash[TABLE]
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        terminalreporter.section("failure mail")
        for row in rows:
            terminalreporter.line(
                "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            )
