"""The survey of a database, as it is run in a sandbox."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from helpers.environments import execute

from ansible_collections.altbackup.core.plugins.module_utils.kinds.sqlite_survey import main, notes_on, survey


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with a table, an index and a table of attachments as Trac has it."""
    path = tmp_path / "x.db"
    rows = ", ".join(f"({number}, 'text {number}')" for number in range(2000))
    execute(path, "CREATE TABLE t (a INTEGER, b TEXT)", "CREATE INDEX by_b ON t (b)", f"INSERT INTO t VALUES {rows}")
    execute(
        path,
        "CREATE TABLE attachment (type, id, filename, size)",
        "INSERT INTO attachment VALUES ('wiki', 'P', 'f', 3)",
    )
    return path


def test_a_sound_database_is_counted_and_left_alone(database: Path) -> None:
    before = database.read_bytes()
    found = survey(os.fsencode(database))
    assert found == {
        "problems": [],
        "unchecked": {},
        "rows": {"attachment": 1, "t": 2000},
        "attachments": [("wiki", "P", "f", 3)],
        "version": sqlite3.sqlite_version,
    }
    assert database.read_bytes() == before and os.listdir(database.parent) == ["x.db"]


def test_damage_is_a_problem_and_nothing_is_counted(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content.replace(b"text 1234", b"text 12x4", 1))  # in the table or the index, not in both
    found = survey(os.fsencode(database))
    assert found["problems"] and found["rows"] == {}


def test_as_a_program_it_says_in_json_what_it_found_and_of_what_is_none(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(database)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"attachment": 1, "t": 2000}
    database.write_bytes(b"no database" * 100)
    assert main([str(database)]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == ["file is not a database"]


@pytest.mark.parametrize(
    ("unchecked", "rows", "said"),
    [
        ({}, {"t": 1}, []),
        ({"fts": "no such module: x"}, {"t": 1}, ["tables of db are of modules or tokenizers"]),
        ({"t": "no such function: x"}, {"t": 1}, ["the integrity of db was not checked"]),
        ({}, {"t": None, "u": 1}, ["the rows of db were not counted where this node cannot: t"]),
    ],
)
def test_notes_tell_what_was_not_looked_at(
    unchecked: dict[str, str], rows: dict[str, int | None], said: list[str]
) -> None:
    notes = notes_on("db", unchecked, rows)
    assert len(notes) == len(said) and all(note.startswith(text) for note, text in zip(notes, said, strict=True))
