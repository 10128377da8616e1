"""GNU tar's own list of an archive, compared member by member with what was examined."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence

from ..system.errors import Hostile
from ..system.processes import Child, Deadline, ended_at
from ..system.programs import clean_environment, find_tool
from ..system.visible import printable
from .headers import Header

_LONGEST_LINE = 1 << 20
_QUOTED = rb'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rb"(.)\S* +\S+ +(\d+|\d+,\d+) [^\"]*" + _QUOTED + rb"(?:(?: -> | link to )" + _QUOTED + rb")?\n")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_TYPES = {b"0": b"-", b"\0": b"-", b"1": b"h", b"2": b"l", b"3": b"c", b"4": b"b", b"5": b"d", b"6": b"p"}


def list_command() -> list[str]:
    """Return the argv with which GNU tar lists an archive, one line for each member, whatever bytes its name has."""
    return [
        find_tool("tar"),
        "--list",
        "--verbose",
        "--file=-",
        "--quoting-style=c",
        "--numeric-owner",
        "--full-time",
        "--utc",
    ]


def parse_line(line: bytes) -> tuple[bytes, int, bytes, bytes] | None:
    """Parse a line of the list into (type, size, name, link), None if it is not about a member."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    kind, size, name, link = match.groups()
    return kind, int(size) if size.isdigit() else 0, _unquoted(name).rstrip(b"/"), _unquoted(link or b"")


def _unquoted(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: _escaped(match[1]), text) if b"\\" in text else text


def _escaped(code: bytes) -> bytes:
    return bytes([int(code, 8) & 255]) if len(code) == 3 else _ESCAPED.get(code, code)


_GRACE = 5.0


class Listing:
    """A GNU tar that lists the bytes it is fed, which are those that were examined."""

    def __init__(self, tarball: str, tar: Child) -> None:
        self._tarball = tarball
        self._tar = tar
        self._lines: deque[bytes] = deque()
        self._expected: deque[Header] = deque()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self._tar.process.stdout
        while stream is not None:
            line = stream.readline(_LONGEST_LINE)
            if not line:
                return
            self._lines.append(line)

    def feed(self, block: bytes) -> None:
        """Pass the next bytes to tar, which reads none after the end of an archive."""
        view = memoryview(block)
        with contextlib.suppress(BrokenPipeError):
            while view:
                view = view[os.write(self._tar.stdin.fileno(), view) :]

    def expect(self, header: Header) -> None:
        """Add the next examined member, and compare the lines that tar has printed so far. Raise Hostile."""
        self._expected.append(header)
        while self._lines and self._expected:
            self._compare(self._lines.popleft(), self._expected.popleft())

    def finish(self, deadline: Deadline) -> None:
        """Wait for tar to end, and compare the rest. Raise Hostile or ToolFailed."""
        self._tar.stdin.close()
        self._reader.join()
        while self._lines and self._expected:
            self._compare(self._lines.popleft(), self._expected.popleft())
        self._tar.check(deadline, f"listing {self._tarball}")
        if self._lines:
            raise self._refusal("more members than there are", self._lines[0])
        if self._expected:
            raise self._refusal("no such member", b'"%s"' % self._expected[0].name)

    def stop(self) -> None:
        """Wait until the output of a tar that has ended is read."""
        self._reader.join(_GRACE)

    def _compare(self, line: bytes, header: Header) -> None:
        wanted = (
            _TYPES.get(header.kind, b"?"),
            header.size,
            header.name.rstrip(b"/"),
            header.link if header.kind in (b"1", b"2") else b"",
        )
        if parse_line(line) != wanted:
            raise self._refusal(f"another member than {printable(_text(header.name))!r}", line)

    def _refusal(self, what: str, line: bytes) -> Hostile:
        line_text = printable(_text(line.strip()[:300]))
        return Hostile(f"{self._tarball}: this node's tar sees {what}: {line_text}; nothing was unpacked")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def open_listing(tarball: str, argv: Sequence[str], deadline: Deadline) -> Iterator[Listing]:
    """Yield the Listing of a tarball, to be fed and finished; `argv` is `list_command`, perhaps confined."""
    tar = Child(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, environment=clean_environment(LC_ALL="C"), name="tar"
    )
    with tar, ended_at(deadline, [tar]):
        listing = Listing(tarball, tar)
        try:
            yield listing
        finally:
            tar.end()
            listing.stop()
