"""A source's live item of one kind: it changes from night to night, and is damaged in ways that no check of bytes can find."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.repositories import git, load_subversion, make_subversion, run

FILES = 30
"""Files of the folder, each with text that a person could have written"""
_WORDS = [
    "the",
    "source",
    "keeps",
    "what",
    "a",
    "target",
    "lost",
    "and",
    "nobody",
    "missed",
    "until",
    "it",
    "was",
    "read",
]
_ROWS = 50
_OTHER = "11111111-2222-4333-8444-555555555555"
"""The UUID of a Subversion repository that was created anew"""
_COMMITTER = "A U Thor <author@example.org> 1368183000 +0000"


def text_of(number: int, file: int) -> str:
    """Return the text of one file of a content; two contents have half of their files in common."""
    chance = random.Random(file if file % 2 else f"{number}-{file}")
    return " ".join(chance.choice(_WORDS) for _ in range(40)) + "\n"


class Live:
    """Live data of one kind; damage to it can be undone until it is accepted."""

    kind = ""
    category = ""
    ways: tuple[str, ...] = ()
    """Possible kinds of damage"""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "notes"
        self._good = folder / "good"
        self._away = folder / "away"
        folder.mkdir(parents=True)
        self.make()

    def item(self) -> dict[str, Any]:
        """Return the item as an inventory declares it."""
        return {"kind": self.kind, "name": "notes", "path": str(self.path)}

    def make(self) -> None:
        """Make the data of the first night."""

    def change(self, content: int) -> None:
        """Restore the last good state, and add a content to it."""
        if self._good.exists():
            self._remove()
            self._good.rename(self.path)
        self.write(content)

    def write(self, content: int) -> None:
        """Add a content to what is there."""
        raise NotImplementedError

    def spoil(self, way: str, content: int) -> None:
        """Damage the last good state."""
        if self._good.exists():
            self._remove()
        else:
            self.path.rename(self._good)
        self._copy(self._good, self.path)
        getattr(self, way)(content)

    def can(self, way: str) -> bool:
        """Return whether a kind of damage is possible that differs from daily life."""
        return way in self.ways

    def accept(self) -> None:
        """Make the present state the last good one."""
        self._remove(self._good)

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Take the data away while the block lasts."""
        self.path.rename(self._away)
        try:
            yield
        finally:
            self._away.rename(self.path)

    def _copy(self, one: Path, other: Path) -> None:
        if one.is_dir():
            shutil.copytree(one, other, symlinks=True)
        else:
            shutil.copyfile(one, other)

    def _remove(self, path: Path | None = None) -> None:
        gone = self.path if path is None else path
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone)
        else:
            gone.unlink(missing_ok=True)


class Folder(Live):
    """Text files, half of which change in a night; its path is a link, as those of services are."""

    kind, category = "folder", "folders"
    ways = ("unmounted", "emptied", "ransom", "repointed")
    files = FILES
    state = "text"
    """Kind of the last good state"""

    def make(self) -> None:
        self.place = "data"
        (self.folder / self.place).mkdir()
        self.path.symlink_to(self.place)
        self.now = self.state

    def change(self, content: int) -> None:
        self._write(self.place, content)
        self.now = self.state = "text"

    def spoil(self, way: str, content: int) -> None:
        self._point(self.place)
        getattr(self, way)(content)
        self.now = way

    def can(self, way: str) -> bool:
        return way in self.ways and (self.state == "text" or (way == "unmounted" and self.state == "ransom"))

    def accept(self) -> None:
        self.place = str(self.path.readlink())
        self.state = "text" if self.now == "repointed" else self.now

    def unmounted(self, content: int) -> None:
        """A service writes into the path where its disk should be mounted."""
        self._write(self.place, content, 1)

    def emptied(self, content: int) -> None:
        """A folder in it was emptied."""
        self._write(self.place, content, self.files // 12)

    def ransom(self, content: int) -> None:
        """Everything in it was encrypted."""
        chance = random.Random(content)
        for path in (self.folder / self.place).iterdir():
            path.write_bytes(chance.randbytes(250))

    def repointed(self, content: int) -> None:
        """The link leads to something else."""
        self._write("other" if self.place == "data" else "data", content)

    def _point(self, name: str) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        self.path.unlink()
        self.path.symlink_to(name)

    def _write(self, name: str, content: int, files: int = 0) -> None:
        """Point the link to a folder with `count` files, by default all."""
        self._point(name)
        for path in (self.folder / name).iterdir():
            path.unlink()
        first = 0 if name == "data" else 1000
        for number in range(first, first + (files or self.files)):
            (self.folder / name / f"{number:04}.txt").write_text(text_of(content, number))


class Git(Live):
    """A bare repository with a branch to which each night adds a commit, and constant branches."""

    kind, category = "git", "git"
    ways = ("recreated", "rewritten")

    def make(self) -> None:
        self._create("first", 3)

    def _create(self, word: str, commits: int) -> None:
        run("git", "init", "--quiet", "--initial-branch=main", "--bare", self.path)
        for number in range(commits):
            self._commit(f"{word} {number}")
        for name in ("one", "two"):
            git(self.path, "branch", name, "main")

    def _commit(self, text: str, parent: str = "refs/heads/main^0") -> None:
        known = git(self.path, "rev-parse", "--verify", "--quiet", "refs/heads/main", check=False)
        lines = [f"feature done\ncommit refs/heads/main\ncommitter {_COMMITTER}\ndata {len(text)}\n{text}"]
        lines += [f"from {parent}"] if known else []
        lines += [f"M 100644 inline file\ndata {len(text)}\n{text}", "done", ""]
        git(self.path, "fast-import", "--quiet", "--force", input="\n".join(lines).encode())

    def write(self, content: int) -> None:
        self._commit(f"content {content}")

    def recreated(self, content: int) -> None:
        """It was created anew, with the same names in it."""
        self._remove()
        self._create(f"anew {content}", 4)

    def rewritten(self, content: int) -> None:
        """Another history was force-pushed over its branch."""
        self._commit(f"forced {content}", "refs/heads/main~2")


class Subversion(Live):
    """A repository to which each night adds a revision."""

    kind, category = "svn", "svn"
    ways = ("recreated", "older")

    def make(self) -> None:
        self.revisions = 4
        make_subversion(self.path, self.revisions)
        self._early = self.folder / "early"
        self._copy(self.path, self._early)

    def write(self, content: int) -> None:
        first = self._youngest() + 1
        load_subversion(self.path, first, first, word=f"content {content} ", uuid=self._uuid())

    def recreated(self, content: int) -> None:
        """It was created anew, with as many revisions."""
        number = self._youngest() + 1
        self._remove()
        make_subversion(self.path, number, uuid=_OTHER[:-6] + f"{content % 10**6:06}")

    def older(self, content: int) -> None:
        """It was restored from long ago, and used on."""
        self._remove()
        self._copy(self._early, self.path)
        number = self.revisions + 1
        load_subversion(self.path, number, number, word=f"older {content} ", uuid=self._uuid())

    def can(self, way: str) -> bool:
        good = self._good if self._good.exists() else self.path
        return way in self.ways and (way != "older" or self._youngest(good) > self.revisions + 1)

    def accept(self) -> None:
        super().accept()
        self._remove(self._early)
        self._copy(self.path, self._early)
        self.revisions = self._youngest()

    def _youngest(self, path: Path | None = None) -> int:
        return int(((path or self.path) / "db" / "current").read_text().split()[0])

    def _uuid(self) -> str:
        return (self.path / "db" / "uuid").read_text().split()[0]


class Database(Live):
    """A table to which each night adds a row."""

    kind, category = "sqlite", "databases"
    ways = ("rowless", "tableless")

    def make(self) -> None:
        with self._open() as database:
            database.execute("CREATE TABLE readings (number, text)")
            database.execute("CREATE TABLE others (number)")
            database.executemany("INSERT INTO others VALUES (?)", [(number,) for number in range(_ROWS)])
            database.executemany("INSERT INTO readings VALUES (?, 'first')", [(number,) for number in range(_ROWS)])

    @contextlib.contextmanager
    def _open(self, path: Path | None = None) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(path or self.path)) as database, database:
            yield database

    def can(self, way: str) -> bool:
        with self._open(self._good if self._good.exists() else self.path) as database:
            ((readings, others),) = database.execute(
                "SELECT (SELECT count(*) FROM readings), (SELECT count(*) FROM others)"
            )
        return way in self.ways and readings >= _ROWS and others >= _ROWS

    def write(self, content: int) -> None:
        with self._open() as database:
            database.executemany("INSERT INTO readings VALUES (?, 'more')", [(content,)] * 5)

    def rowless(self, content: int) -> None:
        """All its rows but tonight's are gone."""
        with self._open() as database:
            database.execute("DELETE FROM readings")
            database.execute("DELETE FROM others")
            database.execute("INSERT INTO readings VALUES (?, 'tonight')", (content,))

    def tableless(self, content: int) -> None:
        """Its larger table is gone."""
        with self._open() as database:
            database.execute("DROP TABLE IF EXISTS readings")
            database.execute("CREATE TABLE readings (number, text)")
            database.execute("INSERT INTO others VALUES (?)", (content,))


KINDS: dict[str, type[Live]] = {kind.kind: kind for kind in (Folder, Git, Subversion, Database)}
