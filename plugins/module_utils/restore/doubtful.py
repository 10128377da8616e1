"""Markers of restored items: which path is marked, so that its content is not backed up as live data until somebody adopts it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..kinds.registry import DISCOVERABLE, kind_of
from ..system.paths import is_within


def marked_path(
    destination: str, new: str, *, member: bool, items: Sequence[Mapping[str, Any]], discover: Mapping[str, str]
) -> str:
    """Return the path to mark after a restore, empty for none. `new` is what was unpacked, `member` whether it is a part of a tarball.

    `items` are the items of this host, mappings of kind and path; `discover` is {kind: folder}. Marked is the topmost item that is
    replaced, or the repository, environment or database that gets a part from the backup; a part of a folder item counts as an ordinary
    change and is not marked. If an item lies in what is restored, the destination is marked. Otherwise a part, or anything that goes into a
    folder item, is not marked; anything else is, since it could become an item.
    """
    place = _resolved_parent(destination)
    around = [_repository_around(kind, folder, place, os.path.isdir(new)) for kind, folder in discover.items()]
    known = [*((str(item["kind"]), str(item["path"])) for item in items), *(held for held in around if held)]
    above = [path for kind, path in known if _is_part(kind, path, place)]
    if above:
        return min(above, key=len)
    below = [path for _, path in known if is_within(_resolved_parent(path), place)]
    if below or any(is_within(_resolved_parent(folder), place) for folder in discover.values()):
        return destination
    in_folder = any(kind_of(kind).is_tree and is_within(place, _resolved_parent(path)) for kind, path in known)
    return "" if member or in_folder else destination


def _resolved_parent(path: str) -> str:
    """Return a path with the links of its parent folders resolved; the last component may be a link that is replaced."""
    folder, name = os.path.split(os.path.normpath(path))
    return os.path.join(os.path.realpath(folder), name)


def _is_part(name: str, path: str, place: str) -> bool:
    """Return whether a path is an item's, or inside one whose rest is useless without it."""
    kind = kind_of(name)
    tops = {_resolved_parent(path), os.path.realpath(path)}
    if kind.is_file or kind.is_tree:
        return any(place == top + ending for top in tops for ending in ("", *kind.beside))
    if kind.inner and place not in tops and os.path.lexists(os.path.join(path, kind.inner)):
        tops = {os.path.join(top, kind.inner) for top in tops}
    return any(is_within(place, top) for top in tops)


def _repository_around(kind: str, folder: str, place: str, can_hold: bool) -> tuple[str, str] | None:
    """Return (kind, path) of the repository that is discovered around a path, or will be at or below it; None if there is none."""
    top = _resolved_parent(folder)
    if place == top or not is_within(place, top) or kind not in DISCOVERABLE:
        return None
    looks_like = kind_of(kind).looks_like
    path = top
    for name in os.path.relpath(place, top).split("/"):
        path = os.path.join(path, name)
        if (path == place and can_hold) or (looks_like and looks_like(path)):
            return kind, os.path.join(folder, os.path.relpath(path, top))
    return None
