"""PostgreSQL's own programs, as a dump calls them: which ones, one session of psql, and dumps that are equal where the content is.

The header of a dump in the custom format is described in PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c (WriteHead).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from subprocess import PIPE
from typing import Any

from ..system.errors import AltbackupError, ToolMissing, name_os_errors
from ..system.processes import Child, Deadline, ended_at, run
from ..system.programs import postgresql_programs
from ..system.readers import UNCHANGED, Identity
from .postgresql_survey import RESTRICTED, SETTINGS

_VERSION = re.compile(r"\(PostgreSQL\)\s+(\d+)(?:\.(\d+))?")
_MAGIC = b"PGDMP"
_COMPRESSION_IS_A_BYTE = (1, 15)
"""The version of the format from which on the header has one byte for how its data is compressed, rather than a number"""
_MOMENT = (0, 0, 0, 1, 0, 70, 0)
"""Second, minute, hour, day, month from 0, year from 1900, summer time: what stands for when a dump was made"""
_INTEGERS = 4
_MARK = "altbackup-end-of-answer"
_LONGEST_HEAD = 1 << 16
_AT_ONCE = 500
"""Statements that are given at a time, before their answers are read: one number each, as of the rows of tables, has room in a pipe"""


def installed(name: str, deadline: Deadline) -> dict[int, tuple[str, str]]:
    """Return {major version: (folder of its programs, version)} of the installed versions of PostgreSQL that have the program."""
    found: dict[int, tuple[str, str]] = {}
    for path in postgresql_programs(name):
        output = run([path, "--version"], what=f"asking {path} for its version", deadline=deadline).decode(
            "utf-8", "replace"
        )
        version = _VERSION.search(output)
        if version:
            found.setdefault(int(version[1]), (os.path.dirname(path), ".".join(filter(None, version.groups()))))
    return found


def choose(found: Mapping[int, tuple[str, str]], server: int, version: str, name: str) -> tuple[str, str]:
    """Return (folder, version) of the oldest installed major version that is no older than that of the server.

    Raise ToolMissing, which names both versions.
    """
    able = sorted(major for major in found if major >= server)
    if able:
        return found[able[0]]
    package = "-".join(filter(None, ["postgresql", "client" if name != "postgres" else "", str(server or "")]))
    if not found:
        raise ToolMissing(
            f"{name} of PostgreSQL is not installed on this node: install the package {package} for the server's {version}"
        )
    newest = found[max(found)][1]
    raise ToolMissing(
        f"{name} here is of PostgreSQL {newest}, older than the server's {version}: install the package {package}"
    )


class Session:
    """One session of psql in a database, whose transaction lasts as long as it."""

    def __init__(
        self,
        folder: str,
        environment: Mapping[str, str],
        deadline: Deadline,
        title: str,
        identity: Identity = UNCHANGED,
    ) -> None:
        self._title, self._deadline = title, deadline
        argv = identity.argv([os.path.join(folder, "psql"), *SETTINGS])
        self._child = Child(argv, stdin=PIPE, stdout=PIPE, environment=environment, name="psql")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        self._child.__exit__()

    def ask(self, *statements: str) -> list[Any]:
        """Return the rows, one JSON value each, of statements. Raise ToolFailed with the server's own words, or AltbackupError."""
        rows: list[Any] = []
        for at in range(0, len(statements), _AT_ONCE):
            rows += self._ask(statements[at : at + _AT_ONCE])
        return rows

    def _ask(self, statements: Sequence[str]) -> list[Any]:
        text = "".join(f"{statement};\n" for statement in statements) + f"\\echo {_MARK}\n"
        rows: list[Any] = []
        with ended_at(self._deadline, [self._child]):
            with contextlib.suppress(BrokenPipeError):  # its end tells why
                self._child.stdin.write(text.encode("utf-8", "surrogateescape"))
                self._child.stdin.flush()
            for line in iter(self._child.stdout.readline, b""):
                if line.rstrip(b"\n") == _MARK.encode():
                    return rows
                if line != b"\n":
                    rows.append(_value(line))
        self._child.check(self._deadline, self._title)
        raise AltbackupError(f"{self._title}: psql ended before it had answered")


def _value(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise AltbackupError(f"psql said what is no JSON: {error}") from error


def pinned(head: bytes) -> bytes:
    """Return the beginning of a dump in the custom format with a constant in the place of when it was made.

    Raise AltbackupError for what is none.
    """
    if not head.startswith(_MAGIC) or len(head) < len(_MAGIC) + 6:
        raise AltbackupError("pg_dump ended with exit code 0, but wrote no dump")
    place = len(_MAGIC)
    version, size = (head[place], head[place + 1]), head[place + 3]
    if size != _INTEGERS:
        raise AltbackupError(f"a dump of integers of {size} bytes is of no known form")
    place += 6 + (1 if version >= _COMPRESSION_IS_A_BYTE else 1 + size)
    moment = b"".join(b"\0" + number.to_bytes(size, "little") for number in _MOMENT)
    if len(head) < place + len(moment):
        raise AltbackupError("pg_dump ended with exit code 0, but wrote half a dump")
    return head[:place] + moment + head[place + len(moment) :]


def pin(path: str) -> None:
    """Let a dump tell a constant in the place of when it was made. Raise AltbackupError or OSError."""
    with name_os_errors(path), open(path, "r+b") as stream:
        try:
            head = pinned(stream.read(_LONGEST_HEAD))
        except AltbackupError as error:
            raise AltbackupError(f"{path}: {error}") from error
        stream.seek(0)
        stream.write(head)


def restricted(text: str, key: str) -> str:
    """Return the output of pg_dumpall with `key` in the place of the random key that restricts psql; as it is where it has none."""
    lines = text.split("\n")
    match = next((match for match in map(RESTRICTED.fullmatch, lines[:40]) if match), None)
    if match is None:
        return text
    mine = {f"\\{word} {match[1]}": f"\\{word} {key}" for word in ("restrict", "unrestrict")}
    return "\n".join(mine.get(line, line) for line in lines)


def data_in(listing: str) -> int:
    """Return the number of tables with data from the output of `pg_restore --list`."""
    return len(re.findall(r"^\d+; \d+ \d+ TABLE DATA ", listing, re.MULTILINE))


def knows(folder: str, name: str, option: str, deadline: Deadline) -> bool:
    """Return whether a program has an option, by its own help."""
    output = run([os.path.join(folder, name), "--help"], what=f"asking {name} for its options", deadline=deadline)
    return option.encode() in output
