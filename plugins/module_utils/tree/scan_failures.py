"""What a look at a tree finds that is a failure: folders that cannot be read, and stamps that nothing honest can have."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from .failures import failure
from .layout import Scan, Tree, scan
from .stamps import Moment, ahead_reason

_STAGE = "check"


def unreadable(found: Scan, stage: str = _STAGE) -> list[dict[str, Any]]:
    """Given what a scan found, return a failure for each folder that it could not read."""
    return [
        failure(stage, f"what folder {relpath} holds is not known: it cannot be read{why}", relpath=relpath)
        for relpath, why in found.unreadable
    ]


def ahead(tree: Tree, moment: Moment, keys: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Given a tree, return a failure for each item, of some only if given, with tarballs whose stamps nothing honest can have.

    It is the same whoever finds it, so that a run tells it once.
    """
    found = scan(tree, keys=keys, tolerate_unreadable=True, after=moment.latest)
    return [
        failure(_STAGE, ahead_reason(tree.path(relpaths[0]), len(relpaths) - 1, moment), relpath=relpaths[0])
        for relpaths in by_item(tarball.relpath for tarball in found.tarballs)
    ]


def by_item(relpaths: Iterable[str]) -> list[list[str]]:
    """Given paths of tarballs, return them in their order, those of each item together."""
    items: dict[str, list[str]] = {}
    for relpath in sorted(relpaths):
        items.setdefault("/".join(relpath.split("/")[:2]), []).append(relpath)
    return list(items.values())
