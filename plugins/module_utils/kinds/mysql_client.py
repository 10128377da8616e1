"""The programs of MySQL and MariaDB: which of them are of a server's make, how they come to it, and a client that obeys no dump."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ..system.errors import ToolMissing
from ..system.processes import Deadline, run
from ..system.programs import find_tool
from ..system.units import first_of

_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock")


def is_mariadb(version: str) -> bool:
    """Given what a server or a program says of its version, return whether it is MariaDB's."""
    return "mariadb" in version.lower()


def programs_for(server: str, versions: Mapping[str, str]) -> str:
    """Given a server's version and {dump program: what it says of its own}, return the program that is of the same make. Raise ToolMissing."""
    wanted = is_mariadb(server)
    for name, said in versions.items():
        if is_mariadb(said) == wanted:
            return name
    make, package = ("MariaDB", "mariadb-client") if wanted else ("MySQL", "mysql-client")
    found = first_of([f"{name} is {said.strip()}" for name, said in versions.items()], 2) or "there is none"
    raise ToolMissing(
        f"the server is {make} {server}, of which the dump program is not installed ({found}): install the package {package}"
    )


def any_client() -> str:
    """Return a client for statements of our own. Raise ToolMissing."""
    with contextlib.suppress(ToolMissing):
        return find_tool("mariadb")
    return find_tool("mysql")


def disobedient_client(deadline: Deadline) -> str:
    """Return a client that obeys no command of a dump where mysql_survey.DISOBEDIENT is given. Raise ToolMissing where there is none."""
    client = find_tool("mariadb")
    said = run([client, "--help"], what="asking mariadb for its options", deadline=deadline)
    if b"--sandbox" not in said:
        raise ToolMissing(
            "the client mariadb here has no --sandbox, without which it would obey commands in a dump: install 10.11.8 or newer"
        )
    return client


def options_of(given: Mapping[str, Any]) -> list[str]:
    """Given `login`, and `host`, `port` and `password_file` where they are given, return how programs come to the server.

    The first of them says where options, such as a password, are read; there stand the login and the host, too, that are given as empty.
    """
    path, host = given.get("password_file"), given.get("host")
    words = [f"--defaults-file={path}" if path else "--no-defaults"]
    words += [f"--user={given['login']}"] if given["login"] else []
    if host == "":
        return words
    if host is None or os.path.isabs(host):
        socket = host or next((path for path in _SOCKETS if os.path.exists(path)), _SOCKETS[0])
        return [*words, "--protocol=socket", f"--socket={socket}"]
    return [*words, "--protocol=tcp", f"--host={host}", f"--port={given.get('port', 3306)}"]
