"""Modules as processes, undisturbed or with a fault at one of their system calls."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.site import REPOSITORY

CHANGING = (
    *("open", "openat", "openat2", "creat", "mknod", "mknodat", "truncate", "ftruncate", "fallocate"),
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "setxattr", "lsetxattr", "fsetxattr"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat"),
    *("utimensat", "utimes", "futimesat"),
)
"""System calls that change a file system, on any architecture"""
FAILING = (
    *("open", "openat", "write", "pwrite64", "pwritev", "ftruncate", "copy_file_range", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat"),
)
"""System calls that fail on a full or broken disk"""
_MOVING = ("chdir", "fchdir", "clone", "clone3", "fork", "vfork")
"""System calls that change what relative paths of others refer to"""
_LOOKED_AT = {"rename": slice(1), "symlink": slice(1, None), "symlinkat": slice(1, None)}
"""Arguments that strace's -P compares, where it does not compare all"""
_QUIET = ("-y", "-s", "0", "-e", "signal=none")
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_FILE = re.compile(r"\b\d+<(/[^>]*)>")
_NAME = re.compile(r'"([^"]+)"')
_UNNAMED = re.compile(r"/#\d+$")
"""A file without a name: that of another call has its number by chance only"""
_WRITING = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC)")


@dataclass(frozen=True)
class Point:
    """The nth call of a system call on a file, by a process or thread of a module."""

    syscall: str
    number: int
    path: str
    shown: str = field(compare=False)

    def words(self, fault: str) -> list[str]:
        """Return the words with which strace injects a fault here: `signal=KILL`, `error=ENOSPC`."""
        return [
            "-P",
            self.path,
            "-e",
            f"trace={self.syscall}",
            "-e",
            f"inject={self.syscall}:{fault}:when={self.number}",
        ]

    def is_hit(self, lines: Sequence[str]) -> bool:
        """Return whether the fault happened at this very point, according to the output of strace with these words."""
        counts: Counter[str] = Counter()
        for line in lines:
            pid = line.split(" ", 1)[0]
            counts[pid] += "<... " not in line
            if counts[pid] == self.number and ("(INJECTED)" in line or line.endswith(_ENDED)):
                return True
        return False

    def __str__(self) -> str:
        return f"{self.syscall} {self.number}: {self.shown}"


_ENDED = ("= ?", "= ? <unavailable>")
"""How strace shows a call in which its process was killed"""


@dataclass
class Ended:
    """The end of a module's call."""

    status: int
    output: str

    @property
    def killed(self) -> bool:
        """Whether the module was killed."""
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def result(self) -> dict[str, Any]:
        """The module's result, empty if there is none."""
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return result

    @property
    def reasons(self) -> str:
        """The reasons of the module's failures."""
        return "\n".join(entry["reason"] for entry in self.result.get("failures", []))

    def unclear(self, words: Collection[str], folder: Path) -> list[str]:
        """Return what is wrong with what a call says of an error: no result, or a failure without any of the words or a path in the folder."""
        if self.killed or not self.result:
            return [f"no result: {self.output[-2000:]}"]
        if self.reasons and not any(word in self.reasons for word in words):
            return [f"does not say what happened: {self.reasons}"]
        if self.reasons and str(folder) not in self.reasons:
            return [f"does not say where: {self.reasons}"]
        return []


class Caller:
    """Calls modules, with folders for their data and for notes."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.lines: list[str] = []
        """Strace's lines of the last undisturbed call"""

    def call(self, module: str, arguments: Mapping[str, Any], strace: Sequence[str] | None = None) -> Ended:
        """Call a module, followed by strace if words for it are given, and return how it ended."""
        output, log = self.folder / "output", self.folder / "log"
        words = None if strace is None else ["-o", str(log), *_QUIET, *strace]
        call = {"module": module, "arguments": arguments, "output": str(output), "strace": words}
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(call), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, f"the caller of modules has ended at {module}: {output.read_text()}"
        if words:
            self.lines = log.read_text(errors="backslashreplace").splitlines()
        return Ended(json.loads(answer)["status"], output.read_text(errors="backslashreplace"))

    def disturbed(
        self, module: str, arguments: Mapping[str, Any], point: Point, fault: str, restore: Callable[[], None]
    ) -> tuple[Ended, list[str]]:
        """Restore the state before a call, and cause a fault at a point of it; return how it ended, and what is wrong if that did not happen there.

        On a busy machine strace now and then lets a call pass: where the fault was not seen it is tried once more.
        """
        for _ in range(2):
            restore()
            ended = self.call(module, arguments, point.words(fault))
            if point.is_hit(self.lines):
                return ended, []
        return ended, ["not hit", *self.lines]

    def points(self, module: str, arguments: Mapping[str, Any], below: Path) -> tuple[Ended, list[Point]]:
        """Call a module undisturbed; return how it ended, and the points at which it or a child of it changed something below a folder."""
        names = ",".join(f"?{name}" for name in (*CHANGING, *_MOVING))
        ended = self.call(module, arguments, ["-e", f"trace={names}"])
        return ended, list(dict.fromkeys(_points(self.lines, str(below))))


def _points(lines: Sequence[str], below: str) -> Iterator[Point]:
    counts: Counter[tuple[str, str, str]] = Counter()
    folders: dict[str, str] = {}
    """{process: its working folder}, as far as it changed that"""
    for pid, syscall, asked, answer in _calls(lines):
        if syscall in _MOVING:
            if syscall in ("chdir", "fchdir"):
                folders[pid] = os.path.join(folders.get(pid, ""), (_NAME.findall(asked) or _FILE.findall(asked))[0])
            else:
                folders[answer.strip()] = folders.get(pid, "")
            continue
        names = _NAME.findall(asked)[_LOOKED_AT.get(syscall, slice(None))]
        paths = list(dict.fromkeys([*_FILE.findall(asked), *names]))
        for path in paths:
            counts[pid, syscall, path] += 1
        changing = _WRITING.search(asked) if syscall.startswith("open") else not answer.startswith("-1 ")
        where = " ".join([asked, *(os.path.join(folders.get(pid, ""), path) for path in paths)])
        if changing and below in where and paths:
            path = next((path for path in paths if below in path), paths[0])
            if not _UNNAMED.search(path):
                yield Point(syscall, counts[pid, syscall, path], path, asked.replace(below, "")[:160])


def _calls(lines: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield process, system call, arguments and result of each call, in the order in which they began."""
    answers: dict[int, str] = {}
    begun: dict[str, int] = {}
    for number, line in enumerate(lines):
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = number
        elif "<... " in line and pid in begun:
            answers[begun.pop(pid)] = line.rpartition(" = ")[2]
    for number, line in enumerate(lines):
        if match := _CALL.match(line):
            pid, syscall, rest = match.groups()
            asked = rest.removesuffix("<unfinished ...>") if number in answers else rest.rpartition(" = ")[0]
            yield pid, syscall, asked, answers.get(number, rest.rpartition(" = ")[2])


_WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "copy_file_range", "sendfile")
_PASSING = (".altbackup/trash", ".altbackup/scratch", ".altbackup/tmp", ".altbackup/incoming")
"""Folders whose content a power cut may take"""
_IN_MEMORY = ("", "/tmp")
"""Where readers assemble their views of the file system, by open folders"""


def unflushed(lines: Sequence[str]) -> tuple[int, list[str]]:
    """Return how many files got their final name in an undisturbed call, and which of them too early, from strace's lines.

    A file must be flushed before it gets its name, and the folder after; the folders above a tarball before its sidecar gets its name. The
    target of a hard or symbolic link is on the medium already.
    """
    flushed: set[str] = set()
    pending: set[str] = set()
    count = 0
    wrong = []
    for _, syscall, asked, answer in _calls(lines):
        files, names = _FILE.findall(asked), _NAME.findall(asked)
        passing = any(folder in asked.rpartition('"/')[2] for folder in _PASSING)
        if answer.startswith("-1 "):
            continue
        if syscall in ("fsync", "fdatasync"):
            flushed.update(files)
            pending.difference_update(files)
        elif syscall in _WRITES:
            flushed.difference_update(files)
        elif syscall in ("link", "linkat", "symlink", "symlinkat"):
            flushed.add(names[-1])
        elif syscall in ("mkdir", "mkdirat") and not passing and os.path.dirname(names[-1]) not in _IN_MEMORY:
            pending.add(os.path.dirname(names[-1]))
        elif syscall.startswith("rename") and not passing and not _is_folder(names[-1]):
            old, new = names
            flushed.update([new] if old in flushed else [])
            folder, name = os.path.split(new)
            if name.startswith(".altbackup-tmp-"):
                continue
            count += 1
            if old not in flushed:
                wrong.append(f"renamed before it was flushed: {asked}")
            above = sorted(path for path in pending if f"{folder}/".startswith(f"{path}/"))
            if name.endswith(".dna") and above:
                wrong.append(f"sidecar before {', '.join(above)} was flushed: {asked}")
            pending.add(folder)
    return count, wrong + [f"folder not flushed: {folder}" for folder in sorted(pending)]


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


@contextmanager
def caller(folder: Path) -> Iterator[Caller]:
    """Start the process that calls modules, the real interpreter in a PID namespace of its own."""
    program = Path(__file__).with_name("caller.py")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY / ".collections"), *sys.path])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        "unshare",
        "--fork",
        "--pid",
        "--mount-proc",
        "--kill-child",
        os.path.realpath(sys.executable),
        str(program),
    ]
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        try:
            yield Caller(process, folder)
        finally:
            process.kill()
