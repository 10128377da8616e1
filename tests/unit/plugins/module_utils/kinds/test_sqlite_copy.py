"""Copies of SQLite databases: one committed state each, within its limits."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from helpers.environments import committed_state, execute, writer

from ansible_collections.altbackup.core.plugins.module_utils.kinds import sqlite_copy
from ansible_collections.altbackup.core.plugins.module_utils.kinds.sqlite_copy import check_database, copy_database, uri
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    DeadlineExceeded,
    InvalidInput,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def test_copy_in_small_steps_holds_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_copy, "_PAGES", 1)  # without one transaction around it, a copy would begin anew for ever
    database = tmp_path / "live.db"
    execute(database, "CREATE TABLE big (a)", "INSERT INTO big VALUES (zeroblob(20000000))")
    with writer(database, "wal") as busy:
        busy.go()
        for number in range(3):
            low = int(busy.next_line())
            copy_database(str(database), str(tmp_path / f"copy{number}"), Deadline(10))
            assert committed_state(tmp_path / f"copy{number}") >= low


def test_copying_and_checking_end_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending(Deadline):
        def remaining(self) -> float | None:
            return super().remaining() if self.is_over() else 60.0

    database = tmp_path / "big.db"
    execute(database, "CREATE TABLE big (a)", "INSERT INTO big VALUES (zeroblob(30000000))")
    monkeypatch.setattr(sqlite_copy, "_PAGES", 10)
    with pytest.raises(DeadlineExceeded):
        copy_database(str(database), str(tmp_path / "copy"), Ending(0.001))
    monkeypatch.setattr(sqlite_copy, "_INSTRUCTIONS", 1)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        sqlite_copy.inspect_database(str(database), "big", Deadline(0))


def test_error_names_the_database(tmp_path: Path) -> None:
    (tmp_path / "missing").write_bytes(b"SQLite format 3\0 but no more")
    with pytest.raises(AltbackupError, match=r"database .*/missing could not be copied"):
        copy_database(str(tmp_path / "missing"), str(tmp_path / "copy"), Deadline(5))


@pytest.mark.parametrize("name", ["plain.db", "a name? 100% #odd&x=1.db"])
def test_an_address_leads_to_the_file_whatever_its_name_is(tmp_path: Path, name: str) -> None:
    execute(tmp_path / name, "CREATE TABLE t (a)")
    database = sqlite3.connect(uri(str(tmp_path / name), "mode=ro"), uri=True)
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    database.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "does not exist"), (b"", "is empty"), (b"SQLite format 2\0", "is not an SQLite database")],
)
def test_what_is_no_database_is_told(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=f"item sqlite 'x': path {path} {said}"):
        check_database(str(path), "item sqlite 'x'")


def test_journal_beside_a_database_in_wal_mode_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    execute(path, "PRAGMA journal_mode=wal", "CREATE TABLE t (a)")
    (tmp_path / "x.db-journal").write_bytes(b"x")
    with pytest.raises(AltbackupError, match=r"x\.db-journal stands beside a database in WAL mode"):
        copy_database(str(path), str(tmp_path / "copy"), Deadline(5))
