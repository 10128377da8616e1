"""Find: the tarballs of items that a node holds, for a restore; a tree that a run writes to is not read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..system.errors import AltbackupError
from ..system.seeing import is_folder
from ..tree.failures import explain
from ..tree.layout import MARKER, Tarball, Tree, open_tree
from ..tree.locks import Run, unclaimed
from ..tree.marks import marks_of
from ..tree.origin import origin_of
from ..tree.owner import Owner, id_of, require_owner
from ..tree.publish import read_record
from ..tree.quarantine import quarantined
from ..tree.scan import scan


def find(trees: Sequence[Mapping[str, Any]], run: Run | None) -> dict[str, Any]:
    """Return the tarballs in each tree, oldest first, of the items in its `keys`, or of all with `every`.

    A tree has `source`, `base` and, for the source's own tree, `own`. An error of a tree is its `problem` instead of a failure, since
    another node may hold the same tarballs.
    """
    return {"changed": False, "trees": [_find_in(tree, run) for tree in trees], "failures": []}


def _find_in(wanted: Mapping[str, Any], run: Run | None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "source": wanted["source"],
        "base": wanted["base"],
        "tarballs": [],
        "keys": [],
        "accepted": {},
        "problem": "",
        "origin": {},
    }
    try:
        tree = open_tree(str(wanted["base"]))
        if wanted.get("own"):
            require_owner(tree, Owner("source", str(wanted["source"])))
        result["origin"] = _origin(tree, wanted)
        with unclaimed(tree, run):
            keys = set(wanted["keys"])
            every = bool(wanted.get("every"))
            found = [_describe(tree, tarball) for tarball in scan(tree, keys=None if every else keys).tarballs]
            result["accepted"] = _accepted(tree)
            result["tarballs"] = sorted([*found, *_quarantined(tree, keys)], key=lambda entry: str(entry["stamp"]))
            result["keys"] = _keys_of(tree)
    except (AltbackupError, OSError) as error:
        result["problem"] = explain(error)
    return result


def _accepted(tree: Tree) -> dict[str, str]:
    """Return {category/name: stamp up to which suspects are accepted}; {} if the marks cannot be read, so that a restore goes on."""
    try:
        return dict(marks_of(tree).accepted)
    except AltbackupError:
        return {}


def _origin(tree: Tree, wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return base and id of the source to which the tree belongs; {} if they are not known."""
    if wanted.get("own"):
        known = id_of(tree)
        return {"base": tree.base, "id": known} if known else {}
    origin = origin_of(tree)
    return {"base": origin.base, "id": origin.id} if origin else {}


def _describe(tree: Tree, tarball: Tarball) -> dict[str, Any]:
    return {
        "relpath": tarball.relpath,
        "stamp": tarball.stamp,
        "size": tarball.size,
        "dig": tarball.dna.dig if tarball.dna else "",
        "alg": tarball.dna.alg if tarball.dna else "",
        "base": (tarball.dna.base if tarball.dna else None) or "",
        "base_dig": (tarball.dna.base_dig if tarball.dna else None) or "",
        "state": tarball.state,
        "problem": tarball.problem,
        "record": read_record(tree, tarball.key, tarball.stamp),
    }


def _quarantined(tree: Tree, keys: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield the quarantined tarballs of these items: they are not offered, but reported."""
    with contextlib.suppress(AltbackupError, OSError):
        for entry in quarantined(tree, keys)[0]:
            if not entry.healed:
                yield {
                    "relpath": entry.relpath,
                    "stamp": entry.stamp,
                    "size": entry.dna.size if entry.dna else 0,
                    "dig": entry.dna.dig if entry.dna else "",
                    "alg": entry.dna.alg if entry.dna else "",
                    "base": "",
                    "base_dig": "",
                    "state": "quarantined",
                    "problem": f"does not match its dna, and lies in {entry.folder} since {entry.since}",
                    "record": {},
                }


def _keys_of(tree: Tree) -> list[str]:
    """Return the items of a tree, for hints on misspelled names."""
    keys = []
    for category in sorted(os.listdir(tree.base)) if is_folder(tree.base) else ():
        folder = tree.path(category)
        if category != MARKER and is_folder(folder):
            keys += [
                f"{category}/{name}" for name in sorted(os.listdir(folder)) if os.path.isdir(os.path.join(folder, name))
            ]
    return keys
