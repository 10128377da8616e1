"""Where things lie: `<base>/<category>/<name>/YYYY/MM/DD/HHMMSS/<name>[-<revision>]<ext>`, and the marker `.altbackup/`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from . import sidecar
from .errors import BaseUnusable, InvalidInput, SidecarMalformed
from .sidecar import SUFFIX, Dna
from .stamps import is_stamp

MARKER = ".altbackup"
TEMPORARY = ".altbackup-tmp-"
EXTENSIONS = (".tar.zst", ".tar.gz", ".tar")
LAST = "last"


@dataclass(frozen=True)
class Tree:
    """A base folder with its private folder; on a target the trees of all sources share the private folder above them."""

    base: str
    private: str
    source: str = ""

    def private_path(self, kind: str, *parts: str) -> str:
        """Return the private path of this tree for a kind of state, like `records` or `incoming`."""
        return os.path.join(self.private, kind, *([self.source] if self.source else []), *parts)

    def path(self, relpath: str) -> str:
        """Return the absolute path of something below the base."""
        return os.path.join(self.base, relpath)


def open_tree(base: str) -> Tree:
    """Given a base, return its Tree. Raise BaseUnusable if neither it nor its parent holds the marker."""
    if not os.path.isabs(base):
        raise InvalidInput(f"base {base!r} is not an absolute path")
    base = os.path.normpath(base)
    if os.path.isdir(os.path.join(base, MARKER)):
        return Tree(base, os.path.join(base, MARKER))
    parent, source = os.path.split(base)
    if source and os.path.isdir(os.path.join(parent, MARKER)):
        if os.path.islink(base) or (os.path.lexists(base) and not os.path.isdir(base)):
            raise BaseUnusable(f"base {base} is not a folder")
        return Tree(base, os.path.join(parent, MARKER), source)
    if not os.path.isdir(base) and not os.path.isdir(parent):
        raise BaseUnusable(f"base {base} does not exist: is its disk mounted? A run never creates a base")
    raise BaseUnusable(
        f"base {base} has no marker {MARKER}/ in itself or its parent: is its disk mounted? "
        f"If it is a new base, mark it once: mkdir {os.path.join(base, MARKER)}"
    )


def printable(text: str) -> str:
    """Given a path, return it as valid UTF-8, with odd bytes shown as \\xNN."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Tarball:
    """A tarball seen in a tree; `dna` is that of a well-formed sidecar, `problem` says why it is not verified."""

    category: str
    name: str
    stamp: str
    filename: str
    size: int
    inode: tuple[int, int]
    links: int
    dna: Dna | None
    problem: str
    state: str
    """`verified` (well-formed sidecar of equal size), `missing`, `malformed` or `mismatch`."""

    @property
    def key(self) -> str:
        """The item it belongs to, `<category>/<name>`."""
        return f"{self.category}/{self.name}"

    @property
    def relpath(self) -> str:
        """Its path below the base."""
        return f"{self.key}/{self.stamp}/{self.filename}"

    @property
    def verified(self) -> bool:
        """Whether a sidecar vouches for it."""
        return self.state == "verified"


@dataclass
class Scan:
    """What a tree holds: tarballs, sidecars without one, leftovers of killed runs, and what does not belong there."""

    tarballs: list[Tarball] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    temporaries: list[str] = field(default_factory=list)
    strange: list[tuple[str, str]] = field(default_factory=list)
    """(relpath, why)"""

    def verified(self) -> list[Tarball]:
        """Return the tarballs that a sidecar vouches for."""
        return [tarball for tarball in self.tarballs if tarball.verified]


def tarball_filename(stem: str, revision: int | None, extension: str) -> str:
    """Given an item's name, a revision or None and the extension, return the file name of its tarball."""
    return f"{stem}{'' if revision is None else f'-{revision}'}{extension}"


def parse_filename(filename: str, name: str) -> tuple[int | None, str] | None:
    """Given a file name and its item's name, return (revision, extension), or None if it does not belong to the item."""
    if not filename.startswith(name):
        return None
    match = re.fullmatch(r"(?:-(\d+)(?:-\d+)?)?(\.diff)?(\.tar(?:\.zst|\.gz)?)", filename[len(name) :], re.ASCII)
    if not match:
        return None
    return (int(match.group(1)) if match.group(1) else None, (match.group(2) or "") + match.group(3))


def split_relpath(relpath: str) -> tuple[str, str, str, str]:
    """Given a tarball's path below the base, return (category, name, stamp, filename). Raise InvalidInput."""
    parts = relpath.split("/")
    if len(parts) == 7 and "\0" not in relpath:
        category, name, filename = parts[0], parts[1], parts[6]
        stamp = "/".join(parts[2:6])
        plain = not any(part.startswith(".") or not part for part in (category, name, filename))
        if plain and is_stamp(stamp) and parse_filename(filename, name):
            return category, name, stamp, filename
    raise InvalidInput(f"{relpath!r} is not <category>/<name>/YYYY/MM/DD/HHMMSS/<name>[-<revision>].tar[.zst|.gz]")


def scan(tree: Tree, day: str = "", keys: Collection[str] | None = None) -> Scan:
    """Given a tree, return what it holds, of one day only if given, of some items only if given. Follow no link.

    Raise BaseUnusable where a folder cannot be read: what cannot be seen must not pass for empty.
    """
    found = Scan()
    if not os.path.isdir(tree.base):
        return found
    for category in _folders(tree.base, "", found):
        if category == MARKER or category.endswith("LOCKED"):
            continue
        for name in _folders(tree.base, category, found):
            key = f"{category}/{name}"
            if keys is not None and key not in keys:
                continue
            if printable(key) != key:
                found.strange.append((printable(key), "its name is not UTF-8 text"))
                continue
            for stamp in _stamps(tree, key, day, found):
                _scan_stamp(tree, category, name, stamp, found)
    return found


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # purged while we look
        return []
    except OSError as error:
        raise BaseUnusable(f"cannot read folder {path}: {error.strerror}") from error


def _folders(base: str, relpath: str, found: Scan) -> Iterator[str]:
    """Yield the names of the folders below a folder; links and files are strange."""
    for entry in _entries(os.path.join(base, relpath)):
        if entry.is_dir(follow_symlinks=False):
            yield entry.name
        elif entry.name.startswith(TEMPORARY):
            found.temporaries.append(os.path.join(relpath, entry.name))
        else:
            why = "it is a symbolic link, which is not followed" if entry.is_symlink() else "it is no folder"
            found.strange.append((printable(os.path.join(relpath, entry.name)), why))


def _stamps(tree: Tree, key: str, day: str, found: Scan) -> Iterator[str]:
    """Yield the stamps for which an item has a folder."""
    if day:
        path = key
        for part in day.split("/"):
            path = f"{path}/{part}"
            if os.path.islink(tree.path(path)):
                found.strange.append((path, "it is a symbolic link, which is not followed"))
                return
        for time in _folders(tree.base, f"{key}/{day}", found) if os.path.isdir(tree.path(path)) else ():
            if is_stamp(f"{day}/{time}"):
                yield f"{day}/{time}"
            else:
                found.strange.append((printable(f"{key}/{day}/{time}"), "its name is no time HHMMSS"))
        return
    for entry in _entries(tree.path(key)):
        if entry.name == LAST:
            if not entry.is_symlink():
                found.strange.append((f"{key}/{LAST}", "it should be a link to the newest stamp, but is a real folder or file"))
        elif entry.name.startswith(TEMPORARY):
            found.temporaries.append(f"{key}/{entry.name}")
        elif not entry.is_dir(follow_symlinks=False):
            found.strange.append((printable(f"{key}/{entry.name}"), "it does not belong there"))
        else:
            yield from _stamps_below(tree, key, entry.name, 1, found)


def _stamps_below(tree: Tree, key: str, relative: str, depth: int, found: Scan) -> Iterator[str]:
    pattern = r"\d{4}" if depth == 1 else r"\d{6}" if depth == 4 else r"\d\d"
    if not re.fullmatch(pattern, relative.rsplit("/", 1)[-1], re.ASCII) or (depth == 4 and not is_stamp(relative)):
        found.strange.append((printable(f"{key}/{relative}"), "its name is no part of a stamp YYYY/MM/DD/HHMMSS"))
    elif depth == 4:
        yield relative
    else:
        for name in _folders(tree.base, f"{key}/{relative}", found):
            yield from _stamps_below(tree, key, f"{relative}/{name}", depth + 1, found)


def _scan_stamp(tree: Tree, category: str, name: str, stamp: str, found: Scan) -> None:
    """Sort the files of one stamp folder into the Scan."""
    folder = f"{category}/{name}/{stamp}"
    entries = _entries(tree.path(folder))
    names = {entry.name for entry in entries}
    for entry in entries:
        relpath = f"{folder}/{entry.name}"
        if entry.name.startswith(TEMPORARY):
            found.temporaries.append(relpath)
        elif not entry.is_file(follow_symlinks=False) or printable(entry.name) != entry.name:
            found.strange.append((printable(relpath), "it is no plain file"))
        elif entry.name.endswith(SUFFIX):
            if entry.name[: -len(SUFFIX)] not in names:
                found.orphans.append(relpath)
        elif entry.name.endswith(EXTENSIONS):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found.tarballs.append(_tarball(tree, category, name, stamp, entry.name, status))
        else:
            found.strange.append((relpath, "it is neither a tarball nor a sidecar"))


def _tarball(tree: Tree, category: str, name: str, stamp: str, filename: str, status: os.stat_result) -> Tarball:
    path = tree.path(f"{category}/{name}/{stamp}/{filename}")
    dna, problem, state = read_state(path, status.st_size)
    return Tarball(
        category, name, stamp, filename, status.st_size, (status.st_dev, status.st_ino), status.st_nlink, dna, problem, state
    )


def read_state(path: str, size: int) -> tuple[Dna | None, str, str]:
    """Given a tarball's path and size in bytes, return (dna, problem, state) as its sidecar has it, reading no tarball."""
    try:
        dna = sidecar.read(path + SUFFIX)
    except FileNotFoundError:
        return None, "has no dna: still arriving, or its transfer failed", "missing"
    except SidecarMalformed as error:
        return None, f"has a malformed dna: {error}", "malformed"
    except OSError as error:
        return None, f"has a dna that cannot be read: {error.strerror}", "malformed"
    if dna.size != size:
        return dna, f"has {size} bytes, but its dna says {dna.size}", "mismatch"
    return dna, "", "verified"


def is_plain_file(path: str) -> bool:
    """Return whether a path is a regular file, no link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
