"""Sizes, digests and content classes of the files in an archive."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence

from ..system.digest import CHUNK, new_hash
from ..system.errors import name_os_errors


class Digests:
    """Sizes and digests of the files in an archive, looked up by path; in a temporary file, since there may be millions.

    The content of about one file in `every` is classified, see `content_class_of`.
    """

    _ENTRY = struct.Struct("16sQ32sB")

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self.every = 1

    def __enter__(self) -> Digests:
        return self

    def __exit__(self, *_: object) -> None:
        with name_os_errors(tempfile.gettempdir()):
            self._file.close()

    def add(self, path: str, size: int, digest: bytes, head: bytes = b"") -> int:
        """Add a file by its path below the top folder; classify its content by its first bytes, and return the class."""
        key = _key(path)
        content_class = content_class_of(head) if int.from_bytes(key[-4:], "big") % self.every == 0 else UNCLASSIFIED
        self._put(key, size, digest, content_class)
        return content_class

    def put(self, path: str, size: int, digest: bytes, content_class: int) -> None:
        """Add a file whose content class is known."""
        self._put(_key(path), size, digest, content_class)

    def _put(self, key: bytes, size: int, digest: bytes, content_class: int) -> None:
        with name_os_errors(tempfile.gettempdir()):
            self._file.write(self._ENTRY.pack(key, size, digest, content_class))

    def look_up(self, paths: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Return {path: (bytes, hexadecimal sha256)} of those paths that are files with content of their own."""
        wanted = {_key(path): path for path in paths}
        found = {}
        for key, size, digest, _ in self._entries():
            if key in wanted:
                found[wanted[key]] = (size, digest.hex())
        return found

    def compact(self) -> Iterator[bytes]:
        """Yield blocks of COMPACT entries, one for each file that is not empty, in the order of the archive."""
        block = bytearray()
        for key, size, digest, content_class in self._entries():
            if size:
                block += key[:8] + digest[:7] + bytes([content_class])
            if len(block) >= CHUNK:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    def _entries(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        with name_os_errors(tempfile.gettempdir()):
            self._file.seek(0)
        while block := self._file.read(self._ENTRY.size << 14):
            yield from self._ENTRY.iter_unpack(block)
        self._file.seek(0, os.SEEK_END)


COMPACT = struct.Struct("<QQ")
"""Entry of a compact list: 8 bytes of the path's digest, 7 of the content's, and the content class in the highest byte"""
HEAD = 4096
"""Number of first bytes of a file by which its content is classified"""
RANDOM, ORDERED, UNCLASSIFIED = range(3)
"""Content classes: like random bytes, so incompressible; anything else; and not classified, or too short for that"""
_SHORTEST, _SHORT = 16, 256
"""Sizes in bytes below which nothing is classified, and below which only texts are recognized"""
_LEAST = 0.02
"""Minimum fraction that compression saves of content that is not random"""
_SIGNATURES = (
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"%PDF",
    b"\xd0\xcf\x11\xe0",
    b"OggS",
    b"fLaC",
    b"ID3",
    b"\xff\xfb",
    b"\x1a\x45\xdf\xa3",
    b"wOF2",
)
"""Signatures of compressed formats: office documents, archives, pictures, sound, films"""


def content_class_of(head: bytes) -> int:
    """Return the content class of a file by its first bytes: CHANCE, ORDER or UNTRIED."""
    if len(head) < _SHORTEST:
        return UNCLASSIFIED
    if _is_text(head) or head.startswith(_SIGNATURES) or head[4:8] == b"ftyp":
        return ORDERED
    if len(head) < _SHORT:
        return RANDOM
    packer = zlib.compressobj(
        1, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY
    )  # twice as fast as the default with random content
    left = len(packer.compress(head)) + len(packer.flush())
    return ORDERED if left <= len(head) * (1 - _LEAST) else RANDOM


def _is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are UTF-8 text, whose last character may be cut."""
    try:
        head.decode("utf-8")
        return True
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and error.reason == "unexpected end of data"


def _key(path: str) -> bytes:
    value = new_hash("sha256")
    value.update(os.fsencode(path))
    return bytes(value.digest()[:16])
