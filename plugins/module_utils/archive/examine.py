"""Reading a tarball whole before anything of it is used: that GNU tar may have it, and what it holds."""

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
from .listing import list_command, listed
from .manifest import Manifest, read_manifest
from .rules import UNLIMITED, Contents, Limits, Rules, require_same, stored_bytes

_BLOCK = 1 << 16
_MARGIN = 64 << 20
"""Bytes of headers before one member, and of zeros behind the last one, above which an archive is a bomb."""
DECOMPRESSORS = {".zst": "zstd", ".gz": "gzip"}


class Unlistable(ToolFailed):
    """An archive that GNU tar could not read to its end, or was not started to read."""


def measure(tarball: str, deadline: Deadline) -> tuple[int, int]:
    """Given a tarball, return the number of its entries and the apparent bytes of its files. Raise Hostile, ToolFailed or OSError."""
    contents = examine(tarball, top="", limits=Limits(UNLIMITED, UNLIMITED, UNLIMITED), deadline=deadline)
    return contents.entries, contents.bytes


def read_content(tarball: str, name: str, top: str, deadline: Deadline) -> str:
    """Given a tarball of this node's own dumps, its name and top folder, return the digest of its content, as a manifest would have it.

    Raise ToolFailed for a damaged one, DeadlineExceeded or OSError.
    """
    manifest = Manifest()
    with open_plain(tarball) as source, progress.reading("compared", source):
        with decompressed(name, source, deadline, None) as (stream, check):
            metered = _Metered(stream, tarball, deadline, lambda block: None)

            def look(member: tarfile.TarInfo) -> None:
                metered.allow(stored_bytes(member))

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
    identities: Identities = NOBODY,
) -> Contents:
    """Given a tarball, read all of it and return what it holds; with `digested` with the digest of its manifest.

    Each member that passes is `seen`; `files`, as in a manifest, is told the digests of those that are `digested`.

    If it is a differential, `below` are the symbolic links of its full tarball, over which it is to be unpacked. `attributes` receive
    what only root may set. With `wanted`, a path in it, it is told whether that was `found`, and if it is to be unpacked `alone`,
    `stored` is what that one takes, with all below it. Unless `special` ones may be in it, devices and named pipes are refused.
    Raise Hostile, naming the member, for what no archive with this top folder (any one if it is empty) holds, ToolFailed
    for a damaged one, NoKey for an encrypted one that the `identities` do not open, DeadlineExceeded or OSError.
    """
    manifest = Contents(files=files)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_plain(tarball))
        stream, check = stack.enter_context(decompressed(tarball, source, deadline, sandbox, identities))
        listing = stack.enter_context(listed(tarball, _confined(list_command(), sandbox, deadline), deadline))
        headers = Headers()

        def feed(block: bytes) -> None:
            headers.feed(block)
            listing.feed(block)

        metered = _Metered(stream, tarball, deadline, feed)
        rules = Rules(tarball, top, limits, deadline, special, manifest, below, wanted=wanted, alone=alone)

        def look(member: Any) -> None:
            metered.allow(stored_bytes(member))
            header = require_same(tarball, headers, member)
            rules.check(member)
            listing.expect(header)
            if attributes is not None:
                attributes.add(member)
            seen(member)

        stack.enter_context(progress.reading("looked through", source))
        try:
            end = read_manifest(metered, manifest, top, look=look, digested=digested)  # type: ignore[arg-type]
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
                check()  # the decompressor has the reason
            raise ToolFailed(f"{tarball} is damaged: {error}") from error
        check()
    if not manifest.entries:
        raise ToolFailed(f"{tarball} is damaged: it holds nothing")
    return manifest


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


@contextlib.contextmanager
def decompressed(
    tarball: str, source: IO[bytes], deadline: Deadline, sandbox: Sandbox | None, identities: Identities = NOBODY
) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Yield the uncompressed stream of a tarball, and what raises ToolFailed where its compression is damaged.

    Of an encrypted one it is decrypted first; raise NoKey where there is no key, as does what is yielded where it is another one.
    """
    if is_encrypted(tarball):
        with contextlib.ExitStack() as stack:
            age = stack.enter_context(decrypting(identities, source, os.path.basename(tarball)))
            stack.enter_context(ended_at(deadline, [age]))
            inner = stack.enter_context(decompressed(tarball[: -len(SUFFIX)], age.stdout, deadline, sandbox))
            if inner[0] is not age.stdout:
                age.stdout.close()  # the decompressor alone reads it

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
