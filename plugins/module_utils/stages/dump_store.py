"""Storing an archive as the tarball under a stamp: not at all, as a link, or as a new file; and completing what killed runs left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..archive.states import Unproven
from ..kinds.base import Context
from ..kinds.items import Item
from ..system.errors import FULL, AltbackupError, DigestMismatch, NoLinks
from ..tree.failures import failure
from ..tree.layout import ALONE, PROOF, Tarball, Tree, describe, parse_filename, stamp_in
from ..tree.leftovers import remove_temporary
from ..tree.publish import (
    link,
    point_last,
    prune_empty,
    publish,
    read_record,
    record_path,
    remove_if_there,
    verify,
    write_record,
    write_sidecar,
)
from ..tree.scan import scan
from ..tree.sidecar import Dna
from ..tree.stamps import Moment, day_of
from .dump_report import report_unusable, with_space
from .dump_state import STAGE, Outcome


def describe_stored(tree: Tree, tarball: Tarball, seconds: float) -> dict[str, Any]:
    return {**describe(tree, tarball, seconds), "record": read_record(tree, tarball.key, tarball.stamp)}


def stored_under(context: Context, item: Item, verified: Iterable[Tarball]) -> Tarball | None:
    """Return the one of the item's verified tarballs that has this stamp, None if there is none."""
    return next(
        (
            tarball
            for tarball in verified
            if tarball.stamp == context.stamp and parse_filename(tarball.filename, item.name)
        ),
        None,
    )


def store(
    item: Item,
    context: Context,
    temporary: str,
    relpath: str,
    dna: Dna,
    record: Mapping[str, Any],
    equal: Sequence[Tarball],
    outcome: Outcome,
) -> Tarball:
    """Store an archive; return the stored tarball, or an equal one of the same day.

    `equal` are tarballs of the same bytes; if an earlier day has one, a link to it is made, else `temporary` is published. Raise Unproven if `temporary` is
    empty and no link can be made.
    """
    tree = context.tree
    today, earlier = _today_and_earlier(context, equal)
    for old in today:
        if _is_sound(tree, old, dna, outcome):
            return old
    _discard_unverified(tree, item, relpath, outcome)
    try:
        write_record(tree, item.key, context.stamp, record)
        if not _link_to_earlier(tree, earlier, relpath, dna, outcome):
            if not temporary:
                raise Unproven("its full tarball, which holds the same, can have no second name, or is damaged")
            publish(tree, temporary, relpath, dna)
    except BaseException:
        path = record_path(tree, item.key, context.stamp)
        remove_if_there(path)
        prune_empty(os.path.dirname(path), tree.private)
        raise
    outcome.changed = True
    return _rescan(tree, relpath)


def _is_sound(tree: Tree, old: Tarball, dna: Dna, outcome: Outcome) -> bool:
    """Read an older tarball from disk and return whether it matches its dna; report a mismatch."""
    try:
        verify(tree.path(old.relpath), dna, from_disk=True)
        return True
    except (DigestMismatch, OSError) as error:
        report_unusable(tree, old, error, outcome)
        return False


def _link_to_earlier(tree: Tree, earlier: Sequence[Tarball], relpath: str, dna: Dna, outcome: Outcome) -> bool:
    """Store an unchanged item as a hard link to, or a reflink of, an older tarball; return whether that was possible.

    Damaged ones are reported. On a file system without either, the new file is stored.
    """
    for old in earlier:
        try:
            link(tree, old, relpath, dna, copying=False)
            return True
        except NoLinks:
            return False
        except (DigestMismatch, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            report_unusable(tree, old, error, outcome)
    return False


def tarballs_before(context: Context, item: Item, verified: Iterable[Tarball]) -> list[Tarball]:
    """Return the item's verified tarballs, the newest last, without stamps of the future."""
    moment = Moment(context.stamp, context.clock)
    counting = [
        tarball
        for tarball in verified
        if parse_filename(tarball.filename, item.name) and not moment.is_ahead(tarball.stamp)
    ]
    return sorted(counting, key=lambda tarball: tarball.stamp)


def _today_and_earlier(context: Context, equal: Sequence[Tarball]) -> tuple[list[Tarball], list[Tarball]]:
    """Split tarballs of the same bytes: those of this day, and the newest of each file of earlier days, newest first."""
    day = day_of(context.stamp)
    today = [tarball for tarball in equal if day_of(tarball.stamp) == day]
    newest_of_each = {tarball.inode: tarball for tarball in equal if day_of(tarball.stamp) < day}
    return today, sorted(newest_of_each.values(), key=lambda tarball: tarball.stamp, reverse=True)


def _discard_unverified(tree: Tree, item: Item, relpath: str, outcome: Outcome) -> None:
    """Remove tarballs without a verified sidecar under this stamp, which killed runs left."""
    stamp = stamp_in(relpath)
    for tarball in scan(tree, day_of(stamp), {item.key}).tarballs:
        if tarball.state in ("verified", ALONE):
            continue
        if tarball.stamp == stamp and parse_filename(tarball.filename, item.name):
            remove_if_there(tree.path(tarball.relpath))
            remove_if_there(tree.path(tarball.relpath) + ".dna")
            remove_if_there(tree.path(tarball.relpath) + PROOF)
            outcome.notes.append(f"replaced {tarball.relpath}, which {tarball.problem}")


def complete_leftovers(tree: Tree, item: Item, outcome: Outcome) -> list[Tarball]:
    """Remove temporary files that killed runs left of an item, and write missing sidecars of tarballs that match their records.

    Return the item's verified tarballs.
    """
    found, completed = scan(tree, keys={item.key}), False
    outcome.notes += [remove_temporary(tree, relpath) for relpath in found.temporaries]
    for tarball in found.tarballs:
        if tarball.state == "missing":
            if _complete(tree, tarball, outcome):
                completed = True
            else:
                outcome.notes.append(f"{tarball.relpath} is not verified: it {tarball.problem}")
    return (scan(tree, keys={item.key}) if completed else found).verified()


def _complete(tree: Tree, tarball: Tarball, outcome: Outcome) -> bool:
    """Write the sidecar of a tarball that a killed run had renamed and recorded, if its bytes match the record; return whether it was."""
    path, record = tree.path(tarball.relpath), read_record(tree, tarball.key, tarball.stamp)
    if record.get("relpath") != tarball.relpath:
        return False
    try:
        base = (str(record["base"]), str(record["base_dig"])) if "base" in record else (None, None)
        dna = Dna(str(record["dig"]), int(record["size"]), str(record["alg"]), *base)
        verify(path, dna, from_disk=True)
    except (DigestMismatch, OSError, KeyError, ValueError, OverflowError, TypeError):
        return False
    write_sidecar(path, dna)
    outcome.changed = True
    outcome.notes.append(f"completed {tarball.relpath}, which a killed run had left without its dna")
    return True


def move_last(context: Context, item: Item, stamp: str, outcome: Outcome) -> None:
    try:
        moment = Moment(context.stamp, context.clock)
        outcome.changed = point_last(context.tree, item.key, stamp, moment) or outcome.changed
    except (AltbackupError, OSError) as error:
        outcome.failures.append(failure(STAGE, with_space(error, context.tree), key=item.key))


def _rescan(tree: Tree, relpath: str) -> Tarball:
    """Return the tarball just stored, from a new scan. Raise AltbackupError if it is not verified."""
    category, name, year, month, day, clock, _ = relpath.split("/")
    for tarball in scan(tree, f"{year}/{month}/{day}", {f"{category}/{name}"}).verified():
        if tarball.relpath == relpath:
            return tarball
    raise AltbackupError(f"{tree.path(relpath)} vanished while it was stored")
