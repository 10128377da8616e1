"""The members of a tarball one by one, as a look, a search or a comparison goes over them."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..system.processes import Deadline
from ..system.sandbox import Sandbox
from .unpack import Limits, examine

_UNLIMITED = 1 << 62
FILE, FOLDER, LINK, HARD_LINK = "file", "folder", "link", "hard link"
_TYPES = {
    tarfile.DIRTYPE: FOLDER,
    tarfile.SYMTYPE: LINK,
    tarfile.LNKTYPE: HARD_LINK,
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(frozen=True)
class Member:
    """A member: its path below the top folder (empty for that itself), and what its headers say."""

    path: str
    type: str
    size: int
    mtime: int
    mode: int
    owner: str
    group: str
    target: str
    digest: bytes = b""
    """The sha256 of a file, where it was asked for"""


def read_members(
    tarball: str,
    top: str,
    take: Callable[[Member], None],
    *,
    deadline: Deadline,
    sandbox: Sandbox | None = None,
    digested: bool = False,
) -> None:
    """Given a tarball and its top folder, hand each of its members to `take`, with `digested` with the digests of files.

    Nothing is unpacked, and what no restore would unpack is refused. Raise Hostile, ToolFailed for a damaged one, DeadlineExceeded or OSError.
    """
    each = _Each(top, take)
    limits = Limits(_UNLIMITED, _UNLIMITED, _UNLIMITED)
    files = each if digested else None
    examine(
        tarball,
        top=top,
        limits=limits,
        deadline=deadline,
        sandbox=sandbox,
        digested=digested,
        seen=each.see,
        files=files,
    )
    each.flush()


class _Each:
    """Hands each member on once its content is read, as only then its digest is known."""

    def __init__(self, top: str, take: Callable[[Member], None]) -> None:
        self._top = top
        self._take = take
        self._waiting: Member | None = None

    def see(self, member: Any) -> None:
        """Take a member, whose content comes next."""
        self.flush()
        self._waiting = Member(
            member.name[len(self._top) + 1 :],
            _TYPES.get(member.type, FILE),
            member.size,
            max(0, int(member.mtime)),
            member.mode & 0o7777,
            member.uname or str(member.uid),
            member.gname or str(member.gid),
            member.linkname,
        )

    def add(self, _path: str, _size: int, digest: bytes, _head: bytes = b"") -> None:
        """Take the digest of the file that was seen last."""
        if self._waiting is not None:
            self._waiting = replace(self._waiting, digest=digest)

    def flush(self) -> None:
        """Hand on the last one."""
        if self._waiting is not None:
            self._take(self._waiting)
        self._waiting = None
