"""Unpacking: an archive is hostile until a pass over its stream has shown that GNU tar may have it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Dict, Tuple

from ..system import progress
from ..system.digest import new_hash, open_plain
from ..system.errors import AltbackupError, Hostile, InvalidInput, ToolFailed
from ..system.opened import walk_open
from ..system.paths import is_within
from ..system.processes import Child, Deadline, clean_environment, ended_at, find_tool
from ..system.sandbox import Sandbox, chown_tree, explained
from ..system.units import and_more, readable, told_apart
from ..system.visible import printable
from .attributes import Attributes
from .headers import Header, Headers
from .listing import list_command, listed
from .owners import Owners
from .write import Manifest, read_manifest

_BLOCK = 1 << 16
_MARGIN = 64 << 20
"""Bytes of headers before one member, and of zeros behind the last one, above which an archive is a bomb."""
_MOST_SPECIAL = 1000
_WARNINGS = 5
_MOST_HOLES = 1 << 44
"""Bytes of holes that are read as zeros, by whoever looks at what was unpacked: as many as take hours"""
_DISK_BLOCK = 4096
_INODE = 512
_UNLIMITED = 1 << 62
_LOOK_AGAIN = 0.2
"""Seconds between two looks at how full a disk is"""
_UNPACKED = "nothing was unpacked"
_STORED = "no restore would unpack it, so nothing of this item is stored"
DECOMPRESSORS = {".zst": "zstd", ".gz": "gzip"}
_DUMPDIR = "GNU.dumpdir"
_CAPABILITY = "SCHILY.xattr.security.capability"
_SPECIAL = {
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
    """An archive with more bytes than there is room for: a bomb, or just a large one."""


class Unlistable(ToolFailed):
    """An archive that GNU tar could not read to its end, or was not started to read."""


@dataclass(frozen=True)
class Limits:
    """Above what an archive is a bomb: bytes that it needs on a disk, without holes; entries; and bytes of holes."""

    bytes: int
    entries: int = 10_000_000
    holes: int = _MOST_HOLES


Special = Dict[str, Tuple[bytes, str]]
"""Devices and named pipes of an archive, and hard links to them: {name: (type, what a hard link leads to)}"""
_SOMETHING = "something"


@dataclass
class LeftOut:
    """What of an archive only comes with `special_modes`: {what: (number of files, the first of them)}."""

    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def look(self, member: Any, special: str = "") -> None:
        """Take a member, and what it is if that is a device or a named pipe, or a hard link to one."""
        if special:
            self._count(special, 1, member.name)
        if member.isreg() and member.mode & 0o6000:
            self._count("setuid or setgid bits", 1, member.name)
        if _CAPABILITY in member.pax_headers:
            self._count("file capabilities", 1, member.name)

    def add(self, other: LeftOut) -> None:
        """Take those of another archive."""
        for what, (count, first) in other.found.items():
            self._count(what, count, first)

    def notes(self) -> list[str]:
        """Return a note on each."""
        return [
            self._note(what, printable(first) + and_more(count, 1), count)
            for what, (count, first) in self.found.items()
        ]

    @staticmethod
    def _note(what: str, shown: str, count: int) -> str:
        if what in _SPECIAL.values():
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
    """What an archive holds, with its devices and named pipes, and the bytes that it needs on a disk, without holes.

    With the paths of its symbolic links, too, and of those of its full tarball in whose place a differential has a folder.
    """

    special: Special = field(default_factory=dict)
    found: str = ""
    """What a member is that was looked for: of the devices and pipes which, `something` else; empty if it is not there"""
    stored: int = 0
    links: set[str] = field(default_factory=set)
    replaced: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def unpack(
    tarballs: Sequence[str],
    folder: str,
    *,
    top: str,
    limits: Limits,
    deadline: Deadline,
    owners: bool,
    special_modes: bool = False,
    member: str = "",
    sandbox: Sandbox | None = None,
    keeper: Sandbox | None = None,
    admit: Callable[[int], None] = lambda needed: None,
    notes: list[str] | None = None,
    absent: Special | None = None,
    found_owners: Owners | None = None,
    title: str = "",
) -> str:
    """Given tarballs (a full one, then its differential if any) and an empty private folder, unpack into it; return the top folder.

    With `member`, a path inside the tarball that begins with the top folder, return the path of that one. With `owners`
    owners (by number) and modes are those archived, else the running user's. In a sandbox its user unpacks, and has all of it, unless a
    `keeper` is given, in which tar keeps owners; the sandbox then reads alone. Setuid and setgid bits of files, file
    capabilities, devices and named pipes are only for `special_modes`. Before anything is written `admit` is given the bytes
    that it takes on the disk, and may raise; `notes` receive what was left out or refused, `absent` the devices and pipes of
    that, `found_owners` all owners. Errors on the member call the whole by its `title`.
    Raise Hostile, before anything is written, for what no archive of this item holds; ToolFailed for one that is damaged;
    InvalidInput for a member that is not there, DeadlineExceeded or OSError. The caller removes the folder.
    """
    wanted = clean_member(member, top)
    special: list[Special] = []
    replaced: list[str] = []
    links: set[str] = set()
    attributes: list[Attributes] = []
    needed, found = 0, ""
    left_out = LeftOut()
    with contextlib.ExitStack() as stack:
        for tarball in tarballs:
            if keeper is not None and owners:
                attributes.append(stack.enter_context(Attributes()))
            contents = examine(
                tarball,
                top=top,
                limits=limits,
                deadline=deadline,
                sandbox=sandbox,
                below=links,
                attributes=attributes[-1] if attributes else None,
                wanted=wanted,
                alone=len(tarballs) == 1,
            )
            needed += contents.stored
            found = contents.found or found
            left_out.add(contents.left_out)
            if found_owners is not None:
                found_owners.add(contents.owners)
            special.append(contents.special)
            replaced += contents.replaced
            links |= contents.links
        require_member(title or tarballs[-1], wanted, found, special_modes=special_modes)
        admit(needed)
        extract(
            tarballs,
            folder,
            owners=owners,
            special_modes=special_modes,
            special=special,
            replaced=replaced,
            member=wanted,
            deadline=deadline,
            sandbox=sandbox,
            keeper=keeper,
            attributes=attributes,
            notes=notes,
        )
    if notes is not None and not special_modes:
        notes += left_out.notes()
    if absent is not None and not special_modes:
        absent.update(special[-1])
    path = os.path.join(folder, wanted or top)
    if not os.path.lexists(path):
        require_member(title or tarballs[-1], wanted, "", special_modes=special_modes)
        raise InvalidInput(f"{tarballs[-1]} holds no {top}")
    return path


def require_member(title: str, member: str, found: str, *, special_modes: bool) -> None:
    """Given what is called by a title, a member that is wanted, if any, and what was found of it, raise InvalidInput unless it can be had."""
    shown = printable(repr(member))
    if member and not found:
        raise InvalidInput(f"{title}: member {shown} is not in it: see what is, with tar -tf")
    if found in _SPECIAL.values() and not special_modes:
        raise InvalidInput(f"{title}: member {shown} is {found}, which only comes with special_modes: true")


def extract(
    tarballs: Sequence[str],
    folder: str,
    *,
    deadline: Deadline,
    owners: bool,
    special_modes: bool = False,
    special: Sequence[Collection[str]] = (),
    replaced: Sequence[str] = (),
    member: str = "",
    sandbox: Sandbox | None = None,
    keeper: Sandbox | None = None,
    attributes: Sequence[Attributes] = (),
    reserve: int = 0,
    notes: list[str] | None = None,
) -> None:
    """Given tarballs that were examined, unpack them as `unpack` does. Raise ToolFailed, Hostile, DeadlineExceeded or OSError.

    It is ended when the disk has fewer bytes left than the `reserve`: then AltbackupError is raised. What is `special` in each is
    left out where it is not to be made. Links of the full tarball
    that were found `replaced` are removed before its differential is unpacked. A confined tar that keeps owners may not set all
    `attributes`: those of each tarball are set behind it. `notes` receive what could not be set.
    """
    as_user = keeper is None and sandbox is not None  # who makes no devices
    if keeper is None and sandbox is not None:
        chown_tree(folder, sandbox.identity())
    argv = _tar_command(owners, special_modes, as_user)
    if attributes:
        argv += ["--xattrs-exclude=trusted.*", "--xattrs-exclude=security.*"]
    argv += ["--listed-incremental=/dev/null"] if len(tarballs) > 1 else []
    # what a differential says of one file stands at its folder
    names = ["--", member] if member and len(tarballs) == 1 else []
    omitted = special if as_user or not special_modes else ()
    for number, tarball in enumerate(tarballs):
        if number:
            _remove_links(folder, replaced)
        excluded = omitted[number] if number < len(omitted) else ()
        options = ["--anchored", "--no-wildcards", *(f"--exclude={name}" for name in excluded)]
        said = _extract(tarball, folder, [*argv, *options, *names], deadline, sandbox, keeper or sandbox, reserve)
        _remove_files(folder, excluded if number else ())
        if attributes:
            attributes[number].give(folder, special_modes=special_modes)
            said += attributes[number].refused()
        if notes is not None:
            notes += said
    _settle_modes(folder, owners=owners, special_modes=special_modes)


def _remove_links(folder: str, links: Sequence[str]) -> None:
    """Remove symbolic links that were unpacked: GNU tar leaves them where a rename of its differential fails."""
    for link in links:
        path = os.path.join(folder, link)
        if os.path.islink(path):
            os.unlink(path)


def _remove_files(folder: str, names: Iterable[str]) -> None:
    """Remove what the full tarball had where its differential has what was left out."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def clean_member(member: str, top: str) -> str:
    """Given a path inside a tarball, or none, and its top folder, return the path as tar has it, but for a slash at the end. Raise InvalidInput.

    `./` at its beginning stands for the top folder.
    """
    if not member:
        return ""
    path = member.rstrip("/")
    parts = [top, *path.split("/")[1:]] if path.startswith("./") else path.split("/")
    if parts[0] != top or {"", ".", ".."} & set(parts) or "\0" in member:
        raise InvalidInput(
            f"member {printable(repr(member))} is not a path inside the tarball, which begins with {top}/ or, whatever that is, with ./"
        )
    return "/".join(parts)


def measure(tarball: str, deadline: Deadline) -> tuple[int, int]:
    """Given a tarball, return the number of its entries and the apparent bytes of its files. Raise Hostile, ToolFailed or OSError."""
    contents = examine(tarball, top="", limits=Limits(_UNLIMITED, _UNLIMITED, _UNLIMITED), deadline=deadline)
    return contents.entries, contents.bytes


def read_content(tarball: str, name: str, top: str, deadline: Deadline) -> str:
    """Given a tarball of this node's own dumps, its name and top folder, return the digest of its content, as a manifest would have it.

    Raise ToolFailed for a damaged one, DeadlineExceeded or OSError.
    """
    manifest = Manifest()
    with open_plain(tarball) as source, progress.reading("compared", source):
        with _decompressed(name, source, deadline, None) as (stream, check):
            metered = _Metered(stream, tarball, deadline, lambda block: None)

            def look(member: tarfile.TarInfo) -> None:
                metered.allow(_stored_bytes(member))

            try:
                read_manifest(metered, manifest, top, look=look)  # type: ignore[arg-type]
                while metered.read(_BLOCK):
                    pass
            except (tarfile.TarError, EOFError, ValueError, OverflowError, Hostile) as error:
                raise ToolFailed(f"{tarball} is damaged: {error}") from error
            check()
    return manifest.content


def examine(
    tarball: str,
    *,
    top: str,
    limits: Limits,
    deadline: Deadline,
    special: bool = True,
    sandbox: Sandbox | None = None,
    digested: bool = False,
    below: Collection[str] = (),
    attributes: Attributes | None = None,
    wanted: str = "",
    alone: bool = True,
    seen: Callable[[Any], None] = lambda member: None,
    files: Any = None,
) -> Contents:
    """Given a tarball, read all of it and return what it holds; with `digested` with the digest of its manifest.

    Each member that passes is `seen`; `files`, as in a manifest, is told the digests of those that are `digested`.

    If it is a differential, `below` are the symbolic links of its full tarball, over which it is to be unpacked. `attributes` receive
    what only root may set. With `wanted`, a path in it, it is told whether that was `found`, and if it is to be unpacked `alone`,
    `stored` is what that one takes, with all below it. Unless `special` ones may be in it, devices and named pipes are refused.
    Raise Hostile, naming the member, for what no archive with this top folder (any one if it is empty) holds, ToolFailed
    for a damaged one, DeadlineExceeded or OSError.
    """
    manifest = Contents(files=files)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_plain(tarball))
        stream, check = stack.enter_context(_decompressed(tarball, source, deadline, sandbox))
        listing = stack.enter_context(listed(tarball, _confined(list_command(), sandbox, deadline), deadline))
        headers = Headers()

        def feed(block: bytes) -> None:
            headers.feed(block)
            listing.feed(block)

        metered = _Metered(stream, tarball, deadline, feed)
        rules = Rules(tarball, top, limits, deadline, special, manifest, below, wanted=wanted, alone=alone)

        def look(member: Any) -> None:
            metered.allow(_stored_bytes(member))
            header = _require_same(tarball, headers, member)
            rules.check(member)
            listing.expect(header)
            if attributes is not None:
                attributes.add(member)
            seen(member)

        stack.enter_context(progress.reading("looked through", source))
        try:
            end = read_manifest(metered, manifest, top, look=look, digested=digested)  # type: ignore[arg-type]
            metered.require_end(end)
            _require_same(tarball, headers, None)
            if manifest.entries:
                try:
                    listing.finish(deadline)
                except ToolFailed as error:
                    raise Unlistable(str(explained(error))) from error
        except Unlistable:
            raise
        except (tarfile.TarError, EOFError, ValueError, OverflowError, ToolFailed) as error:
            if any(header.problem for header in headers.found):
                _require_same(tarball, headers, None)
            if not stream.read(1):
                check()  # the decompressor has the reason
            raise ToolFailed(f"{tarball} is damaged: {error}") from error
        check()
    if not manifest.entries:
        raise ToolFailed(f"{tarball} is damaged: it holds nothing")
    return manifest


def _require_same(tarball: str, headers: Headers, member: Any, ending: str = _UNPACKED) -> Header:
    """Return the next member as its headers have it, which is none where `member` is. Raise Hostile unless it was read as they are."""
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


def _stored_bytes(member: Any) -> int:
    """Return how many bytes of the stream are a member's content."""
    if member.sparse is not None:
        return int(sum(size for _, size in member.sparse))
    return int(member.size) if member.type in _PLAIN else 0


def _disk_bytes(member: Any) -> int:
    """Return how many bytes a member takes on a disk of the usual blocks."""
    if member.isdir():
        return _INODE + _DISK_BLOCK
    parts = [(0, member.size)] if member.sparse is None else member.sparse
    blocks = sum(-(-(offset + size) // _DISK_BLOCK) - offset // _DISK_BLOCK for offset, size in parts if size)
    return _INODE + (int(blocks) * _DISK_BLOCK if member.type in _PLAIN else 0)


class _Metered:
    """A stream that ends an archive early which has more headers than any real one, or anything but zeros behind its end."""

    def __init__(self, stream: IO[bytes], title: str, deadline: Deadline, feed: Callable[[bytes], None]) -> None:
        """What is read is handed to `feed`, too."""
        self._stream = stream
        self._feed = feed
        self._title = title
        self._deadline = deadline
        self._left = _MARGIN
        self._total = 0
        self._last = b""

    def allow(self, size: int) -> None:
        """Allow for the content of a member, and for the headers of the next."""
        self._left = size + _MARGIN

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raise Hostile or DeadlineExceeded."""
        self._deadline.remaining()
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise Hostile(
                f"{self._title}: more than {readable(_MARGIN)} of headers before one member, or behind the last one"
            )
        self._feed(block)
        self._total += len(block)
        self._last = self._last[-size:] + block  # a reader of blocks has not yet looked at all that it read
        return block

    def require_end(self, offset: int) -> None:
        """Given where the last member ends, raise ToolFailed if no end is marked there, Hostile if there is more behind it.

        What stands behind an end, or behind a header that is none, one reader of archives sees and another does not.
        """
        behind = self._last[len(self._last) - (self._total - offset) :]
        seen = len(behind)
        while block := self.read(_BLOCK):
            seen += len(block)
            behind = behind.strip(b"\0") or block
        if behind.strip(b"\0"):
            raise Hostile(f"{self._title}: there is more behind its end")
        if not seen:
            raise ToolFailed("its end is missing")


class Rules:
    """What a member of an archive may be."""

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
        """`ending` says what becomes of an archive that is refused; of what is `wanted` alone the stored bytes are told."""
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
        """{path: what it is}"""
        self._replaced = contents.replaced
        self._bytes = 0
        self._holes = 0
        self._entries = 0
        self._links = contents.links
        self._below = {link: link for link in below}
        """Where a link of the full tarball is by now, and where it was unpacked."""
        self._perhaps: set[str] = set()
        """Where one still is if GNU tar could not rename what it was to."""
        self._files: set[bytes] = set()

    def check(self, member: Any) -> None:
        """Raise Hostile, naming it, for a member that is not to be unpacked."""
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
        special = _SPECIAL.get(member.type, "")
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
            self._contents.left_out.look(member, special)

    def _take_special(self, member: Any, path: str, what: str) -> None:
        if not self._with_special or len(self._special) >= _MOST_SPECIAL:
            self._refuse(member, f"is {what}")
        self._special[path] = what
        self._contents.special[member.name] = (member.type, member.linkname)

    def _count(self, member: Any) -> None:
        """Raise Hostile where it needs more room than there is, or is a hole that nobody could read through."""
        if member.size < 0:
            self._refuse(member, "has less than no bytes")
        self._bytes += _disk_bytes(member)
        self._holes += max(0, member.size - _stored_bytes(member)) if member.type in _PLAIN else 0
        if self._bytes > self._limits.bytes:
            reason = f"exceeds the limit of {readable(self._limits.bytes)} for what the archive needs on a disk"
            self._refuse(member, reason, TooLarge)
        if self._holes > self._limits.holes:
            reason = f"exceeds the limit of {readable(self._limits.holes)} for holes in sparse files of the archive"
            self._refuse(member, reason)

    def _path(self, member: Any, name: str, what: str) -> str:
        """Return a path without empty parts. Raise Hostile for one that leads out of the top folder."""
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
        """Return the first link that a path leads through, empty if that is none."""
        parts = path.split("/") if self._links or self._below or self._perhaps else []
        prefixes = ("/".join(parts[:end]) for end in range(1, len(parts) + itself))
        return next(filter(self._is_link, prefixes), "")

    def _check_hard_link(self, member: Any, path: str) -> str:
        """Return what it leads to if that is a device or a named pipe, else an empty text. Raise Hostile."""
        target = self._path(member, member.linkname, "its hard link to")
        if self._link_before(target, itself=False):
            self._refuse(member, f"its hard link to {printable(target)!r} leads through a symbolic link of the archive")
        if _short(target) not in self._files:
            self._refuse(member, f"its hard link to {printable(target)!r} leads to what the archive has not")
        if self._is_link(target):
            self._links.add(path)
        return self._special.get(target, "")

    def _check_dumpdir(self, member: Any, path: str) -> None:
        """Follow the links of the full tarball through what a differential removes and renames.

        Raise Hostile if that is not below its top folder, or behind a link.
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
            if not renames and os.geteuid() == 0:  # tar removes it from a folder that it can read
                self._perhaps.discard(link)
        self._follow_renames(member, renames)

    def _follow_renames(self, member: Any, renames: list[tuple[str, str]]) -> None:
        """Given those of a dumpdir, in which no name is that of a temporary folder, rename what the links are known by. Raise Hostile."""
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


class Judge:
    """Judges an archive while it is written, by the rules by which it would be unpacked, whatever the options of a restore."""

    def __init__(self, title: str, top: str, deadline: Deadline, below: Collection[str] = ()) -> None:
        """Of a differential `below` are the symbolic links of its full tarball."""
        self._title = title
        self._rules = Rules(title, top, Limits(_UNLIMITED), deadline, True, Contents(), below, _STORED)
        self._headers = Headers()

    def feed(self, block: bytes) -> None:
        """Take the next bytes of it."""
        self._headers.feed(block)

    def look(self, member: tarfile.TarInfo) -> None:
        """Take a member, whose headers it was fed. Raise Hostile."""
        _require_same(self._title, self._headers, member, _STORED)
        self._rules.check(member)

    def finish(self) -> None:
        """Take its end. Raise Hostile."""
        _require_same(self._title, self._headers, None, _STORED)

    def look_at_names(self, entries: Iterable[tuple[bytes, int]]) -> None:
        """Given what is to be archived, (path in the archive, mode) each, judge it as far as that is told by names and types. Raise Hostile."""
        for path, mode in entries:
            member = tarfile.TarInfo(os.fsdecode(path))
            member.type = _TYPES.get(stat.S_IFMT(mode), tarfile.REGTYPE)
            self._rules.check(member)


def _with_parents(path: str) -> Iterator[str]:
    """Yield a path and those of the folders above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _short(path: str) -> bytes:
    """Return what stands for a path where a million of them are kept."""
    value = new_hash("sha256")
    value.update(path.encode("utf-8", "surrogateescape"))
    return bytes(value.digest()[:12])


@contextlib.contextmanager
def _decompressed(
    tarball: str, source: IO[bytes], deadline: Deadline, sandbox: Sandbox | None
) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Yield the uncompressed stream of a tarball, and what raises ToolFailed where its compression is damaged."""
    name = next((tool for suffix, tool in DECOMPRESSORS.items() if tarball.endswith(suffix)), "")
    if not name:
        yield source, lambda: None
        return
    argv = _confined([find_tool(name), "-d", "-c", "-q"], sandbox, deadline)
    with Child(argv, stdin=source, stdout=subprocess.PIPE, name=name) as child, ended_at(deadline, [child]):
        yield child.stdout, lambda: _check(child, deadline, f"decompressing {tarball}")


def _confined(argv: list[str], sandbox: Sandbox | None, deadline: Deadline) -> list[str]:
    return argv if sandbox is None else sandbox.argv(argv, "", deadline)


def _check(child: Child, deadline: Deadline, what: str) -> None:
    try:
        child.check(deadline, what)
    except ToolFailed as error:
        raise explained(error) from error


def _tar_command(owners: bool, special_modes: bool, sandboxed: bool) -> list[str]:
    """Return GNU tar's argv for what it is to keep."""
    argv = [find_tool("tar"), "--extract", "--file=-", "--warning=no-timestamp", "--no-unquote", "--numeric-owner"]
    argv += ["--delay-directory-restore"]  # in older tarballs siblings stand between a folder and its content
    argv += ["--same-owner", "--same-permissions"] if owners else ["--no-same-owner", "--no-same-permissions"]
    if sandboxed:  # its user may not set them, and no proof looks at them
        return [*argv, "--no-xattrs", "--no-acls", "--no-selinux"]
    argv += ["--xattrs", "--xattrs-include=*", "--acls"]
    return argv if special_modes else [*argv, "--xattrs-exclude=security.capability"]


def _extract(
    tarball: str,
    folder: str,
    argv: list[str],
    deadline: Deadline,
    sandbox: Sandbox | None,
    writer: Sandbox | None,
    reserve: int,
) -> list[str]:
    """Let GNU tar unpack one tarball, that is read in one sandbox, and written in another; return its warnings.

    Raise ToolFailed, DeadlineExceeded or OSError.
    """
    if writer is not None:  # its files may be sparse, and larger than the disk: what they need was judged
        argv = replace(writer, file_size=_UNLIMITED).argv(argv, folder, deadline)
    environment = clean_environment(LC_ALL="C")  # names are bytes
    with open_plain(tarball) as source, _decompressed(tarball, source, deadline, sandbox) as (stream, check):
        with progress.reading("unpacked", source), Child(
            argv, stdin=stream, cwd=folder, environment=environment, name="tar"
        ) as tar:
            if stream is not source:
                stream.close()  # tar alone reads it
            with _ended_when_full(tar, folder, reserve):
                try:
                    _check(tar, deadline, f"unpacking {tarball}")
                finally:
                    tar.end()
                check()
            said = tar.stderr().splitlines()
    more = [f"{len(said) - _WARNINGS} more warnings of tar"] if len(said) > _WARNINGS else []
    return [printable(line) for line in said[:_WARNINGS]] + more


@contextlib.contextmanager
def _ended_when_full(tar: Child, folder: str, reserve: int) -> Iterator[None]:
    """End a tar that unpacks into a folder when its disk has fewer bytes left than a reserve. Raise AltbackupError then."""
    over, found = threading.Event(), []

    def watch() -> None:
        while not over.wait(_LOOK_AGAIN):
            if (free := shutil.disk_usage(folder).free) < reserve:
                found.append(free)
                tar.end()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        if reserve:
            watcher.start()
        yield
    except AltbackupError as error:
        if not found:
            raise
        free, kept = told_apart(found[0], reserve)
        raise AltbackupError(
            f"only {free} were left on the disk of {folder} while it was unpacked, less than the {kept} that stay free: it was ended"
        ) from error
    finally:
        over.set()
        if reserve:
            watcher.join()


def _settle_modes(folder: str, *, owners: bool, special_modes: bool) -> None:
    """Take setuid and setgid off files, and where owners are not kept, let the owner read all. Raise Hostile for what is special."""
    for parent, folders, files, descriptor in walk_open(folder):
        for name in [*folders, *files]:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                continue
            if stat.S_ISDIR(status.st_mode):
                wanted = mode if owners else mode | 0o700
            elif stat.S_ISREG(status.st_mode):
                wanted = (mode if special_modes else mode & ~0o6000) | (0 if owners else 0o400)
            elif special_modes:
                continue
            else:
                raise Hostile(
                    f"{printable(os.path.join(parent, name))} is neither file, folder nor link: it was not announced"
                )
            if wanted != mode:
                os.chmod(name, wanted, dir_fd=descriptor)
