"""The independent check: what nobody may have read, written, renamed, removed or shown, seen without any code of the collection.

Canaries are root's files (mode 0600) with unique content. The kernel reports whether anybody opened one (inotify watches the inode,
whatever the name or namespace by which it is reached), two walks compare everything that a run may not write, and a search through
everything that a run leaves, with archives unpacked and mails decoded, finds what leaked.
"""

from __future__ import annotations

import contextlib
import ctypes
import email
import hashlib
import os
import re
import secrets
import sqlite3
import stat
import struct
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_IN_ACCESS, _IN_MODIFY, _IN_ATTRIB, _IN_OPEN = 0x1, 0x2, 0x4, 0x20
_IN_CLOSE_WRITE, _IN_MOVE_SELF, _IN_DELETE_SELF = 0x8, 0x800, 0x400
_IN_CREATE, _IN_DELETE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x100, 0x200, 0x40, 0x80
_IN_Q_OVERFLOW, _IN_IGNORED = 0x4000, 0x8000
_WATCHED = (
    _IN_ACCESS | _IN_MODIFY | _IN_ATTRIB | _IN_OPEN | _IN_CLOSE_WRITE | _IN_MOVE_SELF | _IN_DELETE_SELF
    | _IN_CREATE | _IN_DELETE | _IN_MOVED_FROM | _IN_MOVED_TO
)  # fmt: skip
_NAMES = {
    _IN_ACCESS: "read",
    _IN_OPEN: "opened",
    _IN_MODIFY: "written",
    _IN_CLOSE_WRITE: "written",
    _IN_ATTRIB: "its attributes changed",
    _IN_MOVE_SELF: "renamed",
    _IN_DELETE_SELF: "removed",
    _IN_CREATE: "written into",
    _IN_DELETE: "something in it removed",
    _IN_MOVED_FROM: "something in it renamed",
    _IN_MOVED_TO: "something renamed into it",
}
_TOKEN = re.compile(rb"CANARY-([a-z0-9_-]+)-[0-9a-f]{24}")
_LINES = 40
_MOST = 64 << 20
"""Most bytes of a file, or of an archive, that are searched: attempts lay bombs"""
_libc = ctypes.CDLL(None, use_errno=True)


def token_of(name: str) -> str:
    """Return a unique text, by which a search knows whose it is."""
    return f"CANARY-{name}-{secrets.token_hex(12)}"


class Witness:
    """What lies outside of what runs may touch, and who touched it."""

    def __init__(self, outside: Path) -> None:
        self.outside = outside
        outside.mkdir(mode=0o755)
        self._watches: dict[int, tuple[str, Path]] = {}
        self._before: dict[Path, tuple[object, ...]] = {}
        self._kept: list[Path] = []
        self._descriptor = -1

    def folder_of(self, name: str) -> Path:
        """Return the folder of an attempt's canaries, made if missing."""
        folder = self.outside / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def file(self, name: str, filename: str = "secret", begin: str = "") -> Path:
        """Lay root's file; its initial text makes it look like what a kind would read."""
        path = self.folder_of(name) / filename
        token = token_of(name)
        path.write_text(begin + "".join(f"{token} line {number}\n" for number in range(_LINES)))
        path.chmod(0o600)
        return path

    def folder(self, name: str, foldername: str = "vault", filename: str = "secret") -> Path:
        """Lay root's folder with a file in it."""
        path = self.folder_of(name) / foldername
        path.mkdir(mode=0o700)
        token = token_of(name)
        (path / filename).write_text("".join(f"{token} line {number}\n" for number in range(_LINES)))
        (path / filename).chmod(0o600)
        return path

    def database(self, name: str, filename: str = "secret.db") -> Path:
        """Lay root's SQLite database that would pass for Trac's, too."""
        path = self.folder_of(name) / filename
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE system (name TEXT, value TEXT)")
            token = token_of(name)
            database.executemany(
                "INSERT INTO system VALUES (?, ?)", [(f"{token}", f"{token} {n}") for n in range(_LINES)]
            )
            database.commit()
        path.chmod(0o600)
        return path

    def keep(self, folder: Path) -> None:
        """Also compare what lies below another folder, which runs may read but not change."""
        self._kept.append(folder)

    def begin(self) -> None:
        """Record the present state, and watch the canaries from now on."""
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = self._walk()
        for path in sorted(self.outside.rglob("*")):
            if path.parent != self.outside and (path.is_file() or path.is_dir()) and not path.is_symlink():
                watch = _libc.inotify_add_watch(
                    self._descriptor, os.fsencode(path), ctypes.c_uint32(_WATCHED | 0x02000000)
                )
                self._watches[watch] = (path.relative_to(self.outside).parts[0], path)

    def end(self) -> dict[str, list[str]]:
        """Stop watching; return {attempt: what happened to its canaries}, with other changes under an empty name."""
        seen: dict[str, list[str]] = defaultdict(list)
        for watch, what in self._events():
            name, path = self._watches.get(watch, ("", self.outside))
            text = f"{path.relative_to(self.outside)} was {what}"
            if text not in seen[name]:
                seen[name].append(text)
        os.close(self._descriptor)
        after = self._walk()
        for path in sorted(self._before.keys() | after.keys()):
            if self._before.get(path) != after.get(path):
                how = "removed" if path not in after else "made" if path not in self._before else "changed"
                seen[self._whose(path)].append(f"{path} was {how}")
        return dict(seen)

    def _whose(self, path: Path) -> str:
        if path.is_relative_to(self.outside):
            return path.relative_to(self.outside).parts[0]
        return next((path.relative_to(kept).parts[0] for kept in self._kept if path.is_relative_to(kept)), "")

    def _events(self) -> Iterator[tuple[int, str]]:
        while True:
            try:
                data = os.read(self._descriptor, 1 << 20)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                watch, mask, _, length = struct.unpack_from("iIII", data, offset)
                offset += 16 + length
                if mask & _IN_Q_OVERFLOW:
                    yield watch, "touched more often than the kernel tells"
                for bit, name in _NAMES.items():
                    if mask & bit:
                        yield watch, name

    def _walk(self) -> dict[Path, tuple[object, ...]]:
        found: dict[Path, tuple[object, ...]] = {}
        for top in (self.outside, *self._kept):
            for parent, folders, files in os.walk(top):
                for name in (*folders, *files):
                    path = Path(parent, name)
                    found[path] = _look(path)
        return found


def _look(path: Path) -> tuple[object, ...]:
    """Return everything by which a change would show."""
    status = path.lstat()
    content: object = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    is_folder = stat.S_ISDIR(status.st_mode)
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_nlink,
        0 if is_folder else status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        content,
    )


def told_in(*folders: Path, texts: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Return {attempt: where the content of its canaries was found} in all files below folders, and in texts."""
    found: dict[str, list[str]] = defaultdict(list)
    for place, content in _contents(folders, texts):
        for name in {match.group(1).decode() for match in _TOKEN.finditer(content)}:
            found[name].append(place)
    return dict(found)


def _contents(folders: tuple[Path, ...], texts: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for number, text in enumerate(texts):
        yield f"text {number}", text.encode("utf-8", "surrogateescape")
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as stream:
            content = stream.read(_MOST)
        yield str(path), content
        if path.name.endswith((".tar.zst", ".tar.gz")):
            tool = "zstd" if path.name.endswith(".zst") else "gzip"
            with subprocess.Popen(
                [tool, "-dcq", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout is not None
                yield f"{path}, unpacked", process.stdout.read(_MOST)
                process.kill()
        elif content[:5] in (b"From:", b"To: a", b"Subje", b"MIME-", b"Messa", b"Date:"):
            for part in email.message_from_bytes(content).walk():
                if isinstance(payload := part.get_payload(decode=True), bytes):
                    yield f"{path}, decoded", payload


def members(tarball: Path) -> dict[str, tarfile.TarInfo]:
    """Return {path below the top folder: member} of an archive."""
    tool = {".zst": ["zstd", "-dcq"], ".gz": ["gzip", "-dc"]}.get(tarball.suffix, ["cat"])
    with subprocess.Popen([*tool, str(tarball)], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|", errors="surrogateescape") as archive:
            return {member.name.partition("/")[2]: member for member in archive}
