"""The database of a Trac environment in a server of PostgreSQL, MySQL or MariaDB: dumped and proved as those kinds do it.

The form of a connection string is that of Trac's `trac/db/api.py` (parse_connection_uri). Whatever it holds is data: its password goes to the
server's programs by a file that their user alone can read, and to nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ..system.digest import open_plain
from ..system.errors import InvalidInput
from ..system.opened import user_name
from ..system.temporary import temporary_file
from ..system.twins import set_mode
from ..system.visible import printable
from . import mysql, postgresql
from .base import SERVED, Context, scratch_folder
from .items import Item, decode_name, encode_name
from .mysql_client import client_lines, option_file
from .mysql_survey import DISOBEDIENT
from .mysql_survey import identifier as mysql_identifier
from .postgresql import Share
from .postgresql_script import identifier
from .postgresql_survey import conninfo
from .tables import rows_of

if TYPE_CHECKING:
    from .proofs import Proof

KIND_OF = {"postgres": "postgresql", "mysql": "mysql"}
"""{scheme of a connection string: kind by whose code its database is dumped}"""
_KNOWN = {
    "postgres": ("schema", "host"),
    "mysql": ("unix_socket", "charset", "read_default_file", "init_command", "compress"),
}
_MADE = ("host", "port", "login", "database", "schema", "options")
_USUAL_SCHEMA = "public"


@dataclass(frozen=True)
class Server:
    """Where a database is, and who comes to it."""

    kind: str
    database: str
    schema: str = ""
    """Empty where all of the database is dumped"""
    host: str = ""
    """A host, or the folder of a socket, of MySQL its path"""
    port: int = 0
    login: str = ""
    password: str = ""
    options: str = ""
    """A file with more options for programs of MySQL, which tells host and login where they are not given"""

    @property
    def digest(self) -> str:
        """What tells this one from others, without telling anything of it."""
        return hashlib.sha256(repr(self).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def item_options(self) -> dict[str, Any]:
        """The options of an item of its kind that is this database, without those of its login."""
        given = {"host": self.host, "port": self.port}
        told = {key: value for key, value in given.items() if value}
        return {**({"host": ""} if self.options else {}), **told, "databases": (self.database,)}


def parse(setting: str, title: str) -> Server:
    """Parse the connection string of a database in a server. Raise InvalidInput, which quotes no secret."""
    scheme, _, rest = setting.partition(":")
    where = f"{title}: the setting database of its trac.ini"
    if not rest.startswith("/"):
        raise InvalidInput(f"{where} is not of the form {scheme}://user:password@host:port/database")
    server, path = "", rest.lstrip("/")
    if rest.startswith("//") and not rest.startswith("///"):
        server, _, path = rest[2:].partition("/")
    who, at, host = server.partition("@") if "@" in server else ("", "", server)
    host, _, port = host.partition(":")
    login, _, password = who.partition(":")
    path, _, query = path.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    more = {name: unquote(value) for name, _, value in pairs}
    unknown = [name for name in more if name not in _KNOWN[scheme]]
    if "@" in host or ("@" in path and not at):
        raise InvalidInput(f"{where} has an @ that ends no login: in a password @ is written %40, and / is %2F")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidInput(f"{where} has a port that is none")
    if unknown or not all(equals for _, equals, _ in pairs):
        raise InvalidInput(f"{where} has words behind its ? other than {', '.join(_KNOWN[scheme])}")
    if not path:
        raise InvalidInput(f"{where} names no database")
    schema = more.get("schema", _USUAL_SCHEMA)
    found = Server(
        KIND_OF[scheme],
        path,
        schema if scheme == "postgres" and schema != _USUAL_SCHEMA else "",
        more.get("host" if scheme == "postgres" else "unix_socket") or host,
        int(port or 0),
        unquote(login),
        unquote(password),
        more.get("read_default_file", ""),
    )
    for name, value in vars(found).items():
        if re.search(r"[\0-\x1f\x7f]", str(value)):
            raise InvalidInput(f"{where} has a {name} with a character that is none of a text")
    return found


def check(item: Item, context: Context, server: Server) -> None:
    """Raise InvalidInput or ToolMissing unless the programs are there, and the host is one."""
    kind = postgresql if server.kind == "postgresql" else mysql
    kind.check(replace(item, options=tuple(server.item_options.items())), context)


def request_of(server: Server, owner: int, odd: list[list[Any]] | None = None) -> dict[str, Any]:
    """Return what NeedsServer asks for: a dump, or else, as some are `odd`, the attachments that there are now. `owner` owns the file that names the server."""
    return {"server": vars(server), "owner": owner, "fills": odd is None, "odd": odd}


def serve(item: Item, context: Context, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return `served`, what was dumped, or `still`, the attachments that there are, and `odd`; `request` is what `request_of` returned.

    Raise AltbackupError or OSError.
    """
    server = Server(**request["server"])
    folder = os.path.join(scratch_folder(context, item), SERVED)
    query = {table_of(server, "attachment"): attachments_query(server)}
    share = Share(folder, server.schema, query)
    with _options(server, f"item trac {item.name!r}") as options:
        asked = replace(item, options=tuple(options.items()))
        if not request["fills"]:
            (text,) = query.values()
            rows = (
                postgresql.ask(asked, context, text)
                if server.kind == "postgresql"
                else mysql.ask(asked, context, share)
            )
            return {"still": rows, "odd": request["odd"]}
        dump = postgresql.dump_share if server.kind == "postgresql" else mysql.dump_share
        record, attachments, notes = dump(asked, context, share)
    for name in os.listdir(folder):
        set_mode(os.path.join(folder, name), 0o600)
        os.utime(os.path.join(folder, name), (0, 0))
    set_mode(folder, 0o700)
    os.utime(folder, (0, 0))
    served = {"kind": server.kind, "schema": server.schema, **record}
    return {
        "served": {"record": served, "attachments": attachments, "notes": notes, "digest": server.digest},
    }


@contextlib.contextmanager
def _options(server: Server, title: str) -> Iterator[dict[str, Any]]:
    """Yield the options of an item of the server's kind, with its login, and its password in a file that is this user's alone, and then gone."""
    login = server.login or ("" if server.options else user_name())
    options = {**server.item_options, "user": login, "login": login}
    if server.kind == "mysql":
        with option_file(_mysql_lines(server, title)) as path:
            yield {**options, "password_file": path}
    elif server.password:
        escaped = server.password.replace("\\", "\\\\").replace(":", "\\:")
        with temporary_file(f"*:*:*:*:{escaped}\n".encode("utf-8", "surrogateescape")) as path:
            yield {**options, "password_file": path}
    else:  # libpq has a file of its own, where there is one
        yield options


def _mysql_lines(server: Server, title: str) -> list[str]:
    """Return what stands in `[client]` for a server: what Trac takes from its file of options, and the password. Raise InvalidInput or OSError."""
    lines = []
    if server.options:
        with open_plain(server.options) as stream:
            status = os.fstat(stream.fileno())
            is_root = os.geteuid() == 0
            if status.st_mode & (0o022 if is_root else 0o002) or (is_root and status.st_uid != 0):
                raise InvalidInput(
                    f"{title}: {printable(server.options)} can be written by others than uid {os.geteuid()}: no server is asked by what they say"
                )
            lines = client_lines(stream, f"{title}: {printable(server.options)}")
    if server.password:
        escaped = server.password.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'password="{escaped}"')
    return lines


def table_of(server: Server, table: str) -> str:
    """Return how the server's kind names a table of Trac's in a database."""
    return table if server.kind == "mysql" else f"{server.schema or _USUAL_SCHEMA}.{table}"


def attachments_query(server: Server) -> str:
    """Return the query of all attachments: type, id, filename, size in bytes."""
    if server.kind == "mysql":
        table = f"{mysql_identifier(server.database)}.attachment"
        return f"SELECT JSON_ARRAY(type, id, filename, size) FROM {table} ORDER BY type, id, filename"  # noqa: S608 (quoted)
    table = f"{identifier(server.schema or _USUAL_SCHEMA)}.attachment"
    return f"SELECT pg_catalog.json_build_array(type, id, filename, size) FROM {table} ORDER BY type, id, filename"  # noqa: S608 (quoted)


def plain_rows(record: Mapping[str, Any]) -> dict[str, int | None]:
    """Return {table: rows} from the record of a dump, tables of Trac's own schema by their name alone, as with SQLite."""
    server = _server_in(record)
    own = f"{server.schema or _USUAL_SCHEMA}." if server.kind == "postgresql" else ""
    rows = {table[len(server.database) + 1 :]: count for table, count in rows_of(record).items()}
    return {(table[len(own) :] if table.startswith(own) else table): count for table, count in rows.items()}


def _server_in(record: Mapping[str, Any]) -> Server:
    databases = record.get("databases")
    name = next(iter(databases), "") if isinstance(databases, Mapping) else ""
    return Server(str(record.get("kind")), str(name), str(record.get("schema") or ""))


def prove(proof: Proof) -> list[Any] | None:
    """Prove what was dumped as its kind does; return the attachments that it knows, None where it was not loaded. Raise ProofFailed."""
    folder = proof.require_folder(SERVED)
    told = proof.record.get("served")
    record: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    part = replace(proof, path=folder, record=record, name=os.path.basename(proof.path))
    server = _server_in(record)
    if not record:  # of the one database whose dump is there, in the usual schema
        names = [name for name in sorted(os.listdir(folder)) if name.endswith((postgresql.ENDING, mysql.ENDING))]
        if not names:
            raise proof.fail(f"{SERVED} holds no dump of its database")
        kind = "postgresql" if names[0].endswith(postgresql.ENDING) else "mysql"
        server = Server(kind, decode_name(os.path.splitext(names[0])[0]))
    query = {table_of(server, "attachment"): attachments_query(server)}
    if server.kind == "postgresql":
        return postgresql.prove_share(part, query)
    return mysql.prove_share(part, query)


def restored(record: Mapping[str, Any], path: str) -> list[str]:
    """Return how the dump in a restored environment comes back into a server; of hostile names a shell and its programs make no more than names."""
    served = record.get("served")
    told: Mapping[str, Any] = served if isinstance(served, Mapping) else {}
    databases, found = told.get("databases"), []
    for name, entry in databases.items() if isinstance(databases, Mapping) else ():
        if told.get("kind") == "postgresql":
            file = shlex.quote(os.path.join(path, SERVED, f"{encode_name(name)}{postgresql.ENDING}"))
            where = conninfo(name) if "=" in name or ":" in name else name
            words = f"--exit-on-error --no-owner --no-privileges --dbname={shlex.quote(where)}"
            command = f"createdb -- {shlex.quote(name)} && pg_restore {words} {file}"
        else:
            file = shlex.quote(os.path.join(path, SERVED, mysql.file_of(name)))
            told_of = entry if isinstance(entry, Mapping) else {}
            how = "".join(
                f" {words} {mysql_identifier(str(told_of[word]))}"
                for words, word in (("CHARACTER SET", "charset"), ("COLLATE", "collation"))
                if told_of.get(word)
            )
            statement = f"CREATE DATABASE {mysql_identifier(name)}{how}"
            words = f"{' '.join(DISOBEDIENT)} --database={shlex.quote(name)}"
            command = f"mariadb -e {shlex.quote(statement)} && mariadb {words} < {file}"
        found.append(
            "its trac.ini still leads to the server that it was dumped of: change that before Trac starts where that is not meant. "
            f"Its database is to be loaded into a server, as the login that its trac.ini names: {printable(command)}"
        )
    return found
