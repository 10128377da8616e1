"""The histories of inventories: real files, other processes, and kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.schema import VERSION
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import (
    Record,
    conclude,
    opened,
    write_records,
)

NOW = 1_800_000_000.0
DAY = 86400.0
COLLECTIONS = str(Path(__file__).resolve().parents[5] / ".collections")
PRELUDE = f"""
import os, sys, time
sys.path.insert(0, {COLLECTIONS!r})
from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
def record(token, rows):
    copies = [dict(node="dayabay", source="dayabay", role="source", category="svn", name=str(number), size=number) for number in range(rows)]
    return store.Record(dict(token=token, started={NOW}, state="good"), copies=copies)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of histories."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))
    return tmp_path / "history"


@pytest.fixture
def hosts(tmp_path: Path) -> str:
    """The file of an inventory."""
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").touch()
    return str(tmp_path / "inventory" / "hosts.yml")


def record(token: str = "one", started: float = NOW, names: int = 2, **more: Any) -> Record:
    """Return a record with so many copies."""
    place = {"node": "dayabay", "source": "dayabay", "role": "source"}
    copies = [{**place, "category": "svn", "name": f"n{number}", "size": number} for number in range(names)]
    run = {"token": token, "started": started, "state": "good", **more}
    return Record(run, [{**place, "base": "/b"}], copies, [{"node": "dayabay", "reason": "it broke"}])


def count(table: str = "runs") -> int:
    """Return the number of rows in all histories."""
    total = 0
    for history in opened(()):
        with closing(history.database):
            total += history.rows(f"SELECT count(*) FROM {table}")[0][0]
    return total


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.sqlite")
    return path


def spawn(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_record_is_kept_whole_and_for_its_user_alone(folder: Path, hosts: str) -> None:
    assert opened(()) == []
    assert write_records(hosts, [record()], 400, NOW) == []
    assert [count(table) for table in ("runs", "trees", "copies", "failures")] == [1, 1, 2, 1]
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == [the_file(folder).name], (
        "nothing beside it"
    )
    assert the_file(folder).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    (history,) = opened([hosts])
    with closing(history.database):
        assert history.inventory == hosts
        assert history.rows("SELECT name, size FROM copies")[1]["size"] == 1


def test_names_that_are_no_text_are_kept_as_they_are_shown(folder: Path, hosts: str) -> None:
    odd = record(message="it broke: \udcff\x1b[31m", folder="/runs/1")
    assert write_records(hosts, [Record(odd.run, copies=[{**odd.copies[0], "name": "n\udcff"}])], 400, NOW) == []
    (history,) = opened(())
    with closing(history.database):
        assert history.rows("SELECT name, message FROM copies JOIN runs ON run = id")[0][:] == (
            "n\\xff",
            "it broke: \\xff\\x1b[31m",
        )
    assert conclude([hosts], {**ending("/runs/1"), "message": "\udcff"}) == []


def test_the_same_run_is_kept_once_as_it_was_told_last(folder: Path, hosts: str) -> None:
    write_records(hosts, [record(), record("two")], 400, NOW)
    write_records(hosts, [record(names=5)], 400, NOW)
    assert (count(), count("copies"), count("trees")) == (2, 7, 2)


def test_records_are_kept_for_their_days(folder: Path, hosts: str) -> None:
    write_records(hosts, [record("old", NOW - 11 * DAY), record("young", NOW - 9 * DAY)], 400, NOW)
    write_records(hosts, [record("new")], 10, NOW)
    (history,) = opened(())
    with closing(history.database):
        assert [row[0] for row in history.rows("SELECT token FROM runs ORDER BY started")] == ["young", "new"]
    assert (count("copies"), count("failures")) == (4, 2), "what belongs to a run goes with it"


def test_histories_of_an_inventory_are_found_by_its_file_its_folder_and_links(
    folder: Path, hosts: str, tmp_path: Path
) -> None:
    write_records(hosts, [record()], 400, NOW)
    (tmp_path / "link").symlink_to("inventory")
    (tmp_path / "inventory2").mkdir()
    for name in (hosts, os.path.dirname(hosts), str(tmp_path / "link"), str(tmp_path / "link" / "hosts.yml")):
        found = opened([name])
        assert len(found) == 1, name
        found[0].database.close()
    assert opened([str(tmp_path / "inventory2")]) == []
    (tmp_path / "inventory2" / "hosts.yml").touch()
    write_records(str(tmp_path / "inventory2" / "hosts.yml"), [record()], 400, NOW)
    (mine,) = opened([os.path.dirname(hosts)])
    mine.database.close()
    write_records(str(tmp_path / "link" / "hosts.yml"), [record("two")], 400, NOW)
    assert len(list(folder.glob("*.sqlite"))) == 2, "one history, however it is named"


def test_two_that_write_at_once_lose_nothing(folder: Path, hosts: str) -> None:
    code = "print(flush=True); sys.stdin.readline()\nfor number in range(15):\n    assert not store.write_records({!r}, [record(f'{}{{number}}', 20)], 400, {})"
    others = [spawn(code.format(hosts, name, NOW)) for name in "ab"]
    for other in others:
        assert other.stdout and other.stdout.readline()
    for other in others:
        assert other.stdin
        other.stdin.write("\n")
        other.stdin.flush()
    for other in others:
        other.communicate()
        assert other.returncode == 0
    assert (count(), count("copies")) == (30, 600)


def test_a_kill_in_the_midst_of_writing_leaves_what_was_whole(folder: Path, hosts: str) -> None:
    write_records(hosts, [record()], 400, NOW)
    path = the_file(folder)
    code = (
        f"database = store._connected(store.Path({str(path)!r}))\n"
        "database.execute('PRAGMA cache_size = 5')\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "store._put(database, record('half', 20000))\n"
        "print(flush=True); sys.stdin.read()"
    )
    with spawn(code) as other:
        assert other.stdout and other.stdout.readline()
        assert Path(f"{path}-journal").stat().st_size > 0, "it has written to the file itself"
        other.send_signal(signal.SIGKILL)
    assert (count(), count("copies")) == (1, 2), "a reader finds what was whole"
    assert write_records(hosts, [record("two")], 400, NOW) == []
    assert (count(), count("copies")) == (2, 4)
    assert not Path(f"{path}-journal").exists()


def test_what_was_told_to_be_kept_is_there_after_a_kill_at_any_time(folder: Path, hosts: str) -> None:
    code = (
        "number = 0\n"
        "while True:\n"
        f"    assert not store.write_records({hosts!r}, [record(f'{{os.getpid()}}-{{number}}', 50)], 400, {NOW})\n"
        "    number += 1; print(number, flush=True)"
    )
    told = 0
    for number in range(4):
        with spawn(code) as other:
            assert other.stdout
            for _ in range(2 + number):
                other.stdout.readline()
            other.send_signal(signal.SIGKILL)
            told += 2 + number + len(other.stdout.read().split())
        found = count()
        assert told <= found <= told + number + 1
        assert count("copies") == 50 * found


@pytest.mark.parametrize("how", ["nonsense", "cut", "overwritten", "another"])
def test_a_damaged_history_is_moved_aside_and_the_run_is_kept(folder: Path, hosts: str, how: str) -> None:
    write_records(hosts, [record(names=500)], 400, NOW)
    path = the_file(folder)
    if how == "nonsense":
        path.write_bytes(b"nonsense" * 1000)
    elif how == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "overwritten":
        with open(path, "r+b") as stream:
            stream.seek(4096)
            stream.write(b"\xff" * 8192)
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    (note,) = write_records(hosts, [record("two")], 400, NOW)
    assert f"{path}, this controller's history, was damaged (" in note and "altbackup status --rebuild" in note
    (aside,) = folder.glob("*.damaged-*")
    assert str(aside) in note and aside.read_bytes() == before
    assert (count(), count("copies")) == (1, 2)
    (history,) = opened([hosts])
    with closing(history.database):
        assert history.inventory == hosts


def test_one_that_reads_says_what_becomes_of_a_damaged_history(folder: Path, hosts: str) -> None:
    write_records(hosts, [record()], 400, NOW)
    the_file(folder).write_bytes(b"nonsense" * 1000)
    with pytest.raises(store.AltbackupError, match=r"cannot be read .*: the next run moves it aside"):
        opened(())


def test_a_history_of_a_newer_version_is_left_alone(folder: Path, hosts: str) -> None:
    write_records(hosts, [record()], 400, NOW)
    with closing(sqlite3.connect(the_file(folder))) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = the_file(folder).read_bytes()
    (note,) = write_records(hosts, [record("two")], 400, NOW)
    assert "was not noted in the history" in note and f"is of version {VERSION + 1}" in note
    assert the_file(folder).read_bytes() == before


def test_what_cannot_be_kept_is_a_note_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(store.PLACE, str(tmp_path / "file"))
    (note,) = write_records(hosts, [record()], 400, NOW)
    assert note.startswith("what this run did was not noted in the history: ")


def test_a_mistake_of_this_program_is_no_damage_of_the_file(folder: Path, hosts: str) -> None:
    write_records(hosts, [record()], 400, NOW)
    (note,) = write_records(hosts, [Record({"token": "two", "started": NOW})], 400, NOW)  # without a state
    assert "was not noted in the history: NOT NULL" in note
    assert count() == 1 and not list(folder.glob("*.damaged-*"))


def ending(folder: str, **more: Any) -> dict[str, Any]:
    return {
        "token": folder,
        "folder": folder,
        "playbook": "backup.yml",
        "started": NOW,
        "ended": NOW + 5,
        "state": "failed",
        **more,
    }


def test_how_a_run_ended_is_entered_where_its_report_was(folder: Path, hosts: str) -> None:
    write_records(
        hosts, [record(folder="/runs/1", stamp="2013/05/10/104701"), record("two", folder="/runs/2")], 400, NOW
    )
    assert conclude([os.path.dirname(hosts)], ending("/runs/1", exit_code=2, failures=3, message="it broke")) == []
    (history,) = opened(())
    with closing(history.database):
        told = [
            tuple(row)
            for row in history.rows("SELECT token, stamp, state, exit_code, failures FROM runs ORDER BY folder")
        ]
    assert told == [("one", "2013/05/10/104701", "failed", 2, 3), ("two", "", "good", None, 0)]
    assert count("copies") == 4


def test_a_run_that_came_to_no_report_stands_in_the_history_of_its_inventory(
    folder: Path, hosts: str, tmp_path: Path
) -> None:
    write_records(hosts, [record()], 400, NOW)
    conclude([os.path.dirname(hosts)], ending("/runs/1"))
    assert len(list(folder.glob("*.sqlite"))) == 1 and count() == 2
    conclude([str(tmp_path / "other")], ending("/runs/2"))
    assert len(list(folder.glob("*.sqlite"))) == 2 and count() == 3
    conclude([str(tmp_path / "other")], ending("/runs/3"))
    assert len(list(folder.glob("*.sqlite"))) == 2 and count() == 4


def test_what_failed_before_a_run_had_named_the_file_of_the_inventory_joins_its_history(
    folder: Path, hosts: str, tmp_path: Path
) -> None:
    named = os.path.dirname(hosts)
    assert conclude([named], ending("/runs/1", message="it could not start")) == []
    conclude([str(tmp_path / "other")], ending("/runs/2"))
    assert write_records(hosts, [record()], 400, NOW) == []
    (history,) = opened([named])
    with closing(history.database):
        assert history.inventory == os.path.realpath(hosts)
        assert [run["token"] for run in history.rows("SELECT token FROM runs ORDER BY id")] == ["/runs/1", "one"]
    assert len(list(folder.glob("*.sqlite"))) == 2, "that of another inventory is left alone"


def test_without_a_variable_they_lie_in_the_private_folder_of_the_user(
    state: Path, hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(store.PLACE)
    monkeypatch.setattr(store, "state_folder", lambda: str(state))
    assert opened(()) == []
    assert not (state / "history").exists(), "one who reads makes nothing"
    assert write_records(hosts, [record()], 400, NOW) == []
    assert count() == 1 and len(list((state / "history").glob("*.sqlite"))) == 1
