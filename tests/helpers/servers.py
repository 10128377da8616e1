"""Database servers, started by a test in a folder of its own, on a socket only, as an unprivileged user; never the machine's."""

from __future__ import annotations

import abc
import contextlib
import glob
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from helpers.trees import Base

USER = "nobody"
"""User of the servers if the tests run as root"""


class Missing(Exception):
    """A program that a test needs is not installed; the message names the package."""


def _preexec() -> dict[str, object]:
    return {"user": USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def run_as_user(
    *argv: str | Path, text: str = "", environment: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program as the user of servers."""
    more = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", **(environment or {})}
    done = subprocess.run(
        [str(word) for word in argv],
        input=text,
        env=more,
        cwd="/",
        capture_output=True,
        text=True,
        **_preexec(),  # type: ignore[call-overload]
    )
    assert not check or done.returncode == 0, (argv, done.stderr)
    return done


def user_name() -> str:
    """Return the name of the servers' user."""
    return USER if os.geteuid() == 0 else str(run_as_user("id", "-un").stdout.strip())


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Make a folder that the servers' user owns and can reach, alone in one of this user's; its path is short, as sockets need it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp", prefix="s"))
    folder.chmod(0o755)
    (folder / "home").mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder / "home", USER, "nogroup")
    try:
        yield folder / "home"
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def started(argv: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, and end it at the end."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "TZ": "UTC"}
    with log.open("ab") as out:
        server = subprocess.Popen(
            argv, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out, **_preexec()
        )  # type: ignore[call-overload]
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def private_file(path: Path, text: str) -> str:
    """Write a file that the user of servers alone can read; return its path."""
    run_as_user("sh", "-c", 'umask 77; cat > "$1"', "sh", path, text=text)
    return str(path)


class Server(abc.ABC):
    """A database server in a folder of its own, which runs while it is started."""

    _log: Path
    _running: contextlib.ExitStack | None = None

    @abc.abstractmethod
    def sql(self, *statements: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run statements with its client."""

    def run(self, argv: list[str]) -> None:
        """Start it and wait until it answers."""
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(started(argv, self._log))
            end = time.monotonic() + 120
            while self.sql("SELECT 1", check=False).returncode != 0:
                assert server.poll() is None and time.monotonic() < end, self._log.read_text()
                time.sleep(0.05)
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Stop it."""
        if self._running is not None:
            self._running.close()
            self._running = None


def postgresql_programs() -> str:
    """Return the folder of the newest PostgreSQL server. Raise Missing."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
    found = [folder for folder in found if os.access(f"{folder}/postgres", os.X_OK)]
    if not found:
        raise Missing("needs a server of PostgreSQL: install the package postgresql")
    return found[-1]


class Postgresql(Server):
    """A cluster of PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        self.programs = postgresql_programs()
        self.data, self.sockets, self._log = folder / "data", folder / "s", folder.parent / "log"
        run_as_user("mkdir", self.sockets)
        words = ("--no-locale", "--encoding=UTF8", "--auth=trust", "--no-sync", "--username=postgres")
        run_as_user(f"{self.programs}/initdb", *words, f"--pgdata={self.data}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self.sockets}",
            "fsync=off",
            "shared_buffers=32MB",
            "max_connections=20",
        )
        words = [f"--{setting}" for setting in settings]
        self.run([f"{self.programs}/postgres", "-D", str(self.data), *words])

    def sql(
        self, *statements: str, database: str = "postgres", check: bool = True, role: str = "postgres"
    ) -> subprocess.CompletedProcess[str]:
        """Run statements with psql."""
        environment = {"PGHOST": str(self.sockets), "PGUSER": role, "PGDATABASE": database}
        words = ("-X", "-A", "-t", "-q", "--set=ON_ERROR_STOP=1")
        text = "".join(f"{statement};\n" for statement in statements)
        return run_as_user(f"{self.programs}/psql", *words, text=text, environment=environment, check=check)

    def ask_for_password(self, login: str, password: str) -> dict[str, str]:
        """Let a role come in by a password alone; return what an item and a restore say of that."""
        self.sql(f"ALTER ROLE {login} PASSWORD '{password}'")
        hba = self.data / "pg_hba.conf"
        hba.write_text(f"local all {login} scram-sha-256\n{hba.read_text()}")
        run_as_user(f"{self.programs}/pg_ctl", "reload", "-D", self.data)
        path = private_file(self.data.parent / f"password of {login}", f"*:*:*:{login}:{password}\n")
        return {"login": login, "password_file": path}

    def item(self, **more: object) -> dict[str, object]:
        """Return an item of this cluster, as users write it."""
        return {
            "kind": "postgresql",
            "name": "thing",
            "host": str(self.sockets),
            "user": user_name(),
            "login": "postgres",
            **more,
        }


@contextlib.contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Make a cluster and run its server."""
    with place() as folder:
        cluster = Postgresql(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


class Mariadb(Server):
    """A server of MariaDB."""

    def __init__(self, folder: Path) -> None:
        for name in ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"):
            if not shutil.which(name, path="/usr/sbin:/usr/bin"):
                raise Missing(f"needs {name}: install the packages mariadb-server-core and mariadb-client")
        self.data, self.socket, self._log = folder / "data", folder / "socket", folder.parent / "log"
        words = ("--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
        run_as_user("mariadb-install-db", *words, f"--datadir={self.data}")

    def start(self, *more: str) -> None:
        """Start the server, with more options, and wait until it answers."""
        words = ("--no-defaults", "--skip-networking", "--skip-log-bin", "--innodb-use-native-aio=0")
        sizes = ("--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", *more)
        places = (f"--datadir={self.data}", f"--socket={self.socket}", f"--pid-file={self.socket}.pid")
        self.run(["/usr/sbin/mariadbd", *words, *sizes, *places])

    def sql(self, *statements: str, database: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run statements with the client as root."""
        words = ("--no-defaults", f"--socket={self.socket}", "--user=root", "--batch", "--skip-column-names")
        text = "".join(f"{statement};\n" for statement in statements)
        return run_as_user("mariadb", *words, *([f"--database={database}"] if database else []), text=text, check=check)

    def ask_for_password(self, login: str, password: str) -> dict[str, str]:
        """Let a user come in by a password alone; return what an item and a restore say of that."""
        self.sql(f"ALTER USER {login}@localhost IDENTIFIED BY '{password}'")
        path = private_file(self.data.parent / f"password of {login}", f"[client]\npassword={password}\n")
        return {"login": login, "password_file": path}

    def item(self, **more: object) -> dict[str, object]:
        """Return an item of this server, as users write it."""
        return {
            "kind": "mysql",
            "name": "thing",
            "host": str(self.socket),
            "user": user_name(),
            "login": "root",
            **more,
        }


@contextlib.contextmanager
def mariadb() -> Iterator[Mariadb]:
    """Make a server of MariaDB and run it."""
    with place() as folder:
        server = Mariadb(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


LDAP = """dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {folder}/pid

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: {{0}}back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcRootDN: cn=admin,cn=config
olcRootPW: configsecret

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: dc=example,dc=org
olcRootDN: cn=admin,dc=example,dc=org
olcRootPW: treesecret
olcDbDirectory: {folder}/db
olcDbMaxSize: 1073741824
"""
TREE = """dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

"""


def _listens(path: Path) -> bool:
    """Return whether somebody listens on a socket."""
    with contextlib.suppress(OSError), contextlib.closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.connect(str(path))
        return True
    return False


class Slapd:
    """A server of OpenLDAP with one database."""

    def __init__(self, folder: Path) -> None:
        for name in ("slapd", "slapcat", "slapadd"):
            if not shutil.which(name, path="/usr/sbin:/usr/bin"):
                raise Missing(f"needs {name}: install the package slapd")
        self.folder, self.config, self._log = folder, folder / "slapd.d", folder.parent / "log"
        self._password = folder.parent / "password"
        self._password.write_text("treesecret")
        run_as_user("mkdir", self.config, folder / "db")
        run_as_user("slapadd", "-F", self.config, "-n", "0", text=LDAP.format(folder=folder))
        self.add(TREE, *map(person, range(20)))

    def add(self, *entries: str) -> None:
        """Add entries while no server runs."""
        run_as_user("slapadd", "-F", self.config, "-n", "1", text="".join(entries))

    def modify(self, address: str, *changes: str) -> None:
        """Add and change entries while the server runs, as its administrator."""
        words = ("-a", "-x", "-H", address, "-D", "cn=admin,dc=example,dc=org", "-y", self._password)
        run_as_user("ldapmodify", *words, text="".join(changes))

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Run the server, and yield the address of its socket."""
        address = f"ldapi://{str(self.folder / 'ldapi').replace('/', '%2F')}"
        with started(["/usr/sbin/slapd", "-F", str(self.config), "-h", address, "-d", "0"], self._log) as server:
            end = time.monotonic() + 60
            while not _listens(self.folder / "ldapi"):
                assert server.poll() is None and time.monotonic() < end, self._log.read_text()
                time.sleep(0.05)
            yield address

    def item(self, **more: object) -> dict[str, object]:
        """Return an item of this server, as users write it."""
        return {"kind": "ldap", "name": "thing", "path": str(self.config), **more}


def person(number: int) -> str:
    """Return an entry of LDIF."""
    return f"dn: cn=person {number},dc=example,dc=org\nobjectClass: person\ncn: person {number}\nsn: {number}\n\n"


@contextlib.contextmanager
def slapd() -> Iterator[Slapd]:
    """Make the folder of an LDAP server, which does not run yet."""
    with place() as folder:
        yield Slapd(folder)


def of_postgresql(cluster: Postgresql, database: str) -> list[str]:
    """Return what pg_dump says of a database, and pg_dumpall of roles."""
    environment = {"PGHOST": str(cluster.sockets), "PGUSER": "postgres"}
    asked = (("pg_dump", "--create", database), ("pg_dumpall", "--globals-only"))
    said = [run_as_user(f"{cluster.programs}/{name}", *words, environment=environment).stdout for name, *words in asked]
    return [re.sub(r"(?m)^\\(un)?restrict .*$", "", text) for text in said]


def of_mariadb(server: Mariadb, database: str) -> list[str]:
    """Return what mariadb-dump says of a database, users, and what each may do everywhere."""
    words = ("--no-defaults", f"--socket={server.socket}", "--user=root", "--skip-comments", "--order-by-primary")
    said = run_as_user("mariadb-dump", *words, database).stdout
    users = "SELECT CONCAT(user, '@', host, authentication_string) FROM mysql.user ORDER BY 1"
    grants = "SELECT grantee, privilege_type FROM information_schema.user_privileges ORDER BY 1, 2"
    return [said, server.sql(users).stdout, server.sql(grants).stdout]


def of_slapd(server: Slapd) -> list[str]:
    """Return what slapcat says of the configuration and the database."""
    return [run_as_user("slapcat", "-F", server.config, "-n", number).stdout for number in ("0", "1")]


def of_mercurial(path: Path) -> list[str]:
    """Return a line for each changeset, oldest first, without contents."""
    words = ("--debug", "--template", "{rev} {node} {phase} {bookmarks} {manifest} {files} {desc}\n", "--rev", "all()")
    return run_as_user("hg", "--repository", path, "log", *words, environment={"HGRCPATH": ""}).stdout.splitlines()


MORE = ("hg", "command", "postgresql", "mysql", "ldap")
"""Kinds whose items need programs that a test may lack"""


@contextlib.contextmanager
def live(kind: str) -> Iterator[dict[str, object]]:
    """Make a small real item of a kind, in use, and yield it; it is named as the kind. Raise Missing without the programs."""
    with contextlib.ExitStack() as stack:
        if kind == "postgresql":
            cluster = stack.enter_context(postgresql())
            cluster.sql("CREATE ROLE staff", "CREATE DATABASE wiki OWNER staff")
            cluster.sql("CREATE TABLE page AS SELECT n, repeat('x', n) FROM generate_series(1, 200) n", database="wiki")
            yield cluster.item(name=kind)
        elif kind == "mysql":
            server = stack.enter_context(mariadb())
            server.sql(
                "CREATE DATABASE wiki",
                "CREATE TABLE wiki.page (n int PRIMARY KEY, body text)",
                "CREATE USER alice@localhost",
            )
            server.sql("INSERT INTO wiki.page SELECT seq, REPEAT('x', seq) FROM seq_1_to_200", database="wiki")
            yield server.item(name=kind)
        elif kind == "ldap":
            yield stack.enter_context(slapd()).item(name=kind)
        elif kind == "command":
            yield {"kind": kind, "name": kind, "user": user_name(), "argv": ["/usr/bin/seq", "-f", "line %g", "100"]}
        else:
            if not shutil.which("hg"):
                raise Missing("needs hg: install the package mercurial")
            folder = stack.enter_context(place())
            settings = ("--config", "ui.username=a", "--config", "phases.publish=False", "--repository", folder)
            environment = {"HGRCPATH": ""}
            run_as_user("hg", "init", folder, environment=environment)
            for number in range(5):
                (folder / f"file {number}").write_text(f"{number}\n" * 50)
                shutil.chown(folder / f"file {number}", user_name())
                words = ("commit", "--addremove", "--message", f"{number}", "--date", f"{number} 0")
                run_as_user("hg", *settings, *words, environment=environment)
            run_as_user("hg", *settings, "phase", "--public", "--rev", "2", environment=environment)
            run_as_user("hg", *settings, "bookmark", "main", environment=environment)
            yield {"kind": kind, "name": kind, "path": str(folder)}


@contextlib.contextmanager
def reachable_base() -> Iterator[Base]:
    """Make a marked base that the user of servers can reach."""
    with place() as folder:
        yield Base(folder.parent / "base")
