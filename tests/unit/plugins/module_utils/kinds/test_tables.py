"""Changes of a database's tables: emptied, dropped, migrated, vacuumed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.repositories import Nights

from ansible_collections.altbackup.core.plugins.module_utils.kinds.tables import (
    judge_databases,
    judge_tables,
    measure_databases,
    rows_of,
    total_of,
)

WHEN = "2013/05/01/020000"
Rows = dict[str, "int | None"]

CASES: dict[str, tuple[Rows, Rows, list[str], list[str]]] = {
    "first dump": ({}, {"a": 5}, [], []),
    "nothing": ({"a": 5, "b": 0}, {"a": 5, "b": 0}, [], []),
    "rows come and go": ({"a": 500, "b": 20}, {"a": 400, "b": 1}, [], []),
    "emptied": (
        {"a": 500, "b": 20},
        {"a": 500, "b": 0},
        ["1 table b (20 rows) of the dump of 2013/05/01/020000 lost all rows"],
        [],
    ),
    "few rows emptied": ({"a": 500, "b": 9}, {"a": 500, "b": 0}, [], ["1 table b (9 rows)"]),
    "dropped": ({"a": 500, "b": 20}, {"a": 500}, ["1 table b (20 rows) of the dump of 2013/05/01/020000 vanished"], []),
    "few rows dropped": ({"a": 500, "b": 9}, {"a": 500}, [], ["1 table b (9 rows)"]),
    "empty one dropped": ({"a": 500, "b": 0}, {"a": 500}, [], []),
    "migrated": (
        {"a": 500, "b": 20},
        {"a": 500, "c": 20},
        [],
        ["1 table b (20 rows) of the dump of 2013/05/01/020000 vanished; c came"],
    ),
    "migrated in part": ({"a": 500, "b": 20}, {"a": 500, "c": 19}, ["1 table b (20 rows)"], []),
    "migrated, and another emptied": (
        {"a": 500, "b": 20, "d": 30},
        {"a": 500, "c": 20, "d": 0},
        ["1 table d (30"],
        ["1 table b"],
    ),
    "another database": (
        {"a": 500, "b": 20},
        {"c": 900},
        ["it is another database: 2 tables a (500 rows), b (20 rows)"],
        [],
    ),
    "its one table may vanish": ({"session": 20}, {"a": 5}, [], ["1 table session (20 rows)"]),
    "rows unknown": ({"a": None, "b": 20}, {"b": 20}, [], []),
    "rows unknown now": ({"a": 500, "b": 20}, {"a": None, "b": 20}, [], []),
    "may be emptied": (
        {"a": 500, "session": 90, "session_x": 90},
        {"a": 500, "session": 0},
        [],
        ["1 table session (", "1 table session_x"],
    ),
    "odd names": ({"a": 5, "b\nc": 20}, {"a": 5}, ["1 table b\\nc (20 rows)"], []),
}


FTS4: Rows = {"t_segments": 80, "t_segdir": 12, "t_content": 500, "t_docsize": 500}
FTS5: Rows = {"u_data": 80, "u_idx": 12, "u_config": 1, "u_content": 500, "u_docsize": 500}
TREE: Rows = {"v_node": 80, "v_parent": 12, "v_rowid": 500}


@pytest.mark.parametrize("rows", [FTS4, FTS5, TREE, {"sqlite_stat1": 40, "a": 1}])
def test_what_the_engine_keeps_is_no_content(rows: Rows) -> None:
    fewer = {table: 0 if 10 <= (count or 0) < 100 else count for table, count in rows.items()}
    assert total_of({**rows, "a": 5}) == total_of({**fewer, "a": 5})
    assert judge_tables({**rows, "a": 5}, {**fewer, "a": 5}, WHEN)[0] == []
    without = {table: count for table, count in rows.items() if (count or 0) >= 100}
    assert judge_tables({**rows, "a": 5}, {**without, "a": 5}, WHEN)[0] == []


def test_table_with_the_name_of_an_index_alone_is_content() -> None:
    assert total_of({"a_data": 50, "b_node": 20, "c_segments": 30}) == 100
    assert judge_tables({"a_data": 50, "x": 1}, {"a_data": 0, "x": 1}, WHEN)[0] != []


@pytest.mark.parametrize("case", CASES)
def test_tables_without_their_rows_are_doubtful(case: str) -> None:
    then, now, doubts, notes = CASES[case]
    found = judge_tables(then, now, WHEN, ["session*"])
    for texts, expected in zip(found, (doubts, notes), strict=True):
        assert len(texts) == len(expected)
        assert all(text.startswith(words) for text, words in zip(texts, expected, strict=True)), texts


def test_texts_of_many_tables_are_bounded() -> None:
    (doubt,), _ = judge_tables({"a": 1, **{f"t{number:03d}": 50 for number in range(300)}}, {"a": 1}, WHEN)
    assert doubt.startswith("300 tables t000 (50 rows), ")
    assert len(doubt) < 300


def test_rows_are_read_from_any_record() -> None:
    assert rows_of({}) == {}
    assert rows_of({"rows": 5}) == {}
    assert rows_of({"rows": {"a": 5, "b": None, "c": "x"}}) == {"a": 5, "b": None, "c": None}
    assert total_of({"a": 5, "b": None, "c": 7}) == 12


def make(path: Path) -> Path:
    """Make a database of two tables."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE person (name TEXT); CREATE TABLE log (line TEXT);")
        database.executemany("INSERT INTO person VALUES (?)", [(f"name {number}",) for number in range(40)])
        database.executemany("INSERT INTO log VALUES (?)", [(f"line {number}",) for number in range(4000)])
        database.commit()
    return path


def change(path: Path, script: str) -> None:
    """Run a script on a database."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


STEPS: dict[str, tuple[Callable[[Path], Any], int, str]] = {
    "emptied": (
        lambda path: change(path, "DELETE FROM person; DELETE FROM log; VACUUM"),
        0,
        "2 tables log (4000 rows)",
    ),
    "one emptied": (lambda path: change(path, "DELETE FROM person"), 4000, "1 table person (40 rows)"),
    "one dropped": (lambda path: change(path, "DROP TABLE person"), 4000, "1 table person (40 rows)"),
    "vacuumed": (lambda path: change(path, "DELETE FROM log WHERE rowid > 3900; VACUUM; REINDEX"), 3940, ""),
    "in another mode": (lambda path: change(path, "PRAGMA journal_mode=WAL; PRAGMA page_size=8192; VACUUM"), 4040, ""),
    "analyzed": (lambda path: change(path, "CREATE INDEX i ON log (line); ANALYZE"), 4040, ""),
    "migrated": (
        lambda path: change(path, "CREATE TABLE people AS SELECT name, 1 AS old FROM person; DROP TABLE person"),
        4040,
        "",
    ),
}


@pytest.mark.sampled(7)
@pytest.mark.parametrize("step", STEPS)
def test_dump_of_a_database_tells_what_became_of_its_rows(tmp_path: Path, step: str) -> None:
    act, rows, words = STEPS[step]
    nights, path = Nights(tmp_path), make(tmp_path / "live.db")
    item = {"kind": "sqlite", "name": "toy", "path": str(path)}
    first = nights.dump(item, night=1)["tarballs"][0]["record"]
    assert first["measures"] == {"rows": 4040}
    assert not first.get("doubts")
    act(path)
    for night in (2, 3):
        record = nights.dump(item, night=night)["tarballs"][0]["record"]
        doubts = record.get("doubts", [])
        assert record["measures"] == {"rows": rows}
        assert doubts[0].startswith(words) if words else doubts == [], doubts


def test_optimizing_an_index_for_searching_is_not_doubtful(tmp_path: Path) -> None:
    nights, path = Nights(tmp_path), tmp_path / "live.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE VIRTUAL TABLE page USING fts4(text)")
        for number in range(300):
            database.execute("INSERT INTO page VALUES (?)", (" ".join(f"word{number * word}" for word in range(60)),))
            database.commit()
    item = {"kind": "sqlite", "name": "toy", "path": str(path)}
    before = nights.dump(item, night=1)["tarballs"][0]["record"]
    change(path, "INSERT INTO page (page) VALUES ('optimize'); VACUUM")
    record = nights.dump(item, night=2)["tarballs"][0]["record"]
    assert record["rows"] != before["rows"]
    assert record["measures"] == before["measures"]
    assert not record.get("doubts")


def test_table_that_may_be_emptied_is_a_note(tmp_path: Path) -> None:
    nights, path = Nights(tmp_path), make(tmp_path / "live.db")
    item = {"kind": "sqlite", "name": "toy", "path": str(path), "may_empty": ["pers*"]}
    nights.dump(item, night=1)
    change(path, "DELETE FROM person")
    assert not nights.dump(item, night=2)["tarballs"][0]["record"].get("doubts")
    assert any("person (40 rows)" in note for note in nights.notes)


def suspicions(nights: Nights, item: dict[str, Any], night: int) -> list[str]:
    """Dump an item and return why it is suspect."""
    reasons: list[str] = nights.dump(item, night=night)["tarballs"][0]["record"].get("suspect", [])
    return reasons


def test_rows_of_a_table_that_may_be_emptied_are_not_missed(tmp_path: Path) -> None:
    nights, path = Nights(tmp_path), make(tmp_path / "live.db")
    item = {"kind": "sqlite", "name": "toy", "path": str(path), "may_empty": ["log"]}
    assert suspicions(nights, item, 1) == []
    change(path, "DELETE FROM log WHERE rowid > 20")
    assert suspicions(nights, item, 2) == []
    change(path, "DELETE FROM person WHERE rowid > 3")
    assert suspicions(nights, item, 3)[0].startswith("rows fell from 40 to 3 ")


def test_changed_setting_is_no_loss_of_rows(tmp_path: Path) -> None:
    nights, path = Nights(tmp_path), make(tmp_path / "live.db")
    item = {"kind": "sqlite", "name": "toy", "path": str(path)}
    for night, may_empty in enumerate([[], ["log"], ["x", "log"], ["person"], []], 1):
        change(path, "INSERT INTO person (name) VALUES ('another')")  # else nothing is compared
        assert suspicions(nights, {**item, "may_empty": may_empty}, night) == []
    change(path, "DELETE FROM log WHERE rowid > 20")
    assert suspicions(nights, item, 6)[0].startswith("rows fell from ")


GOOD = {
    "relpath": "databases/main/2013/05/10/104701/main.tar.zst",
    "databases": {"wiki": {}, "shop": {}},
    "rows": {"wiki.page": 100, "shop.goods": 50},
}


@pytest.mark.parametrize(
    ("now", "rows", "asked", "doubt"),
    [
        (["wiki", "shop"], {"wiki.page": 100, "shop.goods": 50}, None, ""),
        (["wiki"], {"wiki.page": 100}, None, "1 database of the dump of .* vanished: shop$"),
        (["wiki", "store"], {"wiki.page": 100, "store.goods": 50}, None, "vanished: shop; store came"),
        (["wiki"], {"wiki.page": 100}, ["wiki"], ""),
        (["wiki"], {"wiki.page": 100}, ["wiki", "shop"], "vanished: shop$"),
        (["wiki", "shop"], {"wiki.page": 0, "shop.goods": 50}, None, "1 table wiki.page .* lost all rows"),
    ],
)
def test_databases_that_vanished_are_doubted_where_they_are_still_wanted(
    now: list[str], rows: dict[str, int | None], asked: list[str] | None, doubt: str
) -> None:
    doubts, _ = judge_databases(GOOD, now, rows, asked)
    assert len(doubts) == bool(doubt) and all(re.search(doubt, found) for found in doubts)


def test_fewer_databases_by_name_are_counted_by_those_names() -> None:
    assert measure_databases({"wiki.page": 3}, {"databases": 1}, None) == {
        "measures": {"rows": 3, "databases": 1},
        "counted": {},
    }
    assert measure_databases({"wiki.page": 3}, {"databases": 1}, ["wiki"], ["x*"])["counted"] == {
        "rows": "x*; databases wiki",
        "databases": "databases wiki",
    }
