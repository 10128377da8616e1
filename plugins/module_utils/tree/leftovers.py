"""Leftovers of killed runs in private folders. The holder of a tree's lock knows that nobody works on them any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from ..system.errors import AltbackupError
from ..system.opened import walk_open
from .failures import explain
from .layout import TEMPORARY, Tree
from .locks import Hold, run_exclusive
from .module_call import run_module
from .origin import origin_path
from .private import opened_private
from .publish import prune_empty, remove_folder, remove_if_there
from .rekeyed import NEXT, settle
from .stamps import is_stamp
from .trash import complete_removals

_KINDS = (
    "tmp",
    "records",
    "arrivals",
    "state",
    "rules",
    "noted",
    "hooks",
    "encryption",
    "stores",
    "quarantine",
)
"""Private folders in which a file gets its name only once it is whole. What else is private is cleared by whoever works there."""


def remove_leftovers(tree: Tree) -> list[str]:
    """Remove temporary files and links to what was being sent, and complete interrupted purges; the tree's lock must be held.

    Return a note on each. A leftover that cannot be removed is reported where its place is needed.
    """
    notes = []
    for kind in _KINDS:
        with opened_private(tree, tree.private_path(kind)) as top:
            for folder, folders, names, descriptor in walk_open(".", top) if top is not None else ():
                where = os.path.normpath(os.path.join(tree.private_path(kind), folder))
                for name in [name for name in folders if name.startswith(TEMPORARY)]:
                    folders.remove(name)
                    remove_folder(f"/proc/self/fd/{descriptor}/{name}")
                    notes.append(f"removed {name}, which a killed run left in {where}")
                for name in sorted(names):
                    if name.startswith(TEMPORARY):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=descriptor)
                        notes.append(f"removed {name}, which a killed run left in {where}")
                    elif kind == "records" and name.endswith(f".json{NEXT}"):
                        notes += _settled(tree, os.path.join(folder, name))
    notes += _unfinished_origins(tree) if tree.source else remove_outgoing(tree)
    drilled = drill_folder(tree)
    with opened_private(tree, os.path.dirname(drilled)) as top:
        path = f"/proc/self/fd/{top}/{os.path.basename(drilled)}"
        if top is not None and os.path.lexists(path):
            remove_folder(path)
            notes.append(f"removed {drilled}, which a killed drill left")
    notes += complete_removals(tree)[0]
    return notes


def remove_temporary(tree: Tree, relpath: str) -> str:
    """Remove what a killed run left beside a tarball, and the folders that are then empty; return a note. Raise OSError."""
    path = tree.path(relpath)
    remove_if_there(path)
    prune_empty(os.path.dirname(path), tree.base)
    return f"removed {relpath}, which a killed run left"


def _settled(tree: Tree, path: str) -> list[str]:
    """Settle a tarball that was to be encrypted anew, whose next record is at a path below `records`; return what cannot be done as notes."""
    key, stamp = _record_in(path[: -len(f".json{NEXT}")])
    try:
        return [note] if key and (note := settle(tree, key, stamp)) else []
    except (AltbackupError, OSError) as error:
        return [f"{key} of {stamp} was being encrypted anew when a run was killed: {explain(error)}"]


def _record_in(path: str) -> tuple[str, str]:
    """Return item and stamp of a record at a path below `records`, without its suffix, empty for what is no record."""
    parts = os.path.normpath(path).split("/")
    stamp = "/".join(parts[2:])
    return ("/".join(parts[:2]), stamp) if is_stamp(stamp) else ("", "")


def _unfinished_origins(tree: Tree) -> list[str]:
    """Remove what a killed run left beside the origin of a tree of a target, in the folder of all origins. Return a note on each."""
    path, notes = origin_path(tree), []
    with opened_private(tree, os.path.dirname(path)) as folder:
        for name in sorted(os.listdir(folder)) if folder is not None else ():
            if name.startswith(TEMPORARY) and name[len(TEMPORARY) :].partition("-")[2] == os.path.basename(path):
                os.unlink(name, dir_fd=folder)
                notes.append(f"removed {name}, which a killed run left in {os.path.dirname(path)}")
    return notes


def run_on_tree(
    module: Any,
    stage: str,
    empty: Mapping[str, Any],
    work: Callable[[Hold | None], dict[str, Any]],
) -> None:
    """Call a module's function while it holds the lock of its tree, whose leftovers are removed first, and exit with its result.

    See run_module; `module` is an AnsibleModule with the options WRITING. In check mode nothing is locked or removed.
    """
    options = module.params
    run_module(
        module,
        stage,
        empty,
        lambda: run_exclusive(options, work, clean=remove_leftovers, check_mode=module.check_mode),
        good=options,
    )


def give_back(hold: Hold) -> None:
    """Release the lease of a run after its last call on a tree, and remove the links to what was sent. Raise OSError."""
    hold.release()
    if not hold.tree.source:
        remove_outgoing(hold.tree)


def drill_folder(tree: Tree) -> str:
    """Return the folder in which a tree's tarballs are unpacked to prove that they restore."""
    return tree.private_path("scratch", "drill")


def remove_outgoing(tree: Tree) -> list[str]:
    """Remove the links by which tarballs were sent, which would keep purged ones on disk. Return a note on each.

    The folders stay, since keys of targets that fetch may be bound to them.
    """
    top = os.path.join(tree.private, "outgoing")
    notes = []
    with opened_private(tree, top) as outgoing:
        for folder, _, names, descriptor in walk_open(".", outgoing) if outgoing is not None else ():
            for name in sorted(names) if os.path.dirname(folder) == "." else ():
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)
                notes.append(f"removed {os.path.basename(folder)}/{name}, which an earlier run left in {top}")
    return notes
