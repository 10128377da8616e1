"""Modules as processes, undisturbed or with a fault at one of their system calls."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.site import REPOSITORY

CHANGING = [
    *(
        "openat",
        "open",
        "creat",
        "write",
        "pwrite64",
        "writev",
        "copy_file_range",
        "sendfile",
        "fallocate",
        "ftruncate",
    ),
    *("fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat"),
    *("link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "utimensat", "chown", "fchownat"),
]
"""The system calls that change a file system, on any architecture"""
FAILING = ("write", "pwrite64", "fsync", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "link", "linkat")
"""Those at which a disk that is full or broken tells"""
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_FILE = re.compile(r"\d+<(/[^>]*)>")
_WRITING = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC)")


@dataclass(frozen=True)
class Point:
    """The so many-th call of a system call by a process or thread of a module, for one open file if that is given."""

    syscall: str
    number: int
    path: str
    shown: str = field(compare=False)

    def words(self, fault: str) -> list[str]:
        """Return the words with which strace lets a fault happen here: `signal=KILL`, `error=ENOSPC`."""
        quiet = ["-o", "/dev/null", "-e", "signal=none", *(["-P", self.path] if self.path else [])]
        return [*quiet, "-e", f"trace={self.syscall}", "-e", f"inject={self.syscall}:{fault}:when={self.number}"]

    def __str__(self) -> str:
        return f"{self.syscall} {self.number}: {self.shown}"


@dataclass
class Ended:
    """How a call of a module ended."""

    status: int
    output: str

    @property
    def killed(self) -> bool:
        """Whether the module was killed."""
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL

    @property
    def result(self) -> dict[str, Any]:
        """The module's result, empty if it came to none."""
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return result

    @property
    def reasons(self) -> str:
        """What the module says that failed."""
        return "\n".join(entry["reason"] for entry in self.result.get("failures", []))


class Caller:
    """Calls modules, with folders for what they work on and for notes."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.lines: list[str] = []
        """What strace told of the last undisturbed call"""

    def call(self, module: str, arguments: Mapping[str, Any], strace: Sequence[str] | None = None) -> Ended:
        """Call a module, let strace follow it if words for it are given, and return how it ended."""
        output = self.folder / "output"
        call = {"module": module, "arguments": arguments, "output": str(output), "strace": strace}
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(call), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, f"the caller of modules has ended at {module}: {output.read_text()}"
        return Ended(json.loads(answer)["status"], output.read_text(errors="backslashreplace"))

    def points(self, module: str, arguments: Mapping[str, Any], below: Path) -> tuple[Ended, list[Point]]:
        """Call a module undisturbed; return how it ended, and where it or a child of it changed something below a folder."""
        log = self.folder / "log"
        words = [
            "-o",
            str(log),
            "-y",
            "-s",
            "0",
            "-e",
            "signal=none",
            "-e",
            "trace=" + ",".join(f"?{it}" for it in CHANGING),
        ]
        ended = self.call(module, arguments, words)
        self.lines = log.read_text(errors="backslashreplace").splitlines()
        return ended, list(_points(self.lines, str(below)))


def _points(lines: Sequence[str], below: str) -> Iterator[Point]:
    counts: Counter[tuple[str, ...]] = Counter()
    seen = set()
    for line in lines:
        match = _CALL.match(line)
        if not match:
            continue
        pid, syscall, rest = match.groups()
        changing = _WRITING.search(rest) if syscall in ("openat", "open") else "= -1 " not in rest
        file = _FILE.match(rest)
        path = file.group(1) if file and f"-{pid}-" not in rest else ""  # names with a process id differ each time
        counts[pid, syscall] += 1
        counts[pid, syscall, path] += 1
        number = counts[pid, syscall, path] if path else counts[pid, syscall]
        point = Point(syscall, number, path, rest.replace(below, "")[:160])
        if below in rest and changing and point not in seen:
            seen.add(point)
            yield point


_FSYNC = re.compile(r"\d+ +f(?:data)?sync\(\d+<(/[^>]*)>\)")
_WRITE = re.compile(r"\d+ +(?:write|pwrite64|writev|ftruncate|copy_file_range)\(\d+<(/[^>]*)>")
_RENAME = re.compile(r'\d+ +rename\w*\((?:AT_FDCWD<[^>]*>, )?"([^"]*)", (?:AT_FDCWD<[^>]*>, )?"([^"]*)"')
_LINK = re.compile(r'\d+ +(?:sym)?link\w*\((?:AT_FDCWD<[^>]*>, )?"[^"]*", (?:AT_FDCWD<[^>]*>, )?"([^"]*)"')


def unflushed(lines: Sequence[str]) -> tuple[int, list[str]]:
    """Given strace's lines of an undisturbed call, return how many files got their final name, and which not as they should.

    A file is flushed before it gets its name, and the folder after; a tarball's folder before its sidecar gets its name.
    What a link or a symbolic link is made of is on the medium already.
    """
    flushed: set[str] = set()
    pending: set[str] = set()
    count = 0
    wrong = []
    for line in lines:
        if "= -1 " in line:
            continue
        if match := _FSYNC.match(line):
            flushed.add(match.group(1))
            pending.discard(match.group(1))
        elif match := _WRITE.match(line):
            flushed.discard(match.group(1))
        elif match := _LINK.match(line):
            flushed.add(match.group(1))
        elif (match := _RENAME.match(line)) and not os.path.isdir(match.group(2)):
            old, new = match.groups()
            folder, name = os.path.split(new)
            if name.startswith(".altbackup-tmp-") or "/incoming/" in new:
                continue
            count += 1
            if old not in flushed:
                wrong.append(f"renamed before it was flushed: {line}")
            if name.endswith(".dna") and folder in pending:
                wrong.append(f"sidecar before its folder was flushed: {line}")
            pending.add(folder)
    return count, wrong + [f"folder not flushed: {folder}" for folder in sorted(pending)]


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
