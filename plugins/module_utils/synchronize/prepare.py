"""Preparing: what a target lacks of what its source holds, and what it has under another stamp."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.errors import FULL, AltbackupError, DigestMismatch
from ..system.processes import Deadline, find_tool, run
from ..system.seeing import is_folder, is_there, status_of
from ..system.twins import MARGIN
from ..system.units import readable, told_apart
from ..tree.arrivals import arrivals, late_ones, note_arrival
from ..tree.failures import explain, failure
from ..tree.incomplete import incomplete_ones, missing_of
from ..tree.layout import TEMPORARY, Scan, Tarball, Tree, is_relpath, open_tree, scan, split_relpath
from ..tree.locks import Hold
from ..tree.origin import Origin, bind, require_origin
from ..tree.publish import (
    link,
    make_folders,
    make_tree,
    point_last,
    prune_empty,
    remove_folder,
    remove_if_there,
    verify,
    write_record,
    write_sidecar,
)
from ..tree.remembered import remember_items, remembered_items
from ..tree.retention import retained
from ..tree.scan_failures import ahead, by_item, unreadable
from ..tree.stamps import Moment, ahead_reason, day_of
from .guides import check_guides, write_guides
from .offer import Offer, parse_offers, tarball_at
from .receivers import end_receivers
from .send import BASIS, STAGE

_WORTH_A_BASIS = 1 << 20
"""Bytes from which on a copy of an older tarball may save more than it costs"""
_NAMED = 10
"""Most tarballs that a failure names"""


def prepare(
    base: str,
    tarballs: Sequence[Mapping[str, Any]],
    *,
    day: str,
    moment: Moment,
    keeps: Mapping[str, int],
    keep: int,
    items: Sequence[str] = (),
    discovered: bool = True,
    predicted: Sequence[str] = (),
    guides: Mapping[str, str] | None = None,
    basis: bool = False,
    slots: int = 0,
    slot_wait: float = 0,
    origin: Origin | None = None,
    deadline: Deadline | None = None,
    hold: Hold | None = None,
) -> dict[str, Any]:
    """Given a target's tree and what the source holds, decide what is sent; link what the target has under another stamp.

    Tarballs of the day come first, then older ones, newest first. But for each item's newest one of the day, they are only
    those that this target's own retention would keep, which knows what came late and what would. What nothing honest can have
    made is not taken, and a failure that names the source. With `basis` a copy of an older tarball is laid out for deltas. Of
    `slots` transfers into this target one is reserved, if one is free within `slot_wait` seconds; else `busy` is true. The
    `items` are remembered, and where not all were `discovered` those before, too. The `guides`, {file name: text}, are kept
    beside the trees. Without a `hold`, in check mode, nothing is written. A tree that holds the copies of another source than `origin`
    is left alone; one of which that is not known is this one's from now on. Raise BaseUnusable.
    What lies in a folder that cannot be read is not known: its tarballs are left out, and a failure names the folder.
    Return `have`, `linked`, `send` (relpaths), `unwanted`, `incoming` (folder), `free` (bytes), `busy`, `notes` and `failures`.
    """
    tree = hold.tree if hold else open_tree(base)
    require_origin(tree, origin)
    incoming = tree.private_path("incoming")
    lists: dict[str, Any] = {name: [] for name in ("have", "linked", "send", "unwanted", "notes", "failures")}
    result: dict[str, Any] = {"changed": False, **lists, "incoming": incoming, "busy": False}
    wanted = _believed(tree, parse_offers(tarballs), moment, result)
    check_guides(guides or {})
    if hold:
        _clear(tree, incoming, wanted, result)
        make_tree(tree)
        bind(tree, origin)
        make_folders(incoming, tree.private)
        if items:
            remember_items(tree, items if discovered else [*items, *remembered_items(tree)])
        _keep_guides(tree, guides or {}, result)
    found = scan(tree, keys={entry.key for entry in wanted}, tolerate_unreadable=True)
    result["failures"] += unreadable(found, STAGE)
    result["failures"] += ahead(tree, moment, {entry.key for entry in wanted})
    present = _present(tree, found, wanted if hold else (), moment, result)
    hidden = tuple(f"{folder}/" for folder, _ in found.unreadable)
    seen = [entry for entry in wanted if not entry.relpath.startswith(hidden)]
    order = sorted(seen, key=lambda entry: entry.stamp, reverse=True)
    lacking: list[Offer] = []
    kept = _retained(tree, wanted, present, keeps, keep, moment, result)
    newest = {entry.key: entry.stamp for entry in reversed(order) if day_of(entry.stamp) == day}
    for entry in sorted(order, key=lambda entry: day_of(entry.stamp) != day):
        own = [tarball for tarball in present.get(entry.key, []) if tarball.verified]
        same = next((tarball for tarball in own if tarball.relpath == entry.relpath), None)
        if same and same.dna and same.dna.same_content(entry.dna):
            result["have"].append(entry.relpath)
            if hold:
                _point_last(tree, entry, moment, result)
        elif same and same.dna:
            reason = (
                f"{entry.relpath} is verified here with {same.dna.alg} {same.dna.dig}, but the source has {entry.dna.dig}: "
                "neither was touched"
            )
            result["failures"].append(failure(STAGE, reason, relpath=entry.relpath))
        elif entry.stamp != newest.get(entry.key) and entry.relpath not in kept:
            result["unwanted"].append(entry.relpath)
        elif not (hold and _link(tree, entry, own, moment, result)):
            lacking.append(entry)
    if hold:
        for part in {entry.transit_name for entry in seen} - {entry.transit_name for entry in lacking}:
            remove_if_there(os.path.join(incoming, part))
    sent, room = _with_room(tree, incoming, lacking, result)
    result["send"] = [*(entry.relpath for entry in lacking if entry.transit_name in sent), *predicted]
    result["changed"] = bool(result["linked"] or result["changed"])
    if hold and result["send"]:
        wait = deadline.at_most(slot_wait) if deadline and slot_wait else slot_wait
        if slots and not hold.reserve(slots, wait):
            result["busy"] = True
            if slot_wait:
                reason = (
                    f"{tree.base}: {slots} other transfers into this target went on for {wait:.0f} s: nothing was sent"
                )
                result["failures"].append(failure(STAGE, reason))
        else:
            make_folders(os.path.join(incoming, BASIS), tree.private)
        if basis and not result["busy"]:
            _lay_out_bases(tree, incoming, sent, present, room, deadline or Deadline(), result)
    return result


def _believed(tree: Tree, listed: Sequence[Offer], moment: Moment, result: dict[str, Any]) -> list[Offer]:
    """Given what the source says that it holds, return it without what nothing honest can have made, which is a failure."""
    for relpaths in by_item(entry.relpath for entry in listed if moment.is_ahead(entry.stamp)):
        told = ahead_reason(relpaths[0], len(relpaths) - 1, moment)
        reason = f"source {tree.source or tree.base} lists what was not taken: {told}"
        result["failures"].append(failure(STAGE, reason, relpath=relpaths[0]))
    return [entry for entry in listed if not moment.is_ahead(entry.stamp)]


def _clear(tree: Tree, incoming: str, wanted: Sequence[Offer], result: dict[str, Any]) -> None:
    """End receivers of dead runs, and remove what they left and this run does not want: on a full disk this makes room."""
    result["notes"] += end_receivers(incoming)
    parts = {entry.transit_name for entry in wanted}
    for name in sorted(os.listdir(incoming)) if is_folder(incoming) else ():
        path = os.path.join(incoming, name)
        if name == BASIS:
            remove_folder(path)
        elif (
            name not in parts or os.lstat(path).st_nlink > 1
        ):  # what arrives is written in place, never into another file
            remove_if_there(path)
            result["notes"].append(f"removed {name} from {incoming}: left by an earlier run and not wanted by this one")
    by_path = {entry.relpath: entry for entry in wanted}
    for relpath in scan(tree, tolerate_unreadable=True).temporaries:
        path = tree.path(relpath)
        folder, name = os.path.split(relpath)
        entry = by_path.get(f"{folder}/{name[len(TEMPORARY) :].partition('-')[2]}")
        arrived = os.path.join(incoming, entry.transit_name) if entry else ""
        if entry and _is_alone(path, entry.dna.size) and not is_there(arrived):
            make_folders(incoming, tree.private)
            os.replace(path, arrived)
            result["notes"].append(f"took {relpath}, which a killed run had left, back to {incoming}")
        else:
            remove_if_there(path)
            result["notes"].append(f"removed {relpath}, which a killed run left")
        prune_empty(os.path.dirname(path), tree.base)


def _is_alone(path: str, size: int) -> bool:
    """Return whether a file has that size and no other name: what arrives is written in place, so it must be nobody else's."""
    status = os.lstat(path)
    return (status.st_size, status.st_nlink) == (size, 1)


def _present(
    tree: Tree, found: Scan, wanted: Sequence[Offer], moment: Moment, result: dict[str, Any]
) -> dict[str, list[Tarball]]:
    """Return {item: its tarballs on this target that are not of the future}, of the wanted ones those completed that a killed run had not come to."""
    present: dict[str, list[Tarball]] = {}
    by_path = {entry.relpath: entry for entry in wanted}
    for tarball in found.tarballs:
        if is_relpath(tarball.relpath) and not moment.is_ahead(tarball.stamp):
            entry = by_path.get(tarball.relpath)
            known = _completed(tree, tarball, entry, moment, result) if entry else tarball
            present.setdefault(tarball.key, []).append(known)
    return present


def _completed(tree: Tree, tarball: Tarball, entry: Offer, moment: Moment, result: dict[str, Any]) -> Tarball:
    """Given a tarball on this target that is wanted, return it verified, if a killed run had only not come to its dna."""
    if tarball.verified or tarball.size != entry.dna.size:
        return tarball
    try:
        verify(tree.path(entry.relpath), entry.dna, from_disk=True)
        write_record(tree, entry.key, entry.stamp, entry.record)
        if entry.relpath not in arrivals(tree, entry.key):
            note_arrival(tree, entry.relpath, moment.stamp)
        write_sidecar(tree.path(entry.relpath), entry.dna)
        point_last(tree, entry.key, entry.stamp, moment)
    except (AltbackupError, OSError) as error:
        result["notes"].append(f"{entry.relpath} is not verified: it {tarball.problem}; {explain(error)}")
        return tarball
    result["changed"] = True
    result["notes"].append(f"completed {entry.relpath}, which {tarball.problem}")
    return tarball_at(tree, entry)


def _point_last(tree: Tree, entry: Offer, moment: Moment, result: dict[str, Any]) -> None:
    """See to it that `last` is not behind what is verified here, as a killed run had not come to it, nor ahead of all."""
    try:
        result["changed"] = point_last(tree, entry.key, entry.stamp, moment) or result["changed"]
    except (AltbackupError, OSError) as error:
        result["failures"].append(failure(STAGE, error, relpath=entry.relpath))


def _with_room(
    tree: Tree, incoming: str, lacking: Sequence[Offer], result: dict[str, Any]
) -> tuple[dict[str, Offer], int]:
    """Given what is lacking, in order, return {part: tarball} of what has room, and the bytes that are left when it has come.

    What has no room is left out, however much of it there is, and what comes after it is tried all the same.
    """
    result["free"] = shutil.disk_usage(tree.private).free
    room = result["free"] - MARGIN
    once = {entry.transit_name: entry for entry in lacking}
    missing = {part: _missing_bytes(incoming, entry) for part, entry in once.items()}
    sent: dict[str, Offer] = {}
    for part, entry in once.items():
        if missing[part] <= room:
            sent[part] = entry
            room -= missing[part]
    if left_out := [entry.relpath for entry in lacking if entry.transit_name not in sent]:
        names = ", ".join(left_out[:_NAMED]) + (f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else "")
        needed, free = told_apart(sum(missing.values()), result["free"])
        reason = (
            f"{tree.base}: {needed} are needed for {len(lacking)} tarballs, but {free} are free, "
            f"of which {readable(MARGIN)} stay free: {len(left_out)} {'was' if len(left_out) == 1 else 'were'} not sent: {names}"
        )
        result["failures"].append(failure(STAGE, reason))
    return sent, room


def _missing_bytes(incoming: str, entry: Offer) -> int:
    """Return how many bytes of a tarball did not arrive yet."""
    path = os.path.join(incoming, entry.transit_name)
    status = status_of(path, follow=False)
    return max(0, entry.dna.size - (status.st_size if status else 0))


def _lay_out_bases(
    tree: Tree,
    incoming: str,
    sent: Mapping[str, Offer],
    present: Mapping[str, Sequence[Tarball]],
    room: int,
    deadline: Deadline,
    result: dict[str, Any],
) -> None:
    """Lay out a copy of each item's newest verified tarball, from which rsync takes what did not change, where there is room."""
    for part, entry in sent.items():
        older = [tarball for tarball in present.get(entry.key, ()) if tarball.verified and tarball.stamp != entry.stamp]
        if not older or os.path.lexists(os.path.join(incoming, part)):
            continue
        newest = max(older, key=lambda tarball: tarball.stamp)
        if not _WORTH_A_BASIS <= newest.size <= room:
            continue
        argv = [
            find_tool("cp"),
            "--reflink=auto",
            "--",
            tree.path(newest.relpath),
            os.path.join(incoming, BASIS, part),
        ]
        try:
            run(argv, what=f"copying {newest.relpath} for deltas", deadline=deadline)
            room -= newest.size
        except AltbackupError as error:
            remove_if_there(argv[-1])
            result["notes"].append(f"{entry.relpath} is sent whole: {error}")


def _retained(
    tree: Tree,
    wanted: Sequence[Offer],
    present: Mapping[str, Sequence[Tarball]],
    keeps: Mapping[str, int],
    keep: int,
    moment: Moment,
    result: dict[str, Any],
) -> set[str]:
    """Return the relpaths of what the target's purge would keep, if it had all that is wanted."""
    items: dict[str, dict[str, Tarball]] = {}
    for entry in wanted:
        items.setdefault(entry.key, {})[entry.relpath] = _as_tarball(entry)
    told = {entry.relpath for entry in wanted if missing_of(entry.record)}
    kept: set[str] = set()
    for key, imagined in items.items():
        own = {tarball.relpath: tarball for tarball in present.get(key, ()) if tarball.verified}
        everything = {**imagined, **own}
        try:
            noted = arrivals(tree, key)
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(STAGE, error, key=key))
            continue
        came = {**noted, **{relpath: moment.stamp for relpath in imagined if relpath not in own}}
        late = late_ones(everything.values(), came)
        partial = [
            *incomplete_ones(tree, own.values()),
            *(relpath for relpath in imagined if relpath not in own and relpath in told),
        ]
        order = retained([*everything.values()], int(keeps.get(key, keep)), late=late, partial=partial)
        kept.update(tarball.relpath for tarball in order)
    return kept


def _as_tarball(entry: Offer) -> Tarball:
    category, name, stamp, filename = split_relpath(entry.relpath)
    return Tarball(category, name, stamp, filename, entry.dna.size, (0, 0), 1, entry.dna, "", "verified")


def _link(tree: Tree, entry: Offer, own: Sequence[Tarball], moment: Moment, result: dict[str, Any]) -> bool:
    """Store a tarball whose content the target has under another stamp, as a link or a copy; return whether it is not to be sent.

    A copy that is damaged or cannot be used is reported, and the next one tried.
    """
    same = [tarball for tarball in own if tarball.dna and tarball.dna.same_content(entry.dna)]
    newest_of_each = {tarball.inode: tarball for tarball in sorted(same, key=lambda tarball: tarball.stamp)}
    for old in sorted(newest_of_each.values(), key=lambda tarball: tarball.stamp, reverse=True):
        try:
            write_record(tree, entry.key, entry.stamp, entry.record)
            note_arrival(tree, entry.relpath, moment.stamp)
            link(tree, old, entry.relpath, entry.dna)
        except (AltbackupError, OSError) as error:
            full = isinstance(error, OSError) and error.errno in FULL
            if full or not isinstance(error, (DigestMismatch, OSError)):
                result["failures"].append(failure(STAGE, error, relpath=entry.relpath))
                return True
            how = "is damaged" if isinstance(error, DigestMismatch) else "cannot be used"
            reason = f"an older copy {how}: {explain(error)}; the new one is stored without it"
            result["failures"].append(failure(STAGE, reason, relpath=old.relpath))
            continue
        result["linked"].append(entry.relpath)
        _point_last(tree, entry, moment, result)
        return True
    return False


def _keep_guides(tree: Tree, guides: Mapping[str, str], result: dict[str, Any]) -> None:
    """Keep the guides beside the sources' trees up to date; a failure to do so hinders nothing else."""
    try:
        result["changed"] = bool(write_guides(tree, guides)) or result["changed"]
    except (AltbackupError, OSError) as error:
        reason = f"{', '.join(guides)} beside {tree.base} cannot be kept up to date: {explain(error)}"
        result["failures"].append(failure(STAGE, reason))
