"""The manifest of an archive, computed from its stream: entries, bytes, and digests over paths and contents."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ..system.digest import CHUNK, add_zeros, new_hash
from .digests import HEAD, UNCLASSIFIED, Digests
from .owners import Owners

if TYPE_CHECKING:
    from .snapshot import Members


_BLOCK = 1 << 15
"""Bytes that tarfile reads at once; it copies the unread rest of them for each header"""


@dataclass
class Manifest:
    """The number of an archive's entries, the bytes of its files, and a digest over all paths and contents."""

    entries: int = 0
    bytes: int = 0
    digest: str = ""
    content: str = ""
    """Digest over all that is restored, except names of owners; independent of how headers are written"""
    owners: Owners = field(default_factory=Owners)
    files: Digests | None = None
    """Receives size and digest of each file"""
    members: Members | None = None
    """Receives each member"""


def read_manifest(
    stream: IO[bytes],
    manifest: Manifest,
    top: str,
    *,
    visit: Callable[[tarfile.TarInfo], None] | None = None,
    digested: bool = True,
) -> int:
    """Fill a manifest from an uncompressed tar stream: paths below the top folder, sizes, owners and SHA-256 digests.

    `visit` is called for each member before its content is read; without `digested` contents are skipped, and there are no digests. Return the offset in bytes
    at which the last member ends. Raise tarfile.TarError if the stream is no archive.
    """
    total, content = new_hash("sha256"), new_hash("sha256")
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK, encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            if visit is not None:
                visit(member)
            if member.isreg():
                manifest.bytes += member.size
            manifest.owners.add_member(member)
            if digested:
                path = member.name[len(top) + 1 :]
                line, digest, content_class = _line(archive, member, path, manifest.files)
                attributes = _attributes(member)
                total.update(line)
                content.update(attributes + line)
                if manifest.members is not None:
                    plain = not _more_attributes(member)
                    manifest.members.add(
                        member, path, digest, content_class, is_plain=plain, attributes=attributes, line=line
                    )
            manifest.entries += 1
            archive.members = []  # type: ignore[attr-defined]  # drop parsed members from memory
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
"""Keys of extended headers that are in the manifest's line, among the numbers, or not restored"""


def _attributes(member: tarfile.TarInfo) -> bytes:
    """Return the bytes that a member adds to the content digest before its line: all that is restored, except names of owners."""
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
    """Return the sorted keys of extended headers that are restored, besides mode, owner and time."""
    return sorted(key for key in member.pax_headers if key not in _NO_ATTRIBUTE and not key.startswith("GNU.sparse."))


def _line(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, files: Digests | None
) -> tuple[bytes, bytes, int]:
    """Return a member's line in the manifest, and for a file with content of its own the digest and content class."""
    digest, head, own, content_class = "", b"", b"", UNCLASSIFIED
    if member.isreg():
        content = archive.extractfile(member)
        if content is None:
            raise tarfile.ReadError(f"{member.name} has no content")
        value = new_hash("sha256")
        source = content.raw  # type: ignore[attr-defined]  # the buffered reader would seek in the stream
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
            content_class = files.add(path, member.size, own, head)
    line = manifest_line(
        member.type,
        path.encode("utf-8", "surrogateescape"),
        digest,
        member.linkname.encode("utf-8", "surrogateescape"),
    )
    return line, own, content_class


def pieces_of(member: tarfile.TarInfo) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether it is a hole) of a member's content; an unordered map of holes is ignored."""
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
    """Return a member's line in a manifest; `path` is below the top folder, `digest` hexadecimal, `target` that of a link."""
    return b"\0".join([kind, path, digest.encode(), target]) + b"\n"
