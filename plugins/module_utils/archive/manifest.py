"""What an archive holds, as it is told while its stream passes: entries, bytes, and digests over paths and contents."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ..system.digest import CHUNK, add_zeros, new_hash
from .digests import HEAD, UNTRIED, Digests
from .owners import Owners

if TYPE_CHECKING:
    from .snapshot import Members


_BLOCK = 1 << 15
"""Bytes that tarfile reads at a time; it copies what is left of them for each header."""


@dataclass
class Manifest:
    """What an archive holds: the number of entries, the bytes of files, and one digest over all paths and contents."""

    entries: int = 0
    bytes: int = 0
    digest: str = ""
    content: str = ""
    """One over all that comes back of it, whatever its headers look like, but for names of owners"""
    owners: Owners = field(default_factory=Owners)
    files: Digests | None = None
    """What is told of each file besides"""
    members: Members | None = None
    """What is told of each member besides"""


def read_manifest(
    stream: IO[bytes],
    manifest: Manifest,
    top: str,
    *,
    look: Callable[[tarfile.TarInfo], None] | None = None,
    digested: bool = True,
) -> int:
    """Given an uncompressed tar stream, fill the manifest: paths below the top folder, sizes, owners and sha256 digests.

    Each member is shown to `look` before its content is read; without `digested` contents are passed over, and there are
    no digests. Return where the last member ends, in bytes. Raise tarfile.TarError where the stream is no archive.
    """
    total, content = new_hash("sha256"), new_hash("sha256")
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            if look is not None:
                look(member)
            if member.isreg():
                manifest.bytes += member.size
            manifest.owners.look(member)
            if digested:
                path = member.name[len(top) + 1 :]
                line, digest, looks = _line(archive, member, path, manifest.files)
                attributes = _attributes(member)
                total.update(line)
                content.update(attributes + line)
                if manifest.members is not None:
                    plain = not _more_attributes(member)
                    manifest.members.add(member, path, digest, looks, is_plain=plain, attributes=attributes, line=line)
            manifest.entries += 1
            archive.members = []  # type: ignore[attr-defined]  # a million members need no memory
        end = int(archive.offset)
    if digested:
        manifest.digest, manifest.content = total.hexdigest(), content.hexdigest()
    return end


_NO_ATTRIBUTE = (
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "uname",
    "gname",
    "mtime",
    "hdrcharset",
    "charset",
    "comment",
    "GNU.dumpdir",
)
"""What else extended headers tell: it is in a manifest's line, or among the numbers, or does not come back"""


def _attributes(member: tarfile.TarInfo) -> bytes:
    """Return what the digest of a content is taken over for one member besides its line in the manifest: all that is restored but names of owners."""
    extended = member.pax_headers
    numbers = (
        member.mode,
        member.uid,
        member.gid,
        extended.get("mtime", int(member.mtime)),
        member.devmajor,
        member.devminor,
    )
    text = "%o %d %d %s %d %d" % numbers
    if extended:
        text += "".join(f"\0{len(extended[key])} {key}={extended[key]}" for key in _more_attributes(member))
    return text.encode("utf-8", "surrogateescape") + b"\0"


def _more_attributes(member: tarfile.TarInfo) -> list[str]:
    """Return the keys of what of a member is restored besides mode, owner and time."""
    return sorted(key for key in member.pax_headers if key not in _NO_ATTRIBUTE and not key.startswith("GNU.sparse."))


def _line(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, files: Digests | None
) -> tuple[bytes, bytes, int]:
    """Return what the manifest's digest is taken over for one member, and of a file with a content of its own the digest, and how it looks."""
    digest, head, own, look = "", b"", b"", UNTRIED
    if member.isreg():
        content = archive.extractfile(member)
        if content is None:
            raise tarfile.ReadError(f"{member.name} has no content")
        value = new_hash("sha256")
        source = content.raw  # type: ignore[attr-defined]  # what buffers it wants to seek in the stream, too
        for start, end, is_hole in pieces_of(member):
            if is_hole:
                add_zeros(value, end - start)
                continue
            source.seek(start)
            left = end - start
            while left and (block := source.read(min(CHUNK, left))):
                value.update(block)
                left -= len(block)
                head = head or block[:HEAD]
        digest, own = value.hexdigest(), value.digest()
        if files is not None:
            look = files.add(path, member.size, own, head)
    line = manifest_line(
        member.type,
        path.encode("utf-8", "surrogateescape"),
        digest,
        member.linkname.encode("utf-8", "surrogateescape"),
    )
    return line, own, look


def pieces_of(member: tarfile.TarInfo) -> Iterator[tuple[int, int, bool]]:
    """Yield (from, to, whether that is a hole) of the content of a member; a map of holes that is in no order is not believed."""
    known: Any = member.sparse
    parts = [(start, start + size) for start, size in known or [] if size]
    ends = [0, *(number for part in parts for number in part), member.size]
    if known is None or ends != sorted(ends):
        yield 0, member.size, False
        return
    for number, (start, end) in enumerate(zip(ends, ends[1:])):
        if start < end:
            yield start, end, number % 2 == 0


def manifest_line(kind: bytes, path: bytes, digest: str, target: bytes) -> bytes:
    """Given a member's type, path below the top folder, digest of its content and link target, return its line in a manifest."""
    return b"\0".join([kind, path, digest.encode(), target]) + b"\n"
