"""The items of a source as its target remembers them, for calls that cannot ask the source what it discovers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError, name_os_errors
from .layout import Tree, open_tree
from .publish import make_folders, write_text

_LONGEST = 16 << 20
"""Most bytes of the file"""


def remember_items(tree: Tree, items: Sequence[str]) -> None:
    """Keep the list of a source's items on the target, for checks that cannot ask the source what it discovers."""
    folder = tree.private_path("records")
    make_folders(folder, tree.private)
    keys = sorted(set(items))
    with contextlib.suppress(AltbackupError):  # what is damaged is written anew
        if remembered_items(tree) == keys:
            return
    write_text(os.path.join(folder, "items"), "".join(f"{key}\n" for key in keys))


def remembered_items(tree: Tree) -> list[str]:
    """Return the items that the last synchronize handed to this tree. Raise AltbackupError where that is damaged, or OSError."""
    path = os.path.join(tree.private_path("records"), "items")
    try:
        with name_os_errors(path), open_plain(path) as stream:
            text = stream.read(_LONGEST + 1)
    except FileNotFoundError:
        return []
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        return text.decode("utf-8").split("\n")[:-1]
    except ValueError as error:
        raise AltbackupError(
            f"{path}, which tells what items its source has, is damaged: look at it, and remove it; the next run writes it anew"
        ) from error


def with_remembered(
    base: str, expect: Mapping[str, Any], items: Sequence[str] | None
) -> tuple[dict[str, Any], list[str] | None]:
    """Given a target's tree and what is expected, return expectation and items with those that its source last discovered."""
    known = list(items or ())
    there = set(known)
    more = [key for key in remembered_items(open_tree(base)) if key not in there]
    expected = dict(expect)
    for key in more:
        name = key.partition("/")[2]
        if str(expected.get(name, 0)).isdecimal():  # what is no number is for count to refuse
            expected[name] = int(expected.get(name, 0)) + 1
    return expected, None if items is None else [*known, *more]
