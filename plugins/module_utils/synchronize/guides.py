"""Guides: what each target base carries for the day on which there is nothing but its disk."""

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
    """Given {file name: text}, raise InvalidInput for a name that is none of a guide."""
    for name in guides:
        if name not in NAMES:
            raise InvalidInput(
                f"guides: {name!r} is none of {', '.join(NAMES)}: nothing else is written beside the trees"
            )


def write_guides(tree: Tree, guides: Mapping[str, str]) -> list[str]:
    """Given a source's tree on a target, write the texts that its base lacks or has otherwise; return their names. Raise OSError."""
    base, folder = os.path.dirname(tree.private), tree.private_path("state")
    written = []
    for name, text in guides.items():
        path, ready = os.path.join(base, name), os.path.join(folder, name)
        if not tree.source or _holds(path, text):
            continue
        make_folders(folder, tree.private)
        write_text(ready, text)
        os.replace(ready, path)  # a run that is killed leaves nothing where nobody looks for leftovers
        flush_folder(base)
        written.append(name)
    return written


def _holds(path: str, text: str) -> bool:
    """Return whether a path is a plain file with this text."""
    content = text.encode()
    with contextlib.suppress(OSError), open_plain(path) as stream:
        return stream.read(len(content) + 1) == content
    return False
