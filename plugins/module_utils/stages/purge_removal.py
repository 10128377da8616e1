"""Execution of a purge plan: tarballs are moved to the trash or deleted, with their sidecars and records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..system.errors import FULL, AltbackupError
from ..system.opened import walk_open
from ..system.twins import MARGIN
from ..system.units import counted
from ..tree.arrivals import forget_arrivals
from ..tree.failures import explain, failure
from ..tree.layout import EXTENSIONS, Tarball, Tree
from ..tree.pairs import count_purged
from ..tree.private import opened_private, require_no_link
from ..tree.publish import prune_empty, record_path, remove_if_there
from ..tree.stamps import is_stamp
from ..tree.trash import Links, delete_expired, make_room, take_out
from ..tree.trash import keep as keep_in_trash
from .purge_plan import STAGE, PurgePlan


def count_removed(tree: Tree, number: int) -> bool:
    """Record the number of tarballs about to be removed; return whether the disk was too full for that. Raise AltbackupError or OSError."""
    try:
        count_purged(tree, number)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return True
    return False


def count_late(tree: Tree, number: int) -> list[dict[str, Any]]:
    """Record the number of removed tarballs if the disk had been too full before; return a failure if it still is."""
    if not count_removed(tree, number):
        return []
    reason = f"{tree.base}: {counted(number, 'tarball')} went, and there is no room to write that down: the next run may take them for lost"
    return [failure(STAGE, reason)]


def remove_going(
    tree: Tree, plan: PurgePlan, day: str = "", came: Mapping[str, str] | None = None
) -> tuple[dict[Tarball, bool], set[str], list[dict[str, Any]]]:
    """Remove the tarballs of a plan with sidecars and records; one that cannot be removed is replaced by the next of its item.

    With a `day` they are moved to the trash of that day, with the stamp of the run in which each arrived, from `came`, {relpath: stamp}. Return {removed
    tarball: whether its file is deleted}, the relpaths of those that could not be removed, and failures.
    """
    removed: dict[Tarball, bool] = {}
    failed: set[str] = set()
    failures = []
    while going := [tarball for tarball in plan.going(failed) if tarball not in removed]:
        for tarball in going:
            if not plan.is_free(tarball, {one.relpath for one in removed}):
                continue
            try:
                taken = take_out(tree, tarball)
            except (AltbackupError, OSError) as error:
                failed.add(tarball.relpath)
                reason = f"{tarball.relpath} could not be removed: {explain(error)}"
                failures.append(failure(STAGE, reason, relpath=tarball.relpath))
                continue
            removed[tarball] = False
            try:
                removed[tarball] = _put_away(tree, tarball, taken, day, (came or {}).get(tarball.relpath, ""))
            except (AltbackupError, OSError) as error:
                reason = f"{tarball.relpath} was removed, but not all that belongs to it: {explain(error)}"
                failures.append(failure(STAGE, reason, relpath=tarball.relpath))
    return removed, failed, failures


def links_of(tarball: Tarball) -> Links:
    return tarball.inode, tarball.links, tarball.size


def empty_trash(
    tree: Tree, today: str, days: int | None, staying: Sequence[Tarball]
) -> tuple[int, list[str], list[dict[str, Any]]]:
    """Delete expired tarballs from the trash, unless `today` is empty, and more of them if the disk is too small for the next night.

    The next night needs as much as the newest tarballs of the items in `staying`. Return the freed bytes, notes and failures.
    """
    freed = 0
    newest = {tarball.key: tarball.size for tarball in sorted(staying, key=lambda tarball: tarball.stamp)}
    try:
        freed += delete_expired(tree, today, days) if today and days is not None else 0
        more, notes = make_room(tree, sum(newest.values()) + MARGIN) if days else (0, [])
        return freed + more, notes, []
    except (AltbackupError, OSError) as error:
        return freed, [], [failure(STAGE, f"the trash of {tree.base} cannot be emptied: {explain(error)}")]


def clean_up(
    tree: Tree, items: Collection[str], judged: Collection[str], staying: Sequence[Tarball]
) -> tuple[bool, list[dict[str, Any]]]:
    """Remove what killed purges left of items, and forget the arrivals of tarballs that are gone.

    Return whether anything was removed, and failures.
    """
    changed, failures = False, []
    there: dict[str, set[str]] = {}
    for tarball in staying:
        there.setdefault(tarball.key, set()).add(tarball.relpath)
    for key in items:
        try:
            changed = _tidy(tree, key) or changed
            if tree.source and key in judged:
                forget_arrivals(tree, key, there.get(key, ()))
        except (AltbackupError, OSError) as error:
            failures.append(failure(STAGE, error, key=key))
    return changed, failures


def _put_away(tree: Tree, tarball: Tarball, gone: str, day: str, came: str) -> bool:
    """Move a removed tarball to the trash of a day, or delete it if `day` is empty; return whether it is deleted.

    Its empty folders and its record are removed. Raise AltbackupError or OSError; each purge reports what cannot be deleted until it can.
    """
    is_kept = bool(day) and keep_in_trash(tree, tarball, gone, day, came)
    prune_empty(os.path.dirname(tree.path(tarball.relpath)), tree.path(tarball.key))
    _remove_record(tree, tarball.key, tarball.stamp)
    if not is_kept:
        shutil.rmtree(gone)
    return not is_kept


def _remove_record(tree: Tree, key: str, stamp: str) -> bool:
    """Remove the record of a dump unless a tarball of its stamp exists; return whether it was removed. Raise BaseUnusable behind a link."""
    folder = tree.path(f"{key}/{stamp}")
    if os.path.isdir(folder) and any(name.endswith(EXTENSIONS) for name in os.listdir(folder)):
        return False
    record = record_path(tree, key, stamp)
    require_no_link(tree, os.path.dirname(record))
    remove_if_there(record)
    if os.path.isdir(os.path.dirname(record)):
        prune_empty(os.path.dirname(record), tree.private_path("records"))
    return True


def _tidy(tree: Tree, key: str) -> bool:
    """Remove records without a tarball, and empty dated folders, of an item.

    Return whether there was any. Raise BaseUnusable if the folder of records is a link, or OSError.
    """
    with opened_private(tree, tree.private_path("records", *key.split("/"))) as top:
        walk = walk_open(".", top) if top is not None else ()
        found = [os.path.normpath(os.path.join(parent, name)) for parent, _, names, _ in walk for name in names]
    stamps = [path[: -len(".json")] for path in found if path.endswith(".json") and is_stamp(path[: -len(".json")])]
    removed = [stamp for stamp in stamps if _remove_record(tree, key, stamp)]
    dated = [parent for parent, _, _ in os.walk(tree.path(key), topdown=False) if os.path.basename(parent).isdecimal()]
    empty = [folder for folder in dated if not os.listdir(folder)]
    for folder in empty:
        prune_empty(folder, tree.path(key))
    return bool(removed or empty)
