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

from .checking import digests, unreadable
from .errors import AltbackupError, InvalidInput
from .failures import explain, failure
from .items import parse_keep
from .layout import EXTENSIONS, PROOF, Scan, Tarball, Tree, parse_filename, scan, split_relpath
from .leftovers import remove_outgoing
from .publish import flush_folder, make_folders, prune_empty, record_path, remove_if_there, require_writable
from .retention import retained
from .sidecar import SUFFIX
from .stamps import is_stamp, parse_stamp

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
    keeps = _keeps(keep)
    parse_stamp(stamp)
    predicted_of: dict[str, list[str]] = {}
    for relpath in predicted:
        category, name, _, _ = split_relpath(relpath)
        predicted_of.setdefault(f"{category}/{name}", []).append(relpath)
    tree = require_writable(base)
    result = _empty_result()
    if not check_mode and not tree.source:
        remove_outgoing(tree)  # its links would keep on disk what is removed here
    _empty_trash(tree, result, check_mode)
    found = scan(tree, keys=None if names is None else set(names), go_on=True)
    items = _items(tree, found, names, stamp, result)
    if verify:
        items = _matching(tree, items, result)
    for reason in _nothing(tree, names, {tarball.key for tarball in found.tarballs}.union(predicted_of)):
        result["failures"].append(failure(_STAGE, reason))
    result["failures"] += unreadable(found, _STAGE)
    unseen = {"/".join(relpath.split("/")[:2]) for relpath, _ in found.unreadable}
    due: list[Tarball] = []
    for key, tarballs in sorted(items.items()):
        number = keeps.get(key, keeps.get("", 0))
        if not number:
            reason = f"no number of copies to keep is given for {key}: nothing of it was removed"
            result["failures"].append(failure(_STAGE, reason, key=key))
            continue
        kept = retained([*tarballs, *_imagined(predicted_of.get(key, ()), tarballs)], number, made_now)
        staying = {tarball.relpath for tarball in (tarballs if key in unseen else kept)}
        result["kept"] += [tarball.relpath for tarball in tarballs if tarball.relpath in staying]
        due += [tarball for tarball in tarballs if tarball.relpath not in staying]
    _remove(tree, due, result, check_mode)
    for key in () if check_mode else items:
        try:
            result["changed"] = _tidy(tree, key) or result["changed"]
        except OSError as error:
            result["failures"].append(failure(_STAGE, error, key=key))
    result["changed"] = result["changed"] or bool(result["removed"])
    return result


def _empty_result() -> dict[str, Any]:
    lists: dict[str, Any] = {"kept": [], "removed": [], "unverified": [], "notes": []}
    return {"changed": False, **lists, "bytes_freed": 0, "failures": []}


def _items(
    tree: Tree, found: Scan, names: Sequence[str] | None, stamp: str, result: dict[str, Any]
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
        elif tarball.stamp > stamp:
            result["notes"].append(f"left alone: {tarball.relpath} is dated later than {stamp}, so it does not count")
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
        why = f"could not be read: {outcome.strerror}" if isinstance(outcome, OSError) else "does not match its dna"
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


def _remove(tree: Tree, due: Sequence[Tarball], result: dict[str, Any], check_mode: bool) -> None:
    """Remove tarballs with their sidecars and records; count the bytes of files whose last link goes."""
    remaining = {tarball.inode: tarball.links for tarball in due}
    for tarball in sorted(due, key=lambda tarball: tarball.stamp):
        try:
            deleted = check_mode or _remove_one(tree, tarball, result)
        except (AltbackupError, OSError) as error:
            reason = f"{tarball.relpath} could not be removed: {explain(error)}"
            result["failures"].append(failure(_STAGE, reason, relpath=tarball.relpath))
            continue
        result["removed"].append(tarball.relpath)
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
    """Delete what killed purges left, each piece by itself."""
    trash = tree.private_path("trash")
    for name in sorted(os.listdir(trash)) if os.path.isdir(trash) else ():
        path = os.path.join(trash, name)
        try:
            if check_mode:
                pass
            elif os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except OSError as error:
            result["failures"].append(
                failure(_STAGE, f"{path}, left by an earlier purge, cannot be removed: {explain(error)}")
            )
            continue
        result["changed"] = True
        result["notes"].append(f"removed {path}, which an earlier purge had left")
