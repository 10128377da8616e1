"""Real Trac environments whose database is in a real server."""

from __future__ import annotations

import abc
import contextlib
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from helpers.environments import make_environment
from helpers.servers import Mariadb, Missing, Postgresql, mariadb, place, postgresql, run_as_user
from helpers.trees import Base, item

PASSWORD = "a\"very:secret\\ #word%41'"
DRIVERS = {"postgresql": ("psycopg2", "psycopg2-binary"), "mysql": ("pymysql", "PyMySQL")}
"""{kind: (module, package) by which Trac comes to its servers}"""
SERVED = tuple(f"trac-{kind}" for kind in DRIVERS)
"""Names of environments with a database in each"""


class Site(abc.ABC):
    """A server with the database of a Trac environment."""

    kind = ""
    server: Any
    url = ""
    """The connection string of the environment, with the password"""

    def __init__(self, folder: Path) -> None:
        self.template = folder / "template"

    @abc.abstractmethod
    def sql(self, *statements: str) -> str:
        """Run statements in the database."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Let the database be as Trac made it."""

    def environment(self, path: Path) -> Path:
        """Return a new environment at a path, with its database as Trac made it."""
        self.reset()
        return Path(shutil.copytree(self.template, path, symlinks=True))


class PostgresqlSite(Site):
    """PostgreSQL, which asks for the password."""

    kind = "postgresql"

    def __init__(self, folder: Path, server: Postgresql) -> None:
        super().__init__(folder)
        self.server = server
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all trac scram-sha-256\nlocal all all trust\n")
        run_as_user(f"{server.programs}/pg_ctl", "reload", "-D", server.data)
        word = PASSWORD.replace("'", "''")
        server.sql(
            "SET standard_conforming_strings = on",
            f"CREATE ROLE trac LOGIN PASSWORD '{word}'",
            "CREATE DATABASE trac OWNER trac",
        )
        self.url = f"postgres://trac:{quote(PASSWORD, safe='')}@/trac?host={server.sockets}"
        make_environment(self.template, self.url)
        server.sql("CREATE DATABASE original TEMPLATE trac")

    def sql(self, *statements: str) -> str:
        return self.server.sql(*statements, database="trac").stdout

    def reset(self) -> None:
        self.server.sql("DROP DATABASE trac", "CREATE DATABASE trac OWNER trac TEMPLATE original")


class MysqlSite(Site):
    """MariaDB, which asks for the password."""

    kind = "mysql"

    def __init__(self, folder: Path, server: Mariadb) -> None:
        super().__init__(folder)
        self.server = server
        word = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        server.sql(
            "CREATE DATABASE trac CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            f"CREATE USER trac@localhost IDENTIFIED BY '{word}'",
            "GRANT ALL ON trac.* TO trac@localhost",
        )
        self.url = f"mysql://trac:{quote(PASSWORD, safe='')}@localhost/trac?unix_socket={server.socket}"
        make_environment(self.template, self.url)
        words = ("--no-defaults", f"--socket={server.socket}", "--user=root", "trac")
        self._original = run_as_user("mariadb-dump", *words).stdout

    def sql(self, *statements: str) -> str:
        return self.server.sql(*statements, database="trac").stdout

    def reset(self) -> None:
        self.server.sql("DROP DATABASE trac", "CREATE DATABASE trac CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        words = ("--no-defaults", f"--socket={self.server.socket}", "--user=root", "trac")
        run_as_user("mariadb", *words, text=self._original)


@contextlib.contextmanager
def trac_site(kind: str, folder: Path) -> Iterator[Site]:
    """Run a server with the database of an environment in an empty folder. Raise Missing where Trac cannot come to it."""
    module, package = DRIVERS[kind]
    for name, what in (("trac", "Trac"), (module, package)):
        if not importlib.util.find_spec(name):
            raise Missing(f"needs {name}: pip install {what}")
    with contextlib.ExitStack() as stack:
        if kind == "postgresql":
            yield PostgresqlSite(folder, stack.enter_context(postgresql()))
        else:
            yield MysqlSite(folder, stack.enter_context(mariadb()))


@contextlib.contextmanager
def live_trac(name: str) -> Iterator[dict[str, object]]:
    """Make a Trac environment of this user, with its database in a server, and yield it as an item named `trac-KIND`. Raise Missing."""
    with place() as folder, trac_site(name.partition("-")[2], folder.parent) as site:
        yield item("trac", site.environment(folder / "environment"), name)


def belongs_to_nobody(path: Path) -> Path:
    """Let all of an environment belong to nobody."""
    subprocess.run(["chown", "-R", "65534:65534", path], check=True)
    return path


def text_below(base: Base) -> bytes:
    """Return all bytes of what a base holds beside its tarballs: records, states and journals."""
    return b"".join(path.read_bytes() for path in base.path.rglob("*") if path.is_file() and ".tar" not in path.name)
