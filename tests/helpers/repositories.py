"""Real Subversion and Git repositories with history, the same at each run, and a base where they are dumped night by night."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers.original_trees import run_module

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

UUID = "5f0e3e2c-9b1c-4a5e-8f58-0123456789ab"
NEVER = 10**6
"""Days between rebuilds of a scratch copy that no test reaches"""
_IDENTITY = "A U Thor <author@example.org> 1368183000 +0000"


def run(*argv: str | Path, input: bytes = b"", cwd: Path | None = None, check: bool = True) -> str:
    """Run a command in a plain environment and return its stdout; fail with its stderr."""
    environment = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        **{
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "A"), ("EMAIL", "a@b"))
        },
    }
    done = subprocess.run([str(word) for word in argv], input=input, capture_output=True, cwd=cwd, env=environment)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr.decode('utf-8', 'replace')}"
    return done.stdout.decode("utf-8", "surrogateescape")


def make_subversion(
    path: Path, revisions: int = 5, *, shard: int = 1000, compatible: str = "", uuid: str = UUID
) -> Path:
    """Make a Subversion repository with some revisions at a path, each a folder and a file; return the path."""
    run("svnadmin", "create", *([f"--compatible-version={compatible}"] if compatible else []), path)
    layout = path / "db" / "format"
    layout.chmod(0o644)
    layout.write_text(layout.read_text().replace("layout sharded 1000", f"layout sharded {shard}"))
    hook = path / "hooks" / "pre-revprop-change"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    load_subversion(path, 1, revisions, uuid)
    return path


def load_subversion(path: Path, first: int, last: int, uuid: str = UUID, word: str = "content") -> None:
    """Add revisions to a repository, with dates and contents that depend only on the numbers and the word."""
    stream = [f"SVN-fs-dump-format-version: 2\n\nUUID: {uuid}\n\n".encode()]
    stream += [_revision(number, word) for number in range(first, last + 1)]
    run("svnadmin", "load", "--quiet", "--force-uuid", path, input=b"".join(stream))


def _revision(number: int, word: str) -> bytes:
    properties = _properties({"svn:author": "author", "svn:date": _date(number, word), "svn:log": f"revision {number}"})
    content = f"{word} {number}\n".encode() * 20
    nodes = [
        f"Node-path: d{number}\nNode-kind: dir\nNode-action: add\nProp-content-length: 10\nContent-length: 10\n\nPROPS-END\n\n".encode(),
        f"Node-path: d{number}/f\nNode-kind: file\nNode-action: add\nText-content-length: {len(content)}\n"
        f"Content-length: {len(content)}\n\n".encode()
        + content
        + b"\n\n",
    ]
    size = len(properties)
    return (
        f"Revision-number: {number}\nProp-content-length: {size}\nContent-length: {size}\n\n".encode()
        + properties
        + b"\n"
        + b"".join(nodes)
    )


def _date(number: int, word: str) -> str:
    return f"2013-05-10T10:{number % 60:02d}:00.{sum(word.encode()):06d}Z"


def _properties(values: dict[str, str]) -> bytes:
    return (
        "".join(f"K {len(key)}\n{key}\nV {len(value)}\n{value}\n" for key, value in values.items()).encode()
        + b"PROPS-END\n"
    )


def set_revision_property(path: Path, revision: int, value: str, name: str = "svn:log") -> None:
    """Change a property of a revision."""
    run("svn", "propset", "--quiet", "--revprop", f"--revision={revision}", name, value, f"file://{path}")


def make_git(path: Path, commits: int = 4, *, bare: bool = True, object_format: str = "sha1") -> Path:
    """Make a Git repository with branches `main` and `side`, tags and notes at a path; return its git directory."""
    format_option = [f"--object-format={object_format}"] if object_format != "sha1" else []
    run("git", "init", "--quiet", "--initial-branch=main", *(["--bare"] if bare else []), *format_option, path)
    folder = path if bare else path / ".git"
    if commits:
        import_commits(folder, commits)
    return folder


def git(folder: Path, *arguments: str, input: bytes = b"", check: bool = True) -> str:
    """Run git on a git directory and return its stdout without the last newline."""
    return run("git", f"--git-dir={folder}", *arguments, input=input, check=check).rstrip("\n")


def import_commits(folder: Path, commits: int) -> None:
    """Add commits to branch `main`, a branch `side`, an annotated and a lightweight tag, and a note."""
    lines = ["feature done"]
    for number in range(1, commits + 1):
        content = "".join(f"line {line} of {number}\n" for line in range(20))
        lines += [f"commit refs/heads/main\nmark :{number}\ncommitter {_IDENTITY}", _data(f"commit {number}\n")]
        lines += [f"from :{number - 1}"] if number > 1 else []
        lines += [f"M 100644 inline f{number % 3}", _data(content)]
    lines += ["reset refs/heads/side\nfrom :1\n", f"tag v1\nfrom :{commits}\ntagger {_IDENTITY}", _data("tag\n")]
    lines += ["reset refs/tags/light\nfrom :1\n"]
    lines += [
        f"commit refs/notes/commits\ncommitter {_IDENTITY}",
        _data("note\n"),
        "N inline :1",
        _data("noted\n"),
        "done",
    ]
    git(folder, "-c", "fastimport.unpackLimit=100", "fast-import", "--quiet", input="\n".join([*lines, ""]).encode())


def _data(text: str) -> str:
    return f"data {len(text)}\n{text}"


def references(folder: Path) -> str:
    """Return all references of a Git repository and its HEAD, as text for comparison."""
    return (folder / "HEAD").read_text() + git(folder, "for-each-ref", "--format=%(refname) %(objectname) %(symref)")


@contextlib.contextmanager
def busy(step: Callable[[int], Any]) -> Iterator[list[int]]:
    """Call a function with 0, 1, 2 ... in a thread while the block lasts; yield the list of completed calls."""
    done: list[int] = []
    failures: list[Exception] = []
    end, started = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while not end.is_set():
                step(len(done))
                done.append(len(done))
                started.set()
        except (AssertionError, OSError) as error:
            failures.append(error)
            started.set()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    try:
        yield done
    finally:
        end.set()
        thread.join()
    assert not failures, failures


class Nights:
    """A base where items are dumped night by night."""

    def __init__(self, path: Path) -> None:
        self.base = path / "base"
        self.private = self.base / ".altbackup"
        self.private.mkdir(parents=True)
        self.unpacked = path / "unpacked"
        self.notes: list[str] = []

    def dump(
        self, *items: dict[str, Any], night: int = 1, verify_every: int = NEVER, form: ArchiveFormat | None = None
    ) -> dict[str, Any]:
        """Dump items under the stamp of a night and return the result."""
        options = {"deadline": Deadline(120.0, "dump"), "verify_every": verify_every}
        result = dump(str(self.base), items, stamp(night), form or ArchiveFormat(".tar"), options)
        self.notes = result["notes"]
        return result

    def tarball(self, item: dict[str, Any], **options: Any) -> Path:
        """Dump an item without failures and return its tarball."""
        result = self.dump(item, **options)
        assert not result["failures"], result["failures"]
        return Path(result["tarballs"][0]["path"])

    def suspect(self, item: dict[str, Any], words: str, **options: Any) -> Path:
        """Dump an item, which must be suspect for a reason with these words and have no other failure; return its tarball."""
        result = self.dump(item, **options)
        (failure,) = result["failures"]
        assert " is suspect: " in failure["reason"] and words in failure["reason"], failure["reason"]
        return Path(result["tarballs"][0]["path"])

    def failure(self, item: dict[str, Any], **options: Any) -> str:
        """Dump an item, which must fail and leave the base unchanged; return the reason."""
        before = self.listing()
        result = self.dump(item, **options)
        assert result["tarballs"] == []
        assert self.listing() == before
        (failure,) = result["failures"]
        return str(failure["reason"])

    def listing(self) -> dict[str, tuple[int, int, str]]:
        """Return the files and links in the base, without scratch copies in use."""
        found = {}
        for parent, folders, files in os.walk(self.base):
            for name in [*files, *(folder for folder in folders if os.path.islink(os.path.join(parent, folder)))]:
                path = os.path.join(parent, name)
                if not path.startswith((f"{self.private}/scratch/", f"{self.private}/state/")):
                    status = os.lstat(path)
                    target = os.readlink(path) if os.path.islink(path) else ""
                    found[path] = (status.st_ino, status.st_size, target)
        return found

    def unpack(self, tarball: Path) -> Path:
        """Unpack a tarball with plain tar and return the one folder that it holds."""
        into = self.unpacked / str(len(list(self.unpacked.glob("*"))))
        into.mkdir(parents=True)
        run("tar", "-xf", tarball, "-C", into)
        (folder,) = into.iterdir()
        return folder

    def module(
        self, *items: dict[str, Any], night: int = 1, check_mode: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Run the module in this process with an unusual umask, and return its result."""
        arguments = {"base": str(self.base), "items": list(items), "stamp": stamp(night), "ext": ".tar", **options}
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        umask = os.umask(0o077)
        try:
            return run_module("tarball_dump", check=check_mode, **arguments)
        finally:
            os.umask(umask)
            for number, handler in before.items():
                signal.signal(number, handler)


def stamp(night: int) -> str:
    """Return the stamp of a night, given its number."""
    return f"2013/05/{night:02d}/020000"
