"""Progress of a call for a watching controller: how many bytes are done, in a small file while the call runs.

The controller names the file, in Ansible's folder for temporary files of the call's user, and reads it from time to time. Nothing counts
bytes for it: the thread that writes the file asks the kernel for the offsets of open files. Calls that are not watched, or that are short,
have neither thread nor file.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

PREFIX = "altbackup-progress-"
DOINGS = ("read", "written", "sent", "received", "unpacked", "looked through")
"""What may be done with bytes"""
_FIRST, _EVERY = 4.0, 2.0
"""Seconds until the file is written first, and between later times"""
_MOST = 4
"""Most works in the file, the oldest first"""
_LEAST = 1 << 20
"""Smallest file, in bytes, whose progress is reported"""
_OLD = 86400
"""Seconds after which a file must be the leftover of a killed call"""


@dataclass
class _Work:
    """An item, or all that is read together, and the progress of what is done with it at present."""

    title: str
    expected: int = 0
    """Estimate of the bytes to be written; 0 for unknown"""
    doing: str = ""
    total: int = 0
    about: bool = False
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    """Bytes of parts that have ended"""
    going: list[Callable[[], int]] = field(default_factory=list)

    def begin(self, doing: str, total: int, about: bool) -> None:
        """Begin another activity with it."""
        self.doing, self.total, self.about, self.done, self.began = doing, total, about, 0, time.monotonic()

    def entry(self) -> dict[str, object]:
        """Return its entry of the file."""
        return {
            "item": self.title,
            "doing": self.doing,
            "done": self.done + sum(position() for position in self.going),
            "total": self.total,
            "about": self.about,
            "seconds": round(time.monotonic() - self.began, 3),
        }


class _Report:
    """The file, and the thread that writes it once there is work."""

    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self.works: list[_Work] = []
        self.whole: _Work | None = None
        self._path = path
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, work: _Work) -> None:
        """Add a work that begins."""
        with self.lock:
            self.works.append(work)
            if self._thread is None:  # not before, because processes are forked that must have no other thread
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def remove(self, work: _Work) -> None:
        """Remove a work that has ended."""
        with self.lock:
            self.works.remove(work)

    def close(self) -> None:
        """Stop the thread and remove the file."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            _remove(self._path)
            _remove(self._new)

    @property
    def _new(self) -> str:
        return f"{self._path}.new"

    def _run(self) -> None:
        # Only here all errors are swallowed on purpose: a backup must neither fail nor wait because of its progress report.
        with contextlib.suppress(Exception):
            pause = _FIRST
            while not self._over.wait(pause):
                if pause == _FIRST:
                    self._make_folder()
                self._write()
                pause = _EVERY

    def _make_folder(self) -> None:
        """Make the folder, and remove from it what killed calls left."""
        folder = os.path.dirname(self._path)
        os.makedirs(folder, 0o700, exist_ok=True)
        for entry in os.scandir(folder):
            if entry.name.startswith(PREFIX) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
                _remove(entry.path)

    def _write(self) -> None:
        with self.lock:
            entries = [work.entry() for work in self.works[:_MOST]]
        _remove(self._new)
        descriptor = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump(entries, stream)
        os.replace(self._new, self._path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


_reports: list[_Report] = []
"""The report of this call, if it is watched"""
_own = threading.local()
"""`work` is what this thread works on"""


def _forget() -> None:
    _reports.clear()
    _own.work = None


os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def reported(path: str | None) -> Iterator[None]:
    """Write the progress of this process to a file while the block lasts; without a path do nothing. Its errors are ignored."""
    if not path or _reports:
        yield
        return
    report = _Report(path)
    _reports.append(report)
    try:
        yield
    finally:
        _reports.clear()
        report.close()


@contextlib.contextmanager
def at_work(title: str, expected: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Report `title` as what this thread works on while the block lasts.

    `expected` returns an estimate of the bytes to be written; it is called only if the call is watched.
    """
    if not _reports:
        yield
        return
    report, work = _reports[0], _Work(title, expected())
    report.add(work)
    _own.work = work
    try:
        yield
    finally:
        _own.work = None
        report.remove(work)


@contextlib.contextmanager
def all_of_it(doing: str, total: int) -> Iterator[None]:
    """Report all that any thread reads while the block lasts as one work of so many bytes."""
    if not _reports:
        yield
        return
    report, work = _reports[0], _Work("", doing=doing, total=total)
    report.add(work)
    report.whole = work
    try:
        yield
    finally:
        report.whole = None
        report.remove(work)


@contextlib.contextmanager
def moving(doing: str, position: Callable[[], int], total: int | None = None) -> Iterator[None]:
    """Report how many bytes are done while the block lasts; `doing` is a participle of DOINGS (`sent`).

    `position` returns the bytes done so far; it must be cheap and must not wait. Without `total` the item's estimate is used.
    """
    work = _work()
    shared = bool(_reports) and work is _reports[0].whole
    if work is None or (total is not None and total < _LEAST and not shared):
        yield
        return
    report = _reports[0]
    with report.lock:
        if not shared:
            work.begin(doing, work.expected if total is None else total, total is None)
        work.going.append(position)
    try:
        yield
    finally:
        with report.lock:
            work.going.remove(position)
            if shared:
                work.done += total or 0
            else:
                work.begin("", 0, False)


def _work() -> _Work | None:
    if not _reports:
        return None
    return _reports[0].whole or getattr(_own, "work", None)


def reading(doing: str, stream: IO[bytes]) -> contextlib.AbstractContextManager[None]:
    """Report how far an open file is read, by any process that shares its offset, while the block lasts."""
    if not _reports:
        return contextlib.nullcontext()
    descriptor = stream.fileno()
    return moving(doing, lambda: os.lseek(descriptor, 0, os.SEEK_CUR), os.fstat(descriptor).st_size)


def writing(doing: str, stream: IO[bytes]) -> contextlib.AbstractContextManager[None]:
    """Report the size of a growing file, against the item's estimate, while the block lasts."""
    descriptor = stream.fileno()
    return moving(doing, lambda: os.fstat(descriptor).st_size)
