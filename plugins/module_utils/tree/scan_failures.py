"""Failures found by scanning a tree: folders that cannot be read, and stamps of the future."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from .failures import failure
from .layout import Tree, item_key
from .scan import Scan, scan
from .stamps import Moment, ahead_reason

_STAGE = "check"


def unreadable(found: Scan, stage: str = _STAGE) -> list[dict[str, Any]]:
    """Return a failure for each folder that a scan could not read."""
    return [
        failure(stage, f"what folder {relpath} holds is not known: it cannot be read{why}", relpath=relpath)
        for relpath, why in found.unreadable
    ]


def ahead(tree: Tree, moment: Moment, keys: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return a failure for each item, of some only if given, with tarballs whose stamps lie in the future.

    It is the same whichever stage finds it, so that a run reports it once.
    """
    found = scan(tree, keys=keys, tolerate_unreadable=True, after=moment.latest)
    return [
        failure(_STAGE, ahead_reason(tree.path(relpaths[0]), len(relpaths) - 1, moment), relpath=relpaths[0])
        for relpaths in by_item(tarball.relpath for tarball in found.tarballs)
    ]


def by_item(relpaths: Iterable[str]) -> list[list[str]]:
    """Return the relpaths of tarballs, sorted, in a list for each item."""
    items: dict[str, list[str]] = {}
    for relpath in sorted(relpaths):
        items.setdefault(item_key(relpath), []).append(relpath)
    return list(items.values())
