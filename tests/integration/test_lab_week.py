"""A week of nights over live repositories that are written to meanwhile; then the source is gone, and a new host gets it all back."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import describe_tree
from integration.lab_site import NAMES, QUICK, LabSite, stamps_of
from integration.site import KINDS, call, commit_svn, git
from lab import Lab
from lab.inventory import connection
from lab.lab_fixture import lab_fixture, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.full]

NIGHTS = [f"2013/05/{day:02}/104701" for day in range(6, 13)]
PAUSE = 0.3
"""Seconds between the writes of one writer"""

hosts = lab_fixture(["dayabay", "cms01", "sdu", "fresh"], sources=["dayabay", "sdu"])


class Live:
    """Live data of every kind, and its writers: each appends, so that the state at any moment is a prefix of the last one."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self._work = folder, work
        self.count = 0
        git(folder, "clone", "--quiet", folder / "git", work)
        for name in ("sqlite.db", "trac/db/trac.db"):
            with closing(sqlite3.connect(folder / name)) as database:
                database.execute("PRAGMA journal_mode = WAL")

    def write_svn(self, number: int) -> None:
        commit_svn(self.folder / "svn", f"live{number}", f"{number}\n")

    def write_git(self, number: int) -> None:
        (self._work / "file").write_text(f"live {number}\n")
        git(self._work, "commit", "--quiet", "--all", "-m", f"live {number}")
        git(self._work, "push", "--quiet", "origin", "HEAD:main", f"HEAD:refs/heads/live{number}")

    def write_sqlite(self, number: int) -> None:
        self._insert("sqlite.db", "INSERT INTO readings VALUES (?, ?)", number)

    def write_trac(self, number: int) -> None:
        self._insert("trac/db/trac.db", "INSERT INTO ticket (time, summary) VALUES (?, ?)", number)

    def _insert(self, name: str, statement: str, number: int) -> None:
        with closing(sqlite3.connect(self.folder / name, timeout=60)) as database, database:
            database.execute(statement, (number, f"live {number}"))

    def write_folder(self, number: int) -> None:
        tree = self.folder / "folder"
        (tree / f"added {number}").write_text(f"{number}\n" * 1000)
        (tree / f"added {number}").chmod(0o640)
        (tree / "users.conf").write_text(f"[users]\nnight = {number}\n")
        (tree / "newest").unlink(missing_ok=True)
        (tree / "newest").symlink_to(f"added {number}")
        (tree / f"added {number - 2}").unlink(missing_ok=True)

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write to everything but the folder while the block runs; fail at its end if a writer did."""
        over = threading.Event()
        failed: list[BaseException] = []

        def keep_writing(write: Callable[[int], None]) -> None:
            number = self.count * 1000
            try:
                while not over.wait(PAUSE):
                    number += 1
                    write(number)
            except BaseException as error:  # noqa: BLE001 (told at the end)
                failed.append(error)

        writers = (self.write_svn, self.write_git, self.write_sqlite, self.write_trac)
        threads = [threading.Thread(target=keep_writing, args=(write,)) for write in writers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert failed == []


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Return the rows of a table, oldest first."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return database.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()


def test_after_a_week_under_writes_a_new_host_gets_every_kind_back(
    hosts: Lab, live_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    site = LabSite(tmp_path, lab=hosts, limits=QUICK)
    settings = {"altbackup_targets": ["cms01", "sdu"], "altbackup_transport": {"sdu": "pull"}, "altbackup_keep": 7}
    site.add_source("dayabay", **settings)
    site.give_all_kinds("dayabay", live_template)
    for name in ("cms01", "sdu"):
        site.add_target(name, altbackup_keep=7)
    site.hosts["fresh"] = {**connection(hosts, hosts["fresh"]), **QUICK}
    site.groups["ungrouped"] = ["fresh"]
    live = Live(site.live_of("dayabay"), tmp_path / "work")
    folders = {}
    for night, stamp in enumerate(NIGHTS, 1):
        live.count = night
        live.write_folder(night)
        folders[stamp] = describe_tree(live.folder / "folder")
        before = int(call("svnlook", "youngest", live.folder / "svn"))
        with live.written():
            run = site.run("backup", stamp=stamp)
        assert run.rc == 0, run.stdout
    for target in ("cms01", "sdu"):
        assert sorted(set(stamps_of(site.tree("dayabay", target)))) == NIGHTS
    drilled = site.run("drill", "--limit cms01,sdu")
    assert drilled.rc == 0, drilled.stdout
    assert site.run("check", "--limit cms01,sdu", day=NIGHTS[-1][:10], proof_age="1d").rc == 0

    hosts["dayabay"].stop_sshd()
    shutil.rmtree(site.tree("dayabay"))
    shutil.move(live.folder, tmp_path / "gone")  # kept aside, to compare with
    gone, back = tmp_path / "gone", site.place("fresh") / "back"
    entries = [
        {"source": "dayabay", "kind": kind, "name": NAMES[kind], "to_host": "fresh", "to": str(back / kind)}
        for kind in KINDS
    ]
    earlier = {**entries[KINDS.index("folder")], "at": NIGHTS[2][:10], "to": str(back / "earlier"), "from": "sdu"}
    restored = site.run("restore", restore=[{**entry, "special_modes": True} for entry in [*entries, earlier]])
    assert restored.rc == 0, restored.stdout

    revision = int(call("svnlook", "youngest", back / "svn"))
    assert before <= revision <= int(call("svnlook", "youngest", gone / "svn"))
    assert call("svnadmin", "dump", "--quiet", back / "svn") == call(
        "svnadmin", "dump", "--quiet", "-r", f"0:{revision}", gone / "svn"
    )
    references = git(back / "git", "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    last = git(gone / "git", "for-each-ref", "--format=%(refname)").splitlines()
    assert len(references) > len(NIGHTS)
    for reference, identity in map(str.split, references):
        assert reference in last
        assert git(back / "git", "rev-list", identity) == git(gone / "git", "rev-list", identity), reference
    git(back / "git", "fsck", "--full", "--strict")
    for path, table in (("sqlite", "readings"), ("trac/db/trac.db", "ticket"), ("trac/db/trac.db", "wiki")):
        found = rows(back / path, table)
        assert found == rows(gone / ("sqlite.db" if path == "sqlite" else path), table)[: len(found)]
        assert len(found) >= len(NIGHTS)
    assert describe_tree(back / "folder") == folders[NIGHTS[-1]]
    assert describe_tree(back / "earlier") == folders[NIGHTS[2]]
