"""What killed runs leave in private folders. Whoever holds the lock of a tree knows that nobody works on it any more."""

from __future__ import annotations

import os
import shutil

from .layout import TEMPORARY, Tree
from .publish import remove_folder, remove_if_there

_KINDS = ("tmp", "records", "arrivals", "state")


def remove_leftovers(tree: Tree) -> list[str]:
    """Given a tree whose lock is held, remove temporary files, links to what was being sent, and what was being purged.

    Return a note on each. What cannot be removed stays for those who need its place to report.
    """
    notes = []
    for kind in _KINDS:
        for folder, _, names in os.walk(tree.private_path(kind)):
            for name in sorted(names):
                if name.startswith(TEMPORARY):
                    remove_if_there(os.path.join(folder, name))
                    notes.append(f"removed {name}, which a killed run left in {folder}")
    if not tree.source:
        notes += remove_outgoing(tree)
    drilled = drill_folder(tree)
    if os.path.lexists(drilled):
        remove_folder(drilled)
        notes.append(f"removed {drilled}, which a killed drill left")
    trash = tree.private_path("trash")
    for name in sorted(os.listdir(trash)) if os.path.isdir(trash) else ():
        path = os.path.join(trash, name)
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            notes.append(f"removed {path}, which an earlier purge had left")
    return notes


def drill_folder(tree: Tree) -> str:
    """Return where tarballs of a tree are unpacked to prove that they restore."""
    return tree.private_path("scratch", "drill")


def remove_outgoing(tree: Tree) -> list[str]:
    """Remove the links by which tarballs were sent: they would keep purged ones on disk. Return a note on each.

    The folders stay, since keys of targets that fetch may be bound to them.
    """
    top = os.path.join(tree.private, "outgoing")
    notes = []
    for folder in sorted(os.listdir(top)) if os.path.isdir(top) else ():
        for name in sorted(os.listdir(os.path.join(top, folder))):
            remove_if_there(os.path.join(top, folder, name))
            notes.append(f"removed {folder}/{name}, which an earlier run left in {top}")
    return notes
