"""Rules for the members of an archive, which is untrusted until all of them have passed."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Dict, Tuple

from ..system.digest import new_hash
from ..system.errors import Hostile
from ..system.paths import is_within
from ..system.processes import Deadline
from ..system.units import and_more, readable
from ..system.visible import printable
from .headers import Header, Headers
from .manifest import Manifest

_MOST_SPECIAL = 1000
_MOST_HOLES = 1 << 44
"""Maximum bytes of holes; reading as many zeros takes hours"""
_DISK_BLOCK = 4096
_INODE = 512
UNLIMITED = 1 << 62
_UNPACKED = "nothing was unpacked"
_STORED = "no restore would unpack it, so nothing of this item is stored"
_DUMPDIR = "GNU.dumpdir"
_CAPABILITY = "SCHILY.xattr.security.capability"
SPECIAL = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.GNUTYPE_SPARSE)


_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


class TooLarge(Hostile):
    """An archive with more bytes than there is space for: a bomb, or only a large one."""


@dataclass(frozen=True)
class Limits:
    """Limits above which an archive is a bomb: bytes on disk without holes, entries, and bytes of holes."""

    bytes: int
    entries: int = 10_000_000
    holes: int = _MOST_HOLES


Special = Dict[str, Tuple[bytes, str]]
"""{name: (type, link target)} of devices, named pipes, and hard links to them"""
_SOMETHING = "something"


@dataclass
class LeftOut:
    """What is only restored with `special_modes`: {what: (number of files, the first of them)}."""

    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add_member(self, member: Any, special: str = "") -> None:
        """Add a member; `special` says what it is if it is a device, a named pipe, or a hard link to one."""
        if special:
            self._count(special, 1, member.name)
        if member.isreg() and member.mode & 0o6000:
            self._count("setuid or setgid bits", 1, member.name)
        if _CAPABILITY in member.pax_headers:
            self._count("file capabilities", 1, member.name)

    def add(self, other: LeftOut) -> None:
        """Add what another archive has."""
        for what, (count, first) in other.found.items():
            self._count(what, count, first)

    def notes(self) -> list[str]:
        """Return a note on each kind."""
        return [
            self._note(what, printable(first) + and_more(count, 1), count)
            for what, (count, first) in self.found.items()
        ]

    @staticmethod
    def _note(what: str, shown: str, count: int) -> str:
        if what in SPECIAL.values():
            brought = "them" if count > 1 else "it"
            return f"left out the {what.partition(' ')[2]} {shown}: special_modes: true brings {brought} back"
        return (
            f"left out {what} of {shown}, with which whoever could write to the source could make himself root here: "
            "special_modes: true brings them back"
        )

    def _count(self, what: str, more: int, first: str) -> None:
        count, name = self.found.get(what, (0, first))
        self.found[what] = (count + more, name)


@dataclass
class Contents(Manifest):
    """The manifest of an archive with its devices and named pipes, and the bytes that it needs on a disk, without holes.

    `links` are the paths of its symbolic links, `replaced` those of its full tarball in whose place a differential has a folder.
    """

    special: Special = field(default_factory=dict)
    found: str = ""
    """What the wanted member is: a device or pipe by name, `something` else; empty if it is missing"""
    stored: int = 0
    links: set[str] = field(default_factory=set)
    replaced: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def require_same(tarball: str, headers: Headers, member: Any, ending: str = _UNPACKED) -> Header:
    """Return the next member by its headers; `member` is what tarfile read, None at the end. Raise Hostile if they differ."""
    header = headers.found.popleft() if headers.found else Header(b"")
    while member is None and headers.found and not header.problem:
        header = headers.found.popleft()
    shown = printable(_decoded(header.name) if member is None else member.name)
    if header.problem:
        raise Hostile(f"{tarball}: member {shown!r} {header.problem}; {ending}")
    wanted = (_decoded(header.name.rstrip(b"/")), header.kind, header.size, header.sparse)
    found: tuple[Any, ...] = ("", b"0", 0, None)
    if member is not None:
        found = (member.name, member.type, member.size, None if member.sparse is None else tuple(member.sparse))
    if wanted != found or (member is not None and header.link and _decoded(header.link) != member.linkname):
        raise Hostile(f"{tarball}: member {shown!r} is read in two ways; {ending}")
    return header


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def stored_bytes(member: Any) -> int:
    """Return the bytes that a member's content takes in the stream."""
    if member.sparse is not None:
        return int(sum(size for _, size in member.sparse))
    return int(member.size) if member.type in _PLAIN else 0


def _disk_bytes(member: Any) -> int:
    """Return the bytes that a member takes on a disk with 4096-byte blocks."""
    if member.isdir():
        return _INODE + _DISK_BLOCK
    parts = [(0, member.size)] if member.sparse is None else member.sparse
    blocks = sum(-(-(offset + size) // _DISK_BLOCK) - offset // _DISK_BLOCK for offset, size in parts if size)
    return _INODE + (int(blocks) * _DISK_BLOCK if member.type in _PLAIN else 0)


class Rules:
    """Checks the members of one archive in their order, and collects its contents."""

    def __init__(
        self,
        tarball: str,
        top: str,
        limits: Limits,
        deadline: Deadline,
        special: bool,
        contents: Contents,
        below: Collection[str],
        ending: str = _UNPACKED,
        wanted: str = "",
        alone: bool = True,
    ) -> None:
        """`ending` is the end of each message on a refused archive; if `wanted` is unpacked `alone`, only its bytes are counted in `stored`."""
        self._ending = ending
        self._wanted = wanted
        self._part = wanted if alone else ""
        self._contents = contents
        self._tarball = tarball
        self._top = top
        self._limits = limits
        self._deadline = deadline
        self._with_special = special
        self._special: dict[str, str] = {}
        """{path: what it is} of devices and pipes"""
        self._replaced = contents.replaced
        self._bytes = 0
        self._holes = 0
        self._entries = 0
        self._links = contents.links
        self._below = {link: link for link in below}
        """{current path: path at which it was unpacked} of the links of the full tarball"""
        self._perhaps: set[str] = set()
        """Paths at which a link remains if GNU tar could not rename its folder"""
        self._files: set[bytes] = set()

    def check(self, member: Any) -> None:
        """Check a member, a TarInfo. Raise Hostile, naming it, if it may not be unpacked."""
        path = self._path(member, member.name, "its name")
        if "/" not in path and not member.isdir():
            self._refuse(member, "stands in the place of the top folder, but is none")
        link = self._link_before(path, itself=member.isdir()) or (path if path in self._links else "")
        if link:
            whose = "the archive" if link in self._links else "its full tarball"
            self._refuse(member, f"would be written through a symbolic link of {whose}, {printable(link)!r}")
        if self._special and any(above in self._special for above in _with_parents(path)):
            self._refuse(member, "stands where the archive has a device or a named pipe")
        self._entries += 1
        if self._entries > self._limits.entries:
            self._refuse(member, f"is one of more than {self._limits.entries} entries")
        self._count(member)
        special = SPECIAL.get(member.type, "")
        if member.issym():
            self._links.add(path)
        elif member.islnk():
            special = self._check_hard_link(member, path)
        elif not special and not member.isdir() and member.type not in _PLAIN:
            self._refuse(member, f"is of the unknown type {member.type!r}")
        if member.size and member.type not in _PLAIN:
            self._refuse(member, f"is no file, but has {readable(member.size)}")
        if _DUMPDIR in member.pax_headers:
            self._check_dumpdir(member, path)
        if not member.isdir():
            self._files.add(_short(path))
        if special:
            self._take_special(member, path, special)
        if self._wanted and is_within(path, self._wanted):
            self._contents.found = special if path == self._wanted and special else _SOMETHING
        if not self._part or is_within(path, self._part):
            self._contents.stored += _disk_bytes(member)
            self._contents.left_out.add_member(member, special)

    def _take_special(self, member: Any, path: str, what: str) -> None:
        if not self._with_special or len(self._special) >= _MOST_SPECIAL:
            self._refuse(member, f"is {what}")
        self._special[path] = what
        self._contents.special[member.name] = (member.type, member.linkname)

    def _count(self, member: Any) -> None:
        """Raise Hostile if the archive exceeds the limits with this member."""
        if member.size < 0:
            self._refuse(member, "has less than no bytes")
        self._bytes += _disk_bytes(member)
        self._holes += max(0, member.size - stored_bytes(member)) if member.type in _PLAIN else 0
        if self._bytes > self._limits.bytes:
            reason = f"exceeds the limit of {readable(self._limits.bytes)} for what the archive needs on a disk"
            self._refuse(member, reason, TooLarge)
        if self._holes > self._limits.holes:
            reason = f"exceeds the limit of {readable(self._limits.holes)} for holes in sparse files of the archive"
            self._refuse(member, reason)

    def _path(self, member: Any, name: str, what: str) -> str:
        """Return a path without empty parts. Raise Hostile if it leads out of the top folder."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        self._top = self._top or (parts[0] if parts else "")
        if name.startswith("/"):
            self._refuse(member, f"{what} {printable(name)!r} is absolute")
        if ".." in parts:
            self._refuse(member, f"{what} {printable(name)!r} leads out by ..")
        if "\0" in name:
            self._refuse(member, f"{what} holds a NUL byte")
        if not parts or parts[0] != self._top:
            self._refuse(member, f"{what} {printable(name)!r} is not in the top folder {self._top}")
        return "/".join(parts)

    def _is_link(self, path: str) -> bool:
        return path in self._links or path in self._below or path in self._perhaps

    def _link_before(self, path: str, itself: bool) -> str:
        """Return the first link in a path, empty if there is none; `itself` includes the path's last part."""
        parts = path.split("/") if self._links or self._below or self._perhaps else []
        prefixes = ("/".join(parts[:end]) for end in range(1, len(parts) + itself))
        return next(filter(self._is_link, prefixes), "")

    def _check_hard_link(self, member: Any, path: str) -> str:
        """Return what a hard link leads to if that is a device or a named pipe, else an empty text. Raise Hostile."""
        target = self._path(member, member.linkname, "its hard link to")
        if self._link_before(target, itself=False):
            self._refuse(member, f"its hard link to {printable(target)!r} leads through a symbolic link of the archive")
        if _short(target) not in self._files:
            self._refuse(member, f"its hard link to {printable(target)!r} leads to what the archive has not")
        if self._is_link(target):
            self._links.add(path)
        return self._special.get(target, "")

    def _check_dumpdir(self, member: Any, path: str) -> None:
        """Follow the links of the full tarball through the removals and renames of a differential.

        Raise Hostile if one is not below its top folder, or behind a link.
        """
        listed: dict[str, set[str]] = {}
        renames = []
        for entry in member.pax_headers[_DUMPDIR].split("\0"):
            kind, name = entry[:1], entry[1:]
            if kind in ("R", "T", "X"):
                renames.append((kind, name and self._path(member, name, "what it renames,")))
            elif "/" in name or name in (".", ".."):
                self._refuse(member, f"it lists {printable(name)!r}, which is no name in a folder")
            else:
                listed.setdefault(name, set()).add(kind)
        for name in [name for name, kinds in listed.items() if kinds == {"D"}]:
            link = f"{path}/{name}"
            if link in self._below:
                self._replaced.append(self._below.pop(link))
            if not renames and os.geteuid() == 0:  # root's tar can always remove it
                self._perhaps.discard(link)
        self._follow_renames(member, renames)

    def _follow_renames(self, member: Any, renames: list[tuple[str, str]]) -> None:
        """Apply the renames of a dumpdir, in which no name is that of a temporary folder, to the paths of links. Raise Hostile."""
        if renames and self._entries > 1:
            self._refuse(member, "renames, but is not the first of its archive")
        source = ""
        for kind, name in renames:
            self._deadline.remaining()
            if kind == "X" and not name:
                self._refuse(member, "what it renames would pass through a folder without a name")
            if self._link_before(name, itself=True):
                self._refuse(member, f"what it renames, {printable(name)!r}, leads through a symbolic link")
            if kind == "R":
                source = name or "\0"
            elif kind == "T" and source:
                for link in [link for link in self._below if link.startswith(f"{source}/")]:
                    self._perhaps.add(link)
                    moved = (name or "\0") + link[len(source) :]
                    if moved in self._below:
                        self._refuse(member, f"it renames to {printable(name)!r}, which is there already")
                    self._below[moved] = self._below.pop(link)

    def _refuse(self, member: Any, reason: str, error: type[Hostile] = Hostile) -> None:
        raise error(f"{self._tarball}: member {printable(member.name)!r} {reason}; {self._ending}")


class WriteChecker:
    """Checks an archive while it is written by the rules of unpacking, with the most permissive options."""

    def __init__(self, title: str, top: str, deadline: Deadline, below: Collection[str] = ()) -> None:
        """`below` are the symbolic links of a differential's full tarball."""
        self._title = title
        self._rules = Rules(title, top, Limits(UNLIMITED), deadline, True, Contents(), below, _STORED)
        self._headers = Headers()

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the archive."""
        self._headers.feed(block)

    def check_member(self, member: tarfile.TarInfo) -> None:
        """Check a member, whose headers were fed before. Raise Hostile."""
        require_same(self._title, self._headers, member, _STORED)
        self._rules.check(member)

    def finish(self) -> None:
        """Check the end of the archive. Raise Hostile."""
        require_same(self._title, self._headers, None, _STORED)

    def check_names(self, entries: Iterable[tuple[bytes, int]]) -> None:
        """Check the names and types of files before they are archived, (path in the archive, mode) each. Raise Hostile."""
        for path, mode in entries:
            member = tarfile.TarInfo(os.fsdecode(path))
            member.type = _TYPES.get(stat.S_IFMT(mode), tarfile.REGTYPE)
            self._rules.check(member)


def _with_parents(path: str) -> Iterator[str]:
    """Yield a path and its parent folders."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _short(path: str) -> bytes:
    """Return a 12-byte digest of a path, to save memory."""
    value = new_hash("sha256")
    value.update(path.encode("utf-8", "surrogateescape"))
    return bytes(value.digest()[:12])
