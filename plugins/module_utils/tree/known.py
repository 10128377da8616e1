"""Items that a tree ever held, including those of which nothing is left.

`.altbackup/state/known` of a source, `.altbackup/state/<source>/known` on a target, has a line for each, `<category>/<name>`. Only what lay
in the tree is listed: an item that was declared, but never dumped, was never held.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from ..system.errors import AltbackupError
from ..system.visible import printable
from .layout import Tree, is_category
from .private import opened_private_file
from .publish import make_folders, write_text

_LONGEST = 1 << 24
"""Most bytes of the file"""
_KEY = re.compile(r"[^/.][^/]*/[^/.][^/]*")


def known_path(tree: Tree) -> str:
    """Return the path of the list of items that a tree ever held."""
    return tree.private_path("state", "known")


def known_items(tree: Tree) -> set[str]:
    """Return the listed items (category/name). Raise AltbackupError if the list cannot be read."""
    path = known_path(tree)
    try:
        with opened_private_file(tree, path) as stream:
            text = stream.read(_LONGEST + 1).decode("utf-8")
    except FileNotFoundError:
        return set()
    except UnicodeDecodeError as error:
        raise _damaged(path) from error
    keys = text.split("\n")
    if len(text) > _LONGEST or keys.pop() or not keys or not all(map(_KEY.fullmatch, keys)):
        raise _damaged(path)
    return set(keys)


def held_items(tree: Tree) -> set[str]:
    """Return the items (category/name) that have a dated folder in a tree; a scan, not this, reports folders that cannot be read."""
    return {
        f"{category}/{name}"
        for category in _folders(tree.base)
        if is_category(category)
        for name in _folders(tree.path(category))
        if _KEY.fullmatch(f"{category}/{name}") and printable(name) == name
        if any(re.fullmatch(r"\d{4}", year, re.ASCII) for year in _folders(tree.path(f"{category}/{name}")))
    }


def remember_held(tree: Tree) -> None:
    """Add what a tree holds now to its list; its lock must be held. Raise AltbackupError or OSError."""
    known = known_items(tree)
    held = held_items(tree)
    if not held <= known:
        path = known_path(tree)
        make_folders(os.path.dirname(path), tree.private)
        write_text(path, "".join(f"{key}\n" for key in sorted(known | held)))


def _folders(path: str) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        yield from sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def _damaged(path: str) -> AltbackupError:
    return AltbackupError(
        f"{path}, which tells what this tree ever held, is damaged, so it is not known whether an item is missing: look at what is there, then "
        "remove that file; what lies here now is written anew"
    )
