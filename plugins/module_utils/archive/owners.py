"""Owners in archives: the numbers and names of users and groups that their headers have. Names are data, whoever wrote them."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from typing import Tuple

from ..system.digest import new_hash
from ..system.names import Names, is_name

MOST = 1 << 16
"""Most owners of one archive that are told apart"""


_CUT = 32
"""Bytes of a name that GNU tar takes for one that fits into its field, and cuts by one"""

Owner = Tuple[int, int, str, str]
"""(uid, gid, user, group), the names empty where there are none"""


@dataclass
class Owners:
    """Those of one archive; of more than can be told apart the first."""

    found: set[Owner] = field(default_factory=set)
    _last: Owner | None = field(default=None, compare=False)

    def look(self, member: tarfile.TarInfo) -> None:
        """Take the owner of a member."""
        owner = (member.uid, member.gid, member.uname, member.gname)
        if owner != self._last and len(self.found) <= MOST:
            self._last = owner
            self.found.add(owner)

    def add(self, other: Owners) -> None:
        """Take those of another archive."""
        self.found.update(sorted(other.found)[: max(0, MOST + 1 - len(self.found))])

    @property
    def digest(self) -> str:
        """One digest over all of them, empty if they are more than can be told apart."""
        if len(self.found) > MOST:
            return ""
        value = new_hash("sha256")
        for uid, gid, user, group in sorted(self.found):
            value.update(f"{uid}\0{gid}\0{user}\0{group}\n".encode("utf-8", "surrogateescape"))
        return str(value.hexdigest())

    def names(self) -> Names:
        """Return the names that are any, by their numbers."""
        ordered = sorted(self.found)
        return Names(
            {uid: user for uid, _, user, _ in ordered if is_name(user)},
            {gid: group for _, gid, _, group in ordered if is_name(group)},
        )


def is_kept(name: str) -> bool:
    """Return whether GNU tar writes a name as it is."""
    return is_name(name) and not (name.isascii() and len(name) == _CUT)
