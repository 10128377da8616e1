"""Where things lie in a Git repository: which folders are repositories, what of them travels as data, what names objects."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence

from ..system.digest import open_plain
from ..system.errors import InvalidInput, name_os_errors
from ..system.holes import copy_file
from ..system.processes import Deadline
from ..system.seeing import unseen
from ..system.twins import point, set_mode, take_attributes
from ..system.visible import printable
from ..tree.layout import is_plain_file
from .base import members_of, walk
from .git_tool import OBJECT, read_small

SHALLOW = "shallow"
NEEDED = ("logs", SHALLOW)
"""What git must see in the copy while it works on it"""
STREAMED = ("lfs", "annex")
"""Large files, each named after its content: archived from where they are"""
MODULES, WORKTREES = "modules", "worktrees"
_MADE = ("objects", "refs", "packed-refs", "HEAD", "reftable")
_MADE_OF_TABLE = ("refs", "HEAD", "reftable")
_PASSING = re.compile(
    r"index|sharedindex\.[0-9a-f]+|FETCH_HEAD|gc\.(?:log|pid)|fsmonitor--daemon(?:\.ipc)?|.*\.(?:lock|cache)", re.DOTALL
)
"""Locks, and what git or a viewer makes again"""
_CACHE = ".cache"
READ_BY_GIT = (*_MADE, "config", "config.worktree", "commondir", SHALLOW)
"""What git opens itself in a live repository"""
_UNFINISHED = ("rebase-merge", "rebase-apply", "sequencer")
_LONGEST = 1 << 20
_LONGEST_NAME = 4096
_WITHIN = tuple(
    re.compile(form, re.DOTALL)
    for form in (
        rf"(.+)/({WORKTREES})/[^/]+",
        rf"(.+?/{WORKTREES}/[^/]+)/({MODULES})/.+",
        rf"(.+?/\.git)/({MODULES})/.+",
    )
)
"""Where git puts what it knows of a linked worktree, and the repositories of submodules"""
_WHAT = {WORKTREES: "linked worktree", MODULES: "checkout of a submodule"}
_LOCKED = (
    "restored from a backup: it keeps what only this worktree leads to; unlock and prune it if that is not needed\n"
)


def is_repository(path: str) -> bool:
    """Return whether a path is a repository's own folder."""
    return (
        os.path.isdir(os.path.join(path, "objects"))
        and os.path.isdir(os.path.join(path, "refs"))
        and os.path.lexists(os.path.join(path, "HEAD"))
    )


def find_repositories(folder: str, deadline: Deadline) -> list[str]:
    """Return the paths below a repository's own folder of all repositories in it, sorted: '' and those of submodules.

    No link is followed. Raise InvalidInput for what is left of one, or cannot be read.
    """
    found = []
    waiting = [""]
    while waiting:
        deadline.remaining()
        path = waiting.pop()
        full = os.path.join(folder, path)
        if path and members_of(full, ("HEAD", "objects", "refs", "packed-refs")) < 2:
            waiting += _folders(folder, path)
            continue
        if path and not is_repository(full):
            raise InvalidInput(
                f"{printable(full)} was the repository of a submodule, but is none: it lacks HEAD, objects or refs"
            )
        found.append(path)
        for above in ("", *(f"{WORKTREES}/{name}" for name in _names(os.path.join(full, WORKTREES)))):
            modules = os.path.normpath(os.path.join(path, above, MODULES))
            waiting += _folders(folder, modules)
    return sorted(found)


def _folders(folder: str, path: str) -> list[str]:
    return [os.path.join(path, name) for name in _names(os.path.join(folder, path))]


def _names(path: str) -> list[str]:
    """Return the names of the folders in a folder, none where it is missing, or a link."""
    if os.path.islink(path) or not os.path.isdir(path):
        return []
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InvalidInput(str(unseen(path, error))) from error


class Outside:
    """Tells of paths below a repository's own folder which of them are not data of it."""

    def __init__(self, repositories: Sequence[str], path: str, *, table: bool) -> None:
        """`repositories` are all paths of repositories, `path` is that of this one; a `table` keeps references of worktrees, too."""
        below = f"{path}/" if path else ""
        self._others = {other[len(below) :] for other in repositories if other != path and other.startswith(below)}
        self._table = table
        self.caches: set[str] = set()

    def __call__(self, path: str, folder: bool) -> bool:
        """Return whether a path is that of a reference, an object, a lock, a cache, or of another repository."""
        parts = path.split("/")
        if len(parts) == 1:
            if parts[0].endswith(_CACHE):
                self.caches.add(parts[0])
            return parts[0] in (*_MADE, *STREAMED) or bool(_PASSING.fullmatch(parts[0]))
        if parts[0] == WORKTREES and len(parts) == 3:
            return bool(_PASSING.fullmatch(parts[2])) or (self._table and parts[2] in _MADE_OF_TABLE)
        if path.endswith(".lock") and (parts[0] == "logs" or (parts[0] == WORKTREES and len(parts) > 2)):
            return True
        return path in self._others


def copy_data(folder: str, outside: Outside, destination: str) -> list[str]:
    """Copy the data of a repository's own folder into an empty one, following no link; return notes on what was not copied.

    Raise InvalidInput where something cannot be read, FileNotFoundError or SourceChanged where it vanishes.
    """
    found, notes = walk(folder, outside)
    for name, (mode, *_) in found.items():
        path = os.fsdecode(name[2:])
        source, copied = (os.path.join(top, path) for top in (folder, destination))
        if not path:
            continue
        if path == SHALLOW and stat.S_ISLNK(mode):  # without what it says the copy would not be whole
            with open_plain(os.path.realpath(source)) as stream, name_os_errors(copied), open(copied, "wb") as whole:
                whole.write(stream.read())
        elif stat.S_ISDIR(mode):
            os.mkdir(copied, 0o700)
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            _copy(source, copied, stat.S_ISLNK(mode))
        else:
            notes.append(f"left out {printable(source)}: neither file, folder nor link")
        if stat.S_ISLNK(mode) and path != SHALLOW and _is_known(path):
            notes.append(f"{printable(source)} is a symbolic link and is archived as one, without what it leads to")
    for name in reversed(list(found)):
        mode = found[name][0]
        if name != b"." and stat.S_ISDIR(mode):
            set_mode(os.path.join(os.fsencode(destination), name), stat.S_IMODE(mode) | 0o700)
    return notes + [f"left out {printable(os.path.join(folder, name))}: a cache" for name in sorted(outside.caches)]


def _copy(source: str, copied: str, link: bool) -> None:
    """Copy a file, with its holes, or a link, with its attributes."""
    if link:
        point(os.readlink(source), copied)
    else:
        copy_file(source, copied)
    take_attributes(source, copied, follow_symlinks=False)


def _is_known(path: str) -> bool:
    """Return whether a link at a path is worth a note: others are as their owner made them."""
    parts = path.split("/")
    return len(parts) == 1 or (parts[0] in (MODULES, WORKTREES) and len(parts) == 2)


def worktrees_of(folder: str) -> list[str]:
    """Return the names of a repository's linked worktrees, sorted."""
    return sorted(_names(os.path.join(folder, WORKTREES)))


def heads_of_worktrees(folder: str) -> dict[bytes, bytes]:
    """Return {path below a copy of a repository's data: object} of the HEADs and references of its linked worktrees."""
    found = {}
    for worktree in worktrees_of(folder):
        top = os.path.join(folder, WORKTREES, worktree)
        for path in (os.path.join(top, "HEAD"), *_files(os.path.join(top, "refs"))):
            value = _start(path)
            if OBJECT.fullmatch(value):
                found[os.fsencode(os.path.relpath(path, folder))] = value
    return found


def lock_worktrees(folder: str) -> None:
    """Lock those linked worktrees in a copy of a repository's data that alone lead to something.

    Where a worktree is not at its place any more, git removes what it knows of it, and then what nothing else leads to.
    """
    for name in {os.fsdecode(path).split("/")[1] for path in heads_of_worktrees(folder)}:
        lock = os.path.join(folder, WORKTREES, name, "locked")
        if not os.path.lexists(lock):
            with name_os_errors(lock), open(lock, "w", encoding="utf-8") as stream:
                stream.write(_LOCKED)
            set_mode(lock, 0o644)


def objects_in_logs(folder: str) -> set[bytes]:
    """Return the objects that reflogs and grafts in a copy of a repository's data name."""
    info = os.path.join(folder, "info")
    grafts = b"" if os.path.islink(info) else read_small(os.path.join(info, "grafts"))
    found = {word for line in grafts.splitlines() for word in line.split() if not line.startswith(b"#")}
    for top in (folder, *(os.path.join(folder, WORKTREES, name) for name in worktrees_of(folder))):
        for path in _files(os.path.join(top, "logs")):
            with open_plain(path) as stream:
                found.update(word for line in stream for word in line.split(b" ", 2)[:2])
    return _real(found)


def objects_unfinished(folder: str) -> set[bytes]:
    """Return the objects that what was begun and not finished, such as a rebase, names in a copy of a repository's data."""
    found: set[bytes] = set()
    for top in (folder, *(os.path.join(folder, WORKTREES, name) for name in worktrees_of(folder))):
        names = sorted(name for name in os.listdir(top) if name.endswith("_HEAD"))
        paths = [os.path.join(top, name) for name in names]
        for path in (*paths, *(path for name in _UNFINISHED for path in _files(os.path.join(top, name)))):
            if is_plain_file(path) and os.lstat(path).st_size <= _LONGEST:
                found.update(read_small(path).split())
    return _real(found)


def _real(words: set[bytes]) -> set[bytes]:
    return {word for word in words if OBJECT.fullmatch(word) and word.strip(b"0")}


def _files(folder: str) -> Iterator[str]:
    """Yield the plain files below a folder, none behind a link."""
    for parent, folders, files in () if os.path.islink(folder) else os.walk(folder):
        folders.sort()
        yield from filter(is_plain_file, (os.path.join(parent, name) for name in sorted(files)))


def _start(path: str) -> bytes:
    """Return the first line of a file, nothing if it is none."""
    if not is_plain_file(path):
        return b""
    with open_plain(path) as stream:
        return stream.read(_LONGEST_NAME).strip()


def whereabouts(path: str) -> str:
    """Return what messages say of a folder that is no repository: where its repository is, as its `.git` says if that is a file; else empty.

    What that names is opened by nobody here.
    """
    pointer = os.path.join(path, ".git")
    if is_plain_file(pointer):
        content = _start(pointer)
        if not content.startswith(b"gitdir: "):
            return ""
        target = os.path.normpath(os.path.join(path, os.fsdecode(content[8:].splitlines()[0])))
    elif is_plain_file(os.path.join(path, "commondir")):  # what a repository knows of a worktree
        target = path
    else:
        return ""
    what, top = "", target
    while within := next(filter(None, (form.fullmatch(top) for form in _WITHIN)), None):
        top, what = within[1], what or _WHAT[within[2]]
    if not what:
        return f"is not a Git repository but, as it says, the working tree of {printable(target)}: give that as path if it is meant"
    top = top[: -len("/.git")] if top.endswith("/.git") else top
    return (
        f"is not a Git repository but, as it says, a {what} of the repository {printable(top)}: give that as path if it is meant, "
        "with which all that is committed here is copied"
    )
