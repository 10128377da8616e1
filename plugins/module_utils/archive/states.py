"""States of files from lstat, before they are archived."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ..system.digest import new_hash, open_plain
from ..system.errors import AltbackupError
from .write import Part

_STATE = struct.Struct("<HB16s16s")
_LONGEST_PATH = 1 << 13
_MOST_STATES = 1 << 29
"""Maximum bytes of a file of states; the lists of all folders are kept in memory"""
OTHER, FOLDER, FILE = range(3)


class Unproven(AltbackupError):
    """A differential that would not restore what was read, so a full archive is made."""


@dataclass(frozen=True)
class State:
    """The state of a file before it was archived."""

    path: bytes
    """Path below the top folder, empty for that itself"""
    file_type: int
    fingerprint: bytes
    """Digest of inode, times and everything else in lstat"""
    copy_fingerprint: bytes
    """Digest without the fields that differ in an unchanged copy"""


def list_state(
    parts: Sequence[Part], *, owner: bool, fixed_times: bool
) -> Iterator[tuple[int, bytes, State, os.stat_result]]:
    """Yield (index of the part, name, state, lstat) of the existing files in parts, in their order.

    If the archive sets its own `owner` or `fixed_times`, those of files are not part of the state. Raise OSError.
    """
    for number, part in enumerate(parts):
        top = os.open(part.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in part.names:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    status = os.lstat(name, dir_fd=top)
                    yield number, name, _state(name[2:], status, owner, fixed_times), status
        finally:
            os.close(top)


def _state(path: bytes, status: os.stat_result, owner: bool, fixed_times: bool) -> State:
    copy_fingerprint: tuple[Any, ...] = (status.st_mode, status.st_size, status.st_rdev)
    copy_fingerprint += () if owner else (status.st_uid, status.st_gid)
    copy_fingerprint += () if fixed_times else (status.st_mtime_ns,)
    fingerprint = (
        *copy_fingerprint,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )
    file_type = FOLDER if stat.S_ISDIR(status.st_mode) else FILE if stat.S_ISREG(status.st_mode) else OTHER
    return State(path, file_type, _short(repr(fingerprint)), _short(repr(copy_fingerprint)))


def _short(text: str) -> bytes:
    value = new_hash("sha256")
    value.update(text.encode())
    return bytes(value.digest()[:16])


def write_state(output: IO[bytes], state: State) -> None:
    """Append a state to a stream."""
    output.write(_STATE.pack(len(state.path), state.file_type, state.fingerprint, state.copy_fingerprint) + state.path)


def read_states(path: str) -> Iterator[State]:
    """Yield the states in a file that a reader wrote. Raise Unproven if it is malformed, or OSError."""
    with open_plain(path) as stream:
        if os.fstat(stream.fileno()).st_size > _MOST_STATES:
            raise Unproven("the list of its files has too many entries")
        while head := stream.read(_STATE.size):
            if len(head) < _STATE.size:
                raise Unproven("the list of its files is cut")
            size, file_type, fingerprint, copy_fingerprint = _STATE.unpack(head)
            name = stream.read(size)
            parts = name.split(b"/") if name else []
            if len(name) != size or size > _LONGEST_PATH or b"\0" in name or {b"", b".", b".."} & set(parts):
                raise Unproven("the list of its files has an entry that is no path")
            yield State(name, file_type, fingerprint, copy_fingerprint)
