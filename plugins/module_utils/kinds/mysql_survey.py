"""Loads dumps of MariaDB into a scratch server, and says what it then holds.

It needs nothing but Python's standard library, so that Sandbox can run it, as a program of its own. The client is called
so that nothing in a dump makes it run programs, read files or turn to another server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

TABLES = (
    "SELECT JSON_ARRAY(table_name, COALESCE(engine, '')) FROM information_schema.tables "
    "WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND BINARY table_schema = {database} ORDER BY table_name"
)
OBJECTS = (
    "SELECT JSON_ARRAY('sequences', COUNT(*)) FROM information_schema.tables WHERE table_type = 'SEQUENCE' AND BINARY table_schema = {database}"
    " UNION ALL SELECT JSON_ARRAY('views', COUNT(*)) FROM information_schema.views WHERE BINARY table_schema = {database}"
    " UNION ALL SELECT JSON_ARRAY('triggers', COUNT(*)) FROM information_schema.triggers WHERE BINARY trigger_schema = {database}"
    " UNION ALL SELECT JSON_ARRAY('routines', COUNT(*)) FROM information_schema.routines WHERE BINARY routine_schema = {database}"
    " UNION ALL SELECT JSON_ARRAY('events', COUNT(*)) FROM information_schema.events WHERE BINARY event_schema = {database}"
)
"""What is asked of a database: rows of one JSON value each; `{database}` stands for its quoted name"""
SETTINGS = ("--batch", "--skip-column-names", "--raw", "--skip-force", "--default-character-set=utf8mb4")
"""Options of a client for statements of ours and dumps: it ends at the first error, whatever an option file says"""
DISOBEDIENT = ("--sandbox", "--binary-mode", "--local-infile=0")
"""With these the client obeys nothing of a dump: --sandbox keeps it from programs and files, but lets `connect` lead it, and a password, to another server"""
_ADMINISTRATOR = "altbackup_proof"
_PATIENCE = 120.0
_SAID = 2000


class Failed(Exception):
    """What was loaded, or a program, failed; the message says how."""


def text_of(name: str) -> str:
    """Return a name as bytes of SQL, whatever characters it has; information_schema itself would not tell case apart."""
    return f"X'{name.encode('utf-8', 'surrogateescape').hex()}'"


def identifier(name: str) -> str:
    """Return a name as an identifier of SQL."""
    escaped = name.replace("`", "``")
    return f"`{escaped}`"


def rows_from(text: str) -> list[Any]:
    """Return the value of each line of JSON that the client printed. Raise Failed."""
    try:
        return [json.loads(line) for line in text.split("\n") if line]
    except (ValueError, RecursionError) as error:
        raise Failed(f"the client said what is no JSON: {error}") from error


class _Server:
    """A scratch server in the folder that this program can write to."""

    def __init__(self, programs: Mapping[str, str], folder: str) -> None:
        self._programs = programs
        self._data, self._socket, self._log = (os.path.join(folder, name) for name in ("cluster", "socket", "log"))
        self._user = "root"
        self._server: subprocess.Popen[bytes] | None = None

    def client(self, path: str = "", text: str = "", database: str = "") -> str:
        """Let the client run statements, those of a file or a text, and return what it says. Raise Failed."""
        argv = [
            self._programs["client"],
            "--no-defaults",
            *DISOBEDIENT,
            f"--socket={self._socket}",
            f"--user={self._user}",
            *SETTINGS,
        ]
        argv += [f"--database={database}"] if database else []
        with open(path or os.devnull, "rb") as source:
            given: dict[str, Any] = {"stdin": source} if path else {"input": text.encode("utf-8", "surrogateescape")}
            done: subprocess.CompletedProcess[bytes] = subprocess.run(argv, capture_output=True, check=False, **given)
        if done.returncode != 0:
            stderr_text = done.stderr.decode("utf-8", "backslashreplace").strip()
            raise Failed(f"the client failed with exit code {done.returncode}: {stderr_text[-_SAID:]}")
        return done.stdout.decode("utf-8", "surrogateescape")

    def start(self) -> None:
        """Make the server's folder and start it, on a socket alone. Raise Failed."""
        words = ("--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
        made = subprocess.run(
            [self._programs["install"], *words, f"--datadir={self._data}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if made.returncode != 0:
            raise Failed(f"no scratch server could be made: {made.stdout.decode('utf-8', 'backslashreplace')[-_SAID:]}")
        settings = {
            "socket": self._socket,
            "datadir": self._data,
            "pid-file": f"{self._socket}.pid",
            "innodb-buffer-pool-size": "64M",
            "innodb-flush-log-at-trx-commit": "0",
            "innodb-use-native-aio": "0",
            "event-scheduler": "OFF",
            "local-infile": "0",
            "secure-file-priv": os.path.dirname(self._data),
            "max-allowed-packet": "1G",
        }
        given = (
            "--no-defaults",
            "--skip-networking",
            "--skip-log-bin",
            *(f"--{name}={value}" for name, value in settings.items()),
        )
        with open(self._log, "wb") as log:
            self._server = subprocess.Popen(
                [self._programs["server"], *given], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.client(text="SELECT 1;\n")
                break
            except Failed as error:
                if self._server.poll() is not None or time.monotonic() > end:
                    with open(self._log, encoding="utf-8", errors="backslashreplace") as stream:
                        raise Failed(f"the scratch server did not start: {stream.read()[-_SAID:]}") from error
            time.sleep(0.05)
        user = f"{_ADMINISTRATOR}@localhost"
        rights = (f"ALL PRIVILEGES ON *.* TO {user}", f"PROXY ON ''@'%' TO {user}")
        grants = "".join(f"GRANT {right} WITH GRANT OPTION;\n" for right in rights)
        self.client(text=f"CREATE USER {user};\n{grants}")
        self._user = _ADMINISTRATOR

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def look(self, name: str) -> dict[str, Any]:
        """Return `rows` of tables and `objects` of a database. Raise Failed."""
        tables = [table for table, _ in rows_from(self.client(text=TABLES.format(database=text_of(name)) + ";\n"))]
        counts = "".join(
            f"SELECT COUNT(*) FROM {identifier(name)}.{identifier(table)};\n"  # noqa: S608 (identifiers, quoted)
            for table in tables
        )
        objects = dict(rows_from(self.client(text=OBJECTS.format(database=text_of(name)) + ";\n")))
        return {"rows": dict(zip(tables, rows_from(self.client(text=counts)))), "objects": objects}

    def load_users(self, path: str) -> list[str]:
        """Let users and roles be those of a dump; return them but for the administrator. Raise Failed."""
        names = "SELECT JSON_ARRAY(user, host) FROM mysql.user ORDER BY user, host;\n"
        for user, host in rows_from(self.client(text=names)):
            if user != _ADMINISTRATOR:
                self.client(text=f"DROP USER {identifier(user)}@{identifier(host)};\n")
        self.client(path=path)
        return [name for name in rows_from(self.client(text=USERS)) if not name.startswith(f"{_ADMINISTRATOR}@")]


USERS = "SELECT JSON_QUOTE(CONCAT(user, '@', host)) FROM mysql.user ORDER BY user, host;\n"


def survey(programs: Mapping[str, str], folder: str, order: Mapping[str, Any], room: str) -> dict[str, Any]:
    """Return what dumps in a folder hold once loaded; `order` is what is known of them. Raise Failed."""
    server = _Server(programs, room)
    try:
        server.start()
        databases, answers = {}, []
        for name, entry in order["databases"].items():
            how = (
                f" CHARACTER SET {identifier(entry['charset'])} COLLATE {identifier(entry['collation'])}"
                if entry["charset"]
                else ""
            )
            server.client(text=f"CREATE DATABASE {identifier(name)}{how};\n")
        for name, entry in order["databases"].items():
            server.client(path=os.path.join(folder, entry["file"]), database=name)
            databases[name] = server.look(name)
            for table, query in order["queries"].items():
                if table in databases[name]["rows"]:
                    answers += rows_from(server.client(text=f"{query};\n", database=name))
        users = server.load_users(os.path.join(folder, order["users"])) if order["users"] else None
        return {"problem": "", "databases": databases, "users": users, "answers": answers}
    finally:
        server.stop()


def main(argv: list[str]) -> int:
    """Print what dumps hold as JSON; `argv` is JSON of programs, the folder of dumps and JSON that tells of them."""
    try:
        found = survey(json.loads(argv[0]), argv[1], json.loads(argv[2]), os.getcwd())
    except Failed as error:
        found = {"problem": str(error)}
    sys.stdout.write(json.dumps(found))
    return 0
