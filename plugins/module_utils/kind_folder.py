"""Kind `folder`: the tree with owners, modes, links, xattrs, ACLs and sparse files, as it stood at one moment."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Callable, Iterator

from .archive import Part
from .errors import InvalidInput
from .items import Item
from .kinds import Arrangement, Context, Kind, Prepared, compare, owner_found, require_folder, settle, walk
from .processes import find_tool
from .view import Place


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput if the folder, or what it is required to hold, is not there, or nothing is left of it to dump."""
    require_folder(item)
    if item.require and not os.path.lexists(os.path.join(item.path, item.require)):
        raise InvalidInput(
            f"item folder {item.name!r}: {item.require} is required in {item.path} but not there: is its disk mounted?"
        )
    excluded = excluding(item.exclude)
    with os.scandir(item.path) as entries:
        if all(excluded(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries):
            raise _empty(item)
    find_tool("tar")


def _empty(item: Item) -> InvalidInput:
    return InvalidInput(
        f"item folder {item.name!r}: {item.path} is empty, or all of it is excluded: is its disk mounted?"
    )


def excluding(patterns: tuple[str, ...]) -> Callable[[str, bool], bool]:
    """Given glob patterns, return a test of paths: one with a slash is compared with the whole path, others with each name.

    A pattern that ends in a slash is for folders alone.
    """

    def excluded(path: str, folder: bool) -> bool:
        name = path.rsplit("/", 1)[-1]
        for pattern in patterns:
            if pattern.endswith("/") and not folder:
                continue
            plain = pattern.rstrip("/")
            if fnmatch.fnmatchcase(path, plain.lstrip("/")) if "/" in plain else fnmatch.fnmatchcase(name, plain):
                return True
        return False

    return excluded


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, yield the live tree itself; `confirm` sees to it that nothing changed while it was archived."""
    excluded = excluding(item.exclude)
    before, notes = walk(item.path, excluded, context.deadline)
    if len(before) == 1:
        raise _empty(item)
    if os.geteuid() != 0:
        notes.append(f"read as uid {os.geteuid()}, not root: trusted.* attributes are not visible and not kept")

    def confirm() -> None:
        compare(before, walk(item.path, excluded, context.deadline)[0])

    settle()
    yield Prepared([Part(item.path, list(before))], {}, sparse=True, listed=True, notes=notes, confirm=confirm)


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the folder sees: the folder. It is read by root, and nothing interprets it."""
    owner_found(item.path)  # that it is there, and no link of another user's leads to it
    return Arrangement(os.geteuid(), [Place(item.path)])


KIND = Kind(check, copy, arrange)
