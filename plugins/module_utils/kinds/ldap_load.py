"""LDAP: a configuration and its databases into empty folders, by slapadd, as the server's user; never over files that are there."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Sequence

from ..system.digest import open_plain
from ..system.processes import Child
from ..system.programs import find_tool
from ..system.units import counted, first_of
from ..tree.publish import remove_folder
from .into import Load
from .ldap import CONFIG, ENDING, FILE
from .ldap_survey import unfolded

_MOST = 1 << 26
_SHOWN = 5


def folders_in(config: str) -> list[str]:
    """Return the folders in which a configuration, as LDIF, has its databases. Raise ValueError for a folder that is no text."""
    found = []
    for line in unfolded(config):
        match = re.match(r"olcDbDirectory:(:?) *(.*)\Z", line, re.IGNORECASE)
        if match:
            found.append(base64.b64decode(match[2], validate=True).decode() if match[1] else match[2])
    return found


class _Loader:
    """See into.Loader."""

    def clear(self, load: Load) -> None:
        load.note_made({})

    def check(self, load: Load) -> None:
        find_tool("slapadd")
        if load.identity.uid == 0:
            raise load.fail(
                "slapadd loads what a configuration names, and is never run as root: give the server's user, such as openldap, as user"
            )
        if load.aside:
            raise load.fail(
                "--aside (in an entry replace: move_aside) is not for an LDAP server, whose databases lie in other folders: stop it, "
                "and move its folders away by hand"
            )
        _require_empty(load, load.into["folder"])

    def load(self, load: Load) -> None:
        self.check(load)
        if not os.path.lexists(os.path.join(load.path, CONFIG)):
            raise load.fail(
                f"its dump is of a {FILE}, which names its own places: restore it to a path, and load it by hand (docs/ldap.md)"
            )
        with open_plain(os.path.join(load.path, CONFIG)) as stream:
            text = stream.read(_MOST).decode("utf-8", "surrogateescape")
        try:
            folders = folders_in(text)
        except ValueError as error:
            raise load.fail(f"its configuration names a folder that cannot be read: {error}") from error
        for folder in folders:
            _require_empty(load, folder)
        places = [load.into["folder"], *folders]
        names = sorted(name for name in os.listdir(load.path) if name.endswith(ENDING) and name != CONFIG)
        try:
            _add(load, "0", CONFIG)
            for name in names:
                _add(load, name[: -len(ENDING)], name)
        except BaseException:
            for folder in places:
                load.identity.call(_empty, folder)
            raise
        load.notes.append(
            f"{counted(len(names), 'database')} of LDAP loaded into {first_of(folders, _SHOWN)}; start the server, which was given nothing else"
        )


def _require_empty(load: Load, folder: str) -> None:
    """Raise AltbackupError unless a folder is there, empty, and the server's user's. It is looked at as him."""
    uid = load.identity.uid
    advice = f"make it first: install -d -m 700 -o {uid} {folder}"
    if not os.path.isabs(folder):
        raise load.fail(f"its configuration names {folder!r} as a folder, which is no absolute path")
    try:
        owner, entries = load.identity.call(_look, folder)
    except OSError as error:
        raise load.fail(f"{folder}: {error.strerror}: {advice}") from error
    if owner != uid:
        raise load.fail(
            f"{folder} belongs to uid {owner}, not to {uid}, as whom slapadd would write there: give it to that user"
        )
    if entries:
        raise load.fail(
            f"{folder} is not empty ({first_of(entries, _SHOWN)}), and nothing is loaded over files that are there: stop the server, and move them away"
        )


def _look(folder: str) -> tuple[int, Sequence[str]]:
    status = os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "Not a directory", folder)
    return status.st_uid, sorted(os.listdir(folder))


def _empty(folder: str) -> None:
    """Remove what is in a folder, which was empty before; follow no link."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_folder(entry.path)
            else:
                os.unlink(entry.path)


def _add(load: Load, number: str, name: str) -> None:
    """Load one database from its LDIF. Raise ToolFailed or AltbackupError."""
    how = ["-n", number] if number == "0" else ["-g", "-q", "-n", number]
    argv = load.identity.argv([find_tool("slapadd"), "-F", load.into["folder"], *how])
    with open_plain(os.path.join(load.path, name)) as source, Child(argv, stdin=source, name="slapadd") as child:
        child.check(load.deadline, f"{load.title}: loading {name}")


LOADER = _Loader()
