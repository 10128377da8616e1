"""Examination of a whole tarball before anything of it is used: that GNU tar may unpack it, and what it holds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tarfile
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any

from ..system import progress
from ..system.age import NOBODY, SUFFIX, Identities, decrypting, is_encrypted
from ..system.age import explained as not_decrypted
from ..system.digest import open_plain
from ..system.errors import Hostile, ToolFailed
from ..system.processes import Child, Deadline, ended_at
from ..system.programs import find_tool
from ..system.sandbox import Sandbox, explained
from ..system.units import readable
from .attributes import Attributes
from .headers import Headers
from .listing import list_command, open_listing
from .manifest import Manifest, read_manifest
from .rules import UNLIMITED, Contents, Limits, Rules, require_same, stored_bytes

_BLOCK = 1 << 16
_MARGIN = 64 << 20
"""Maximum bytes of headers before one member, and of zeros after the last one; an archive with more is a bomb"""
DECOMPRESSORS = {".zst": "zstd", ".gz": "gzip"}


class Unlistable(ToolFailed):
    """An archive that GNU tar could not list to its end, or for which it could not be started."""


def measure(tarball: str, deadline: Deadline) -> tuple[int, int]:
    """Return the number of a tarball's entries and the apparent bytes of its files. Raise Hostile, ToolFailed or OSError."""
    contents = examine(tarball, top="", limits=Limits(UNLIMITED, UNLIMITED, UNLIMITED), deadline=deadline)
    return contents.entries, contents.bytes


def read_content(tarball: str, name: str, top: str, deadline: Deadline) -> str:
    """Return the content digest of a tarball that this node made, as in a manifest; `name` has its extension, `top` is its top folder.

    Raise ToolFailed for a damaged one, DeadlineExceeded or OSError.
    """
    manifest = Manifest()
    with open_plain(tarball) as source, progress.reading("compared", source):
        with decompressed(name, source, deadline, None) as (stream, check):
            metered = _Metered(stream, tarball, deadline, lambda block: None)

            def visit(member: tarfile.TarInfo) -> None:
                metered.allow(stored_bytes(member))

            try:
                read_manifest(metered, manifest, top, visit=visit)  # type: ignore[arg-type]
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
    identities: Identities = NOBODY,
) -> Contents:
    """Read all of a tarball and return its contents; with `digested` these have the digest of its manifest.

    `seen` is called for each accepted member; `files`, as in a manifest, receives the digests of files if they are `digested`. For a differential `below` are
    the symbolic links of its full tarball, over which it is to be unpacked. `attributes` receive those that only root may set. With `wanted`, a path in it,
    `found` says what that is, and if it is to be unpacked `alone`, `stored` are the bytes that it takes with all below it. Without `special` devices and
    named pipes are refused.

    Raise Hostile, naming the member, for what no archive with this top folder (any if empty) holds, ToolFailed for a damaged archive, NoKey for an encrypted
    one that the `identities` do not open, DeadlineExceeded or OSError.
    """
    manifest = Contents(files=files)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_plain(tarball))
        stream, check = stack.enter_context(decompressed(tarball, source, deadline, sandbox, identities))
        listing = stack.enter_context(open_listing(tarball, _confined(list_command(), sandbox, deadline), deadline))
        headers = Headers()

        def feed(block: bytes) -> None:
            headers.feed(block)
            listing.feed(block)

        metered = _Metered(stream, tarball, deadline, feed)
        rules = Rules(tarball, top, limits, deadline, special, manifest, below, wanted=wanted, alone=alone)

        def visit(member: Any) -> None:
            metered.allow(stored_bytes(member))
            header = require_same(tarball, headers, member)
            rules.check(member)
            listing.expect(header)
            if attributes is not None:
                attributes.add(member)
            seen(member)

        stack.enter_context(progress.reading("looked through", source))
        try:
            end = read_manifest(metered, manifest, top, visit=visit, digested=digested)  # type: ignore[arg-type]
            metered.require_end(end)
            require_same(tarball, headers, None)
            if manifest.entries:
                try:
                    listing.finish(deadline)
                except ToolFailed as error:
                    raise Unlistable(str(explained(error))) from error
        except Unlistable:
            raise
        except (tarfile.TarError, EOFError, ValueError, OverflowError, ToolFailed) as error:
            if any(header.problem for header in headers.found):
                require_same(tarball, headers, None)
            if not stream.read(1):
                check()  # its message has the reason
            raise ToolFailed(f"{tarball} is damaged: {error}") from error
        check()
    if not manifest.entries:
        raise ToolFailed(f"{tarball} is damaged: it holds nothing")
    return manifest


class _Metered:
    """A stream that refuses an archive with more headers than a valid one has, or with anything but zeros after its end."""

    def __init__(self, stream: IO[bytes], title: str, deadline: Deadline, feed: Callable[[bytes], None]) -> None:
        """Each block that is read is passed to `feed`."""
        self._stream = stream
        self._feed = feed
        self._title = title
        self._deadline = deadline
        self._left = _MARGIN
        self._total = 0
        self._last = b""

    def allow(self, size: int) -> None:
        """Allow as many bytes as the content of a member has, and the headers of the next."""
        self._left = size + _MARGIN

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes. Raise Hostile or DeadlineExceeded."""
        self._deadline.remaining()
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise Hostile(
                f"{self._title}: more than {readable(_MARGIN)} of headers before one member, or behind the last one"
            )
        self._feed(block)
        self._total += len(block)
        self._last = self._last[-size:] + block  # tarfile reads whole blocks and has not yet parsed all of them
        return block

    def require_end(self, offset: int) -> None:
        """Check the rest of the stream from `offset` in bytes, where the last member ends.

        Raise ToolFailed if there is no end mark, Hostile if data follow it: some tar programs would read these, and others not.
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


@contextlib.contextmanager
def decompressed(
    tarball: str, source: IO[bytes], deadline: Deadline, sandbox: Sandbox | None, identities: Identities = NOBODY
) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Yield the uncompressed stream of a tarball, and a function that raises ToolFailed if its compression was damaged.

    An encrypted one is decrypted first; NoKey is raised at once without a key, and by the function with a wrong one.
    """
    if is_encrypted(tarball):
        with contextlib.ExitStack() as stack:
            age = stack.enter_context(decrypting(identities, source, os.path.basename(tarball)))
            stack.enter_context(ended_at(deadline, [age]))
            inner = stack.enter_context(decompressed(tarball[: -len(SUFFIX)], age.stdout, deadline, sandbox))
            if inner[0] is not age.stdout:
                age.stdout.close()  # only the decompressor reads it

            def check() -> None:
                try:
                    age.check(deadline, f"decrypting {tarball}")
                except ToolFailed as error:
                    raise not_decrypted(error, os.path.basename(tarball)) from error
                inner[1]()

            yield inner[0], check
        return
    name = next((tool for suffix, tool in DECOMPRESSORS.items() if tarball.endswith(suffix)), "")
    if not name:
        yield source, lambda: None
        return
    argv = _confined([find_tool(name), "-d", "-c", "-q"], sandbox, deadline)
    with Child(argv, stdin=source, stdout=subprocess.PIPE, name=name) as child, ended_at(deadline, [child]):
        yield child.stdout, lambda: check_child(child, deadline, f"decompressing {tarball}")


def _confined(argv: list[str], sandbox: Sandbox | None, deadline: Deadline) -> list[str]:
    return argv if sandbox is None else sandbox.argv(argv, "", deadline)


def check_child(child: Child, deadline: Deadline, what: str) -> None:
    try:
        child.check(deadline, what)
    except ToolFailed as error:
        raise explained(error) from error
