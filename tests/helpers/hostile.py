"""Archives that no dump would make: each tries to reach out of the folder that it is unpacked into, or to fill it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

Member = tuple[tarfile.TarInfo, bytes]
TOP = "thing"


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644, **headers: str
) -> Member:
    """Return a member of an archive, with further pax headers."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    info.pax_headers = {key.replace("__", "."): value for key, value in headers.items()}
    return info, content


def folder(name: str = TOP, **headers: str) -> Member:
    """Return a folder."""
    return member(name, kind=tarfile.DIRTYPE, mode=0o755, **headers)


def stream(members: Iterable[Member]) -> bytes:
    """Return an archive of the members, in their order."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return output.getvalue()


def compressed(path: Path, content: bytes) -> Path:
    """Write the content of an archive to a tarball, compressed as its name says; return its path."""
    tool = {".zst": ["zstd", "-q"], ".gz": ["gzip"]}.get(path.suffix)
    path.write_bytes(subprocess.run(tool, input=content, capture_output=True, check=True).stdout if tool else content)
    return path


def _special(kind: bytes) -> bytes:
    info, content = member(f"{TOP}/special", kind=kind, mode=0o666)
    info.devmajor, info.devminor = 1, 3
    return stream([folder(), (info, content)])


def _sized_link() -> bytes:
    """A link that claims to have content: one reader takes what follows for members, another passes over it."""
    hidden = stream([member("../hidden", b"x")])[:-8192]
    info, _ = member(f"{TOP}/link", kind=tarfile.SYMTYPE, link="x")
    info.size = len(hidden)
    return stream([folder()])[:512] + info.tobuf(tarfile.GNU_FORMAT) + hidden + bytes(10240)


def _behind_broken_header() -> bytes:
    """A header with a wrong checksum, where one reader ends and another goes on."""
    broken = bytearray(stream([member(f"{TOP}/a")])[:512])
    broken[148:156] = b"0000000\0"
    return stream([folder()])[:512] + bytes(broken) + stream([member("../hidden", b"x")])


def _sparse() -> bytes:
    """A sparse file of an exabyte in a few bytes."""
    size = str(1 << 60)
    headers = {"GNU__sparse__size": size, "GNU__sparse__numblocks": "1", "GNU__sparse__map": "0,1"}
    return stream([folder(), member(f"{TOP}/sparse", b"x", **headers)])


def archives(outside: Path) -> dict[str, tuple[Callable[[], bytes], str]]:
    """Given a folder that is not to be touched, return {what it tries: (the archive's content, what is said to it)}."""
    away = f"../../../../../../../../../..{outside}"
    return {
        "absolute name": (lambda: stream([member(f"{outside}/new", b"x")]), "is absolute"),
        "parent folder": (lambda: stream([folder(), member(f"{TOP}/{away}/new", b"x")]), r"leads out by \.\."),
        "second top folder": (lambda: stream([folder(), member("other/file", b"x")]), "not in the top folder"),
        "other top folder": (lambda: stream([folder("other")]), "not in the top folder"),
        "current folder": (lambda: stream([folder("."), member("./file", b"x")]), "not in the top folder"),
        "link in the place of the top folder": (
            lambda: stream([member(TOP, kind=tarfile.SYMTYPE, link=str(outside))]),
            "in the place of the top folder",
        ),
        "file in the place of the top folder": (lambda: stream([member(TOP, b"x")]), "in the place of the top folder"),
        "character device": (lambda: _special(tarfile.CHRTYPE), "is a device"),
        "block device": (lambda: _special(tarfile.BLKTYPE), "is a device"),
        "named pipe": (lambda: _special(tarfile.FIFOTYPE), "is a named pipe"),
        "unknown type": (lambda: stream([folder(), member(f"{TOP}/odd", kind=b"Z")]), "unknown type"),
        "old differential": (lambda: stream([folder(), member(f"{TOP}/odd", kind=b"D")]), "unknown type"),
        "hard link out": (
            lambda: stream([folder(), member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{TOP}/{away}/canary")]),
            r"leads out by \.\.",
        ),
        "absolute hard link": (
            lambda: stream([folder(), member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{outside}/canary")]),
            "is absolute",
        ),
        "hard link to nothing": (
            lambda: stream([folder(), member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{TOP}/none")]),
            "what the archive has not",
        ),
        "hard link through a link": (
            lambda: stream(
                [
                    folder(),
                    member(f"{TOP}/link", kind=tarfile.SYMTYPE, link=str(outside)),
                    member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{TOP}/link/canary"),
                ]
            ),
            "through a symbolic link",
        ),
        "file below a link": (
            lambda: stream(
                [
                    folder(),
                    member(f"{TOP}/link", kind=tarfile.SYMTYPE, link=str(outside)),
                    member(f"{TOP}/link/canary", b"overwritten"),
                ]
            ),
            "through a symbolic link",
        ),
        "file in the place of a link": (
            lambda: stream(
                [
                    folder(),
                    member(f"{TOP}/link", kind=tarfile.SYMTYPE, link=f"{outside}/canary"),
                    member(f"{TOP}/link", b"overwritten"),
                ]
            ),
            "through a symbolic link",
        ),
        "file below a hard link of a link": (
            lambda: stream(
                [
                    folder(),
                    member(f"{TOP}/link", kind=tarfile.SYMTYPE, link=str(outside)),
                    member(f"{TOP}/hard", kind=tarfile.LNKTYPE, link=f"{TOP}/link"),
                    member(f"{TOP}/hard/canary", b"overwritten"),
                ]
            ),
            "through a symbolic link",
        ),
        "differential that renames out": (
            lambda: stream([folder(GNU__dumpdir=f"R{outside}/canary\0T{TOP}/taken\0\0")]),
            "what it renames",
        ),
        "differential that lists a path": (
            lambda: stream([folder(GNU__dumpdir=f"Y{away}/canary\0\0")]),
            "no name in a folder",
        ),
        "link with content": (_sized_link, "is no file, but has|not in the top folder|leads out"),
        "behind a broken header": (_behind_broken_header, "more behind its end"),
        "second archive": (lambda: stream([folder()]) + stream([member("../hidden", b"x")]), "more behind its end"),
        "compressed bomb": (lambda: stream([folder(), member(f"{TOP}/bomb", bytes(64 << 20))]), "exceeds the limit"),
        "sparse bomb": (_sparse, "exceeds the limit"),
        "bomb of entries": (
            lambda: stream([folder(), *(member(f"{TOP}/{number}") for number in range(2000))]),
            "one of more than",
        ),
        "bomb of headers": (
            lambda: stream([folder(), member(f"{TOP}/a", b"x", comment="x" * (80 << 20))]),
            "bytes of headers",
        ),
        "bomb of zeros": (lambda: stream([folder()]) + bytes(80 << 20), "bytes of headers"),
    }


NAMES = tuple(archives(Path("/outside")))
