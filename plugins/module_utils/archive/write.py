"""Deterministic archives: tar writes, a program compresses, and the digest is computed, in one pass over the data."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from ..system import progress
from ..system.age import SUFFIX, encrypting
from ..system.digest import CHUNK, new_hash
from ..system.errors import AltbackupError, Hostile, ToolMissing, name_os_errors
from ..system.holes import holes_in
from ..system.names import Names
from ..system.pipes import wait_until_read, wide_pipe, widen
from ..system.processes import Child, Deadline, Writer, ended_at
from ..system.programs import clean_environment, find_tool
from ..system.temporary import temporary_file
from ..tree.sidecar import Dna
from .manifest import Manifest, read_manifest

_LARGE_HOLES = 16 << 20
"""Bytes of holes in one file above which an archive stores holes though it need not"""
_HUGE_HOLES = 64 << 20
"""Bytes of holes in one file above which the file system is asked for them; reading them takes tar 5 s per GiB"""

_FLUSHED = 16 << 20
"""Bytes of an archive after which the kernel is told to write them to the disk"""


@dataclass(frozen=True)
class Part:
    """Files to archive: a folder, and paths below it as bytes, each starting with `./` (or being `.`)."""

    root: str
    names: Sequence[bytes]


@dataclass(frozen=True)
class ArchiveFormat:
    """The format of archives."""

    extension: str = ".tar.zst"
    level: int = 1
    algorithm: str = "sha256"
    recipients: tuple[str, ...] = ()
    """age recipients; empty for no encryption"""

    @property
    def ending(self) -> str:
        """The extension of file names, with that of encryption."""
        return self.extension + (SUFFIX if self.recipients else "")


@dataclass(frozen=True)
class Survey:
    """The maximum bytes of holes in one of the files to archive, and their owners (uid, gid)."""

    holes: int
    owners: frozenset[tuple[int, int]]


class ArchiveChecker(Protocol):
    """Checks an archive while it is written, and raises Hostile for what may not be stored."""

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the archive."""

    def check_member(self, member: tarfile.TarInfo) -> None:
        """Take a member, whose headers were fed before."""

    def finish(self) -> None:
        """Take the end of the archive."""


def compressor(form: ArchiveFormat) -> list[str]:
    """Return the argv that compresses stdin to stdout, empty for none. Raise ToolMissing."""
    if form.extension == ".tar":
        return []
    if form.extension == ".tar.zst":
        return [find_tool("zstd"), "-T0", f"-{form.level}", "--rsyncable", "-q", "-c"]
    with contextlib.suppress(ToolMissing):
        return [find_tool("pigz"), "-n", "--rsyncable", f"-{min(form.level, 9)}", "-c"]
    return [find_tool("gzip"), "-n", "--rsyncable", f"-{min(form.level, 9)}", "-c"]


def _tar_command(
    parts: Sequence[Part],
    lists: Sequence[str],
    top: str,
    owners: Sequence[str],
    fixed_times: bool,
    holes: str,
) -> list[str]:
    """Return tar's argv; `owners` are its options on owners, `holes` its method to find holes, empty for none."""
    replacement = re.sub(r"([\\&|])", r"\\\1", top)
    command = [
        find_tool("tar"),
        "--create",
        "--file=-",
        "--format=posix",
        # no access times and no process ids in the headers: equal trees give equal bytes
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
        command += [f"--directory={part.root}", "--null", f"--files-from={names}"]
    return command


@contextlib.contextmanager
def _owner_options(owner: tuple[int, int] | None, names: Names) -> Iterator[list[str]]:
    """Yield the options by which tar stores the given names of owners instead of looking names up itself."""
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
        with temporary_file(_map_of(names.users)) as users, temporary_file(_map_of(names.groups)) as groups:
            yield [f"--owner-map={users}", f"--group-map={groups}"]


def _map_of(names: Mapping[int, str]) -> bytes:
    """Return names in the format of --owner-map, in which backslashes and quotes are escaped."""
    quoted = ((number, re.sub(r'([\\"])', r"\\\1", name)) for number, name in sorted(names.items()))
    return "".join(f'+{number} "{name}":{number}\n' for number, name in quoted).encode("utf-8")


def _hole_detection(most: int, all_of_them: bool) -> str:
    """Return tar's method to find holes for the maximum bytes of holes in a file: zeros in the content, the file system, or none.

    Zeros do not depend on where a file is, so equal content gives equal archives.
    """
    if most > _HUGE_HOLES:
        return "seek"
    return "raw" if all_of_them or most > _LARGE_HOLES else ""


def survey(parts: Sequence[Part]) -> Survey:
    """Return the survey of parts; tar reports files that vanished or cannot be read."""
    most = 0
    owners = set()
    for path in (os.path.join(os.fsencode(part.root), name) for part in parts for name in part.names):
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            owners.add((status.st_uid, status.st_gid))
            most = max(most, holes_in(path, status))
    return Survey(most, frozenset(owners))


@contextlib.contextmanager
def tar_process(
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
    """Yield the tar process that writes the archive of parts to `stdout`, below a top folder.

    `surveyed` is the result of `survey`, if there is one already, and `names` are those of owners for the headers. Holes are stored if `sparse` is set or if
    they are large: whether a fresh copy has small ones depends on its file system, even for equal content, and equal content has to give equal archives.
    `as_user` changes the argv to run as another user. Raise ToolMissing or OSError.
    """
    holes = _hole_detection((surveyed or survey(parts)).holes, sparse)
    with contextlib.ExitStack() as stack:
        lists = [stack.enter_context(temporary_file(b"".join(name + b"\0" for name in part.names))) for part in parts]
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
    checker: ArchiveChecker | None = None,
    plain: Any = None,
) -> Dna:
    """Compress an uncompressed archive into a new file, flush it, and return its Dna.

    `writer` writes the stream, and is ended unless it wrote everything; `root` names the archived path in errors. `manifest` is filled in the same pass, in
    which `checker` checks the stream. `plain`, a hash, is updated with what is then encrypted. Raise ToolFailed, ToolMissing, DeadlineExceeded, what
    the checker raises, or OSError; the caller removes the file.
    """
    compress_argv, encrypt_argv = compressor(form), encrypting(form.recipients) if form.recipients else []
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(_create(destination))
        stream, manifest_reader = source, None
        if manifest is not None:
            manifest_reader = stack.enter_context(_ManifestReader(stream, manifest, top, checker))
            stream = manifest_reader.output
        stack.enter_context(_ended_unless_all(writer))  # before the manifest reader waits for the end of the stream
        programs: list[tuple[Child, _Tee | None, str]] = []
        is_watched = (
            manifest_reader is not None
        )  # by who writes the stream, and learns whether a program reads all of it
        for argv, what, digest in ((compress_argv, "compressing", None), (encrypt_argv, "encrypting", plain)):
            if not argv:
                continue
            tee = None
            if digest is not None or not is_watched:
                tee = stack.enter_context(_Tee(stream, digest, [writer, *(child for child, _, _ in programs)]))
                stream = tee.output
            child = stack.enter_context(Child(argv, stdin=stream, stdout=subprocess.PIPE))
            stream.close()  # only the program reads it
            stream, is_watched = child.stdout, False
            widen(stream)
            programs.append((child, tee, what))
        with name_os_errors(destination), progress.writing("written", output):
            dna = _copy(stream, output, form.algorithm, deadline, [writer, *(child for child, _, _ in programs)])
        # if one fails, so does what writes to it, and its message has the reason
        for child, tee, what in reversed(programs):
            child.check(deadline, f"{what} {root}")
            if tee is not None:
                tee.finish()
        writer.check(deadline, f"archiving {root}")
        if manifest_reader is not None:
            manifest_reader.finish()
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
    """Copy a stream to a file; return its Dna. Raise DeadlineExceeded."""
    digest, size, flushed = new_hash(algorithm), 0, 0
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
            if size - flushed >= _FLUSHED:
                # the kernel begins to write it to the disk, and nobody waits; without this all of it is written at the end
                os.posix_fadvise(output.fileno(), flushed, size - flushed, os.POSIX_FADV_DONTNEED)
                flushed = size
    return Dna(digest.hexdigest(), size, algorithm)


class _Tee:
    """Passes a stream on to a program, and updates a digest with it, if one is given."""

    def __init__(self, source: IO[bytes], digest: Any, writers: Sequence[Writer]) -> None:
        """`writers` write the stream; they are ended after an error."""
        self._source = source
        self._digest = digest
        self._writers = writers
        self.output, self._output = wide_pipe()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Tee:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.output.close()
        if kind is not None:
            for writer in self._writers:
                writer.end()
        self._thread.join()

    def finish(self) -> None:
        """Wait for the end. Raise AltbackupError unless all was passed on and read: what a program makes of a part looks complete."""
        self._thread.join()
        if self._error is not None:
            raise AltbackupError(f"not all of the archive could be passed on: {self._error!r}") from self._error

    def _run(self) -> None:
        try:
            with self._output:
                while block := self._source.read(CHUNK):
                    if self._digest is not None:
                        self._digest.update(block)
                    view = memoryview(block)
                    while view:
                        view = view[self._output.write(view) :]
                wait_until_read(self._output)
        except Exception as error:  # noqa: BLE001 (finish tells it)
            self._error = error
        with contextlib.suppress(OSError):
            self._source.close()  # so that its writer does not block


class _ManifestReader:
    """Passes the tar stream on to the compressor, and fills a manifest from it."""

    def __init__(self, source: IO[bytes], manifest: Manifest, top: str, checker: ArchiveChecker | None) -> None:
        self._checker = checker
        self._source = source
        self._manifest = manifest
        self._top = top
        self.output, self._writer = wide_pipe()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _ManifestReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.output.close()  # a blocked writer ends with EPIPE
        self._thread.join()

    def finish(self) -> None:
        """Wait for the end. Raise AltbackupError if the stream is no archive."""
        self._thread.join()
        if isinstance(self._error, Hostile):
            raise self._error
        if self._error is not None:
            raise AltbackupError(f"the archive of {self._top} could not be listed: {self._error}") from self._error

    def read(self, size: int) -> bytes:
        """Read from tar and write to the compressor: what tarfile reads passes through."""
        block = self._source.read(size)
        if self._checker is not None:
            self._checker.feed(block)
        view = memoryview(block)
        while view:
            view = view[self._writer.write(view) :]
        return block

    def _run(self) -> None:
        try:
            with self._writer:
                try:
                    visit = None if self._checker is None else self._checker.check_member
                    read_manifest(self, self._manifest, self._top, visit=visit)  # type: ignore[arg-type]
                    if self._checker is not None:
                        self._checker.finish()
                except Exception as error:  # noqa: BLE001 (finish tells it)
                    self._error = error
                # read the padding at the end, or the rest after an error, so that tar does not block
                while self.read(CHUNK):
                    pass
                wait_until_read(self._writer)
        except OSError as error:  # the reader is gone
            self._error = error
            self._source.close()
