"""Servers of databases that a survey found, as items of a first inventory, or as comments where something is to be entered. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.kinds.keys import PARSERS
from ...module_utils.stages.survey_servers import SERVERS, SOCKET
from ...module_utils.system.errors import InvalidInput

_PORT = 5432


@dataclass(frozen=True)
class Server:
    """A sign of a server, as find_servers of a node tells it."""

    kind: str
    path: str
    owner: str
    """As whom it runs, "" if that is no user's name"""
    mine: bool
    shared: bool


def servers_in(facts: Any) -> list[Server]:
    """Return the servers that a node tells of, those that have the form of one; a node may say anything."""
    given = facts.get("servers") if isinstance(facts, Mapping) else None
    found = []
    for entry in given if isinstance(given, (list, tuple)) else ():
        if not isinstance(entry, Mapping):
            continue
        kind, path, owner = (entry.get(name) for name in ("kind", "path", "owner"))
        is_path = isinstance(path, str) and os.path.isabs(path) and path.isprintable()
        is_one = kind != "postgresql" or (is_path and SOCKET.fullmatch(os.path.basename(str(path))))
        if isinstance(kind, str) and kind in SERVERS and is_path and is_one:
            flags = (entry.get(name) is True for name in ("mine", "shared"))
            found.append(Server(kind, str(path), _user(owner), *flags))
    return found


def _user(value: Any) -> str:
    try:
        return str(PARSERS["user"](value, "user"))
    except InvalidInput:
        return ""


def server_items(servers: Sequence[Server], is_root: bool) -> list[tuple[str, dict[str, Any], bool]]:
    """Return (comment, item, whether it is one as it stands) of each server; `is_root`: runs there may become any user.

    Several sockets of one server of PostgreSQL, which has a port for itself, are one item; of MySQL and MariaDB the first socket counts, and the first
    configuration of OpenLDAP.
    """
    chosen: dict[str, tuple[str, dict[str, Any], bool]] = {}
    for server in servers:
        told = _OF[server.kind](server, is_root)
        chosen.setdefault(str(told[1]["name"]), told)
    return list(chosen.values())


def _postgresql(server: Server, is_root: bool) -> tuple[str, dict[str, Any], bool]:
    folder, name = os.path.split(server.path)
    found = SOCKET.fullmatch(name)
    port = int(found[1]) if found else _PORT
    item: dict[str, Any] = {"kind": "postgresql", "name": "postgresql" if port == _PORT else f"postgresql-{port}"}
    item["user"] = server.owner or "postgres"
    item.update({"host": folder} if folder not in SERVERS["postgresql"][:2] else {})
    item.update({"port": port} if port != _PORT else {})
    if server.shared or not server.owner or server.owner == "root":
        where = f"{server.path}{', where any user may' if server.shared else ''}"
        return (
            f"Somebody listens as PostgreSQL at {where}: see whose it is, and enter the user: docs/postgresql.md",
            item,
            False,
        )
    if not (is_root or server.mine):
        return f"PostgreSQL: {_AS_ANOTHER}, or its login and password_file: docs/postgresql.md", item, False
    return (
        "PostgreSQL, all databases, as the user of the server. A role that may only read is enough: docs/postgresql.md says with which rights",
        item,
        True,
    )


_AS_ANOTHER = "read as another user, for which runs have to be root there (ansible_become); enter the user"


def _mysql(server: Server, _is_root: bool) -> tuple[str, dict[str, Any], bool]:
    item = {"kind": "mysql", "name": "mysql", "user": server.owner or "mysql", "login": "backup"}
    item.update({"host": server.path} if server.path not in SERVERS["mysql"][:2] else {})
    comment = (
        f"MariaDB or MySQL listens at {server.path}: make a login with the rights that docs/mysql.md names, enter it, its password_file if it "
        "has one, and the user of this machine that may use them"
    )
    return comment, item, False


def _ldap(server: Server, is_root: bool) -> tuple[str, dict[str, Any], bool]:
    item: dict[str, Any] = {"kind": "ldap", "name": "directory", "path": server.path}
    if server.shared or not server.owner or server.owner == "root":
        item["user"] = "openldap"
        return "OpenLDAP: enter the user as whom slapd runs, who reads its databases: docs/ldap.md", item, False
    if not (is_root or server.mine):
        return (
            "OpenLDAP: read as its owner, for which runs have to be root there (ansible_become): docs/ldap.md",
            item,
            False,
        )
    return "OpenLDAP, its configuration and databases, read as the owner of that folder: docs/ldap.md", item, True


_OF = {"postgresql": _postgresql, "mysql": _mysql, "ldap": _ldap}
