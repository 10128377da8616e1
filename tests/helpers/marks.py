"""Marks that tests plant in items, and the search for them in all that somebody holds."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import lzma
import os
import subprocess
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

MARKS = [f"planted{number:03}mark" for number in range(100)]
_UNPACKERS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
    (b"\x78", zlib.decompress),
    (b"", lambda content: subprocess.run(["zstd", "-dcq"], input=content, capture_output=True).stdout),
)


def _forms(mark: str) -> list[bytes]:
    """Return a mark as it is, in hexadecimal, and what is sure to be there of it in base64."""
    plain = mark.encode()
    shifted = [base64.b64encode(bytes(ahead) + plain)[4 if ahead else 0 : -4] for ahead in range(3)]
    return [plain, plain.hex().encode(), *shifted]


def marks_in(contents: Iterable[bytes], marks: Collection[str] = MARKS) -> set[str]:
    """Return which marks any of the contents has, in plain or encoded; what is compressed is looked into."""
    forms = {mark: _forms(mark) for mark in marks}
    found: set[str] = set()
    for content in contents:
        for layer in _layers(content):
            found |= {mark for mark in forms if any(form in layer for form in forms[mark])}
    return found


def _layers(content: bytes) -> Iterator[bytes]:
    """Yield a content, and what is compressed in it."""
    while content:
        yield content
        unpacked = b""
        for magic, unpack in _UNPACKERS:
            if not unpacked and content.startswith(magic):
                with contextlib.suppress(OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
                    unpacked = unpack(content)
        content = unpacked


def contents_of(folder: Path) -> Iterator[bytes]:
    """Yield the paths of all below a folder, where links lead, attributes, and the bytes of files."""
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            yield os.fsencode(path.relative_to(folder))
            for key in os.listxattr(path, follow_symlinks=False):
                yield key.encode() + b"\n" + os.getxattr(path, key, follow_symlinks=False)
            if path.is_symlink():
                yield os.fsencode(os.readlink(path))
            elif path.is_file():
                yield path.read_bytes()


def marks_on(folder: Path, marks: Collection[str] = MARKS) -> set[str]:
    """Return which marks stand anywhere below a folder, in names or bytes."""
    return marks_in(contents_of(folder), marks)
