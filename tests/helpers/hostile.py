"""Archives that no dump would make: each tries to write outside the folder that it is unpacked into, or to fill it."""

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
    """A header with a wrong checksum, at which one reader stops and another continues."""
    broken = bytearray(stream([member(f"{TOP}/a")])[:512])
    broken[148:156] = b"0000000\0"
    return stream([folder()])[:512] + bytes(broken) + stream([member("../hidden", b"x")])


def _sparse() -> bytes:
    """A sparse file of an exabyte in a few bytes."""
    size = str(1 << 60)
    headers = {"GNU__sparse__size": size, "GNU__sparse__numblocks": "1"}
    headers |= {"GNU__sparse__offset": "0", "GNU__sparse__numbytes": "1"}
    return stream([folder(), member(f"{TOP}/sparse", b"x", **headers)])


def archives(outside: Path) -> dict[str, tuple[Callable[[], bytes], str]]:
    """Return {what it tries: (the archive's content, the message about it)}; `victim` is a folder that must stay untouched."""
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
            "of headers before one member",
        ),
        "bomb of zeros": (lambda: stream([folder()]) + bytes(80 << 20), "of headers before one member"),
    }


SPECIAL = ("character device", "block device", "named pipe")
"""Member types that are left out, unless requested"""
NAMES = tuple(name for name in archives(Path("/outside")) if name not in SPECIAL)


# Headers that two readers take in two ways


def block(
    path: str | bytes, kind: bytes = b"0", size: int = 0, link: str = "", magic: bytes = b"ustar\x0000", **fields: bytes
) -> bytes:
    """Return the block of a header; fields are given as `at_345=b"..."`."""
    name = path if isinstance(path, bytes) else path.encode()
    made = bytearray(512)
    made[0 : len(name)] = name
    for start, value in ((100, 0o755 if kind == b"5" else 0o644), (108, 0), (116, 0)):
        made[start : start + 8] = b"%07o\0" % value
    made[124:136] = b"%011o\0" % size
    made[136:148] = b"%011o\0" % 0
    made[156:157] = kind
    made[157 : 157 + len(link)] = link.encode()
    made[257:265] = magic
    for field, value in fields.items():
        start = int(field.partition("_")[2])
        made[start : start + len(value)] = value
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def padded(content: bytes) -> bytes:
    """Return content padded to whole blocks."""
    return content + b"\0" * (-len(content) % 512)


def record(key: str, value: str | bytes) -> bytes:
    """Return a record of a pax header."""
    text = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
    length = len(text)
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def pax(*records: tuple[str, str | bytes] | bytes, kind: bytes = b"x") -> bytes:
    """Return a pax header of records, (key, value) or raw bytes."""
    content = b"".join(given if isinstance(given, bytes) else record(*given) for given in records)
    return block("PaxHeaders/x", kind, len(content)) + padded(content)


def long_name(path: str | bytes, kind: bytes = b"L") -> bytes:
    """Return a GNU tar header for a long name, or with type K for a long link target."""
    content = path if isinstance(path, bytes) else path.encode() + b"\0"
    return block("././@LongLink", kind, len(content), magic=b"ustar  \0") + padded(content)


EVIL, GOOD, BODY = f"{TOP}/link/pwned", f"{TOP}/ok", b"written by a target\n"
FILE = block(GOOD, size=len(BODY)) + padded(BODY)
END = bytes(10240)


def linked_full(outside: Path) -> bytes:
    """Return a full archive that holds a link to a folder outside."""
    return block(f"{TOP}/", b"5") + block(f"{TOP}/link", b"2", link=str(outside)) + END


def _sparse_file(*records: tuple[str, str]) -> bytes:
    return pax(*records) + block(GOOD, size=len(BODY)) + padded(BODY)


def _parts(*numbers: int, count: int = -1, size: int = 100) -> list[tuple[str, str]]:
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    told = [("GNU.sparse.size", f"{size}"), ("GNU.sparse.numblocks", f"{len(pairs) if count < 0 else count}")]
    return told + [
        (f"GNU.sparse.{key}", f"{value}")
        for pair in pairs
        for key, value in zip(("offset", "numbytes"), pair, strict=True)
    ]


_LENGTH = len(BODY)
_SEVERAL, _SPARSE = "several extended headers", "is a sparse file whose headers contradict each other"
AMBIGUOUS: dict[str, tuple[bytes, str]] = {
    "L before x": (long_name(GOOD) + pax(("path", EVIL)) + FILE, _SEVERAL),
    "x before L": (pax(("path", GOOD)) + long_name(EVIL) + FILE, _SEVERAL),
    "L before x without a path": (long_name(EVIL) + pax(("mtime", "1")) + FILE, _SEVERAL),
    "K before x": (long_name("x", b"K") + pax(("path", GOOD)) + block(EVIL, b"2", link="y"), _SEVERAL),
    "x before x": (pax(("path", GOOD)) + pax(("path", EVIL)) + FILE, _SEVERAL),
    "L before L": (long_name(GOOD) + long_name(EVIL) + FILE, _SEVERAL),
    "L before K before L": (long_name(GOOD) + long_name("x", b"K") + long_name(EVIL) + FILE, _SEVERAL),
    "g between": (pax(("path", GOOD)) + pax(("comment", "x"), kind=b"g") + FILE, _SEVERAL),
    "g with a path": (pax(("path", EVIL), kind=b"g") + FILE, "a header for all members sets 'path'"),
    "g with a size": (pax(("size", "0"), kind=b"g") + FILE, "a header for all members sets 'size'"),
    "g with a link": (pax(("linkpath", "x"), kind=b"g") + FILE, "a header for all members sets 'linkpath'"),
    "g with a sparse name": (
        pax(("GNU.sparse.name", EVIL), kind=b"g") + FILE,
        "for all members sets 'GNU.sparse.name'",
    ),
    "x at the end": (FILE + pax(("path", EVIL)), "has an extended header, but is none"),
    "path twice": (pax(("path", GOOD), ("path", EVIL)) + FILE, "sets 'path' twice"),
    "size twice": (pax(("size", "0"), ("size", f"{_LENGTH}")) + FILE, "sets 'size' twice"),
    "other size": (pax(("size", "512")) + FILE, "its size is given twice"),
    "signed size": (pax(("size", f"+{_LENGTH}")) + FILE, "its size is given twice"),
    "size of a link": (
        pax(("size", "512")) + block(GOOD, b"2", link="x") + bytes(512),
        "is no file, but has 512 bytes",
    ),
    "sparse name": (pax(("GNU.sparse.name", EVIL), ("path", GOOD)) + FILE, "sets 'GNU.sparse.name', of a form"),
    "sparse name alone": (pax(("GNU.sparse.name", EVIL)) + FILE, "sets 'GNU.sparse.name', of a form"),
    "sparse 1.0": (
        pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")) + FILE,
        "sets 'GNU.sparse.major', of a form",
    ),
    "sparse map": (pax(("GNU.sparse.map", "0,1")) + FILE, "sets 'GNU.sparse.map', of a form"),
    "sparse of too few parts": (_sparse_file(*_parts(0, _LENGTH, count=2)), _SPARSE),
    "sparse of other bytes": (_sparse_file(*_parts(0, 512)), _SPARSE),
    "sparse beyond its end": (_sparse_file(*_parts(90, _LENGTH)), _SPARSE),
    "sparse backwards": (_sparse_file(*_parts(50, 10, 0, 10)), _SPARSE),
    "sparse of parts alone": (_sparse_file(*_parts(0, _LENGTH)[2:]), _SPARSE),
    "sparse of negative parts": (_sparse_file(*_parts(0, -1, 0, _LENGTH + 1)), _SPARSE),
    "sparse in another order": (_sparse_file(*_parts(0, _LENGTH)[:2], *_parts(0, _LENGTH)[:1:-1]), _SPARSE),
    "sparse folder": (pax(*_parts(0, 0, size=0)) + block(f"{TOP}/d", b"5"), _SPARSE),
    "old sparse": (block(GOOD, b"S", magic=b"ustar  \0"), "is a sparse file of an old form"),
    "old extended header": (pax(("path", EVIL), kind=b"X") + FILE, "an extended header of an old form"),
    "record of another length": (pax(b"99 path=x\n") + FILE, "another length than it says"),
    "record in two": (pax(b"30 comment=x\n20 path=thing/x/y\n") + FILE, "another length than it says|without a length"),
    "record without a length": (pax(b" path=x\n") + FILE, "without a length"),
    "padded length": (pax(b"010 path=x\n") + FILE, "without a length"),
    "record without end": (pax(b"8 path=x") + FILE, "another length than it says"),
    "empty path": (pax(("path", "")) + FILE, "sets 'path' to what is no path"),
    "path with a NUL": (pax(("path", f"{GOOD}\0/../{EVIL}")) + FILE, "sets 'path' to what is no path"),
    "link with a NUL": (pax(("linkpath", "a\0b")) + block(GOOD, b"2"), "sets 'linkpath' to what is no path"),
    "long name with a NUL": (long_name(GOOD.encode() + b"\0" + EVIL.encode() + b"\0") + FILE, "does not end where"),
    "long name without end": (long_name(GOOD.encode()) + FILE, "does not end where"),
    "empty extended header": (block("x", b"x") + FILE, "an extended header without content"),
    "unknown character set": (pax(("hdrcharset", "EBCDIC"), ("path", GOOD)) + FILE, "unknown character set"),
    "prefix of another format": (
        block("ok", size=_LENGTH, magic=b"ustar  \0", at_345=f"{TOP}/link".encode()) + padded(BODY),
        "has content in its header where none belongs",
    ),
    "no magic": (block(GOOD, size=_LENGTH, magic=bytes(8)) + padded(BODY), "of a format that neither"),
    "number that is none": (block(GOOD, at_124=b"0000000\x0024x\0") + padded(BODY), "its size is no number"),
    "base 64": (block(GOOD, at_124=b"+AAAAAAAAAU") + padded(BODY), "its size is no number|more behind its end"),
    "file with the name of a folder": (block(f"{GOOD}/", size=_LENGTH) + padded(BODY), "has the name of a folder"),
    "old folder": (block(f"{GOOD}/", b"\0"), "has the name of a folder"),
    "file that leads somewhere": (block(GOOD, size=_LENGTH, link="x") + padded(BODY), "is no link, but says where"),
    "dumpdir of a file": (pax(("GNU.dumpdir", "Nx\0\0")) + FILE, "is no folder, but says what is in it"),
    "endless path": (pax(("path", f"{TOP}/{'x' * 70000}")) + FILE, "a path of more than 65536 bytes"),
}
