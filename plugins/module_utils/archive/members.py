"""The members of a tarball one by one, for listing, search and comparison."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..system.age import NOBODY, Identities
from ..system.errors import AltbackupError
from ..system.processes import Deadline
from ..system.sandbox import Sandbox
from .examine import examine
from .rules import Limits

_UNLIMITED = 1 << 62
MOST_IN_MEMORY = 3_000_000
"""Maximum number of members of one tarball that are kept in memory for composing or comparing"""
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
    """A member by its headers; `path` is below the top folder, empty for that itself."""

    path: str
    type: str
    size: int
    mtime: int
    mode: int
    owner: str
    group: str
    target: str
    digest: bytes = b""
    """SHA-256 of a file, if requested"""
    dumpdir: str | None = None
    """`GNU.dumpdir` of a folder in a differential, see `_names_in`"""


def read_members(
    tarballs: Sequence[str],
    top: str,
    take: Callable[[Member], None],
    *,
    deadline: Deadline,
    sandbox: Sandbox | None = None,
    digested: bool = False,
    identities: Identities = NOBODY,
) -> None:
    """Call `take` for each member of a tarball, or of what a full tarball and its differential restore; with `digested` files have digests.

    Members of a pair are in the order of their paths. Nothing is unpacked, and what a restore would refuse is refused. Raise Hostile, ToolFailed for a
    damaged tarball, AltbackupError for a pair that cannot be composed, DeadlineExceeded or OSError.
    """
    if len(tarballs) == 1:
        _read(tarballs[0], top, take, (), deadline, sandbox, digested, identities)
        return
    before: dict[str, Member] = {}
    after: dict[str, Member] = {}
    how = (deadline, sandbox, digested, identities)
    links = _read(tarballs[0], top, lambda member: add_within_limit(before, member, tarballs[0]), (), *how)
    _read(tarballs[1], top, lambda member: add_within_limit(after, member, tarballs[1]), links, *how)
    names = {
        path: _names_in(member.dumpdir, tarballs[1]) for path, member in after.items() if member.dumpdir is not None
    }
    for member in _put_together(before, after, names):
        take(replace(member, dumpdir=None))


def add_within_limit(members: dict[str, Member], member: Member, tarball: str) -> None:
    """Add a member to those in memory. Raise AltbackupError if there are too many."""
    if len(members) >= MOST_IN_MEMORY:
        raise AltbackupError(f"{tarball} has more than {MOST_IN_MEMORY} entries, which are too many to hold")
    members[member.path] = member


def _names_in(dumpdir: str, tarball: str) -> frozenset[str]:
    """Return the names in a folder from its `GNU.dumpdir`, a letter and a name for each. Raise AltbackupError for renames."""
    entries = [(entry[:1], entry[1:]) for entry in dumpdir.split("\0") if entry]
    if any(letter in "RTX" for letter, _ in entries):
        raise AltbackupError(
            f"{tarball} renames folders, which only a restore follows: look into its full tarball, or restore it"
        )
    return frozenset(name for _, name in entries)


def _put_together(
    before: Mapping[str, Member], after: Mapping[str, Member], names: Mapping[str, frozenset[str]]
) -> Iterator[Member]:
    """Yield the members that a full tarball and its differential restore; `names` are those in each folder of the differential."""
    known: dict[str, bool] = {"": True}

    def is_left(path: str) -> bool:
        unknown = []
        while path not in known:
            unknown.append(path)
            path = path.rpartition("/")[0]
        for below in reversed(unknown):  # from the top down, without recursion, as a path may be deep
            above, _, name = below.rpartition("/")
            is_folder = above not in after or after[above].type == FOLDER
            known[below] = is_folder and known[above] and (above not in names or name in names[above])
        return known[unknown[0]] if unknown else known[path]

    left = {path: member for path, member in before.items() if path not in after and is_left(path)}
    for path in sorted({*left, *after}):
        yield after[path] if path in after else left[path]


def _read(
    tarball: str,
    top: str,
    take: Callable[[Member], None],
    below: Collection[str],
    deadline: Deadline,
    sandbox: Sandbox | None,
    digested: bool,
    identities: Identities,
) -> set[str]:
    """Read one tarball, to be unpacked over one with the links `below`; return its own links."""
    each = _MemberStream(top, take)
    limits = Limits(_UNLIMITED, _UNLIMITED, _UNLIMITED)
    files = each if digested else None
    contents = examine(
        tarball,
        below=below,
        top=top,
        limits=limits,
        deadline=deadline,
        sandbox=sandbox,
        digested=digested,
        seen=each.see,
        files=files,
        identities=identities,
    )
    each.flush()
    return contents.links


class _MemberStream:
    """Passes each member on after its content was read, as its digest is only known then."""

    def __init__(self, top: str, take: Callable[[Member], None]) -> None:
        self._top = top
        self._take = take
        self._waiting: Member | None = None

    def see(self, member: Any) -> None:
        """Take a member, a TarInfo, before its content is read."""
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
            dumpdir=member.pax_headers.get("GNU.dumpdir"),
        )

    def add(self, _path: str, _size: int, digest: bytes, _head: bytes = b"") -> None:
        """Take the digest of the last file."""
        if self._waiting is not None:
            self._waiting = replace(self._waiting, digest=digest)

    def flush(self) -> None:
        """Pass the last member on."""
        if self._waiting is not None:
            self._take(self._waiting)
        self._waiting = None
