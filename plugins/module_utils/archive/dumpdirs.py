"""Lists of the entries of folders in a differential (`GNU.dumpdir`), by which GNU tar removes what is gone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import IO

from ..system.errors import Hostile
from .states import FOLDER, State, Unproven

BLOCK = 512
_LARGEST_LIST = 16 << 20
"""Maximum bytes of the list of one folder; unpacking refuses an archive with more"""

_MOST_DIGITS = 20
"""Maximum digits of a number in a header; Python refuses to parse thousands"""


def list_folders(states: Iterable[State]) -> dict[bytes, bytes]:
    """Return {folder: its list in GNU tar's format} for the states of all that a differential restores. Raise Unproven for too long a list."""
    found: dict[bytes, list[bytes]] = {}
    for state in states:
        if state.file_type == FOLDER:
            found.setdefault(state.path, [])
        if state.path:
            above, _, name = state.path.rpartition(b"/")
            found.setdefault(above, []).append(name + (b"D" if state.file_type == FOLDER else b"Y"))
    lists = {}
    for folder, names in found.items():
        # GNU tar searches names by bisection
        text = (
            b"".join(name[-1:] + name[:-1] + b"\0" for name in sorted(set(names), key=lambda name: name[:-1])) + b"\0"
        )
        if len(text) > _LARGEST_LIST:
            raise Unproven("one of its folders has too many entries")
        lists[folder] = text
    return lists


class DumpdirInserter:
    """The stream of a tar archive, with the lists of its folders inserted in their headers. The source is not validated here."""

    def __init__(self, source: IO[bytes], lists: Mapping[bytes, bytes], top: str) -> None:
        self._source = source
        self._lists = lists
        self._top = os.fsencode(top)
        self._ready = bytearray()
        self._skip = 0
        self._plain = False
        """Whether the rest is passed on unchanged"""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        while not self._ready:
            if self._plain or self._skip:
                block = self._source.read(size if self._plain else min(size, self._skip))
                self._skip -= min(self._skip, len(block))
                return block
            self._take_header()
            if self._plain and not self._ready:
                return self._source.read(size)
        block = bytes(self._ready[:size])
        del self._ready[:size]
        return block

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _take_header(self) -> None:
        """Read the headers of the next member, and insert the list of a folder."""
        held = b""
        records: dict[bytes, bytes] = {}
        while True:
            block = self._exactly(BLOCK)
            kind = block[156:157]
            if len(block) < BLOCK or not block.strip(b"\0"):
                self._ready += held + block
                self._plain = True
                return
            if kind != b"x":
                break
            body = self._exactly(_padded(_number(block[124:136])), len(held))
            records = _records(body[: _number(block[124:136])])
            held += block + body
        size_text = records.get(b"size", b"")
        size = int(size_text) if size_text.isdigit() and len(size_text) <= _MOST_DIGITS else _number(block[124:136])
        if kind == b"5":
            name = records.get(b"path") or _name(block)
            found = self._lists.get(self._below(name))
            if found is not None and b"GNU.dumpdir" not in records:
                held = _with_record(held, block, name, found)
            size = 0
        self._ready += held + block
        self._skip = _padded(size)

    def _below(self, name: bytes) -> bytes:
        name = name.rstrip(b"/")
        return name[len(self._top) + 1 :] if name.startswith(self._top + b"/") else b"" if name == self._top else b"\0"

    def _exactly(self, size: int, held: int = 0) -> bytes:
        """Return `size` bytes, fewer at the end. Raise Hostile if with the `held` ones before them they exceed any valid header."""
        if held + size > 2 * _LARGEST_LIST:
            raise Hostile("its archive has a header that is too long")
        found = b""
        while len(found) < size and (block := self._source.read(size - len(found))):
            found += block
        return found


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _number(field: bytes) -> int:
    """Return the number in a field of a header; 0 for a malformed one, which the checker refuses."""
    text = field.strip(b" \0")
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    return int(text, 8) if text and not text.strip(b"01234567") else 0


def _name(block: bytes) -> bytes:
    parts = (block[345:500].partition(b"\0")[0], block[:100].partition(b"\0")[0])
    return b"/".join(part for part in parts if part)


def _records(content: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header up to the first malformed one, which the checker refuses."""
    records: dict[bytes, bytes] = {}
    while content:
        digits, _, _ = content.partition(b" ")
        if not digits.isdigit() or len(digits) > _MOST_DIGITS or not 0 < int(digits) <= len(content):
            return records
        key, _, value = content[len(digits) + 1 : int(digits) - 1].partition(b"=")
        records[key] = value
        content = content[int(digits) :]
    return records


def _with_record(held: bytes, block: bytes, name: bytes, found: bytes) -> bytes:
    """Return the extended header before a folder's, with the list as an additional record."""
    if held:
        head, body = held[:BLOCK], held[BLOCK : BLOCK + _number(held[124:136])]
    else:
        above, _, last = name.rstrip(b"/").rpartition(b"/")
        title = b"/".join(part for part in (above, b"PaxHeaders", last) if part)[:100]
        head = title.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"0" * 11 + b"\0" + block[136:148]
        head = (head + b" " * 8 + b"x").ljust(257, b"\0") + b"ustar\x0000"
        head = head.ljust(BLOCK, b"\0")
        body = b""
    body += _record(b"GNU.dumpdir", found)
    head = head[:124] + b"%011o\0" % len(body) + head[136:148] + b" " * 8 + head[156:]
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    return head + body.ljust(_padded(len(body)), b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest)
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d" % size + rest
