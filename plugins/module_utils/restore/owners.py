"""Owners of restored files: by the names in the archive where this node knows them, else by number."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ..system.names import Directory, Names
from ..system.opened import walk_open
from ..system.units import first_of

_CAPABILITY = "security.capability"
_SPECIAL = stat.S_ISUID | stat.S_ISGID
_SHOWN = 5


@dataclass(frozen=True)
class Renumbering:
    """{archived id: id on this node} of users and groups that differ, and the names that this node does not know."""

    users: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)
    unknown: Names = field(default_factory=Names)
    lookup_error: str = ""
    """Why names could not be looked up, if so"""

    @property
    def is_needed(self) -> bool:
        """Whether the unpacked files must be scanned."""
        return bool(self.users or self.groups or self.unknown.users or self.unknown.groups)

    def notes(self, users: Collection[int] | None = None, groups: Collection[int] | None = None) -> list[str]:
        """Return a note on names that this node does not know, of the ids in use (None: all)."""
        if self.lookup_error:
            return [f"{self.lookup_error}: owners have the numbers that they had in the backup"]
        words = [
            *_named_ids("user", self.unknown.users, users),
            *_named_ids("group", self.unknown.groups, groups),
        ]
        them = "their numbers" if len(words) > 1 else "its number"
        return [f"not known on this host, so by {them} in the backup: {first_of(words, _SHOWN)}"] if words else []


def _named_ids(what: str, names: Mapping[int, str], there: Collection[int] | None) -> list[str]:
    return [f"{what} {name} ({number})" for number, name in sorted(names.items()) if there is None or number in there]


def renumber(names: Names, directory: Directory) -> Renumbering:
    """Return the mapping of archived ids, whose `names` are given, to ids of this node.

    An id that has the same name here keeps its number, also if several ids share that name.
    """
    here = directory.names(names.users, names.groups)
    users = {uid: name for uid, name in names.users.items() if here.users.get(uid) != name}
    groups = {gid: name for gid, name in names.groups.items() if here.groups.get(gid) != name}
    uids, gids, lacking = directory.numbers(users.values(), groups.values())
    if here.lacking or lacking:
        return Renumbering(lookup_error=here.lacking or lacking)
    return Renumbering(
        {uid: uids[name] for uid, name in users.items() if name in uids},
        {gid: gids[name] for gid, name in groups.items() if name in gids},
        Names(
            {uid: name for uid, name in users.items() if name not in uids},
            {gid: name for gid, name in groups.items() if name not in gids},
        ),
    )


def apply_names(folder: int, top: bytes, renumbering: Renumbering) -> list[str]:
    """Change the owners of `top`, in an open folder, and of all below it from archived ids to those of this node; return notes.

    No link is followed, and no path is resolved that others could change meanwhile. Raise OSError.
    """
    if not renumbering.is_needed:
        return renumbering.notes()
    users: set[int] = set()
    groups: set[int] = set()
    done: set[tuple[int, int]] = set()
    for parent, name in all_below(folder, top):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in done:
                continue
            done.add((status.st_dev, status.st_ino))
        users.add(status.st_uid)
        groups.add(status.st_gid)
        uid = renumbering.users.get(status.st_uid, -1)
        gid = renumbering.groups.get(status.st_gid, -1)
        if (uid, gid) != (-1, -1):
            change_owner(parent, name, uid, gid)
    return renumbering.notes(users, groups)


def change_owner(folder: int, name: bytes, uid: int, gid: int) -> None:
    """Change owner and group (-1: keep), and restore what chown(2) clears: setuid and setgid bits, and capabilities. Raise OSError."""
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    path = b"/proc/self/fd/%d/%s" % (folder, name)
    capability = b""
    if stat.S_ISREG(mode):
        with contextlib.suppress(OSError):  # it has no capabilities, or the file system does not support them
            capability = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    if mode & _SPECIAL and stat.S_ISREG(mode):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=folder)
    if capability:
        os.setxattr(path, _CAPABILITY, capability, follow_symlinks=False)


def all_below(folder: int, top: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (open folder, name) of an entry of an open folder and of all below it; no link is followed."""
    yield folder, top
    if stat.S_ISDIR(os.stat(top, dir_fd=folder, follow_symlinks=False).st_mode):
        for _, folders, files, descriptor in walk_open(top, folder):
            for name in [*folders, *files]:
                yield descriptor, name
