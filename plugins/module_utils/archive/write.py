"""Deterministic archives: tar writes, a compressor compresses, and the digest is taken, in one pass over the data."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from ..system import progress
from ..system.digest import CHUNK, add_zeros, new_hash
from ..system.errors import AltbackupError, Hostile, ToolMissing, name_os_errors
from ..system.holes import holes_in
from ..system.names import Names
from ..system.processes import Child, Deadline, Writer, clean_environment, ended_at, find_tool
from ..tree.sidecar import Dna
from .owners import Owners

if TYPE_CHECKING:
    from .differential import Members

_LARGE_HOLES = 16 << 20
"""Bytes of holes in one file from which on an archive keeps those that it need not keep"""
_HUGE_HOLES = 64 << 20
"""Bytes of holes in one file from which on the file system is asked where they are: to read through them takes tar 5 s a GiB"""
_BLOCK = 1 << 15
"""Bytes that tarfile reads at a time; it copies what is left of them for each header."""


@dataclass(frozen=True)
class Part:
    """Files to archive: a folder, and the paths below it, as bytes, each starting with `./` (or being `.`)."""

    root: str
    names: Sequence[bytes]


@dataclass(frozen=True)
class ArchiveFormat:
    """How archives are written."""

    extension: str = ".tar.zst"
    level: int = 1
    algorithm: str = "sha256"


@dataclass(frozen=True)
class Survey:
    """What is told of files before they are archived: the most bytes of holes in one of them, and the (uid, gid) that they have."""

    holes: int
    owners: frozenset[tuple[int, int]]


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


class Digests:
    """Sizes and digests of the files in an archive, to be looked up by path; in a temporary file, since there may be millions.

    Of about one file in `every` it is told how its content looks.
    """

    _ENTRY = struct.Struct("16sQ32sB")

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self.every = 1

    def __enter__(self) -> Digests:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, path: str, size: int, digest: bytes, head: bytes = b"") -> int:
        """Take those of a file, given its path below the top folder, and how its content begins; return how that looks."""
        key = _key(path)
        look = look_of(head) if int.from_bytes(key[-4:], "big") % self.every == 0 else UNTRIED
        self._put(key, size, digest, look)
        return look

    def put(self, path: str, size: int, digest: bytes, look: int) -> None:
        """Take those of a file of which it is known how its content looks."""
        self._put(_key(path), size, digest, look)

    def _put(self, key: bytes, size: int, digest: bytes, look: int) -> None:
        with name_os_errors(tempfile.gettempdir()):
            self._file.write(self._ENTRY.pack(key, size, digest, look))

    def look_up(self, paths: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Given paths, return {path: (bytes, sha256)} of those that are files with a content of their own."""
        wanted = {_key(path): path for path in paths}
        found = {}
        for key, size, digest, _ in self._entries():
            if key in wanted:
                found[wanted[key]] = (size, digest.hex())
        return found

    def compact(self) -> Iterator[bytes]:
        """Yield blocks of COMPACT entries, one for each file that holds something, in the order of the archive."""
        block = bytearray()
        for key, size, digest, look in self._entries():
            if size:
                block += key[:8] + digest[:7] + bytes([look])
            if len(block) >= CHUNK:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    def _entries(self) -> Iterator[tuple[bytes, int, bytes, int]]:
        self._file.flush()
        self._file.seek(0)
        while block := self._file.read(self._ENTRY.size << 14):
            yield from self._ENTRY.iter_unpack(block)
        self._file.seek(0, os.SEEK_END)


COMPACT = struct.Struct("<QQ")
"""What is kept of a file for later dumps: what stands for its path, and for its content; the highest byte of this says how its content looks"""
HEAD = 4096
"""Bytes of the beginning of a file that tell how its content looks"""
CHANCE, ORDER, UNTRIED = range(3)
"""How that is: as if by chance, so that it cannot be compressed; like anything else; and not tried, or too short to tell"""
_SHORTEST, _SHORT = 16, 256
"""Bytes below which nothing is told, and below which only texts are told from the rest"""
_LEAST = 0.02
"""The part that is saved by compressing at least what has an order"""
_SIGNATURES = (
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"%PDF",
    b"\xd0\xcf\x11\xe0",
    b"OggS",
    b"fLaC",
    b"ID3",
    b"\xff\xfb",
    b"\x1a\x45\xdf\xa3",
    b"wOF2",
)
"""How files begin that are compressed already: office documents, archives, pictures, sound, films"""


def look_of(head: bytes) -> int:
    """Given how a file begins, return how its content looks: CHANCE, ORDER or UNTRIED."""
    if len(head) < _SHORTEST:
        return UNTRIED
    if _is_text(head) or head.startswith(_SIGNATURES) or head[4:8] == b"ftyp":
        return ORDER
    if len(head) < _SHORT:
        return CHANCE
    packer = zlib.compressobj(
        1, zlib.DEFLATED, -15, 8, zlib.Z_HUFFMAN_ONLY
    )  # which is twice as fast with what has no order
    left = len(packer.compress(head)) + len(packer.flush())
    return ORDER if left <= len(head) * (1 - _LEAST) else CHANCE


def _is_text(head: bytes) -> bool:
    """Return whether a file begins as text in UTF-8, whose last character may be cut."""
    try:
        head.decode("utf-8")
        return True
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and error.reason == "unexpected end of data"


def _key(path: str) -> bytes:
    value = new_hash("sha256")
    value.update(os.fsencode(path))
    return bytes(value.digest()[:16])


class Judge(Protocol):
    """Who sees an archive while it is written, and raises Hostile for what is not to be kept."""

    def feed(self, block: bytes) -> None:
        """Take the next bytes of it."""

    def look(self, member: tarfile.TarInfo) -> None:
        """Take a member, whose headers it was fed."""

    def finish(self) -> None:
        """Take its end."""


def compressor(form: ArchiveFormat) -> list[str]:
    """Given a form, return the argv that compresses stdin to stdout, empty for none. Raise ToolMissing."""
    if form.extension == ".tar":
        return []
    if form.extension == ".tar.zst":
        return [find_tool("zstd"), "-T0", f"-{form.level}", "--rsyncable", "-q", "-c"]
    with contextlib.suppress(ToolMissing):
        return [find_tool("pigz"), "-n", "--rsyncable", f"-{min(form.level, 9)}", "-c"]
    return [find_tool("gzip"), "-n", "--rsyncable", f"-{min(form.level, 9)}", "-c"]


def _tar_command(
    parts: Sequence[Part],
    lists: Sequence[IO[bytes]],
    top: str,
    owners: Sequence[str],
    fixed_times: bool,
    holes: str,
) -> list[str]:
    """Return tar's argv; `owners` are its options on them, and `holes` is how it is to find those, empty for not at all."""
    replacement = re.sub(r"([\\&|])", r"\\\1", top)
    command = [
        find_tool("tar"),
        "--create",
        "--file=-",
        "--format=posix",
        # no times of reading and no process ids in the headers: the same tree gives the same bytes
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
        "--no-recursion",
        f"--transform=flags=rSh;s|^\\.|{replacement}|",
    ]
    if holes:
        command += ["--sparse", "--sparse-version=0.0", f"--hole-detection={holes}"]
    command += owners
    if fixed_times:
        command.append("--mtime=@0")
    for part, names in zip(parts, lists):
        command += [f"--directory={part.root}", "--null", f"--files-from={names.name}"]
    return command


@contextlib.contextmanager
def _listed(content: bytes) -> Iterator[IO[bytes]]:
    with tempfile.NamedTemporaryFile() as stream:
        with name_os_errors(tempfile.gettempdir()):
            stream.write(content)
            stream.flush()
        yield stream


@contextlib.contextmanager
def _owner_options(owner: tuple[int, int] | None, names: Names) -> Iterator[list[str]]:
    """Yield the options by which tar has the names that were looked up, rather than those that it would find where it runs."""
    if owner is not None:
        given = [
            f"--owner={names.users.get(owner[0], '')}:{owner[0]}",
            f"--group={names.groups.get(owner[1], '')}:{owner[1]}",
        ]
    else:
        given = []
    if not names.users and not names.groups:
        yield [*given, "--numeric-owner"]
    elif given:
        yield given
    else:
        with _listed(_map_of(names.users)) as users, _listed(_map_of(names.groups)) as groups:
            yield [f"--owner-map={users.name}", f"--group-map={groups.name}"]


def _map_of(names: Mapping[int, str]) -> bytes:
    """Return the names as a file of --owner-map has them, in which a backslash or a quote begins something."""
    quoted = ((number, re.sub(r'([\\"])', r"\\\1", name)) for number, name in sorted(names.items()))
    return "".join(f'+{number} "{name}":{number}\n' for number, name in quoted).encode("utf-8")


def write_archive(
    destination: str,
    parts: Sequence[Part],
    *,
    top: str,
    form: ArchiveFormat,
    deadline: Deadline,
    owner: tuple[int, int] | None = None,
    fixed_times: bool = False,
    sparse: bool = False,
    manifest: Manifest | None = None,
    judge: Judge | None = None,
    said: list[str] | None = None,
    names: Names | None = None,
) -> Dna:
    """Given parts and the name of the top folder, write the archive to a new file, flush it, and return its Dna.

    A given manifest is filled from the same pass, in which a `judge` sees what is written; `said` receives tar's warnings.
    Raise ToolFailed, ToolMissing, DeadlineExceeded, what the judge raises, or OSError; the caller removes the file.
    """
    with packed(parts, top=top, owner=owner, fixed_times=fixed_times, sparse=sparse, names=names) as tar:
        stream, root = tar.stdout, parts[0].root
        dna = store_archive(
            destination, stream, tar, root, top=top, form=form, deadline=deadline, manifest=manifest, judge=judge
        )
        if said is not None:
            said += tar.stderr().splitlines()
    return dna


def _hole_detection(most: int, all_of_them: bool) -> str:
    """Given the most bytes of holes in a file, return how tar is to find them: as zeros in the content, as the file system tells, or not at all.

    Zeros are the same wherever the file lies, so that equal content gives equal archives.
    """
    if most > _HUGE_HOLES:
        return "seek"
    return "raw" if all_of_them or most > _LARGE_HOLES else ""


def survey(parts: Sequence[Part]) -> Survey:
    """Given parts, return what is told of them before they are archived; of what vanished, or may not be read, tar tells."""
    most = 0
    owners = set()
    for path in (os.path.join(os.fsencode(part.root), name) for part in parts for name in part.names):
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            owners.add((status.st_uid, status.st_gid))
            most = max(most, holes_in(path, status))
    return Survey(most, frozenset(owners))


@contextlib.contextmanager
def packed(
    parts: Sequence[Part],
    *,
    top: str,
    owner: tuple[int, int] | None = None,
    fixed_times: bool = False,
    sparse: bool = False,
    stdout: int | IO[bytes] = subprocess.PIPE,
    as_user: Callable[[Sequence[str | bytes]], list[str | bytes]] = list,
    surveyed: Survey | None = None,
    names: Names | None = None,
) -> Iterator[Child]:
    """Given parts and the name of the top folder, yield the tar that writes their archive to `stdout`.

    `surveyed` is what `survey` returned of them, if it was called already, and `names` are those that headers have beside the numbers.
    All holes of files are kept if they are to be (`sparse`), or if they are large: whether a fresh copy has small ones is up to
    its file system, even for equal content, and equal content gives equal archives.
    `as_user` makes of an argv the one that runs it as the right user. Raise ToolMissing or OSError.
    """
    holes = _hole_detection((surveyed or survey(parts)).holes, sparse)
    with contextlib.ExitStack() as stack:
        lists = [stack.enter_context(_listed(b"".join(name + b"\0" for name in part.names))) for part in parts]
        owners = stack.enter_context(_owner_options(owner, names or Names()))
        argv = as_user(_tar_command(parts, lists, top, owners, fixed_times, holes))
        yield stack.enter_context(Child(argv, stdout=stdout, environment=clean_environment(LC_ALL="C"), name="tar"))


def store_archive(
    destination: str,
    source: IO[bytes],
    writer: Writer,
    root: str,
    *,
    top: str,
    form: ArchiveFormat,
    deadline: Deadline,
    manifest: Manifest | None = None,
    judge: Judge | None = None,
) -> Dna:
    """Given the stream of an uncompressed archive and who writes it, compress it into a new file, flush that, return its Dna.

    `root` says what is archived. A given manifest is filled from the same pass, in which a `judge` sees what is written. The
    writer is ended unless it wrote all.
    Raise ToolFailed, ToolMissing, DeadlineExceeded, what the judge raises, or OSError; the caller removes the file.
    """
    squeeze = compressor(form)
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(_create(destination))
        stream, listing, packer = source, None, None
        if manifest is not None:
            listing = stack.enter_context(_Listing(stream, manifest, top, judge))
            stream = listing.output
        stack.enter_context(_ended_unless_all(writer))  # before the listing waits for the end of what it writes
        if squeeze:
            packer = stack.enter_context(Child(squeeze, stdin=stream, stdout=subprocess.PIPE))
            stream.close()  # the compressor alone reads it
            stream = packer.stdout
        with name_os_errors(destination), progress.writing("written", output):
            dna = _copy(stream, output, form.algorithm, deadline, [writer, *([packer] if packer else [])])
        if packer is not None:  # one that dies takes the writer with it, and has the reason
            packer.check(deadline, f"compressing {root}")
        writer.check(deadline, f"archiving {root}")
        if listing is not None:
            listing.finish()
        with name_os_errors(destination):
            os.fsync(output.fileno())
    return dna


@contextlib.contextmanager
def _ended_unless_all(writer: Writer) -> Iterator[None]:
    try:
        yield
    except BaseException:
        writer.end()
        raise


def _create(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb", buffering=0)


def _copy(stream: IO[bytes], output: IO[bytes], algorithm: str, deadline: Deadline, writers: Sequence[Writer]) -> Dna:
    """Copy a stream to a file, digesting it. Raise DeadlineExceeded."""
    digest, size = new_hash(algorithm), 0
    with ended_at(deadline, writers):
        while True:
            block = stream.read(CHUNK)
            if not block:
                break
            digest.update(block)
            size += len(block)
            view = memoryview(block)
            while view:
                view = view[output.write(view) :]
    return Dna(digest.hexdigest(), size, algorithm)


class _Listing:
    """Reads the tar stream on its way to the compressor and fills a manifest from it."""

    def __init__(self, source: IO[bytes], manifest: Manifest, top: str, judge: Judge | None) -> None:
        self._judge = judge
        self._source = source
        self._manifest = manifest
        self._top = top
        reader, writer = os.pipe()
        self.output: IO[bytes] = os.fdopen(reader, "rb", buffering=0)
        self._writer: IO[bytes] = os.fdopen(writer, "wb", buffering=0)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Listing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.output.close()  # a writer that waits for a reader ends by EPIPE
        self._thread.join()

    def finish(self) -> None:
        """Wait until all is read. Raise AltbackupError if the stream is no archive."""
        self._thread.join()
        if isinstance(self._error, Hostile):
            raise self._error
        if self._error is not None:
            raise AltbackupError(f"the archive of {self._top} could not be listed: {self._error}") from self._error

    def read(self, size: int) -> bytes:
        """Read from tar and hand on to the compressor: what tarfile reads passes through."""
        block = self._source.read(size)
        if self._judge is not None:
            self._judge.feed(block)
        view = memoryview(block)
        while view:
            view = view[self._writer.write(view) :]
        return block

    def _run(self) -> None:
        try:
            with self._writer:
                try:
                    look = None if self._judge is None else self._judge.look
                    read_manifest(self, self._manifest, self._top, look=look)  # type: ignore[arg-type]
                    if self._judge is not None:
                        self._judge.finish()
                except Exception as error:  # noqa: BLE001 (finish tells it)
                    self._error = error
                # the padding at the end, or what could not be listed: tar must not wait for a reader
                while self.read(CHUNK):
                    pass
        except OSError as error:  # nobody reads any more
            self._error = error
            self._source.close()


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
