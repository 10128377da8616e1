"""Servers of databases for a first inventory: sockets at which somebody listens, and configurations. Nothing is connected to or started."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..system import mounts
from ..system.processes import Deadline
from ..system.visible import printable

SERVERS: Mapping[str, Sequence[str]] = {
    "postgresql": ("/run/postgresql", "/var/run/postgresql", "/tmp"),  # noqa: S108 (what others may have put there is told as shared)
    "mysql": ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock"),
    "ldap": ("/etc/ldap/slapd.d", "/etc/openldap/slapd.d"),
}
"""{kind: where its server usually is}: folders of sockets, sockets, and configurations"""
SOCKET = re.compile(r"\.s\.PGSQL\.([1-9][0-9]{0,4})", re.ASCII)
"""The name of a socket of PostgreSQL, with the port"""
_SOCKETS = "/proc/net/unix"
_LISTENS = 0x10000
"""The flag of a socket at which somebody listens, __SO_ACCEPTCON of Linux"""
_MOST = 100


def find_servers(places: Mapping[str, Sequence[str]], deadline: Deadline) -> list[dict[str, Any]]:
    """Return the servers at `places`, {kind: paths} as in SERVERS, each a mapping of `kind`, `path`, `owner`, `mine` and `shared`.

    `path` is a socket, or the folder of a configuration, `owner` the name of its user, "" if it has none, `mine` whether that is this process's
    user, and `shared` whether others may put such a thing there. Links are not followed.
    """
    usable = [(kind, path) for kind, paths in places.items() for path in paths if kind in _AT and "\0" not in path]
    seconds = mounts.answer_timeout(deadline)
    hung = mounts.find_hung([path for _, path in usable], seconds) if usable else set()
    listening = _listening()
    found: dict[str, dict[str, Any]] = {}
    for kind, place in usable:
        if place in hung:
            continue
        with contextlib.suppress(OSError):
            for path in _AT[kind](os.path.normpath(place), listening)[:_MOST]:
                found.setdefault(path, _told(kind, path))
    return list(found.values())


def _told(kind: str, path: str) -> dict[str, Any]:
    """Return what is known of a server. Raise OSError."""
    uid = os.lstat(path).st_uid
    above = os.stat(os.path.dirname(path)).st_mode
    return {
        "kind": kind,
        "path": path,
        "owner": _name_of(uid),
        "mine": uid == os.geteuid(),
        "shared": bool(above & stat.S_IWOTH),
    }


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _sockets_in(folder: str, listening: set[str] | None) -> list[str]:
    with os.scandir(folder) as entries:
        paths = [entry.path for entry in entries if SOCKET.fullmatch(entry.name)]
    return [path for each in sorted(paths) for path in _socket_at(each, listening)]


def _socket_at(path: str, listening: set[str] | None) -> list[str]:
    is_socket = _is_straight(path) and stat.S_ISSOCK(os.lstat(path).st_mode)
    return [path] if is_socket and (listening is None or _plain(path) in listening) else []


def _folder_at(path: str, _listening: set[str] | None) -> list[str]:
    return [path] if _is_straight(path) and stat.S_ISDIR(os.lstat(path).st_mode) else []


_AT: Mapping[str, Callable[[str, set[str] | None], list[str]]] = {
    "postgresql": _sockets_in,
    "mysql": _socket_at,
    "ldap": _folder_at,
}


def _is_straight(path: str) -> bool:
    """Return whether no link leads to a path whose name can be told as it is."""
    return printable(path) == path and os.path.realpath(path) == path


def _listening() -> set[str] | None:
    """Return the paths of the sockets at which somebody listens, None where the system does not tell."""
    found = set()
    try:
        with open(_SOCKETS, encoding="utf-8", errors="surrogateescape") as stream:
            for line in stream:
                fields = line.rstrip("\n").split(None, 7)
                with contextlib.suppress(IndexError, ValueError):
                    if int(fields[3], 16) & _LISTENS:
                        found.add(_plain(fields[7]))
    except OSError:
        return None
    return found


def _plain(path: str) -> str:
    """Return a path by which a server is called that took it for a socket's: /var/run is /run."""
    return re.sub(r"\A/var/run/", "/run/", os.path.normpath(path))
