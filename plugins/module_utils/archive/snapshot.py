"""Entries of the members of an archive: collected while it is written, and stored as the snapshot of a full one."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

from ..system.digest import open_plain
from ..system.errors import name_os_errors
from .states import FILE, FOLDER, OTHER, State, Unproven

_ENTRY = struct.Struct("<HB16s16sQ32sBBII")
_LARGEST_HEADER = 1 << 16
_FORM = 1
"""Version of the file format"""
_NONE = b"\0" * 32


@dataclass(frozen=True)
class Entry:
    """A member of an archive with its state and its part of the manifest."""

    state: State
    size: int
    digest: bytes
    """SHA-256 of a file with content of its own, else empty"""
    content_class: int
    """Content class of the file, see digests.content_class_of"""
    is_plain: bool
    """Whether it has no attributes besides mode, owner and time"""
    attributes: bytes
    line: bytes
    """With `attributes` the input of the manifest's digests, see read_manifest"""


@contextlib.contextmanager
def new_private(path: str) -> Iterator[IO[bytes]]:
    """Create a file that only this user can access, open for writing in the block. Raise OSError that names it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with name_os_errors(path), os.fdopen(descriptor, "wb") as stream:
        yield stream


class Members:
    """Entries of an archive's members in their order, without states; in a temporary file, since there may be millions."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()

    def __enter__(self) -> Members:
        return self

    def __exit__(self, *_: object) -> None:
        with name_os_errors(tempfile.gettempdir()):
            self._file.close()

    def add(
        self,
        member: tarfile.TarInfo,
        path: str,
        digest: bytes,
        content_class: int,
        *,
        is_plain: bool,
        attributes: bytes,
        line: bytes,
    ) -> None:
        """Add a member with its path below the top folder and its part of the manifest."""
        file_type = FOLDER if member.isdir() else FILE if member.isreg() else OTHER
        name = path.encode("utf-8", "surrogateescape")
        state = State(name, file_type, b"", b"")
        with name_os_errors(tempfile.gettempdir()):
            _write_entry(self._file, Entry(state, member.size, digest, content_class, is_plain, attributes, line))

    def __iter__(self) -> Iterator[Entry]:
        with name_os_errors(tempfile.gettempdir()):
            self._file.seek(0)
        yield from _read_entries(self._file)
        self._file.seek(0, os.SEEK_END)


def _write_entry(output: Any, entry: Entry) -> None:
    state = entry.state
    head = _ENTRY.pack(
        len(state.path),
        state.file_type,
        state.fingerprint,
        state.copy_fingerprint,
        entry.size,
        entry.digest or _NONE,
        entry.content_class,
        entry.is_plain,
        len(entry.attributes),
        len(entry.line),
    )
    output.write(b"".join((head, state.path, entry.attributes, entry.line)))


def _read_entries(stream: Any) -> Iterator[Entry]:
    """Yield entries. Raise ValueError if the stream is malformed."""
    while head := stream.read(_ENTRY.size):
        if len(head) < _ENTRY.size:
            raise ValueError("it is cut")
        length, file_type, fingerprint, copy_fingerprint, size, digest, content_class, is_plain, more, rest = (
            _ENTRY.unpack(head)
        )
        text = stream.read(length + more + rest)
        if len(text) != length + more + rest:
            raise ValueError("it is cut")
        path, attributes, line = text[:length], text[length : length + more], text[length + more :]
        yield Entry(
            State(path, file_type, fingerprint, copy_fingerprint),
            size,
            b"" if digest == _NONE else digest,
            content_class,
            bool(is_plain),
            attributes,
            line,
        )


def write_snapshot(path: str, about: Mapping[str, Any], members: Iterable[Entry], states: Iterable[State]) -> None:
    """Write a snapshot to a new file: its metadata, and the members of the archive with the states of the files before it was written.

    Raise Unproven if members and states do not fit, or OSError; the caller removes the file.
    """
    with _new_snapshot(path, about) as output:
        seen = iter(states)
        for entry in members:
            state = next((state for state in seen if state.path == entry.state.path), None)
            if state is None:
                raise Unproven("its archive has what was not seen before")
            is_folder = entry.state.file_type == FOLDER
            if is_folder != (state.file_type == FOLDER):
                raise Unproven("its archive has something else than was seen before")
            _write_entry(output, replace(entry, state=state))


def renew_snapshot(path: str, old: Snapshot, moved: Mapping[bytes, State]) -> None:
    """Write a snapshot to a new file with other states, {path: state}, of some members, so that their content need not be compared again.

    Raise Unproven if the old one is damaged, or OSError; the caller removes the file.
    """
    with _new_snapshot(path, old.about) as output:
        for entry in old.entries():
            _write_entry(output, replace(entry, state=moved.get(entry.state.path, entry.state)))


@contextlib.contextmanager
def _new_snapshot(path: str, about: Mapping[str, Any]) -> Iterator[Any]:
    """Create a snapshot with its metadata, open for its entries in the block; it is on disk at the end. Raise OSError."""
    with new_private(path) as raw:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as output:
            output.write(json.dumps({**about, "form": _FORM}).encode() + b"\n")
            yield output
        raw.flush()
        os.fsync(raw.fileno())


@dataclass(frozen=True)
class Snapshot:
    """The snapshot of a full archive: its path, and the metadata."""

    path: str
    about: Mapping[str, Any]

    def entries(self) -> Iterator[Entry]:
        """Yield the members of the archive. Raise Unproven if the file is damaged, or OSError."""
        try:
            with _opened(self.path) as stream:
                stream.readline(_LARGEST_HEADER)
                yield from _read_entries(stream)
        except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, struct.error) as error:
            raise Unproven(f"{self.path}, what is known of its full tarball, is damaged") from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    with open_plain(path) as raw, gzip.GzipFile(mode="rb", fileobj=raw) as stream:
        yield stream


def read_snapshot(path: str) -> Snapshot | None:
    """Return the snapshot in a file, None if there is none or it is damaged."""
    try:
        with _opened(path) as stream:
            about = json.loads(stream.readline(_LARGEST_HEADER))
    except (OSError, ValueError, EOFError, RecursionError, zlib.error):
        return None
    return Snapshot(path, about) if isinstance(about, dict) and about.get("form") == _FORM else None


def write_known(snapshot: Snapshot, output: IO[bytes]) -> set[str]:
    """Write the entries of a snapshot without their manifest part; return the paths of symbolic links, below the top folder."""
    links = set()
    for entry in snapshot.entries():
        if entry.line.startswith(tarfile.SYMTYPE):
            links.add(os.fsdecode(entry.state.path))
        _write_entry(
            output, Entry(entry.state, entry.size, entry.digest, entry.content_class, entry.is_plain, b"", b"")
        )
    return links


def read_known(path: str) -> dict[bytes, Entry]:
    """Read the file that `write_known` wrote as {path: entry}. Raise OSError."""
    with open(path, "rb") as stream:
        return {entry.state.path: entry for entry in _read_entries(stream)}
