"""Purging: removing the verified tarballs that retention does not keep, and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .checking import digests
from .errors import AltbackupError, InvalidInput
from .failures import failure
from .items import parse_keep
from .kinds import remove_folder
from .layout import Tarball, Tree, open_tree, parse_filename, scan
from .publish import flush_folder, make_folders, prune_empty, record_path, remove_if_there, require_writable
from .retention import retained
from .sidecar import SUFFIX
from .stamps import parse_stamp

_STAGE = "purge"


def purge(
    base: str,
    keep: int | str | Mapping[str, Any],
    names: Sequence[str] | None = None,
    *,
    stamp: str,
    made_now: Collection[str] = (),
    predicted: Sequence[str] = (),
    verify: bool = False,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base and how many to keep, remove what retention does not; return what was kept, removed and left alone.

    `names` (category/name) limits it to these items. Tarballs later than `stamp` are left alone, reported and do not
    count. With `verify` each tarball that would count is read first, and only a match counts. `predicted` are relpaths
    that a run in check mode would have made. Raise AltbackupError where nothing can be done.
    """
    tree = open_tree(base) if check_mode else require_writable(base)
    parse_stamp(stamp)
    keeps = _keeps(keep)
    result: dict[str, Any] = {"changed": False, "kept": [], "removed": [], "unverified": [], "notes": [], "bytes_freed": 0, "failures": []}
    if not check_mode:
        _empty_trash(tree)
    found = scan(tree, keys=None if names is None else set(names))
    for relpath, why in found.strange:
        if names is None or relpath.count("/") == 0 or "/".join(relpath.split("/")[:2]) in names:
            result["notes"].append(f"left alone in {tree.base}: {relpath}: {why}")
    items: dict[str, list[Tarball]] = {}
    for tarball in found.tarballs:
        if not tarball.verified or not parse_filename(tarball.filename, tarball.name):
            result["unverified"].append(tarball.relpath)
        elif tarball.stamp > stamp:
            result["notes"].append(f"left alone: {tarball.relpath} is dated later than {stamp}, so it does not count")
        else:
            items.setdefault(tarball.key, []).append(tarball)
    if verify:
        items = {key: _matching(tree, tarballs, result) for key, tarballs in items.items()}
    due: list[Tarball] = []
    for key, tarballs in sorted(items.items()):
        number = keeps.get(key, keeps.get("", 0))
        if not number:
            result["failures"].append(failure(_STAGE, f"no number of copies to keep is given for {key}: nothing of it was removed", key=key))
            continue
        kept = retained(tarballs + _imagined(predicted, key, tarballs), number, made_now)
        result["kept"] += sorted(tarball.relpath for tarball in kept if tarball.inode != (0, 0))
        due += [tarball for tarball in tarballs if tarball not in kept]
    _remove(tree, due, result, check_mode)
    result["changed"] = bool(result["removed"])
    return result


def _keeps(keep: int | str | Mapping[str, Any]) -> dict[str, int]:
    """Return {category/name: number}, with the number of all others under the empty key. Raise InvalidInput."""
    if not isinstance(keep, Mapping):
        return {"": parse_keep(keep, "purge")}
    if not keep:
        raise InvalidInput("purge: keep names no item")
    return {str(key): parse_keep(value, f"purge: {key}") for key, value in keep.items()}


def _matching(tree: Tree, tarballs: list[Tarball], result: dict[str, Any]) -> list[Tarball]:
    """Return those tarballs whose bytes match their dna; report the others."""
    read = digests({tree.path(tarball.relpath): tarball.dna for tarball in tarballs if tarball.dna})
    matching = []
    for tarball in tarballs:
        outcome = read[tree.path(tarball.relpath)]
        if tarball.dna and outcome == (tarball.dna.dig, tarball.dna.size):
            matching.append(tarball)
            continue
        result["unverified"].append(tarball.relpath)
        why = f"could not be read: {outcome.strerror}" if isinstance(outcome, OSError) else "does not match its dna"
        result["failures"].append(failure(_STAGE, f"{tarball.relpath} {why}: it does not count and was left alone", relpath=tarball.relpath))
    return matching


def _imagined(predicted: Sequence[str], key: str, tarballs: Sequence[Tarball]) -> list[Tarball]:
    """Return tarballs as a run in check mode would have made them: their content counts as that of the newest one."""
    newest = max(tarballs, key=lambda tarball: tarball.stamp)
    known = {tarball.relpath for tarball in tarballs}
    return [
        replace(newest, stamp="/".join(relpath.split("/")[2:6]), filename=relpath.rsplit("/", 1)[-1], inode=(0, 0))
        for relpath in predicted
        if "/".join(relpath.split("/")[:2]) == key and relpath not in known
    ]


def _remove(tree: Tree, due: Sequence[Tarball], result: dict[str, Any], check_mode: bool) -> None:
    """Remove tarballs with their sidecars and records; count the bytes of files whose last link goes."""
    remaining = {tarball.inode: tarball.links for tarball in due}
    for tarball in sorted(due, key=lambda tarball: tarball.stamp):
        try:
            if not check_mode:
                _remove_one(tree, tarball)
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(_STAGE, error, relpath=tarball.relpath))
            continue
        result["removed"].append(tarball.relpath)
        remaining[tarball.inode] -= 1
        if remaining[tarball.inode] == 0:
            result["bytes_freed"] += tarball.size


def _remove_one(tree: Tree, tarball: Tarball) -> None:
    """Move tarball and sidecar away in one step where they have their folder to themselves, then delete them.

    So a run that is killed leaves either both in their place or both in the trash, which the next purge empties.
    """
    path = tree.path(tarball.relpath)
    folder = os.path.dirname(path)
    item = tree.path(tarball.key)
    if set(os.listdir(folder)) == {tarball.filename, tarball.filename + SUFFIX}:
        trash = tree.private_path("trash")
        make_folders(trash, tree.private)
        gone = os.path.join(trash, re.sub("[/%]", "_", tarball.relpath)[-200:] + f".{os.getpid()}")
        os.rename(folder, gone)
        flush_folder(os.path.dirname(folder))
        remove_folder(gone)
    else:
        os.unlink(path + SUFFIX)
        flush_folder(folder)
        os.unlink(path)
    prune_empty(os.path.dirname(path), item)
    record = record_path(tree, tarball.key, tarball.stamp)
    remove_if_there(record)
    if os.path.isdir(os.path.dirname(record)):
        prune_empty(os.path.dirname(record), tree.private_path("records"))


def _empty_trash(tree: Tree) -> None:
    remove_folder(tree.private_path("trash"))

