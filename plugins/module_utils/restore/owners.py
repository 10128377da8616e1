"""Owners of what is restored: by the names that its archive has, where this node knows them, else by number."""

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
    """What becomes of the numbers of an archive: those that are others here, and the names that this node does not know."""

    users: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)
    unknown: Names = field(default_factory=Names)
    silent: str = ""
    """Why nobody told all of them"""

    @property
    def is_needed(self) -> bool:
        """Whether what was unpacked has to be looked at."""
        return bool(self.users or self.groups or self.unknown.users or self.unknown.groups)

    def notes(self, users: Collection[int] | None = None, groups: Collection[int] | None = None) -> list[str]:
        """Given the numbers that are there (all, if None), return the one note on those without a name, if there are any."""
        if self.silent:
            return [f"{self.silent}: owners have the numbers that they had in the backup"]
        words = [
            *_words("user", self.unknown.users, users),
            *_words("group", self.unknown.groups, groups),
        ]
        them = "their numbers" if len(words) > 1 else "its number"
        return [f"not known on this host, so by {them} in the backup: {first_of(words, _SHOWN)}"] if words else []


def _words(what: str, names: Mapping[int, str], there: Collection[int] | None) -> list[str]:
    return [f"{what} {name} ({number})" for number, name in sorted(names.items()) if there is None or number in there]


def renumber(names: Names, directory: Directory) -> Renumbering:
    """Given the names of an archive by their numbers there, return what becomes of the numbers here.

    A number that has its name here, too, stays: of several with one name each keeps its own.
    """
    here = directory.names(names.users, names.groups)
    users = {uid: name for uid, name in names.users.items() if here.users.get(uid) != name}
    groups = {gid: name for gid, name in names.groups.items() if here.groups.get(gid) != name}
    uids, gids, lacking = directory.numbers(users.values(), groups.values())
    if here.lacking or lacking:
        return Renumbering(silent=here.lacking or lacking)
    return Renumbering(
        {uid: uids[name] for uid, name in users.items() if name in uids},
        {gid: gids[name] for gid, name in groups.items() if name in gids},
        Names(
            {uid: name for uid, name in users.items() if name not in uids},
            {gid: name for gid, name in groups.items() if name not in gids},
        ),
    )


def take_names(folder: int, top: bytes, renumbering: Renumbering) -> list[str]:
    """Given an open folder and what was unpacked in it with the numbers of its archive, give all of it its owners here; return notes.

    No link is followed, and no path looked up that others could change meanwhile. Raise OSError.
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
    """Give something another owner and group (-1 for the one that it has), and again what that takes away: setuid and setgid bits, and
    capabilities. Raise OSError.
    """
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    path = b"/proc/self/fd/%d/%s" % (folder, name)
    capability = b""
    if stat.S_ISREG(mode):
        with contextlib.suppress(OSError):  # it has none, or the file system knows of none
            capability = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    if mode & _SPECIAL and stat.S_ISREG(mode):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=folder)
    if capability:
        os.setxattr(path, _CAPABILITY, capability, follow_symlinks=False)


def all_below(folder: int, top: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (open folder, name) of something in an open folder and of all below it; follow no link."""
    yield folder, top
    if stat.S_ISDIR(os.stat(top, dir_fd=folder, follow_symlinks=False).st_mode):
        for _, folders, files, descriptor in walk_open(top, folder):
            for name in [*folders, *files]:
                yield descriptor, name
