"""A server of MariaDB that the demo backs up beside its repositories, where MariaDB is installed: in the demo's folder, on a socket alone."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
_SEARCHED = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
_LONGEST_SOCKET = 100
"""Bytes of the path of a socket that the kernel takes, with some to spare; see unix(7)"""
_PATIENCE = 60.0


class NoDatabase(Exception):
    """Why the demo shows no database."""


def tools() -> dict[str, str]:
    """Return {program: path}. Raise NoDatabase, which names the packages, where one is not installed."""
    found = {name: shutil.which(name, path=_SEARCHED) for name in PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise NoDatabase(f"{', '.join(missing)} not found: install mariadb-server and mariadb-client to see one")
    return {name: path for name, path in found.items() if path}


class Server:
    """A running server with one database, `tickets`."""

    def __init__(self, programs: dict[str, str], socket: Path) -> None:
        self._programs, self._socket = programs, socket

    def argv(self, statement: str) -> list[str]:
        """Return the argv that runs a statement."""
        words = ["--no-defaults", f"--socket={self._socket}", "--user=root"]
        return [self._programs["mariadb"], *words, f"--execute={statement}"]

    def item(self) -> str:
        """Return the item of it, as a line of an inventory."""
        host = json.dumps(str(self._socket))
        return f"  - {{kind: mysql, name: tickets, user: {getpass.getuser()}, login: root, host: {host}}}\n"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Make a server in a folder that is not there yet, run it while the block lasts. Raise NoDatabase where that cannot be."""
    programs, data, socket = tools(), folder / "data", folder / "s"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET:
        raise NoDatabase(
            f"the path {socket} is too long for a socket: clone the checkout into a folder of a shorter path to see one"
        )
    folder.mkdir(parents=True)
    who = f"user={getpass.getuser()}"
    # Given --user, mariadb-install-db hands the system's own PAM helper over to that user, and fails in a folder with a space in its name;
    # with the prefix, the option is the server's alone.
    words = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", f"--loose-{who}"]
    with (folder / "log").open("ab") as log:
        _must([programs["mariadb-install-db"], "--no-defaults", *words, f"--datadir={data}"], folder / "log")
        settings = ["--skip-networking", "--skip-log-bin", "--innodb-buffer-pool-size=16M", f"--{who}"]
        places = [f"--datadir={data}", f"--socket={socket}", f"--pid-file={folder / 'pid'}"]
        command = [programs["mariadbd"], "--no-defaults", *settings, *places]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    server = Server(programs, socket)
    try:
        _await(process, server, folder / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _must(argv: Sequence[str], log: Path) -> None:
    """Run a program to its end. Raise NoDatabase where it fails."""
    with log.open("ab") as out:
        if subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False).returncode:
            raise NoDatabase(f"{argv[0]} failed; {log} says why")


def _await(process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    """Wait until a server answers. Raise NoDatabase where it does not."""
    end = time.monotonic() + _PATIENCE
    while subprocess.run(server.argv("SELECT 1"), capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > end:
            raise NoDatabase(f"the server does not answer; {log} says why")
        time.sleep(0.1)
