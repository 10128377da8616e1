"""The programs of MySQL and MariaDB: which of them are of a server's make, how they come to it, and a client that obeys no dump."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import IO, Any

from ..system.errors import InvalidInput, ToolMissing
from ..system.processes import Deadline, run
from ..system.programs import find_tool
from ..system.temporary import temporary_file
from ..system.units import first_of

_LONGEST = 1 << 16
"""Most bytes of an option file"""
_SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock")


def is_mariadb(version: str) -> bool:
    """Return whether a server or a program with such a version is MariaDB's."""
    return "mariadb" in version.lower()


def programs_for(server: str, versions: Mapping[str, str]) -> str:
    """Return the dump program that is of the same make as a server; `versions` is {dump program: what it prints as its version}. Raise ToolMissing."""
    wanted = is_mariadb(server)
    for name, version in versions.items():
        if is_mariadb(version) == wanted:
            return name
    make, package = ("MariaDB", "mariadb-client") if wanted else ("MySQL", "mysql-client")
    found = first_of([f"{name} is {version.strip()}" for name, version in versions.items()], 2) or "there is none"
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
    output = run([client, "--help"], what="asking mariadb for its options", deadline=deadline)
    if b"--sandbox" not in output:
        raise ToolMissing(
            "the client mariadb here has no --sandbox, without which it would obey commands in a dump: install 10.11.8 or newer"
        )
    return client


def options_of(given: Mapping[str, Any]) -> list[str]:
    """Return the options with which programs connect to the server; of `given`, `host`, `port` and `password_file` may be missing.

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


def client_lines(stream: IO[bytes], where: str) -> list[str]:
    """Return the lines of `[client]` in an option file: those of dump programs, such as `where`, leave rows out of a dump that ends well.

    Raise InvalidInput, which quotes nothing of it.
    """
    text = stream.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise InvalidInput(f"{where} has more than {_LONGEST} bytes, and is not read")
    found, is_client = [], False
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        start = line.lstrip()
        if start.startswith("["):
            is_client = start.rstrip() == "[client]"
        elif is_client and not start.startswith(
            ("!", "loose")
        ):  # `loose-` is for programs that know an option, and for no other
            found.append(line)
    return found


def option_file(lines: Iterable[str]) -> contextlib.AbstractContextManager[str]:
    """Yield the path of an option file with these lines in `[client]`, which this user alone can read, and which is then gone. Raise OSError."""
    text = "".join(f"{line}\n" for line in ("[client]", *lines))
    return temporary_file(text.encode("utf-8", "surrogateescape"))
