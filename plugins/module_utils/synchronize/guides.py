"""Guides: texts on each target base for a restore when nothing but its disk is left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from ..system.digest import open_plain
from ..system.errors import InvalidInput
from ..tree.layout import Tree
from ..tree.publish import flush_folder, make_folders, write_text

NAMES = ("RESTORE.txt", "restore.sh")


def check_guides(guides: Mapping[str, str]) -> None:
    """Raise InvalidInput if one of {file name: text} has a name that is not a guide's."""
    for name in guides:
        if name not in NAMES:
            raise InvalidInput(
                f"guides: {name!r} is none of {', '.join(NAMES)}: nothing else is written beside the trees"
            )


def write_guides(tree: Tree, guides: Mapping[str, str]) -> list[str]:
    """Write the texts of {file name: text} that a target's base lacks or has otherwise; return their names. Raise OSError."""
    base, folder = os.path.dirname(tree.private), tree.private_path("state")
    written = []
    for name, text in guides.items():
        path, ready = os.path.join(base, name), os.path.join(folder, name)
        if not tree.source or _holds(path, text):
            continue
        make_folders(folder, tree.private)
        write_text(ready, text)
        os.replace(
            ready, path
        )  # written in the private folder first: nobody would look here for leftovers of a killed run
        flush_folder(base)
        written.append(name)
    return written


def _holds(path: str, text: str) -> bool:
    """Return whether a path is a plain file with this text."""
    content = text.encode()
    with contextlib.suppress(OSError), open_plain(path) as stream:
        return stream.read(len(content) + 1) == content
    return False
