"""The tables of a history are those that docs/monitoring.md tells of."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.history.schema import (
    APPLICATION,
    COLUMNS,
    STATEMENTS,
    VERSION,
)

DOCUMENT = (Path(__file__).resolve().parents[5] / "docs" / "monitoring.md").read_text(encoding="utf-8")


def made() -> sqlite3.Connection:
    """Return an empty history."""
    database = sqlite3.connect(":memory:")
    for statement in STATEMENTS:
        database.execute(statement)
    return database


def test_the_statements_make_the_tables_with_their_columns() -> None:
    with closing(made()) as database:
        for table, columns in COLUMNS.items():
            assert tuple(row[1] for row in database.execute(f"PRAGMA table_info({table})")) == columns
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        assert int.from_bytes(b"altb", "big") == APPLICATION


def test_what_is_of_a_run_goes_with_it() -> None:
    with closing(made()) as database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("INSERT INTO runs (id, token, started, state) VALUES (1, 't', 0, 'good')")
        database.execute("INSERT INTO trees (run, node, source, role) VALUES (1, 'a', 'a', 'source')")
        database.execute("INSERT INTO failures (run, reason) VALUES (1, 'x')")
        database.execute("DELETE FROM runs")
        assert [database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in COLUMNS] == [(0,)] * 4


@pytest.mark.parametrize("table", COLUMNS)
def test_each_column_is_told_of(table: str) -> None:
    told = [set(re.findall(r"`(\w+)`", line)) for line in DOCUMENT.splitlines() if line.startswith(f"| `{table}` |")]
    assert any(set(COLUMNS[table]) <= words for words in told), [set(COLUMNS[table]) - words for words in told]


def test_the_version_is_told_of() -> None:
    assert f"`PRAGMA user_version` is the version of these tables, {VERSION}." in DOCUMENT
