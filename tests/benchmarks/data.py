"""The data of the benchmarks, made once: repositories and folders, half of them text, half bytes that do not compress."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

MB = 1_000_000
PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "TZ": "UTC"}
_TEXT_IN_SVN, _TEXT_IN_GIT = 2.1, 3.0
"""Bytes of text that take one byte in a repository, so that half of what is stored is text"""
_FIRST_TIME = 1_370_000_000
_VOCABULARY = [
    "".join(random.Random(number).choices("etaoinshrdlu", k=2 + number % 9)).encode()
    + (b"\n" if number % 11 == 0 else b" ")
    for number in range(256)
]


def noise(source: random.Random, size: int) -> bytes:
    """Return bytes that do not compress."""
    return source.randbytes(size)


def text(source: random.Random, size: int) -> bytes:
    """Return bytes of words and lines, which compress as text does and repeat no passage."""
    return b"".join([_VOCABULARY[byte] for byte in source.randbytes(size // 6 + 16)])[:size]


def halves(source: random.Random, size: int, expansion: float = 1.0) -> tuple[bytes, bytes]:
    """Return noise and text of `size` bytes together, where stored text takes 1 / `expansion` of its size."""
    return noise(source, size // 2), text(source, int(size // 2 * expansion))


def feed(argv: list[str], stream: Iterator[bytes], folder: Path | None = None) -> None:
    """Run a command that reads a stream. Raise CalledProcessError."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=folder, env=PLAIN) as process:
        assert process.stdin is not None
        write_all(process.stdin, stream)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)


def write_all(pipe: IO[bytes], stream: Iterator[bytes]) -> None:
    """Write a stream to a pipe and close it."""
    with pipe:
        for piece in stream:
            pipe.write(piece)


def call(*argv: object) -> None:
    """Run a command. Raise CalledProcessError."""
    subprocess.run([str(word) for word in argv], stdout=subprocess.DEVNULL, env=PLAIN, check=True)


def make_svn(path: Path, size: int, revisions: int, seed: int = 1) -> None:
    """Make a Subversion repository of given bytes and revisions."""
    call("svnadmin", "create", path)
    grow_svn(path, size, revisions, seed)


def grow_svn(path: Path, size: int, revisions: int, seed: int) -> None:
    """Commit given bytes in given revisions, under a folder named by the seed."""
    argv = ["svnadmin", "load", "-q", "-M", "256", "--no-flush-to-disk", "--bypass-prop-validation", "--ignore-uuid"]
    feed([*argv, str(path)], svn_stream(size, revisions, seed))


def svn_stream(size: int, revisions: int, seed: int) -> Iterator[bytes]:
    """Yield a Subversion dump whose revisions each add a file of noise and one of text."""
    source = random.Random(seed)
    yield b"SVN-fs-dump-format-version: 2\n\n"
    for number in range(1, revisions + 1):
        yield _revision(number, f"number {number} of {seed}")
        if number == 1:
            yield _node(f"part{seed}")
        if number % 100 == 1:
            yield _node(f"part{seed}/{number // 100:04}")
        for suffix, content in zip(("bin", "txt"), halves(source, size // revisions, _TEXT_IN_SVN), strict=True):
            yield _node(f"part{seed}/{(number - 1) // 100:04}/{number:06}.{suffix}", content)


def _revision(number: int, message: str) -> bytes:
    when = f"2013-05-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    values = {"svn:author": "tester", "svn:date": when, "svn:log": message}
    properties = "".join(f"K {len(name)}\n{name}\nV {len(value)}\n{value}\n" for name, value in values.items())
    length = len(properties) + len("PROPS-END\n")
    head = f"Revision-number: {number}\nProp-content-length: {length}\nContent-length: {length}\n\n"
    return f"{head}{properties}PROPS-END\n\n".encode()


def _node(path: str, content: bytes | None = None) -> bytes:
    """Return the record that adds a folder, or a file with this content."""
    head = f"Node-path: {path}\nNode-action: add\nNode-kind: {'dir' if content is None else 'file'}\n"
    size = len(content or b"")
    lengths = "" if content is None else f"Text-content-length: {size}\n"
    head += f"Prop-content-length: 10\n{lengths}Content-length: {size + 10}\n\nPROPS-END\n"
    return head.encode() + (content or b"") + b"\n\n"


def make_git(path: Path, size: int, commits: int, seed: int = 1) -> None:
    """Make a bare Git repository of given bytes and commits."""
    call("git", "init", "-q", "--bare", "-b", "main", path)
    grow_git(path, size, commits, seed, parent=False)
    call("git", "-C", path, "pack-refs", "--all")


def grow_git(path: Path, size: int, commits: int, seed: int, parent: bool = True) -> None:
    """Commit given bytes in given commits to the branch main."""
    argv = ["git", "-c", "core.compression=1", "fast-import", "--quiet", "--depth=0"]
    feed(argv, git_stream(size, commits, seed, parent), path)


def git_stream(size: int, commits: int, seed: int, parent: bool) -> Iterator[bytes]:
    """Yield commits for git fast-import, each of which writes one file, alternately of noise and of text."""
    source = random.Random(seed)
    expansions = {"bin": 1.0, "txt": _TEXT_IN_GIT}
    for number in range(commits):
        suffix, make = (("bin", noise), ("txt", text))[number % 2]
        content = make(source, int(size // commits * expansions[suffix]))
        message = f"number {number} of {seed}"
        yield f"commit refs/heads/main\ncommitter Tester <tester@example.org> {_FIRST_TIME + number} +0000\n".encode()
        yield f"data {len(message)}\n{message}\n".encode()
        if parent and number == 0:
            yield b"from refs/heads/main^0\n"
        yield f"M 100644 inline {number % 40:02}/{number % 2000:04}.{suffix}\ndata {len(content)}\n".encode()
        yield content + b"\n"
    yield b"done\n"


def make_folder(path: Path, files: int, size: int, seed: int = 1) -> None:
    """Make a folder with files of about the given size, alternately of noise and of text."""
    for number in range(files):
        if number % 1000 == 0:
            (path / f"{number // 1000:04}").mkdir(parents=True)
    rewrite_folder(path, files, size, files, seed)


def rewrite_folder(path: Path, files: int, size: int, count: int, seed: int) -> None:
    """Rewrite the first `count` files of such a folder with other content."""
    source = random.Random(seed)
    for number in range(min(count, files)):
        content = (noise, text)[number % 2](source, size)
        (path / f"{number // 1000:04}" / f"{number:06}").write_bytes(content)


def make_small_repositories(path: Path, count: int) -> None:
    """Make small repositories, alternately of Subversion and Git."""
    path.mkdir(parents=True)
    for number in range(count):
        if number % 2:
            make_git(path / f"git{number:03}", 20_000, 10, number)
        else:
            make_svn(path / f"svn{number:03}", 20_000, 5, number)


def keep(store: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return what is kept under a name, after making it atomically if it is missing."""
    path, new = store / name, store / f".{name}.new"
    if not path.exists():
        store.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        make(new)
        new.rename(path)
    return path


def clone(kept: Path, path: Path) -> Path:
    """Copy kept data to where it may be changed; return that path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    call("cp", "-a", "--reflink=auto", kept, path)
    return path


def size_of(path: Path) -> int:
    """Return the bytes on disk of a file, or of all below a folder, each inode once."""
    found = {}
    for entry in [path, *path.rglob("*")]:
        status = entry.lstat()
        found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())
