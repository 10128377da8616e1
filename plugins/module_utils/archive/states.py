"""Things as a look at them shows them, before they are archived."""

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
"""Bytes of what a reader says that it has seen; the lists of all folders are kept in memory"""
OTHER, FOLDER, FILE = range(3)


class Unproven(AltbackupError):
    """A differential that would not bring back what was read: the night is full."""


@dataclass(frozen=True)
class State:
    """A thing as it was seen before it was archived."""

    path: bytes
    """Below the top folder, empty for that itself"""
    form: int
    seen: bytes
    """What stands for its inode, times and all else that a look tells"""
    lasting: bytes
    """The same, without what a copy of it has otherwise"""


def list_state(
    parts: Sequence[Part], *, owner: bool, fixed_times: bool
) -> Iterator[tuple[int, bytes, State, os.stat_result]]:
    """Given parts, yield (number of the part, name, state, status) of what is there, in their order.

    With an `owner` of the archive's own, or `fixed_times`, those of files do not count. Raise OSError.
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
    lasting: tuple[Any, ...] = (status.st_mode, status.st_size, status.st_rdev)
    lasting += () if owner else (status.st_uid, status.st_gid)
    lasting += () if fixed_times else (status.st_mtime_ns,)
    seen = (*lasting, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    form = FOLDER if stat.S_ISDIR(status.st_mode) else FILE if stat.S_ISREG(status.st_mode) else OTHER
    return State(path, form, _short(repr(seen)), _short(repr(lasting)))


def _short(text: str) -> bytes:
    value = new_hash("sha256")
    value.update(text.encode())
    return bytes(value.digest()[:16])


def write_state(output: IO[bytes], state: State) -> None:
    """Write a state behind others."""
    output.write(_STATE.pack(len(state.path), state.form, state.seen, state.lasting) + state.path)


def read_states(path: str) -> Iterator[State]:
    """Yield the states in a file that a reader has written. Raise Unproven for what are none, or OSError."""
    with open_plain(path) as stream:
        if os.fstat(stream.fileno()).st_size > _MOST_STATES:
            raise Unproven("it has too many entries")
        while head := stream.read(_STATE.size):
            if len(head) < _STATE.size:
                raise Unproven("what was read of it is cut")
            size, form, seen, lasting = _STATE.unpack(head)
            name = stream.read(size)
            parts = name.split(b"/") if name else []
            if len(name) != size or size > _LONGEST_PATH or b"\0" in name or {b"", b".", b".."} & set(parts):
                raise Unproven("what was read of it is no path")
            yield State(name, form, seen, lasting)
