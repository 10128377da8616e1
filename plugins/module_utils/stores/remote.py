"""A store by way of rclone: every call with its limits, what it says without secrets, and never over what is there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from ..system.digest import digest_file, new_hash
from ..system.errors import AltbackupError, DeadlineExceeded, ToolFailed
from ..system.processes import Child, Deadline
from ..system.programs import clean_environment, find_tool
from ..system.temporary import temporary_file
from ..system.visible import one_line, printable
from ..tree.sidecar import MAX_BYTES
from .settings import Secrets, Store

_MISSING = (3, 4)
"""Exit codes of rclone for a folder or file that is not there"""
_CHUNK = 1 << 20
_LONGEST = 1 << 28
"""Most bytes of a listing"""
_TIMES = 2
"""How often rclone asks again, and how many silences of the store are one"""
_LARGE = "4Gi"
"""Up to which size an object is put in one piece where that gives it a digest that is one"""
_NOT_THERE = re.compile("is a directory or doesn't exist|object not found")
"""What rclone says, with an exit code of no meaning, of a file that it is to remove and that is not there"""
_STARTS = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\s+")


class Missing(AltbackupError):
    """What is not in the store."""


@dataclass(frozen=True)
class Object:
    """A file of the store."""

    path: str
    """Below the root of the store"""
    size: int


class Remote:
    """A store that can be asked."""

    def __init__(self, store: Store, secrets: Secrets, deadline: Deadline) -> None:
        self.store = store
        self.deadline = deadline
        self._secrets = secrets
        self._program = find_tool("rclone")
        self._copies: bool | None = None

    def at(self, path: str) -> str:
        """Return a path below the root of the store as rclone takes it."""
        root = self.store.remote
        return f"{root}{'' if not path or root.endswith((':', '/')) else '/'}{path}"

    @property
    def copies(self) -> bool:
        """Whether the store makes a second copy of what it has by itself, as rclone knows it without asking it."""
        if self._copies is None:
            told = self._json(["backend", "features", self.store.remote], "asking what the store can do")
            self._copies = bool(told["Features"].get("Copy"))
        return self._copies

    def listing(self, path: str = "") -> list[Object]:
        """Return all files below a path, none where it is not there. Raise AltbackupError."""
        options = ["lsjson", "-R", "--files-only", "--no-modtime", "--no-mimetype", "--fast-list"]
        try:
            entries = self._json([*options, self.at(path)], f"listing {self.at(path)}")
        except Missing:
            return []
        if not isinstance(entries, list):
            raise AltbackupError(f"{self.at(path)}: rclone lists no files there, but {one_line(str(entries))[:160]}")
        return [self._object(path, entry) for entry in entries]

    def _object(self, above: str, entry: Any) -> Object:
        try:
            path = f"{above}/{entry['Path']}" if above else str(entry["Path"])
            return Object(path, int(entry["Size"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise AltbackupError(
                f"{self.at(above)}: rclone lists what is no file: {one_line(str(entry))[:160]}"
            ) from None

    def is_empty(self) -> bool:
        """Return whether there is nothing at the root, or no such folder."""
        with contextlib.suppress(Missing):
            return not self._run(["lsf", "--max-depth", "1", self.at("")], f"looking into {self.at('')}").strip()
        return True

    def content(self, path: str, most: int = MAX_BYTES) -> bytes:
        """Return what a small file holds, at most so many bytes and one. Raise Missing or AltbackupError."""
        found = self._run(["cat", "--count", str(most + 1), self.at(path)], f"reading {self.at(path)}")
        if not found:  # what some stores say of a file that they do not have
            raise Missing(f"{self.store.name}: {self.at(path)} is not there, or empty")
        return found

    def put(self, folder: str, paths: Sequence[str], below: str = "") -> None:
        """Copy files of a folder to the same paths below one of the store, one after the other, in their order, never over other bytes.

        Raise AltbackupError or OSError.
        """
        words = ["copy", "--immutable", "--no-traverse", "--no-update-modtime", "--checkers", "1"]
        words += ["--s3-upload-cutoff", _LARGE, "--s3-no-check-bucket"]
        there = [f"{below}/{path}" if below else path for path in paths]
        # Of a single file `rclone copyto` heeds no --immutable (rclone issue 4921), of those that are listed `copy` does.
        with _listed(sorted(paths)) as names:
            words += ["--files-from-raw", names]
            self._run([*words, folder, self.at(below)], f"putting {self.at(there[-1])}", writing=True)
        for path in there:
            self._settle(path)

    def copy(self, old: str, path: str) -> None:
        """Let the store make a second copy of a file that it has. Raise FileExistsError where something has its name, or AltbackupError."""
        if self._has(path):  # of a single file rclone heeds no --immutable
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.at(path))
        self._run(["copyto", "--immutable", self.at(old), self.at(path)], f"copying {self.at(old)}", writing=True)

    def _has(self, path: str) -> bool:
        """Return whether a file has that name. Raise AltbackupError."""
        with contextlib.suppress(Missing):
            return bool(self._run(["lsf", "--files-only", self.at(path)], f"looking for {self.at(path)}").strip())
        return False

    def link(self, old: str, path: str) -> None:
        """Give a file on a disk a second name. Raise FileExistsError where something has it, or OSError."""
        new = self.at(path)
        os.makedirs(os.path.dirname(new), 0o700, exist_ok=True)
        os.link(self.at(old), new, follow_symlinks=False)
        self._settle(path)

    def _settle(self, path: str) -> None:
        """Let what was written to a disk be there for good. Raise OSError."""
        if not self.store.is_disk:
            return
        for name in (self.at(path), os.path.dirname(self.at(path))):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, path: str) -> None:
        """Remove a file. Raise AltbackupError."""
        try:
            self._run(["deletefile", self.at(path)], f"removing {self.at(path)}", writing=True)
        except Missing:
            return
        except ToolFailed as error:
            if not _NOT_THERE.search(error.stderr):
                raise

    def fetch(self, paths: Iterable[str], folder: str, most: int) -> None:
        """Bring files into a folder under the same paths; those that are not there are left out. Raise AltbackupError, as for more bytes than `most`."""
        with _listed(paths) as names:
            words = ["copy", "--files-from-raw", names, "--no-traverse", "--local-no-set-modtime"]
            words += ["--max-transfer", f"{most}B", "--cutoff-mode", "hard"]
            self._run([*words, self.at(""), folder], f"fetching from {self.at('')}")

    def digest(self, path: str, algorithm: str, most: int) -> tuple[str, int]:
        """Return digest and size of a file as its bytes are now, read to its end, or until it has more bytes than `most`. Raise AltbackupError or OSError."""
        if self.store.is_disk:
            return digest_file(self.at(path), algorithm, from_disk=True)
        digest, size = new_hash(algorithm), 0
        with self._started(["cat", self.at(path)], pipe=True) as child:
            for chunk in self._chunks(child):
                digest.update(chunk)
                size += len(chunk)
                if size > most:
                    return digest.hexdigest(), size
            self._ended(child, f"reading {self.at(path)}")
        return str(digest.hexdigest()), size

    def _chunks(self, child: Child) -> Iterator[bytes]:
        """Yield what a child writes. Raise DeadlineExceeded where it writes nothing for too long."""
        descriptor = child.stdout.fileno()
        while True:
            wait = self.deadline.at_most(self._silence)
            if not select.select([descriptor], [], [], wait)[0]:
                self.deadline.remaining()
                child.end()
                raise DeadlineExceeded(f"{self.store.name}: not a byte came for {wait:g} s: rclone was ended")
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                return
            yield chunk

    @property
    def _silence(self) -> float:
        return self.store.connect_timeout + self.store.io_timeout * _TIMES

    def _json(self, words: Sequence[str], what: str) -> Any:
        try:
            return json.loads(self._run(words, what))
        except (ValueError, RecursionError):
            raise AltbackupError(f"{self.store.name}: {what}: what rclone wrote is no JSON") from None

    def _run(self, words: Sequence[str], what: str, *, writing: bool = False) -> bytes:
        """Run rclone to its end, return what it wrote. Raise Missing, ToolFailed or DeadlineExceeded."""
        with tempfile.TemporaryFile() as out:
            with self._started(words, out=out, writing=writing) as child:
                self._ended(child, what)
            out.seek(0)
            content = out.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise AltbackupError(f"{self.store.name}: {what}: rclone wrote more than {_LONGEST} bytes")
        return content

    @contextlib.contextmanager
    def _started(
        self, words: Sequence[str], *, out: IO[bytes] | None = None, pipe: bool = False, writing: bool = False
    ) -> Iterator[Child]:
        store = self.store
        limits = ["--contimeout", f"{store.connect_timeout:g}s", "--timeout", f"{store.io_timeout:g}s"]
        limits += ["--retries", "1", "--low-level-retries", str(_TIMES), "--stats", "0", "--ask-password=false"]
        limits += ["--bwlimit", f"{store.bwlimit}B"] if store.bwlimit else []
        limits += ["--transfers", "1"] if writing else []
        argv = [self._program, *words[:1], "--config", store.config, *limits, *words[1:]]
        environment = clean_environment(**self._secrets.environment)
        stream = subprocess.PIPE if pipe else out
        with Child(argv, stdout=stream, environment=environment, name="rclone") as child:
            yield child

    def _ended(self, child: Child, what: str) -> None:
        """Wait for the end of a child. Raise Missing or ToolFailed unless it was good."""
        rc = child.wait(self.deadline, silence=self._silence)
        if rc == 0:
            return
        stderr_text = self._secrets.masked(child.stderr())
        lines = [_STARTS.sub("", line) for line in stderr_text.splitlines()]
        text = printable("; ".join(dict.fromkeys(filter(None, lines[-6:])))) or "it said nothing"
        if rc in _MISSING:
            raise Missing(f"{self.store.name}: {what}: it is not there: {text}")
        ending = f"was killed by signal {-rc}" if rc < 0 else f"failed with exit code {rc}"
        raise ToolFailed(f"{self.store.name}: {what}: rclone {ending}: {text}", rc, stderr_text)


def _listed(paths: Iterable[str]) -> contextlib.AbstractContextManager[str]:
    """Yield the path of a file in which these stand, a line each, while the block lasts."""
    return temporary_file("".join(f"{path}\n" for path in paths).encode())
