"""The items of a source as its target remembers them, for calls that cannot ask the source what it discovers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.errors import AltbackupError, BaseUnusable
from .layout import Tree, open_tree
from .private import read_private
from .publish import make_folders, write_text

_LONGEST = 1 << 26
"""Most bytes of the list of a source's items"""


def remember_items(tree: Tree, items: Sequence[str]) -> None:
    """Write the list of a source's items on the target, for checks that cannot ask the source what it discovers."""
    folder = tree.private_path("records")
    make_folders(folder, tree.private)
    keys = sorted(set(items))
    if _known(tree) != keys:
        write_text(os.path.join(folder, "items"), "".join(f"{key}\n" for key in keys))


def remembered_items(tree: Tree) -> list[str]:
    """Return the items that the last synchronize handed to this tree. Raise AltbackupError if the list cannot be read."""
    path = os.path.join(tree.private_path("records"), "items")
    try:
        return read_private(tree, path, _LONGEST).decode("utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        why = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is damaged"
        raise AltbackupError(
            f"{path}, which tells the items that a source last handed over, {why}: remove it; the next synchronize writes it anew"
        ) from error


def _known(tree: Tree) -> list[str] | None:
    """Return the remembered items, None if the list cannot be read and must be written anew. Raise BaseUnusable behind a link."""
    try:
        return remembered_items(tree)
    except BaseUnusable:
        raise
    except AltbackupError:
        return None


def with_remembered(
    base: str, expect: Mapping[str, Any], items: Sequence[str] | None
) -> tuple[dict[str, Any], list[str] | None]:
    """Return `expect` and `items` with the items added that a target's source last discovered."""
    known = list(items or ())
    there = set(known)
    more = [key for key in remembered_items(open_tree(base)) if key not in there]
    expected = dict(expect)
    for key in more:
        name = key.partition("/")[2]
        if str(expected.get(name, 0)).isdecimal():  # anything else is refused by the count
            expected[name] = int(expected.get(name, 0)) + 1
    return expected, None if items is None else [*known, *more]
