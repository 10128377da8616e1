"""Owners in archives: numbers and names of users and groups in the headers. Names are untrusted data."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from typing import Tuple

from ..system.digest import new_hash
from ..system.names import Names, is_name

MOST = 1 << 16
"""Maximum number of owners that are distinguished in one archive"""


_CUT = 32
"""Length in bytes of a name that GNU tar stores in its 32-byte field without the last byte"""

Owner = Tuple[int, int, str, str]
"""(uid, gid, user, group), the names empty where there are none"""


@dataclass
class Owners:
    """The owners of one archive, at most MOST + 1 of them."""

    found: set[Owner] = field(default_factory=set)
    _last: Owner | None = field(default=None, compare=False)

    def add_member(self, member: tarfile.TarInfo) -> None:
        """Add the owner of a member."""
        owner = (member.uid, member.gid, member.uname, member.gname)
        if owner != self._last and len(self.found) <= MOST:
            self._last = owner
            self.found.add(owner)

    def add(self, other: Owners) -> None:
        """Add the owners of another archive."""
        self.found.update(sorted(other.found)[: max(0, MOST + 1 - len(self.found))])

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all owners, empty if there are more than MOST."""
        if len(self.found) > MOST:
            return ""
        value = new_hash("sha256")
        for uid, gid, user, group in sorted(self.found):
            value.update(f"{uid}\0{gid}\0{user}\0{group}\n".encode("utf-8", "surrogateescape"))
        return str(value.hexdigest())

    def names(self) -> Names:
        """Return the valid names of users and groups by their numbers."""
        ordered = sorted(self.found)
        return Names(
            {uid: user for uid, _, user, _ in ordered if is_name(user)},
            {gid: group for _, gid, _, group in ordered if is_name(group)},
        )


def is_kept(name: str) -> bool:
    """Return whether GNU tar stores a name unchanged."""
    return is_name(name) and not (name.isascii() and len(name) == _CUT)
