"""Restoring into a server: what users write of it, and what the loader of a kind is given. Pure but for what a loader calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..system.errors import AltbackupError, InvalidInput
from ..system.processes import Deadline
from ..system.readers import Identity
from ..system.units import first_of
from ..system.values import nearest, quoted
from .keys import PARSERS

_SERVER_KEYS = ("database", "original", "host", "port", "user", "login", "password_file", "globals")
KEYS: Mapping[str, tuple[str, ...]] = {
    "postgresql": (*_SERVER_KEYS, "owners"),
    "mysql": _SERVER_KEYS,
    "ldap": ("folder", "user"),
}
"""{kind of which a tarball can be loaded into a server: keys of `into`}"""
_REQUIRED: Mapping[str, tuple[str, ...]] = {"ldap": ("folder",)}
_SHOWN = 5
_FLAGS = ("globals", "owners")


def _name(value: object, key: str) -> str:
    if not isinstance(value, str) or not value or any(ord(character) < 32 for character in value):
        raise InvalidInput(f"{key} {quoted(value)} is not the name of a database")
    return value


_PARSERS: Mapping[str, Callable[[object, str], Any]] = {
    **{key: PARSERS[key] for key in ("host", "port", "user", "login", "password_file")},
    **dict.fromkeys(_FLAGS, PARSERS["lock"]),
    **dict.fromkeys(("database", "original"), _name),
    "folder": PARSERS["password_file"],
}


def parse_into(value: object, kind: str) -> dict[str, Any]:
    """Parse `into` of a restore of one kind of item; return it in the forms of keys.py, only what is given. Raise InvalidInput, with all its errors."""
    if kind not in KEYS:
        raise InvalidInput(f"into is for kinds {', '.join(KEYS)} only: leave it out, a {kind} item goes to a path")
    if not isinstance(value, Mapping):
        raise InvalidInput(f"into {quoted(value)} is not a mapping, like {{database: wiki, host: /run/postgresql}}")
    keys, found = KEYS[kind], {}
    given = {str(key): entry for key, entry in value.items() if entry is not None}
    errors = [
        f"into: unknown key {quoted(key)} of kind {kind}, {nearest(key, keys)}" for key in given if key not in keys
    ]
    errors += [f"into: key {quoted(key)} is missing" for key in _REQUIRED.get(kind, ()) if key not in given]
    for key in (key for key in keys if key in given):
        try:
            found[key] = _PARSERS[key](given[key], key)
        except InvalidInput as error:
            errors.append(f"into: {error}")
    if "original" in found and "database" not in found:
        errors.append(
            "into: original says which database of the dump becomes the one named as database, which is missing"
        )
    if errors:
        raise InvalidInput("; ".join(errors))
    return found


def place_of(kind: str, into: Mapping[str, Any]) -> str:
    """Return what messages call the place that `into` of a kind leads to."""
    if kind == "ldap":
        return f"the folder {into.get('folder')} of an LDAP server"
    what = f"database {into['database']}" if into.get("database") else "all databases"
    server = {"postgresql": "PostgreSQL", "mysql": "MySQL or MariaDB"}.get(kind, kind)
    where = into.get("host")
    port = f", port {into['port']}" if into.get("port") else ""
    return f"{what} of the {server} server {f'at {where}{port}' if where else f'of this host{port}'}"


@dataclass
class Load:
    """What is to be loaded into a server, and how far that is."""

    into: Mapping[str, Any]
    title: str
    """What messages call what is loaded"""
    record: Mapping[str, Any]
    deadline: Deadline
    identity: Identity
    """As whom the server's programs run"""
    aside: str = ""
    """What the name of a database that makes way gets at its end; empty where none may"""
    consent: bool = False
    """Whether sessions of a database that makes way may be ended"""
    path: str = ""
    """The folder with what was unpacked and proven; nothing before that"""
    left: Mapping[str, Any] = field(default_factory=dict)
    """What an earlier attempt had noted that it was about to make, and did not come to its end with"""
    note_made: Callable[[Mapping[str, Any]], None] = lambda made: None
    """Called before something is made in the server, and with nothing once all of it is at its place or gone"""
    notes: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> AltbackupError:
        """Return the error of this restore."""
        return AltbackupError(f"{self.title}: {reason}")

    def chosen(self, dumped: Sequence[str]) -> dict[str, str]:
        """Return {database of the dump that is wanted: its name in the server}. Raise AltbackupError where the dump lacks one."""
        name = self.into.get("database")
        if not name:
            return {each: each for each in sorted(dumped)}
        original = self.into.get("original", name)
        if original not in dumped:
            raise self.fail(
                f"its dump holds no database {original}, but {first_of(sorted(dumped), _SHOWN) or 'none'}: "
                f"name the one that is to become {name}, as original"
            )
        return {original: name}


class Loader(Protocol):
    """How a kind comes back into a server. Each is called while nobody else restores there."""

    def clear(self, load: Load) -> None:
        """Remove from the server what an earlier attempt left there. Raise AltbackupError."""

    def check(self, load: Load) -> None:
        """Raise AltbackupError where it cannot be done, as far as that is known; change nothing."""

    def load(self, load: Load) -> None:
        """Load what was proven. Raise AltbackupError: then the server is as it was before."""
