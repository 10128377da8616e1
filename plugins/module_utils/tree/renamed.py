"""Take-over by a renamed source of what a target keeps under its former name."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..system.errors import BaseUnusable
from ..system.seeing import is_folder, is_there
from .layout import Tree, open_tree
from .locks import Run, held
from .origin import Origin, require_origin
from .publish import flush_folder

_STAYING = ("incoming", "locks", "outgoing", "owners")
"""Private folders that are not taken over: what arrives is sent again, and locks belong to their holders"""


def take_over(tree: Tree, former: Sequence[str], origin: Origin | None, run: Run | None) -> list[str]:
    """Give a source's tree on a target, whose lock is held, what lies there under one of the source's former names. Return notes.

    Private state is moved first and tarballs last, each in one step: the next call completes a killed one. Raise BaseUnusable if there is a
    tree under both names, or it is another source's; or OSError.
    """
    above = os.path.dirname(tree.private)
    old = [name for name in dict.fromkeys(former) if name != tree.source and is_folder(os.path.join(above, name))]
    if not old or not tree.source or origin is None:
        return []
    taken = open_tree(os.path.join(above, old[0]))
    if len(old) > 1 or (is_there(tree.base) and os.listdir(tree.base)):
        names = sorted([*old, *([tree.source] if is_there(tree.base) else [])])
        raise BaseUnusable(
            f"{' and '.join(os.path.join(above, name) for name in names)} are there, though {tree.source} was called {' and '.join(old)} before: "
            "two histories are never made one. Move the one that is not wanted out of that folder, or leave its name out of altbackup_former_names"
        )
    require_origin(taken, origin)
    with held(taken, run) as hold:
        kinds = [os.path.join(tree.private, kind) for kind in sorted(os.listdir(tree.private)) if kind not in _STAYING]
        folders = [folder for folder in kinds if os.path.isdir(folder) and not os.path.islink(folder)]
        moves = [(os.path.join(folder, taken.source), os.path.join(folder, tree.source)) for folder in folders]
        for old_path, new_path in moves:
            _require_free(old_path, new_path)
        for old_path, new_path in [*moves, (taken.base, tree.base)]:
            _move(old_path, new_path)
        hold.release()
    return [f"took over {taken.base} as {tree.base}: {tree.source} was called {taken.source} before"]


def _move(old: str, new: str) -> None:
    """Rename a file or folder, if it is there, to a name that is free or an empty folder. Raise BaseUnusable or OSError."""
    if os.path.lexists(old):
        _require_free(old, new)
        os.rename(old, new)
        flush_folder(os.path.dirname(new))


def _require_free(old: str, new: str) -> None:
    """Raise BaseUnusable if an existing file or folder cannot be renamed because its new name is taken."""
    if (
        os.path.lexists(old)
        and os.path.lexists(new)
        and (not os.path.isdir(new) or os.path.islink(new) or os.listdir(new))
    ):
        raise BaseUnusable(
            f"{old} and {new} are there, though one is to take the place of the other: look at both, and move one away"
        )
