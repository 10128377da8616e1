"""Keys of items that kinds have of their own: what users write, and what it means. Pure; the plan and the nodes judge alike."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..system.errors import InvalidInput
from ..system.values import quoted, seconds_of
from .sets import parse_members

OUTPUT, FOLDER = "output", "folder"
"""What a command produces: its standard output, or the files that it leaves in a folder"""
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_HIGHEST_PORT = 65535
_USER = re.compile(r"[^\s:/,\x00-\x1f\x7f-][^\s:/,\x00-\x1f\x7f]*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:-]*[A-Za-z0-9_])?")


def _argv(value: object, key: str) -> tuple[str, ...]:
    """Parse the words of a program to run; nothing splits or expands them."""
    if isinstance(value, str):
        raise InvalidInput(
            f"{key} {quoted(value)} is a text: no shell is called, so give a list of words, like [/usr/bin/dump, --all]"
        )
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(word, str) for word in value):
        raise InvalidInput(f"{key} {quoted(value)} is not a list of texts")
    if any("\0" in word for word in value) or not os.path.isabs(value[0]):
        raise InvalidInput(f"{key} {quoted(value)}: its first word is not the absolute path of a program")
    return tuple(value)


def _user(value: object, key: str) -> str:
    if not isinstance(value, str) or not _USER.fullmatch(value):
        raise InvalidInput(f"{key} {quoted(value)} is not the name of a user")
    return value


def _produces(value: object, key: str) -> str:
    if value not in (OUTPUT, FOLDER):
        raise InvalidInput(f"{key} {quoted(value)} is neither {OUTPUT} nor {FOLDER}")
    return str(value)


def _duration(value: object, key: str) -> float:
    seconds = seconds_of(value)
    if not seconds:
        raise InvalidInput(f"{key} {quoted(value)} is not a duration: write seconds, or a number and a unit, like 30m")
    return seconds


def _size(value: object, key: str) -> int:
    match = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.ASCII)
    size = int(match[1]) << (10 * _POWERS[match[2]]) if match and not isinstance(value, bool) else 0
    if not size:
        raise InvalidInput(f"{key} {quoted(value)} is not a size: write bytes, or a number and a unit, like 20G")
    return size


def _path(value: object, key: str) -> str:
    if not isinstance(value, str) or not os.path.isabs(value) or "\0" in value:
        raise InvalidInput(f"{key} {quoted(value)} is not an absolute path")
    return os.path.normpath(value)


def _host(value: object, key: str) -> str:
    """Parse where a server listens, the folder of its socket or a host's name."""
    if isinstance(value, str) and os.path.isabs(value):
        return _path(value, key)
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise InvalidInput(
            f"{key} {quoted(value)} is neither the absolute path of a socket or its folder nor the name of a host"
        )
    return value


def _port(value: object, key: str) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 0 < int(text) <= _HIGHEST_PORT:
        raise InvalidInput(f"{key} {quoted(value)} is not a number of a port")
    return int(text)


def _login(value: object, key: str) -> str:
    if not isinstance(value, str) or not value or re.search(r"[\x00-\x1f\x7f]", value):
        raise InvalidInput(f"{key} {quoted(value)} is not the name of a role or user of a server")
    return value


def _databases(value: object, key: str) -> tuple[str, ...]:
    good = isinstance(value, (list, tuple)) and value and all(isinstance(name, str) and name for name in value)
    if not good or any("\0" in name for name in value):  # type: ignore[attr-defined]
        raise InvalidInput(f"{key} {quoted(value)} is not a list of names of databases; leave it out for all")
    return tuple(dict.fromkeys(value))  # type: ignore[call-overload]


def _flag(value: object, key: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{key} {quoted(value)} is neither true nor false")
    return value


PARSERS: Mapping[str, Callable[[object, str], Any]] = {
    "argv": _argv,
    "user": _user,
    "produces": _produces,
    "verify": _argv,
    "time_limit": _duration,
    "size_limit": _size,
    "host": _host,
    "port": _port,
    "login": _login,
    "password_file": _path,
    "databases": _databases,
    "lock": _flag,
    "members": parse_members,
}
"""{key: what takes a value and the key, and returns the value in a form of which equal ones are equal. Raises InvalidInput}"""
