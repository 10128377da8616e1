"""Purging: removing the verified tarballs that retention does not keep, and nothing else."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..kinds.items import parse_keep
from ..system.errors import AltbackupError, InvalidInput
from ..system.seeing import as_whom
from ..tree.arrivals import arrivals, forget_arrivals, late_ones
from ..tree.digests import digests
from ..tree.failures import explain, failure
from ..tree.incomplete import incomplete_ones
from ..tree.layout import EXTENSIONS, PROOF, Scan, Tarball, Tree, parse_filename, scan, split_relpath
from ..tree.leftovers import opened_private, remove_outgoing
from ..tree.publish import (
    flush_folder,
    make_folders,
    prune_empty,
    record_path,
    remove_folder,
    remove_if_there,
    require_writable,
)
from ..tree.retention import removable, retained
from ..tree.scan_failures import ahead, by_item, unreadable
from ..tree.sidecar import SUFFIX
from ..tree.stamps import Moment, is_stamp

_STAGE = "purge"
_NAMED = 10
"""Most items that a note names"""


def purge(
    base: str,
    keep: int | str | Mapping[str, Any],
    names: Sequence[str] | None = None,
    *,
    moment: Moment,
    made_now: Collection[str] = (),
    predicted: Sequence[str] = (),
    verify: bool = False,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base and how many to keep, remove what retention does not; return what was kept, removed and left alone.

    `names` (category/name) limits it to these items. Tarballs later than the moment are left alone, reported and do not
    count. With `verify` each tarball that would count is read first, and only a match counts. `predicted` are relpaths
    that a run in check mode would have made. Of an item at most one more goes than what the run of the stamps `made_now` added
    to this node, oldest first; what is to go and has to wait is `waiting`, too. Raise AltbackupError where nothing can be done.
    """
    keeps = _keeps(keep)
    predicted_of: dict[str, list[str]] = {}
    for relpath in predicted:
        category, name, _, _ = split_relpath(relpath)
        predicted_of.setdefault(f"{category}/{name}", []).append(relpath)
    tree = require_writable(base)
    result = _empty_result()
    if not check_mode and not tree.source:
        remove_outgoing(tree)  # its links would keep on disk what is removed here
    _empty_trash(tree, result, check_mode)
    found = scan(tree, keys=None if names is None else set(names), tolerate_unreadable=True)
    items = _items(tree, found, names, moment, result)
    if verify:
        items = _matching(tree, items, result)
    for reason in _nothing(tree, names, {tarball.key for tarball in found.tarballs}.union(predicted_of)):
        result["failures"].append(failure(_STAGE, reason))
    result["failures"] += unreadable(found, _STAGE)
    result["failures"] += ahead(tree, moment, None if names is None else set(names))
    unseen = {"/".join(relpath.split("/")[:2]) for relpath, _ in found.unreadable}
    due, allowed = _judge(tree, items, keeps, predicted_of, made_now, unseen, result)
    _remove(tree, due, allowed, result, check_mode)
    going = {tarball.relpath for tarball in due}.difference(result["waiting"])
    for _, tarballs in sorted(items.items()):
        result["kept"] += [
            tarball.relpath for tarball in tarballs if tarball.key in allowed and tarball.relpath not in going
        ]
    result["notes"] += _of_waiting(tree, result["waiting"])
    if not check_mode:
        _clean_up(tree, found, items, allowed, result)
    result["changed"] = result["changed"] or bool(result["removed"])
    return result


def _empty_result() -> dict[str, Any]:
    lists: dict[str, Any] = {"kept": [], "waiting": [], "removed": [], "unverified": [], "notes": []}
    return {"changed": False, **lists, "bytes_freed": 0, "failures": []}


def _judge(
    tree: Tree,
    items: Mapping[str, list[Tarball]],
    keeps: Mapping[str, int],
    predicted: Mapping[str, Sequence[str]],
    made_now: Collection[str],
    unseen: Collection[str],
    result: dict[str, Any],
) -> tuple[list[Tarball], dict[str, int]]:
    """Return the tarballs that are no longer to be kept, and {item: how many of them may go now}, without items that cannot be judged."""
    due: list[Tarball] = []
    allowed: dict[str, int] = {}
    for key, tarballs in sorted(items.items()):
        number = keeps.get(key, keeps.get("", 0))
        if not number:
            reason = f"no number of copies to keep is given for {key}: nothing of it was removed"
            result["failures"].append(failure(_STAGE, reason, key=key))
        elif key in unseen:
            allowed[key] = 0
        else:
            try:
                came = arrivals(tree, key) if tree.source else {}
            except (AltbackupError, OSError) as error:
                result["failures"].append(failure(_STAGE, error, key=key))
                continue
            everything = [*tarballs, *_imagined(predicted.get(key, ()), tarballs)]
            late = late_ones(tarballs, came)
            partial = incomplete_ones(tree, tarballs)
            kept = {tarball.relpath for tarball in retained(everything, number, made_now, late, partial)}
            added = [tarball for tarball in everything if came.get(tarball.relpath, tarball.stamp) in made_now]
            due += [tarball for tarball in tarballs if tarball.relpath not in kept]
            allowed[key] = removable(added, late)
    return due, allowed


def _clean_up(
    tree: Tree, found: Scan, items: Mapping[str, list[Tarball]], judged: Collection[str], result: dict[str, Any]
) -> None:
    """See to what killed purges left of the items, and forget when those came that are gone."""
    there: dict[str, set[str]] = {}
    removed = set(result["removed"])
    for tarball in found.tarballs:
        there.setdefault(tarball.key, set()).add(tarball.relpath)
    for key in items:
        try:
            result["changed"] = _tidy(tree, key) or result["changed"]
            if tree.source and key in judged:
                forget_arrivals(tree, key, there[key].difference(removed))
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(_STAGE, error, key=key))


def _of_waiting(tree: Tree, waiting: Sequence[str]) -> Iterator[str]:
    """Yield a note on how many of which items are to go, but in a later run."""
    groups = by_item(waiting)
    if groups:
        numbers = [f"{len(relpaths)} of {'/'.join(relpaths[0].split('/')[:2])}" for relpaths in groups[:_NAMED]]
        if len(groups) > _NAMED:
            numbers.append(f"{sum(map(len, groups[_NAMED:]))} of {len(groups) - _NAMED} more items")
        yield (
            f"{len(waiting)} tarballs in {tree.base} are no longer to be kept, but wait for the next runs ({', '.join(numbers)}): a run removes "
            "at most one more of an item than it added, the oldest first"
        )


def _items(
    tree: Tree, found: Scan, names: Sequence[str] | None, moment: Moment, result: dict[str, Any]
) -> dict[str, list[Tarball]]:
    """Return {category/name: its tarballs that count, oldest first}; report all else."""
    for relpath, why in found.strange:
        if names is None or relpath.count("/") == 0 or "/".join(relpath.split("/")[:2]) in names:
            result["notes"].append(f"left alone in {tree.base}: {relpath}: {why}")
    result["notes"] += [
        f"left alone in {tree.base}: {relpath}: it is a dna without its tarball" for relpath in found.orphans
    ]
    items: dict[str, list[Tarball]] = {}
    for tarball in found.tarballs:
        if not tarball.verified or not parse_filename(tarball.filename, tarball.name):
            result["unverified"].append(tarball.relpath)
        elif moment.is_ahead(tarball.stamp):
            continue
        elif not moment.counts(tarball.stamp):
            result["notes"].append(
                f"left alone: {tarball.relpath} is dated later than {moment.stamp}, so it does not count"
            )
        else:
            items.setdefault(tarball.key, []).append(tarball)
    return items


def _nothing(tree: Tree, names: Sequence[str] | None, there: Collection[str]) -> Iterator[str]:
    """Yield why there is nothing to purge: no data is never success."""
    if names is None and not there:
        yield f"no tarballs in {tree.base}: there is nothing to purge"
    for name in names or ():
        if name not in there:
            yield f"no tarballs of {name} in {tree.base}: there is nothing of it to purge"


def _keeps(keep: int | str | Mapping[str, Any]) -> dict[str, int]:
    """Return {category/name: number}, with the number of all others under the empty key. Raise InvalidInput."""
    if not isinstance(keep, Mapping):
        return {"": parse_keep(keep, "purge")}
    if not keep:
        raise InvalidInput("purge: keep names no item")
    for key in keep:
        if not re.fullmatch("[^/]+/[^/]+", str(key)):
            raise InvalidInput(f"purge: keep names {key!r}, which is not category/name")
    return {str(key): parse_keep(value, f"purge: {key}") for key, value in keep.items()}


def _matching(tree: Tree, items: Mapping[str, list[Tarball]], result: dict[str, Any]) -> dict[str, list[Tarball]]:
    """Return the tarballs whose bytes match their dna; report the others."""
    tarballs = [tarball for several in items.values() for tarball in several]
    read = digests({tree.path(tarball.relpath): tarball.dna for tarball in tarballs if tarball.dna})
    matching: dict[str, list[Tarball]] = {}
    for tarball in tarballs:
        outcome = read[tree.path(tarball.relpath)]
        if tarball.dna and outcome == (tarball.dna.dig, tarball.dna.size):
            matching.setdefault(tarball.key, []).append(tarball)
            continue
        result["unverified"].append(tarball.relpath)
        why = f"cannot be read{as_whom(outcome)}" if isinstance(outcome, OSError) else "does not match its dna"
        reason = f"{tarball.relpath} {why}: it does not count and was left alone"
        result["failures"].append(failure(_STAGE, reason, relpath=tarball.relpath))
    return matching


def _imagined(predicted: Sequence[str], tarballs: Sequence[Tarball]) -> list[Tarball]:
    """Return tarballs as a run in check mode would have made them: their content counts as that of the newest one."""
    imagined = []
    for relpath in predicted:
        _, _, stamp, filename = split_relpath(relpath)
        imagined.append(replace(tarballs[-1], stamp=stamp, filename=filename))
    return imagined


def _remove(
    tree: Tree, due: Sequence[Tarball], allowed: Mapping[str, int], result: dict[str, Any], check_mode: bool
) -> None:
    """Remove tarballs with their sidecars and records, the oldest first, of each item as many as allowed; the others wait.

    Count the bytes of files whose last link goes. One that cannot be removed keeps no other from going in its place.
    """
    remaining = {tarball.inode: tarball.links for tarball in due}
    left = dict(allowed)
    for tarball in sorted(due, key=lambda tarball: (tarball.stamp, tarball.filename)):
        if not left[tarball.key]:
            result["waiting"].append(tarball.relpath)
            continue
        try:
            deleted = check_mode or _remove_one(tree, tarball, result)
        except (AltbackupError, OSError) as error:
            reason = f"{tarball.relpath} could not be removed: {explain(error)}"
            result["failures"].append(failure(_STAGE, reason, relpath=tarball.relpath))
            continue
        result["removed"].append(tarball.relpath)
        left[tarball.key] -= 1
        remaining[tarball.inode] -= deleted
        if remaining[tarball.inode] == 0:
            result["bytes_freed"] += tarball.size


def _remove_one(tree: Tree, tarball: Tarball, result: dict[str, Any]) -> bool:
    """Take tarball, sidecar and proof out of the tree; return whether the file is deleted, too. Raise AltbackupError or OSError.

    Where they have their folder to themselves they go to the trash in one step, so that a killed run leaves either all
    in their place or all in the trash, which the next purge empties; else the sidecar goes first, so that it never
    stands alone. What cannot be deleted from the trash is reported by each purge until it can.
    """
    path = tree.path(tarball.relpath)
    folder = os.path.dirname(path)
    others = set(os.listdir(folder)) - {tarball.filename + suffix for suffix in ("", SUFFIX, PROOF)}
    gone = "" if others else _move_to_trash(tree, tarball)
    if not gone:
        os.unlink(path + SUFFIX)
        remove_if_there(path + PROOF)
        flush_folder(folder)
        os.unlink(path)
    deleted = True
    try:
        prune_empty(folder, tree.path(tarball.key))
        _remove_record(tree, tarball.key, tarball.stamp)
        if gone:
            shutil.rmtree(gone)
    except OSError as error:
        deleted = not gone or not os.path.lexists(gone)
        reason = f"{tarball.relpath} was removed, but not all that belongs to it: {explain(error)}"
        result["failures"].append(failure(_STAGE, reason, relpath=tarball.relpath))
    return deleted


def _move_to_trash(tree: Tree, tarball: Tarball) -> str:
    """Move a stamp's folder to the trash; return where it is, or nothing if that is another file system."""
    folder = os.path.dirname(tree.path(tarball.relpath))
    trash = tree.private_path("trash")
    make_folders(trash, tree.private)
    gone = tempfile.mkdtemp(dir=trash)
    try:
        os.rename(folder, gone)
    except OSError as error:
        os.rmdir(gone)
        if error.errno == errno.EXDEV:
            return ""
        raise
    flush_folder(os.path.dirname(folder))
    return gone


def _remove_record(tree: Tree, key: str, stamp: str) -> bool:
    """Remove the record of a dump, unless a tarball of that stamp is still there; return whether it is removed."""
    folder = tree.path(f"{key}/{stamp}")
    if os.path.isdir(folder) and any(name.endswith(EXTENSIONS) for name in os.listdir(folder)):
        return False
    record = record_path(tree, key, stamp)
    remove_if_there(record)
    if os.path.isdir(os.path.dirname(record)):
        prune_empty(os.path.dirname(record), tree.private_path("records"))
    return True


def _tidy(tree: Tree, key: str) -> bool:
    """Remove what killed purges left of an item: records without a tarball and dated folders without anything.

    Return whether there was any. Raise OSError.
    """
    records = tree.private_path("records", *key.split("/"))
    found = [
        os.path.relpath(os.path.join(parent, name), records) for parent, _, names in os.walk(records) for name in names
    ]
    stamps = [path[: -len(".json")] for path in found if path.endswith(".json") and is_stamp(path[: -len(".json")])]
    removed = [stamp for stamp in stamps if _remove_record(tree, key, stamp)]
    dated = [parent for parent, _, _ in os.walk(tree.path(key), topdown=False) if os.path.basename(parent).isdecimal()]
    empty = [folder for folder in dated if not os.listdir(folder)]
    for folder in empty:
        prune_empty(folder, tree.path(key))
    return bool(removed or empty)


def _empty_trash(tree: Tree, result: dict[str, Any], check_mode: bool) -> None:
    """Delete what killed purges left, each piece by itself. Raise BaseUnusable where a link is in the place of the trash."""
    trash = tree.private_path("trash")
    with opened_private(tree, trash) as top:
        for name in sorted(os.listdir(top)) if top is not None else ():
            path, inside = f"{trash}/{name}", f"/proc/self/fd/{top}/{name}"
            try:
                if not check_mode:
                    remove_folder(inside)
                    remove_if_there(inside)
            except OSError as error:
                reason = f"{path}, left by an earlier purge, cannot be removed: {explain(error)}"
                result["failures"].append(failure(_STAGE, reason))
                continue
            result["changed"] = True
            result["notes"].append(f"removed {path}, which an earlier purge had left")
