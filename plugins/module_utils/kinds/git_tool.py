"""Git as it is called here: as the repository's owner, with nothing of anybody's configuration that it would run; and what it says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..system.digest import new_hash, open_plain
from ..system.errors import AltbackupError, InvalidInput, ToolFailed, name_os_errors
from ..system.processes import Deadline, run
from ..system.programs import clean_environment, find_tool
from ..system.readers import Identity
from ..system.seeing import unseen

OBJECT = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
LISTING = ("for-each-ref", "--format=%(objectname)%00%(refname)%00%(symref)")
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",  # older gits know no GIT_NO_LAZY_FETCH: they would run commands of the live configuration
    "GIT_DEFAULT_REF_FORMAT": "files",
}
PROMISED = ("-c", "remote.altbackup.promisor=true")
"""Lets git take for promised what the packs of a partial clone say that its origin has, whatever the configuration says"""
SYMBOLIC = b"ref: "
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "advice.graftFileDeprecated=false")


class Git:
    """Calls git on a repository as the owner of the live one."""

    def __init__(self, folder: str, deadline: Deadline, identity: Identity, *, objects_of: str = "") -> None:
        """With `objects_of` another repository it reads the objects of that, and nothing else of it."""
        self.folder = folder
        self.title = objects_of or folder
        self.deadline = deadline
        self.identity = identity
        self._options = [f"--git-dir={folder}", *_SETTINGS]
        self.environment = clean_environment(**ENVIRONMENT)
        if objects_of:
            self.environment["GIT_OBJECT_DIRECTORY"] = os.path.join(objects_of, "objects")

    def argv(self, *arguments: str) -> list[str | bytes]:
        """Return the argv of a git command."""
        return self.identity.argv([find_tool("git"), *self._options, *arguments])

    def run(self, *arguments: str, what: str = "", input: bytes = b"", stderr_lines: list[str] | None = None) -> bytes:
        """Run a git command to its end and return its stdout; `stderr_lines` receives the lines of its stderr. Raise ToolFailed."""
        what = what or f"git {arguments[0]} in {self.title}"
        return run(
            self.argv(*arguments),
            what=what,
            deadline=self.deadline,
            input=input,
            environment=self.environment,
            stderr_lines=stderr_lines,
            name="git",
        )

    def settings(self) -> dict[str, str]:
        """Return the repository's own settings, of a repository that this git cannot use, too. Raise ToolFailed."""
        found: dict[str, str] = {}
        for path in (os.path.join(self.folder, name) for name in ("config", "config.worktree")):
            if os.path.lexists(path):
                arguments = ("--git-dir=/dev/null", "config", f"--file={path}", "--includes", "--list", "--null")
                what = f"git config in {self.folder}"
                listing = self.run(*arguments, what=what).decode("utf-8", "replace")
                pairs = (entry.partition("\n") for entry in listing.split("\0") if entry)
                found.update((key, value if separator else "true") for key, separator, value in pairs)
        return found

    def at_home(self) -> Git:
        """Return it with the repository itself for its working tree, where its settings name another one, which need not be there."""
        if "core.worktree" in self.settings():
            self._options.append(f"--work-tree={self.folder}")
        return self

    def version(self) -> tuple[int, ...]:
        """Return git's own version, `()` where it says none. Raise ToolFailed."""
        match = re.search(rb"\d+(?:\.\d+)+", self.run("version"))
        return tuple(int(part) for part in match.group().split(b".")) if match else ()


def keeps_table(settings: Mapping[str, str]) -> bool:
    """Return whether a repository with such settings has its references in a table, rather than in files."""
    return settings.get("extensions.refstorage", "files") == "reftable"


@dataclass(frozen=True)
class References:
    """What a repository points to at one moment."""

    head: bytes
    """Content of HEAD: `ref: refs/heads/main` or an object."""
    lines: tuple[tuple[bytes, bytes, bytes], ...]
    """(object, name, target if symbolic), sorted by name"""

    @property
    def digest(self) -> str:
        """One digest over all of it."""
        total = new_hash("sha256")
        total.update(self.head + b"\n" + b"".join(b" ".join(line) + b"\n" for line in self.lines))
        return str(total.hexdigest())

    def named(self) -> dict[bytes, bytes]:
        """Return {name: object pointed to}, HEAD among them if it names an object itself."""
        found = {line[1]: line[0] for line in self.lines}
        return {**found, **({b"HEAD": self.head} if OBJECT.fullmatch(self.head) else {})}

    def objects(self) -> set[bytes]:
        """Return the objects pointed to."""
        return set(self.named().values())


def read_references(git: Git, *, table: bool = False) -> References:
    """Return HEAD and every reference that for-each-ref shows in a repository, which may keep them in a `table`.

    Raise ToolFailed, or AltbackupError for a reference that cannot be read.
    """
    stderr_lines: list[str] = []
    listing = git.run(*LISTING, stderr_lines=stderr_lines)
    broken = [line for line in stderr_lines if "dangling symref" not in line]
    if broken:
        raise AltbackupError(f"{git.folder}: a reference cannot be read: {broken[0]}")
    return parse_references(listing, ask_head(git) if table else _read_head(git.folder))


def parse_references(listing: bytes, head: bytes) -> References:
    """Parse the output of git for LISTING and the content of HEAD."""
    lines = tuple(sorted((tuple(line.split(b"\0")) for line in listing.splitlines()), key=lambda line: line[1]))
    return References(head, lines)  # type: ignore[arg-type]


def ask_head(git: Git, name: str = "HEAD") -> bytes:
    """Return what a file of HEAD, or of a worktree's, would hold, as git says it. Raise ToolFailed."""
    try:
        return SYMBOLIC + git.run("symbolic-ref", name).strip()
    except ToolFailed as error:
        if error.rc not in (1, 128):
            raise
    return git.run("rev-parse", "--verify", "--quiet", name).strip()


def _read_head(folder: str) -> bytes:
    """Return the content of HEAD, in the form of today where it is a symbolic link, as it was of old."""
    path = os.path.join(folder, "HEAD")
    return SYMBOLIC + os.fsencode(os.readlink(path)) if os.path.islink(path) else read_small(path).strip()


def read_small(path: str) -> bytes:
    """Return the content of a plain file, nothing if it is not there. Raise InvalidInput where it cannot be read."""
    try:
        with open_plain(path) as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InvalidInput(str(unseen(path, error))) from error


def place_references(references: References, folder: str) -> None:
    """Write HEAD and references into a fresh repository."""
    packed = os.path.join(folder, "packed-refs")
    with name_os_errors(packed), open(packed, "wb") as stream:
        stream.write(b"# pack-refs with: sorted \n")
        stream.write(b"".join(b"%s %s\n" % line[:2] for line in references.lines if not line[2]))
    for _, name, target in references.lines:
        if target:
            path = os.path.join(os.fsencode(folder), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with name_os_errors(os.fsdecode(path)), open(path, "wb") as stream:
                stream.write(SYMBOLIC + target + b"\n")
    head = os.path.join(folder, "HEAD")
    with name_os_errors(head), open(head, "wb") as stream:
        stream.write(references.head + b"\n")
