"""Servers of databases: real sockets in a folder of the test, at which somebody listens or nobody does any more."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.stages import survey_servers as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.survey_servers import find_servers
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

POSTGRESQL, MYSQL = ".s.PGSQL.5432", "mysqld.sock"


class Sockets:
    """A private folder with a path that is short enough for sockets."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack

    def listen(self, name: str) -> socket.socket:
        """Make a socket, and listen at it until the end of the test."""
        made = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        made.bind(str(self.folder / name))
        made.listen()
        return made

    def found(self, **places: str) -> list[tuple[str, str]]:
        """Return (kind, name in the folder) of what is found; a place is relative to the folder."""
        given = {kind: [os.path.join(self.folder, place)] for kind, place in places.items()}
        return [(each["kind"], os.path.relpath(each["path"], self.folder)) for each in find_servers(given, Deadline())]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with TemporaryDirectory(prefix="sock-") as folder, ExitStack() as stack:
        yield Sockets(Path(os.path.realpath(folder)), stack)


def test_a_server_is_known_by_the_socket_at_which_it_listens_or_by_its_configuration(sockets: Sockets) -> None:
    for name in (POSTGRESQL, ".s.PGSQL.5433", MYSQL, "other.sock"):
        sockets.listen(name)
    (sockets.folder / f"{POSTGRESQL}.lock").touch()
    (sockets.folder / "slapd.d").mkdir()
    assert sockets.found(postgresql=".", mysql=MYSQL, ldap="slapd.d") == [
        ("postgresql", POSTGRESQL),
        ("postgresql", ".s.PGSQL.5433"),
        ("mysql", MYSQL),
        ("ldap", "slapd.d"),
    ]


def test_a_socket_that_a_dead_server_left_is_none(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (POSTGRESQL, MYSQL):
        sockets.listen(name).close()
    assert sockets.found(postgresql=".", mysql=MYSQL) == []
    monkeypatch.setattr(room, "_SOCKETS", str(sockets.folder / "no-such-file"))
    assert len(sockets.found(postgresql=".", mysql=MYSQL)) == 2, "where the system does not tell who listens"


def test_nobody_connects_to_a_server(sockets: Sockets) -> None:
    listening = sockets.listen(POSTGRESQL)
    listening.setblocking(False)
    assert sockets.found(postgresql=".") != []
    with pytest.raises(BlockingIOError):
        listening.accept()


def test_links_are_not_followed_and_files_are_no_sockets(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_SOCKETS", str(sockets.folder / "no-such-file"))
    (sockets.folder / "real").mkdir()
    sockets.listen(f"real/{POSTGRESQL}")
    (sockets.folder / "link").symlink_to("real")
    (sockets.folder / MYSQL).symlink_to(f"real/{POSTGRESQL}")
    (sockets.folder / "slapd.d").symlink_to("real")
    assert sockets.found(postgresql="link", mysql=MYSQL, ldap="slapd.d") == []
    (sockets.folder / ".s.PGSQL.1").touch()
    assert sockets.found(postgresql=".", mysql=f"link/{POSTGRESQL}", ldap=f"real/{POSTGRESQL}") == []
    assert sockets.found(postgresql="none", mysql="none", ldap="none", svn="real") == []


@pytest.mark.parametrize(("mode", "is_shared"), [(0o700, False), (0o2775, False), (0o1777, True)])
def test_whose_a_server_is_and_whether_another_one_may_stand_there_is_told(
    sockets: Sockets, mode: int, is_shared: bool
) -> None:
    sockets.listen(POSTGRESQL)
    sockets.folder.chmod(mode)
    (told,) = find_servers({"postgresql": [str(sockets.folder)]}, Deadline())
    expected: dict[str, Any] = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "mine": True, "shared": is_shared}
    assert told == {"kind": "postgresql", "path": str(sockets.folder / POSTGRESQL), **expected}


def test_a_path_that_servers_call_otherwise_is_the_same() -> None:
    assert room._plain("/var/run/postgresql/.s.PGSQL.5432") == room._plain("/run/postgresql//.s.PGSQL.5432")
