"""The items of a source as its target remembers them, for calls that cannot ask the source what it discovers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .layout import Tree, open_tree
from .publish import make_folders, write_text


def remember_items(tree: Tree, items: Sequence[str]) -> None:
    """Keep the list of a source's items on the target, for checks that cannot ask the source what it discovers."""
    folder = tree.private_path("records")
    make_folders(folder, tree.private)
    keys = sorted(set(items))
    if remembered_items(tree) != keys:
        write_text(os.path.join(folder, "items"), "".join(f"{key}\n" for key in keys))


def remembered_items(tree: Tree) -> list[str]:
    """Return the items that the last synchronize handed to this tree."""
    try:
        with open(os.path.join(tree.private_path("records"), "items"), encoding="utf-8", newline="\n") as stream:
            return stream.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


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
