"""The stream of a dump of MySQL or MariaDB, read line by line: tables, their rows, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..system.digest import new_hash

_TABLE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?`((?:[^`]|``)*)` ")
_INSERT = re.compile(rb"INSERT INTO `((?:[^`]|``)*)` (?:\((?:`(?:[^`]|``)*`(?:, ?)?)+\) )?VALUES ?")
_QUOTED = re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_COMPLETED = b"-- Dump completed"


class Stream:
    """What was read of a dump so far."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        """{table: rows}, of all tables that it makes"""
        self._digests: dict[str, Any] = {}
        self._table = ""
        """That of the rows that are read"""
        self._in_routine = False
        """Whether the lines are those of a trigger, routine or event, which may look like any others"""
        self.completed = False
        self.bytes = 0

    @property
    def digests(self) -> dict[str, str]:
        """{table: sha256 over its rows, as they stand in the dump}, of all tables that it makes."""
        return {name: str(digest.hexdigest()) for name, digest in self._digests.items()}

    def take(self, line: bytes) -> None:
        """Take in the next line."""
        self.bytes += len(line)
        if line.strip():
            self.completed = line.startswith(_COMPLETED) and not self._table
        values = line
        if not self._table and line.startswith(b"DELIMITER "):
            self._in_routine = line.strip() != b"DELIMITER ;"
        if self._in_routine:
            return
        if not self._table:
            made = _TABLE.match(line)
            if made:
                self.rows.setdefault(_name(made[1]), 0)
                self._digests.setdefault(_name(made[1]), new_hash("sha256"))
                return
            insert = _INSERT.match(line)
            if not insert:
                return
            self._table, values = _name(insert[1]), line[insert.end() :]
        plain = _QUOTED.sub(b"", values)
        self.rows[self._table] = self.rows.get(self._table, 0) + plain.count(b"(")
        self._digests.setdefault(self._table, new_hash("sha256")).update(values)
        if plain.rstrip().endswith(b";"):
            self._table = ""


def _name(quoted: bytes) -> str:
    return quoted.replace(b"``", b"`").decode("utf-8", "backslashreplace")


def read(lines: Iterable[bytes]) -> Stream:
    """Return what the lines of a dump tell."""
    stream = Stream()
    for line in lines:
        stream.take(line)
    return stream
