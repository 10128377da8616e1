"""Real Trac environments, made by Trac itself, and processes that use databases meanwhile."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAKE = r"""
import io, sys
from trac.attachment import Attachment
from trac.env import Environment
from trac.ticket.model import Ticket
from trac.wiki.model import WikiPage

path = sys.argv[1]
env = Environment(path, True, [("project", "name", "Example"), ("trac", "database", sys.argv[2]), ("logging", "log_type", "none")])
for number in range(30):
    ticket = Ticket(env)
    ticket["summary"], ticket["reporter"], ticket["status"] = f"Ticket {number} é 日本", "someone", "new"
    ticket.insert()
    ticket["status"] = "closed"
    ticket.save_changes("someone", "done " * number)
for number in range(10):
    page = WikiPage(env, f"Page{number}")
    page.text = "text é\n" * 50
    page.save("someone", "first")
for realm, parent, filename in (
    ("ticket", "1", "plain.txt"), ("ticket", "2", "odd name é 日本.tar.gz"), ("wiki", "Page1", "no-extension"), ("wiki", "Page2", "a'b\"$x.PNG"),
):
    attachment = Attachment(env, realm, parent)
    attachment.author = "someone"
    attachment.insert(filename, io.BytesIO(filename.encode() * 100), len(filename.encode()) * 100)
env.shutdown()
"""

_WRITE = r"""
import sqlite3, sys
path, journal = sys.argv[1:]
database = sqlite3.connect(path, timeout=60, isolation_level=None)
database.execute("PRAGMA synchronous=OFF")
assert database.execute("PRAGMA journal_mode=" + journal).fetchone()[0] == journal
database.execute("CREATE TABLE pairs (number INTEGER, side TEXT, filler TEXT)")
database.execute("CREATE TABLE ends (place INTEGER PRIMARY KEY, number INTEGER, filler TEXT)")
database.executemany("INSERT INTO ends VALUES (?, 0, ?)", [(place, "x" * 3000) for place in range(400)])
print("ready", flush=True)
assert sys.stdin.readline() == "go\n"
number = 0
while True:
    number += 1
    database.execute("BEGIN IMMEDIATE")
    for side in ("left", "right"):
        database.execute("INSERT INTO pairs VALUES (?, ?, ?)", (number, side, "y" * 100))
    database.execute("UPDATE ends SET number = ? WHERE place IN (0, 200, 399)", (number,))
    database.execute("COMMIT")
    if number <= 1000:  # a full pipe would stop the writer
        print(number, flush=True)
"""

_READ = r"""
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN")
database.execute("SELECT count(*) FROM sqlite_master").fetchone()
print("ready", flush=True)
sys.stdin.readline()
"""

_LOCK = r"""
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("ready", flush=True)
sys.stdin.readline()
"""


def make_environment(path: Path, database: str = "sqlite:db/trac.db") -> Path:
    """Make a Trac environment with tickets, pages and attachments, on an empty database of a connection string; takes a second."""
    command = [sys.executable, "-W", "ignore", "-c", _MAKE, path, database]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def copy_environment(template: Path, path: Path) -> Path:
    """Copy an environment that nobody uses."""
    shutil.copytree(template, path, symlinks=True)
    return path


def trac_admin(environment: Path, *arguments: str) -> str:
    """Run trac-admin and return what it prints."""
    command = [sys.executable, "-W", "ignore", "-m", "trac.admin.console", str(environment), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def execute(database: Path, *statements: str) -> list[Any]:
    """Run statements, committed together, and return the rows of the last."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def tables(database: Path) -> dict[str, list[Any]]:
    """Return every table with all its rows."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return {
            name: sorted(connection.execute('SELECT * FROM "' + name.replace('"', '""') + '"').fetchall(), key=repr)
            for (name,) in names
        }


def integrity(database: Path) -> str:
    """Return the result of the engine's integrity check of a database."""
    return str(execute(database, "PRAGMA integrity_check")[0][0])


class Worker:
    """A process that uses a database until told to stop."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.next_line() != "ready":
            self.end()
            raise RuntimeError("the process that uses the database did not begin")

    def next_line(self) -> str:
        """Wait for the next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def worker(script: str, *arguments: Path | str) -> Iterator[Worker]:
    """Run a worker."""
    running = Worker(script, *map(str, arguments))
    try:
        yield running
    finally:
        running.end()


def writer(database: Path, journal: str) -> contextlib.AbstractContextManager[Worker]:
    """Run a process that, once started by go, commits pairs of rows without pause and prints the first 1000 numbers."""
    return worker(_WRITE, database, journal)


def reader(database: Path) -> contextlib.AbstractContextManager[Worker]:
    """Run a process that keeps one state of a database open, so that no checkpoint can go beyond it."""
    return worker(_READ, database)


def is_locked(database: Path) -> bool:
    """Return whether another process cannot lock a database now."""
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN EXCLUSIVE')"
    done = subprocess.run([sys.executable, "-c", script, database], capture_output=True, text=True)
    return "database is locked" in done.stderr


def locker(database: Path) -> contextlib.AbstractContextManager[Worker]:
    """Run a process that keeps a database locked."""
    return worker(_LOCK, database)


def committed_state(database: Path) -> int:
    """Return the number of the last pair in a copy. Fail unless the copy is one committed state."""
    assert integrity(database) == "ok"
    numbers = {number for (number,) in execute(database, "SELECT number FROM ends WHERE place IN (0, 200, 399)")}
    assert len(numbers) == 1
    (number,) = numbers
    pairs = execute(
        database, "SELECT number, count(*), count(DISTINCT side) FROM pairs GROUP BY number ORDER BY number"
    )
    assert pairs == [(each, 2, 2) for each in range(1, number + 1)]
    return int(number)


def plain_copy(database: Path, destination: Path) -> Path:
    """Copy only the file of a database, as naive backups do."""
    shutil.copyfile(database, destination)
    return destination
