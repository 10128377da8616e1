"""Kind `sqlite`: databases are copied as one committed state while in use."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.environments import committed_state, execute, locker, plain_copy, reader, tables, writer
from helpers.trees import NIGHTS, Base, as_nobody, describe_tree, item, needs_root, nobodys_folder, unpack

from ansible_collections.altbackup.core.plugins.module_utils.kinds import sqlite_copy


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "live" / "a name? 100% #odd&x=1.db"
    path.parent.mkdir()
    execute(path, "CREATE TABLE plain (a, b)", "INSERT INTO plain VALUES (1, 'x'), (NULL, x'00ff')")
    return path


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_each_copy_during_commits_is_one_committed_state(base: Base, tmp_path: Path, journal: str) -> None:
    database = tmp_path / "live.db"
    with writer(database, journal) as busy, reader(database) if journal == "wal" else reader(tmp_path / "idle.db"):
        busy.go()
        low = int(busy.next_line())
        states = []
        for second in range(5):
            tarball = base.dump_one(item("sqlite", database), stamp=f"2013/05/10/10000{second}")
            states.append(committed_state(unpack(tarball, tmp_path / f"out{second}") / "live.db"))
        plain = plain_copy(database, tmp_path / "plain.db")
    assert low <= states[0]
    assert sorted(set(states)) == states
    if journal == "wal":
        with contextlib.suppress(AssertionError, sqlite3.Error):
            assert committed_state(plain) < states[-1]


def test_copy_equals_the_database_with_all_sorts_of_tables(database: Path, base: Base, tmp_path: Path) -> None:
    odd = ('"a ""quoted"" table"', "[select]", "'日本 %'", '"line\nbreak"', '""')
    execute(
        database,
        *(f"CREATE TABLE {name} (a INTEGER PRIMARY KEY AUTOINCREMENT, b)" for name in odd),
        *(f"INSERT INTO {name} (b) VALUES ('1'), ('2')" for name in odd),
        "CREATE VIRTUAL TABLE search USING fts5(body)",
        "INSERT INTO search VALUES ('find me')",
        "CREATE TABLE keyed (k PRIMARY KEY, v) WITHOUT ROWID",
        "INSERT INTO keyed VALUES (1, 2)",
        "CREATE VIEW seen AS SELECT * FROM plain",
        "PRAGMA user_version = 7",
    )
    tarball = base.dump_one(item("sqlite", database))
    rows = tarball["record"]["rows"]
    assert rows["plain"] == 2
    assert [rows[name] for name in ('a "quoted" table', "select", "日本 %", "line\nbreak", "")] == [2] * 5
    assert "search" not in rows
    copied = unpack(tarball, tmp_path / "out") / database.name
    assert tables(copied) == tables(database)
    assert execute(copied, "SELECT body FROM search WHERE search MATCH 'me'") == [("find me",)]
    assert execute(copied, "PRAGMA user_version") == [(7,)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("journal", ["wal", "delete", "truncate", "persist"])
def test_unchanged_database_gives_the_same_bytes(database: Path, base: Base, journal: str) -> None:
    execute(database, f"PRAGMA journal_mode={journal}")
    execute(database, "INSERT INTO plain VALUES (1, 1)")
    digests = []
    for night in NIGHTS:
        digests.append(base.dump_one(item("sqlite", database), stamp=night)["dig"])
        execute(database, "SELECT * FROM plain")
        os.utime(database)
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    "change", [lambda path: execute(path, "UPDATE plain SET b = 'y' WHERE a = 1"), lambda path: path.chmod(0o640)]
)
def test_changed_database_gives_other_bytes(database: Path, base: Base, change: Callable[[Path], Any]) -> None:
    first = base.dump_one(item("sqlite", database), stamp=NIGHTS[0])
    change(database)
    assert base.dump_one(item("sqlite", database), stamp=NIGHTS[1])["dig"] != first["dig"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("used", [False, True], ids=["closed", "in use"])
def test_live_database_is_left_as_it_was(database: Path, base: Base, tmp_path: Path, journal: str, used: bool) -> None:
    execute(database, f"PRAGMA journal_mode={journal}")
    if os.geteuid() == 0:
        os.chown(database, 1234, 1234)
    with reader(database if used else tmp_path / "idle.db"):
        before = describe_tree(database.parent)
        base.dump_one(item("sqlite", database))
        after = describe_tree(database.parent)
    if journal == "wal" and not used:
        before[b"."] = after[b"."]
    assert after == before


def test_copy_keeps_mode_and_owner(database: Path, base: Base, tmp_path: Path) -> None:
    database.chmod(0o660)
    if os.geteuid() == 0:
        os.chown(database, 1234, 4321)
    status = os.stat(unpack(base.dump_one(item("sqlite", database)), tmp_path / "out") / database.name)
    live = os.stat(database)
    assert (status.st_mode, status.st_uid, status.st_gid) == (live.st_mode, live.st_uid, live.st_gid)


def damage(path: Path) -> None:
    execute(
        path,
        "CREATE TABLE big (a, b)",
        "CREATE INDEX i ON big (b)",
        "INSERT INTO big SELECT value, hex(randomblob(500)) FROM json_each('[" + "1," * 300 + "1]')",
    )
    content = bytearray(path.read_bytes())
    for page in range(6, len(content) // 4096, 5):
        content[page * 4096 : page * 4096 + 512] = b"\x5a" * 512
    path.write_bytes(content)


def truncate(path: Path) -> None:
    execute(path, "CREATE TABLE big (a)", "INSERT INTO big VALUES (randomblob(100000))")
    os.truncate(path, 40960)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (damage, "is damaged: "),
        (truncate, "malformed"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"SQLite format 3"), "is not an SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 5000), "could not be copied: "),
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a file"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "is not a file"),
    ],
)
def test_what_is_no_sound_database_is_a_failure(
    database: Path, base: Base, spoil: Callable[[Path], Any], expected: str
) -> None:
    spoil(database)
    reason = base.reason(item("sqlite", database))
    assert expected in reason
    assert str(database) in reason


def test_journal_of_a_killed_writer_is_told(database: Path, base: Base, tmp_path: Path) -> None:
    execute(database, *(f"INSERT INTO plain VALUES ({number}, randomblob(3000))" for number in range(50)))
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA cache_size=2")
        connection.execute("UPDATE plain SET b = randomblob(3000)")
        crashed = tmp_path / "crashed"
        shutil.copytree(database.parent, crashed)
        connection.rollback()
    before = describe_tree(crashed)
    assert "a writer was killed and left a journal" in base.reason(item("sqlite", crashed / database.name))
    assert describe_tree(crashed) == before


APPLICATIONS_OWN: dict[str, list[str]] = {
    "index": ["CREATE TABLE named (a TEXT COLLATE icu_root, b, c)", "CREATE INDEX by_name ON named (a)"],
    "index of the column alone": ["CREATE TABLE named (a TEXT COLLATE icu_root)", "CREATE INDEX by_name ON named (a)"],
    "primary key": ["CREATE TABLE named (a TEXT COLLATE icu_root PRIMARY KEY, b, c)"],
    "table without rows' numbers": ["CREATE TABLE named (a TEXT COLLATE icu_root PRIMARY KEY, b, c) WITHOUT ROWID"],
    "two collations": [
        "CREATE TABLE named (a TEXT COLLATE icu_root, b COLLATE icu_de, PRIMARY KEY (a, b)) WITHOUT ROWID"
    ],
    "function in an index": ["CREATE TABLE named (a)", "CREATE INDEX by_name ON named (rank_of(a))"],
    "partial index": ["CREATE TABLE named (a)", "CREATE INDEX by_name ON named (a) WHERE rank_of(a) = 1"],
    "generated column": ["CREATE TABLE named (a, r AS (rank_of(a)))", "CREATE INDEX by_rank ON named (r)"],
}
EVERYWHERE = ("CREATE TABLE other (a)", "CREATE INDEX of_other ON other (a)")


def application(path: Path, *statements: str) -> None:
    """Run an application with its own collations and functions on a database."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for name in ("icu_root", "icu_de"):
            connection.create_collation(name, lambda one, other: (one < other) - (one > other))
        connection.create_function("rank_of", 1, lambda value: 1, deterministic=True)
        for statement in statements:
            connection.execute(statement)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("what", APPLICATIONS_OWN)
def test_what_an_application_brings_along_is_copied_counted_and_noted(
    database: Path, base: Base, tmp_path: Path, what: str
) -> None:
    rows = [
        f"INSERT INTO named (a{', b' if what == 'two collations' else ''}) VALUES ('{text}'{', 1' if what == 'two collations' else ''})"
        for text in "bca"
    ]
    application(database, *APPLICATIONS_OWN[what], *EVERYWHERE, *rows, "INSERT INTO other VALUES (1), (2)")
    result = base.dump(item("sqlite", database))
    assert result["failures"] == []
    (note,) = result["notes"]
    assert "integrity" in note and "was not checked" in note
    assert "icu_" in note or "rank_of" in note
    assert "named" in note and "other" not in note
    (tarball,) = result["tarballs"]
    assert tarball["record"]["rows"] == {"named": 3, "other": 2, "plain": 2}
    copied = unpack(tarball, tmp_path / "out") / database.name
    application(copied, "REINDEX", "INSERT INTO other SELECT a FROM named ORDER BY a")


def test_condition_with_a_function_of_an_application_stops_nothing(database: Path, base: Base) -> None:
    application(database, "CREATE TABLE named (a CHECK (rank_of(a) > 0))", "INSERT INTO named VALUES (1)")
    assert base.dump_one(item("sqlite", database))["record"]["rows"] == {"named": 1, "plain": 2}


def test_module_that_this_node_does_not_have_is_no_failure(database: Path, base: Base) -> None:
    execute(database, "CREATE VIRTUAL TABLE search USING fts5(body)", "INSERT INTO search VALUES ('find me')")
    change = "UPDATE sqlite_master SET sql = 'CREATE VIRTUAL TABLE search USING elsewhere(body)' WHERE name = 'search'"
    execute(database, "PRAGMA writable_schema = ON", change)
    rows = base.dump_one(item("sqlite", database))["record"]["rows"]
    assert rows["plain"] == 2 and rows["search_content"] == 1 and "search" not in rows


@pytest.mark.parametrize(
    ("using", "reason"),
    [("spellfix9", "no such module: spellfix9"), ("fts5(body, tokenize='mytok')", "no such tokenizer: mytok")],
)
def test_table_of_a_module_or_tokenizer_that_this_node_does_not_have_is_noted(
    database: Path, base: Base, using: str, reason: str
) -> None:
    execute(database, "CREATE VIRTUAL TABLE search USING fts5(body)", "INSERT INTO search VALUES ('find me')")
    change = "UPDATE sqlite_master SET sql = 'CREATE VIRTUAL TABLE search USING {}' WHERE name = 'search'"
    execute(database, "PRAGMA writable_schema = ON", change.format(using.replace("'", "''")))
    result = base.dump(item("sqlite", database))
    assert result["failures"] == []
    (note,) = result["notes"]
    assert reason in note and note.endswith("search") and "neither checked nor counted" in note


def test_check_mode_says_that_damage_is_not_looked_for(database: Path, base: Base) -> None:
    damage(database)
    predicted = base.dump(item("sqlite", database), check_mode=True)
    (note,) = predicted["notes"]
    assert (
        predicted["failures"] == []
        and note.startswith("databases/")
        and "damaged is not looked at in check mode" in note
    )


def test_damage_beside_what_an_application_brings_along_is_found(database: Path, base: Base) -> None:
    application(database, *APPLICATIONS_OWN["index"])
    damage(database)
    assert "is damaged: " in base.reason(item("sqlite", database))


@pytest.mark.sampled(5)
@needs_root
@pytest.mark.parametrize("log", ["none", "empty", "checkpointed", "not checkpointed"])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("folder", ["closed to writing", "root's", "read-only mount"])
def test_database_in_wal_mode_that_cannot_be_written_to_is_read(
    base: Base, tmp_path: Path, log: str, index: bool, folder: str
) -> None:
    live = tmp_path / "live"
    path = live / "x.db"
    live.mkdir()
    tmp_path.chmod(0o755)
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (1), (2), (3)")
        connection.commit()
        if log != "not checkpointed":
            connection.execute(f"PRAGMA wal_checkpoint({'full' if log == 'checkpointed' else 'truncate'})")
        for suffix in ("", *(("-wal",) if log != "none" else ()), *(("-shm",) if index else ())):
            shutil.copy(f"{tmp_path}/x.db{suffix}", f"{path}{suffix}")
    for entry in [live, *live.iterdir()]:
        os.chown(entry, 1234, 1234)
        entry.chmod(0o555 if entry == live else 0o644)
    before = describe_tree(live)
    if folder == "root's":
        os.chown(live, 0, 0)
    with contextlib.ExitStack() as stack:
        if folder == "read-only mount":
            subprocess.run(["mount", "--bind", live, live], check=True)
            stack.callback(subprocess.run, ["umount", live], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", live], check=True)
        assert base.dump_one(item("sqlite", path))["record"]["rows"] == {"t": 3}
    os.chown(live, 1234, 1234)
    after = describe_tree(live)
    assert after.keys() == before.keys()
    assert [after[name] for name in (b"x.db", b"x.db-wal") if name in after] == [
        before[name] for name in (b"x.db", b"x.db-wal") if name in before
    ]


def test_database_locked_for_long_ends_at_the_deadline(database: Path, base: Base) -> None:
    with locker(database):
        reason = base.reason(item("sqlite", database), seconds=0.5)
    assert "took longer than its limit of 0.5 s" in reason


def test_database_locked_is_told_when_patience_ends(
    database: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_copy, "_BUSY_SECONDS", 0.2)
    with locker(database):
        assert "database is locked" in base.reason(item("sqlite", database))


@needs_root
def test_database_that_another_user_may_only_read(database: Path) -> None:
    with nobodys_folder() as folder:
        path = folder / "live" / "x.db"
        path.parent.mkdir(mode=0o755)
        execute(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
        os.chmod(path, 0o644)
        with as_nobody():
            base = Base(folder / "base")
            assert base.dump_one(item("sqlite", path))["record"]["rows"] == {"t": 1}
        execute(path, "PRAGMA journal_mode=wal")
        with as_nobody():
            assert base.dump_one(item("sqlite", path), stamp=NIGHTS[1])["record"]["rows"] == {"t": 1}
        path.chmod(0)
        with as_nobody():
            assert "cannot be read by uid 65534" in base.reason(item("sqlite", path), stamp=NIGHTS[2])
