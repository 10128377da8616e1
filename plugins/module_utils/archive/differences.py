"""Differences between two folders: paths, and lines of text files."""

from __future__ import annotations

import difflib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..system.digest import digest_file, open_plain
from ..system.opened import walk_open
from ..system.units import and_more, readable
from ..system.visible import printable, visible

_LABEL = "security.selinux"
"""This attribute depends on where a file is, not on its content"""
_SHOWN = 20
_LONGEST_FILE = 1 << 18
_LONGEST_DIFF = 1 << 16
"""Maximum bytes of a text file that is compared line by line, and of a whole diff"""


@dataclass(frozen=True)
class Difference:
    """A path below both folders and how it differs, as a phrase."""

    path: bytes
    what: str

    def __str__(self) -> str:
        return f"{printable(os.fsdecode(self.path))} {self.what}"


def find_differences(old: str, new: str) -> list[Difference]:
    """Compare two folders, or files, by paths, types, modes, owners, contents and attributes, but not by times."""
    before, after = _describe(old), _describe(new)
    return [
        Difference(path, what)
        for path in sorted({*before, *after})
        if (what := _word(before.get(path), after.get(path)))
    ]


def _word(before: tuple[Any, ...] | None, after: tuple[Any, ...] | None) -> str:
    if before == after:
        return ""
    if before is None:
        return "comes anew"
    if after is None:
        return "is not in the backup"
    words = ("type", "mode", "owner", "group", "content", "attributes")
    return f"differs in {', '.join(word for word, one, other in zip(words, before, after) if one != other)}"


def _describe(root: str) -> dict[bytes, tuple[Any, ...]]:
    """Return {path: (type, mode, owner, group, content, attributes)} of a folder and all below it, without following links."""
    found = {}
    for relpath, name, folder in _walk(os.fsencode(root)):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            mode = 0 if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)
            path = b"/proc/self/fd/%d/%s" % (folder, name)
            found[relpath] = (kind, mode, status.st_uid, status.st_gid, _content(path, status), _attributes(path))
        except FileNotFoundError:
            continue
    return found


def _walk(base: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield (path below the base, name, descriptor of the parent folder) of a folder and all below it."""
    above, name = os.path.split(base)
    folder = os.open(above, os.O_PATH | os.O_DIRECTORY)
    try:
        yield b".", name, folder
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            for parent, folders, files, descriptor in walk_open(name, folder):
                for below in [*folders, *files]:
                    yield os.path.relpath(os.path.join(parent, below), name), below, descriptor
    finally:
        os.close(folder)


def _content(path: bytes, status: os.stat_result) -> object:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(status.st_mode):
        return digest_file(os.fsdecode(path), "sha256")
    return status.st_rdev


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        names = []
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if name != _LABEL}


def summarize_differences(found: Sequence[Difference]) -> str:
    """Return differences as one line, without contents, as it may be sent by mail."""
    return ", ".join(map(str, found[:_SHOWN])) + and_more(len(found), _SHOWN)


def unified_diff(old: str, new: str, found: Sequence[Difference]) -> str:
    """Return differences as a unified diff of bounded length, with the digests of binary files."""
    lines: list[str] = []
    length = 0
    for difference in found:
        for line in map(visible, _diff_of(old, new, difference)):
            length += len(line) + 1
            if length > _LONGEST_DIFF:
                return "\n".join([*lines, f"[cut at {readable(_LONGEST_DIFF)}]"]) + "\n"
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _diff_of(old: str, new: str, difference: Difference) -> Iterator[str]:
    name = printable(os.fsdecode(difference.path))
    paths = [_below(os.fsencode(root), difference.path) for root in (old, new)]
    texts = [_text(path) for path in paths]
    if texts[0] is not None and texts[1] is not None and any(texts):
        before, after = (text.splitlines() for text in texts if text is not None)
        yield from difflib.unified_diff(before, after, f"now/{name}", f"backup/{name}", lineterm="")
    else:
        yield f"{difference}: {' -> '.join(_label(path) for path in paths)}"


def _below(root: bytes, path: bytes) -> bytes:
    return root if path == b"." else os.path.join(root, path)


def _text(path: bytes) -> str | None:
    """Return the content of a short text file, an empty text if there is no file, else None."""
    try:
        with open_plain(os.fsdecode(path)) as stream:
            content = stream.read(_LONGEST_FILE + 1)
    except FileNotFoundError:
        return ""
    except OSError:
        return None
    try:
        return None if b"\0" in content or len(content) > _LONGEST_FILE else content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _label(path: bytes) -> str:
    if not os.path.lexists(path):
        return "nothing"
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode):
        return f"{status.st_size} bytes, sha256 {digest_file(os.fsdecode(path), 'sha256')[0]}"
    if stat.S_ISLNK(status.st_mode):
        return f"link to {printable(os.fsdecode(os.readlink(path)))}"
    return "folder" if stat.S_ISDIR(status.st_mode) else "special file"
