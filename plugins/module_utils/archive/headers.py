"""The headers of a tar archive, parsed block by block, to refuse what different tar programs interpret differently.

Tar libraries hide from which of several headers or fields they took a name. The blocks are parsed here by POSIX.1 (pax) and GNU tar's format; combinations
that a program writes only to deceive are a problem of the member.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Any

from ..system.units import readable

_BLOCK = 512
_MAGICS = (b"ustar\x0000", b"ustar  \0")
_POSIX = _MAGICS[0]
_REGULAR = (b"0", b"\0", b"7")
_OCTAL = re.compile(rb"[ \0]*[0-7]*[ \0]*")
_LENGTH = re.compile(rb"[1-9][0-9]{0,9}")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,18}")
_CHARSETS = (b"ISO-IR 10646 2000 UTF-8", b"BINARY")
_SPARSE = (b"GNU.sparse.size", b"GNU.sparse.numblocks")
_SPARSE_PARTS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_DUMPDIR = b"GNU.dumpdir"
_BEFORE: dict[bytes, tuple[bytes, ...]] = {b"x": (), b"g": (), b"L": (b"K",), b"K": (b"L",)}
"""Types of extended headers that may precede one of a type"""
_LONGEST_NAME = 1 << 16
"""Maximum bytes of a path, far more than any file system allows"""


@dataclass(frozen=True)
class Header:
    """A member by its headers; with a `problem` they are ambiguous, and nothing after them was read."""

    name: bytes
    kind: bytes = b"0"
    size: int = 0
    """Apparent size in bytes"""
    link: bytes = b""
    sparse: tuple[tuple[int, int], ...] | None = None
    """(offset, bytes) of the data between holes, None if it is no sparse file"""
    problem: str = ""


class _Ambiguous(Exception):
    """Headers that can be interpreted in two ways."""


class Headers:
    """Parser of the headers of an uncompressed archive, which is fed in pieces; the user removes parsed members from `found`."""

    def __init__(self) -> None:
        self.found: deque[Header] = deque()
        self._buffer = bytearray()
        self._wanted = _BLOCK
        self._skip = 0
        self._extended = b""
        """Type of the extended header whose content is read now"""
        self._size = 0
        self._before: dict[bytes, bytes] = {}
        """{type: content} of the extended headers before the next member"""
        self._ended = False

    def feed(self, block: bytes) -> None:
        """Parse the next bytes of the archive."""
        view = memoryview(block)
        while view and not self._ended:
            if self._skip:
                passed = min(self._skip, len(view))
                self._skip -= passed
                view = view[passed:]
                continue
            missing = self._wanted - len(self._buffer)
            self._buffer += view[:missing]
            view = view[missing:]
            if len(self._buffer) == self._wanted:
                content = bytes(self._buffer)
                self._buffer.clear()
                self._wanted = _BLOCK
                self._take(content)

    def _take(self, content: bytes) -> None:
        name = b""
        try:
            if self._extended:
                kind, self._extended = self._extended, b""
                self._before[kind] = _extended(kind, content[: self._size], self._before)
                if kind == b"g":
                    del self._before[kind]
                return
            if not content.strip(b"\0") or not _is_sound(content):
                self._ended = True
                if self._before:
                    raise _Ambiguous("has an extended header, but is none")
                return
            name = _text(content[:100])
            self._header(content)
        except _Ambiguous as error:
            self._ended = True
            self.found.append(Header(name or self._before.get(b"L", b""), problem=str(error)))

    def _header(self, block: bytes) -> None:
        kind = block[156:157]
        size = _number(block[124:136], "its size")
        if block[257:265] not in _MAGICS:
            raise _Ambiguous("is of a format that neither POSIX.1 nor GNU tar has")
        if kind in _BEFORE:
            if set(self._before) - set(_BEFORE[kind]):
                raise _Ambiguous("has several extended headers where one belongs")
            self._extended, self._size = kind, size
            self._wanted = _padded(size)
            if not size:
                raise _Ambiguous("has an extended header without content")
            return
        before, self._before = self._before, {}
        header = _member(block, kind, size, before)
        self.found.append(header)
        self._skip = _padded(header.size if header.sparse is None else sum(part for _, part in header.sparse))


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _is_sound(block: bytes) -> bool:
    """Return whether the checksum of a header block is right."""
    try:
        told = _number(block[148:156], "")
    except _Ambiguous:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    return told == sum(rest) or told == sum(byte - 256 if byte > 127 else byte for byte in rest)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str) -> int:
    """Return the number in a field of a header, octal or base-256. Raise _Ambiguous if it is neither; `what` names the field."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if not _OCTAL.fullmatch(field):
        raise _Ambiguous(f"{what} is no number")
    return int(field.strip(b" \0") or b"0", 8)


def _extended(kind: bytes, content: bytes, before: dict[bytes, bytes]) -> bytes:
    """Return the content of an extended header. Raise _Ambiguous if it is invalid by itself."""
    if kind in (b"L", b"K"):
        text, _, rest = content.partition(b"\0")
        if not text or rest or len(text) + 1 != len(content):
            raise _Ambiguous("its long name does not end where it should")
        return text
    for key, _ in _records(content):
        if kind == b"g" and key != b"comment":
            raise _Ambiguous(f"a header for all members sets {_shown(key)}")
    return content


def _records(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the records of a pax header. Raise _Ambiguous if their lengths do not fit."""
    records = []
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 11)
        digits = content[position:space] if space > 0 else b""
        if not _LENGTH.fullmatch(digits):
            raise _Ambiguous("its extended header has a record without a length")
        end = position + int(digits)
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if end > len(content) or end - 1 <= space or content[end - 1 : end] != b"\n" or not key or not equals:
            raise _Ambiguous("its extended header has a record of another length than it says")
        records.append((key, value))
        position = end
    return records


def _member(block: bytes, kind: bytes, size: int, before: dict[bytes, bytes]) -> Header:
    """Return a member from its header block and the extended headers before it. Raise _Ambiguous."""
    prefix = block[345:500]
    if block[257:265] == _POSIX:
        name = b"/".join(part for part in (_text(prefix), _text(block[:100])) if part)
        ending = block[500:]
    else:
        name, ending = _text(block[:100]), prefix + block[500:]
    if ending.strip(b"\0"):
        raise _Ambiguous("has content in its header where none belongs")
    name, link = before.get(b"L", name), before.get(b"K", _text(block[157:257]))
    values = _values(before[b"x"]) if b"x" in before else {}
    parts = values.pop(b"parts", [])
    for key in (b"path", b"linkpath"):
        if key in values and (not values[key] or b"\0" in values[key]):
            raise _Ambiguous(f"its extended header sets {_shown(key)} to what is no path")
    name, link = values.get(b"path", name), values.get(b"linkpath", link)
    if max(len(name), len(link)) > _LONGEST_NAME:
        raise _Ambiguous(f"has a path of more than {_LONGEST_NAME} bytes")
    if not name:
        raise _Ambiguous("has no name")
    if kind not in (b"1", b"2") and link:
        raise _Ambiguous("is no link, but says where it leads")
    if kind != b"5" and name.endswith(b"/"):
        raise _Ambiguous("has the name of a folder, but is none")
    if kind == b"S":
        raise _Ambiguous("is a sparse file of an old form")
    if kind == b"X":
        raise _Ambiguous("has an extended header of an old form")
    told = _told_size(values, size)
    if kind not in _REGULAR and told:
        raise _Ambiguous(f"is no file, but has {readable(told)}")
    if kind != b"5" and _DUMPDIR in values:
        raise _Ambiguous("is no folder, but says what is in it")
    sparse = _sparse(values, parts, kind, told)
    return Header(name, kind, int(values[_SPARSE[0]]) if sparse is not None else told, link, sparse)


def _values(content: bytes) -> dict[bytes, Any]:
    """Return the records of a pax header by key; repeatable ones are a list under `parts`. Raise _Ambiguous."""
    values: dict[bytes, Any] = {b"parts": []}
    for key, value in _records(content):
        if key in _SPARSE_PARTS:
            values[b"parts"].append((key, value))
            continue
        if key in values:
            raise _Ambiguous(f"its extended header sets {_shown(key)} twice")
        if key.startswith(b"GNU.") and key not in (*_SPARSE, _DUMPDIR):
            raise _Ambiguous(f"its extended header sets {_shown(key)}, of a form that is not used here")
        if key == b"hdrcharset" and value not in _CHARSETS:
            raise _Ambiguous("its extended header is in an unknown character set")
        values[key] = value
    return values


def _told_size(values: dict[bytes, Any], size: int) -> int:
    if b"size" not in values:
        return size
    if not _NUMBER.fullmatch(values[b"size"]) or size not in (0, int(values[b"size"])):
        raise _Ambiguous("its size is given twice, and not the same")
    return int(values[b"size"])


def _sparse(
    values: dict[bytes, Any], parts: list[tuple[bytes, bytes]], kind: bytes, stored: int
) -> tuple[tuple[int, int], ...] | None:
    """Return (offset, bytes) of the data of a sparse file, None for another member. Raise _Ambiguous for contradictory headers."""
    told = [values[key] for key in _SPARSE if key in values]
    if not told and not parts:
        return None
    numbers = [value for _, value in parts]
    wrong = _Ambiguous("is a sparse file whose headers contradict each other")
    if kind not in _REGULAR or len(told) != len(_SPARSE) or not all(map(_NUMBER.fullmatch, [*told, *numbers])):
        raise wrong
    if [key for key, _ in parts] != [*_SPARSE_PARTS] * int(told[1] if len(told[1]) < 8 else 0) or not parts:
        raise wrong
    found = tuple((int(numbers[at]), int(numbers[at + 1])) for at in range(0, len(numbers), 2))
    position = 0
    for offset, size in found:
        if offset < position:
            raise wrong
        position = offset + size
    if position > int(told[0]) or sum(size for _, size in found) != stored:
        raise wrong
    return found


def _shown(key: bytes) -> str:
    return repr(key[:40].decode("ascii", "backslashreplace"))
