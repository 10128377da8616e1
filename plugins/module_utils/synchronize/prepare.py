"""Prepare: find what a target lacks of its source's tarballs, and link what it has under another stamp."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from typing import Any

from ..system.age import is_encrypted
from ..system.errors import FULL, AltbackupError, DigestMismatch
from ..system.processes import Deadline, run
from ..system.programs import find_tool
from ..system.seeing import is_folder, is_there, status_of
from ..system.twins import MARGIN
from ..system.units import counted, first_of, shortage
from ..tree.arrivals import note_coming
from ..tree.failures import explain, failure
from ..tree.layout import TEMPORARY, Tarball, Tree, item_key, open_tree
from ..tree.locks import Hold
from ..tree.marks import try_keep
from ..tree.origin import bind, require_origin
from ..tree.private import require_no_link
from ..tree.publish import (
    link,
    make_folders,
    make_tree,
    point_last,
    prune_empty,
    remove_folder,
    remove_if_there,
    verify,
)
from ..tree.readings import read_first
from ..tree.rekeyed import BEFORE
from ..tree.remembered import remember_items, remembered_items
from ..tree.scan import scan
from ..tree.scan_failures import ahead, unreadable
from ..tree.stamps import Moment
from ..tree.trash import make_room, spare_room
from .accept import accept_one
from .forced_command import gather
from .guides import check_guides, write_guides
from .offer import BASIS, CARRIED, STAGE, Offer, parse_offers, take_record
from .receivers import end_receivers
from .target_survey import Done, arrived_bytes, believed_offers, doubted_tree, held_of, known_marks, offers_as_before
from .transfer_plan import Load, Request, TransferPlan, of_day, plan_load, plan_transfer

_NAMED = 10
"""Most tarballs that a failure names"""


def prepare(request: Request, hold: Hold | None = None) -> dict[str, Any]:
    """Decide what is sent to a target, and link what it has under another stamp.

    Tarballs of the day come first, then older ones, newest first. Each item's newest of the day is always sent; others only if this
    target's own retention would keep them, which counts late arrivals as such. Stamps of the future are not taken, and are a failure that
    names the source. `busy` is true if no slot was free in time. Without a `hold` (check mode) nothing is written. A tree that holds the
    copies of another source than `origin` is left alone: raise BaseUnusable; a tree of unknown origin is bound to this one. Tarballs in
    folders that cannot be read are left out, and a failure names the folder. If all of a target can be read but it is not what the source
    knows of it, `doubted` is true and only the day's tarballs are sent; if it is adopted, `refilled` is true instead.

    Return `have`, `linked`, `send` (relpaths), `unwanted`, `incoming` (folder), `free` (bytes), `busy`, `doubted`, `refilled`, `notes` and
    `failures`.
    """
    tree = hold.tree if hold else open_tree(request.base)
    require_origin(tree, request.origin)
    incoming = tree.private_path("incoming")
    require_no_link(tree, incoming)
    done = Done()
    offers = believed_offers(tree, parse_offers(request.tarballs), request.moment, done)
    offers = offers_as_before(tree, offers, done)
    check_guides(request.guides)
    if hold:
        _make_ready(tree, incoming, request, offers, done)
    keys = {offer.key for offer in offers}
    found = scan(tree, keys=keys, tolerate_unreadable=True)
    done.failures += [*unreadable(found, STAGE), *ahead(tree, request.moment, keys)]
    kept = try_keep(tree, request.marks) if hold else {"marks_kept": False, "held": []}
    marks = known_marks(tree, request.marks)
    by_path = {offer.relpath: offer for offer in offers if hold}
    held = held_of(tree, found, keys, by_path, request.moment, marks, done)
    doubted, refilled = (False, False) if found.unreadable else doubted_tree(tree, found, held, request, done)
    if doubted:
        offers = of_day(offers, request.day)
    plan = plan_transfer(request, offers, held, [folder for folder, _ in found.unreadable], marks)
    for offer, dna in plan.differing:
        reason = f"{offer.relpath} is verified here with {dna.alg} {dna.dig}, but the source has {offer.dna.dig}: neither was touched"
        if offer.record.get(BEFORE) == dna.dig:
            reason += ". The source has encrypted it anew since: altbackup.core.rekey does so here"
        done.failures.append(failure(STAGE, reason, relpath=offer.relpath))
    for offer in plan.alone:
        reason = (
            f"{offer.relpath} is a differential, and its full tarball {offer.dna.base} is neither here nor offered: it was not sent, as nothing could be "
            "restored from it"
        )
        done.failures.append(failure(STAGE, reason, relpath=offer.relpath))
    is_stored = hold and not request.rekeyed
    lacking = _store(tree, incoming, plan, request.moment, done) if is_stored else [offer for offer, _ in plan.lacking]
    free, arrived = shutil.disk_usage(tree.private).free, arrived_bytes(incoming, lacking)
    load = plan_load(lacking, arrived, free, held)
    if load.left_out and (spare := spare_room(tree)):
        load = plan_load(lacking, arrived, free, held, spare)
        if hold:
            spare, notes = make_room(tree, load.taken + MARGIN, hold.run)
            done.notes += notes
            load = plan_load(lacking, arrived, free + spare, held)
        free += spare
    if load.left_out:
        done.failures.append(failure(STAGE, _no_room(tree, load, len(lacking), free)))
    send = [*(offer.relpath for offer in lacking if offer.transit_name in load.sent), *request.predicted]
    busy = bool(hold and send and not _reserve(hold, request, done))
    if hold and send and not busy:
        make_folders(os.path.join(incoming, CARRIED if request.carried else BASIS), tree.private)
        for name, tarball in load.bases.items() if request.basis else ():
            if is_encrypted(tarball.filename):  # no part of it is in another one
                continue
            _lay_out(tree, tarball, os.path.join(incoming, BASIS, name), load.sent[name], request.deadline, done)
    return {
        "changed": done.changed or bool(done.linked),
        "have": [offer.relpath for offer in plan.have],
        "linked": done.linked,
        "send": send,
        "unwanted": [offer.relpath for offer in plan.unwanted],
        "incoming": incoming,
        "free": free,
        "busy": busy,
        "doubted": doubted,
        "refilled": refilled,
        **kept,
        "notes": done.notes,
        "failures": done.failures,
    }


def _no_room(tree: Tree, load: Load, number: int, free: int) -> str:
    """Return the message of a disk without room for so many tarballs: bytes needed and free, and which are left out."""
    left_out = [offer.relpath for offer in load.left_out]
    names = first_of(left_out, _NAMED)
    short = shortage(load.needed, free, MARGIN, purpose=f" for {counted(number, 'tarball')}")
    return (
        f"{tree.base}: {short}: {counted(len(left_out), 'tarball was', 'tarballs were')} not sent: {names}. Make room on that disk, or keep less there: "
        "lower altbackup_keep, _daily, _weekly or _monthly of this target, and purge.yml removes what they no longer keep"
    )


def _make_ready(tree: Tree, incoming: str, request: Request, offers: Sequence[Offer], done: Done) -> None:
    """Make a target's tree, remove what dead runs left, and write its origin, its source's items, and the guides."""
    _clear(tree, incoming, offers, done)
    make_tree(tree)
    bind(tree, request.origin)
    make_folders(incoming, tree.private)
    if request.items:
        remember_items(tree, request.items if request.discovered else [*request.items, *remembered_items(tree)])
    try:
        done.changed = bool(write_guides(tree, request.guides))
    except (AltbackupError, OSError) as error:
        reason = f"{', '.join(request.guides)} beside {tree.base} cannot be kept up to date: {explain(error)}"
        done.failures.append(failure(STAGE, reason))


def _clear(tree: Tree, incoming: str, offers: Sequence[Offer], done: Done) -> None:
    """End receivers of dead runs, and remove leftovers that this run does not want, which makes room on a full disk.

    A leftover that cannot be removed is a failure and keeps nothing else from being received.
    """
    done.notes += end_receivers(incoming)
    gather(incoming)
    names = {offer.transit_name for offer in offers}
    for name in sorted(os.listdir(incoming)) if is_folder(incoming, follow=False) else ():
        path = os.path.join(incoming, name)
        try:
            if name in (BASIS, CARRIED):
                remove_folder(path)
            elif (
                name not in names or os.lstat(path).st_nlink > 1
            ):  # rsync writes in place, so a file with a second name is not reused
                _remove(path)
                done.notes.append(f"removed {name} from {incoming}: left by an earlier run and not wanted by this one")
        except OSError as error:
            done.failures.append(failure(STAGE, f"{path}, left by an earlier run, cannot be removed: {explain(error)}"))
    by_path = {offer.relpath: offer for offer in offers}
    for relpath in scan(tree, tolerate_unreadable=True).temporaries:
        folder, name = os.path.split(relpath)
        entry = by_path.get(f"{folder}/{name[len(TEMPORARY) :].partition('-')[2]}")
        try:
            done.notes.append(_take_back(tree, relpath, entry, incoming))
        except OSError as error:
            reason = f"{relpath}, which a killed run left, cannot be removed: {explain(error)}"
            done.failures.append(failure(STAGE, reason, key=item_key(folder)))


def _take_back(tree: Tree, relpath: str, entry: Offer | None, incoming: str) -> str:
    """Move a killed accept's temporary file back to incoming if it is whole and offered, else remove it; return a note. Raise OSError."""
    path, arrived = tree.path(relpath), os.path.join(incoming, entry.transit_name) if entry else ""
    if entry and _is_alone(path, entry.dna.size) and not is_there(arrived):
        make_folders(incoming, tree.private)
        os.replace(path, arrived)
        note = f"took {relpath}, which a killed run had left, back to {incoming}"
    else:
        _remove(path)
        note = f"removed {relpath}, which a killed run left"
    prune_empty(os.path.dirname(path), tree.base)
    return note


def _remove(path: str) -> None:
    """Remove a file, or a folder with its contents. Raise OSError."""
    if is_folder(path, follow=False):
        remove_folder(path)
    else:
        remove_if_there(path)


def _is_alone(path: str, size: int) -> bool:
    """Return whether a path is a plain file of that size with one name: rsync writes in place, so nothing else may share it."""
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_nlink) == (size, 1)


def _store(tree: Tree, incoming: str, plan: TransferPlan, moment: Moment, done: Done) -> list[Offer]:
    """Store what is lacking but here under another stamp, and update `last`; return what is to be sent."""
    for offer in plan.have:
        _point_last(tree, offer, moment, done)
    came: dict[str, Tarball] = {}
    lacking = [
        offer
        for offer, copies in plan.lacking
        if not _link(tree, offer, copies, moment, done) and not _came_whole(tree, incoming, offer, came, moment, done)
    ]
    seen = [*plan.have, *plan.unwanted, *(offer for offer, _ in (*plan.differing, *plan.lacking))]
    for name in {offer.transit_name for offer in seen} - {offer.transit_name for offer in lacking}:
        remove_if_there(os.path.join(incoming, name))
    return lacking


def _point_last(tree: Tree, offer: Offer, moment: Moment, done: Done) -> None:
    """Move `last` forward if a killed run had not come to it, and back if it is ahead of all; an error is a failure."""
    try:
        done.changed = point_last(tree, offer.key, offer.stamp, moment) or done.changed
    except (AltbackupError, OSError) as error:
        done.failures.append(failure(STAGE, error, relpath=offer.relpath))


def _link(tree: Tree, offer: Offer, copies: Sequence[Tarball], moment: Moment, done: Done) -> bool:
    """Store a tarball as a link to, or a copy of, one of the same content under another stamp; return whether it is not to be sent.

    A copy that is damaged or cannot be used is a failure, and the next one is tried.
    """
    for old in copies:
        try:
            take_record(tree, offer)
            note_coming(tree, offer.relpath, offer.dna, moment.stamp)
            link(tree, old, offer.relpath, offer.dna)
        except (AltbackupError, OSError) as error:
            full = isinstance(error, OSError) and error.errno in FULL
            if full or not isinstance(error, (DigestMismatch, OSError)):
                done.failures.append(failure(STAGE, error, relpath=offer.relpath))
                return True
            if isinstance(error, DigestMismatch):
                read_first(tree, [old.relpath])
            how = "is damaged" if isinstance(error, DigestMismatch) else "cannot be used"
            reason = f"an older copy {how}: {explain(error)}; the new one is stored without it"
            done.failures.append(failure(STAGE, reason, relpath=old.relpath))
            continue
        done.linked.append(offer.relpath)
        _point_last(tree, offer, moment, done)
        return True
    return False


def _came_whole(tree: Tree, incoming: str, offer: Offer, came: dict[str, Tarball], moment: Moment, done: Done) -> bool:
    """Store a tarball that an interrupted run had received whole; return whether it is not to be sent. Other bytes are left to rsync.

    `came` is {transit name: tarball stored from that file}, and is updated: one file is sent for all offers of its content.
    """
    arrived, twin = os.path.join(incoming, offer.transit_name), came.get(offer.transit_name)
    status = status_of(arrived, follow=False)
    if twin is None and (status is None or status.st_size != offer.dna.size):
        return False
    try:
        if twin is None:
            verify(arrived, offer.dna)
        came[offer.transit_name] = accept_one(tree, offer, moment, twin)
    except DigestMismatch:
        return False
    except (AltbackupError, OSError) as error:
        done.failures.append(failure(STAGE, error, relpath=offer.relpath))
        return True
    done.linked.append(offer.relpath)
    done.notes.append(f"stored {offer.relpath}, which an earlier run had brought to its end")
    _point_last(tree, offer, moment, done)
    return True


def _reserve(hold: Hold, request: Request, done: Done) -> bool:
    """Return whether a transfer into this target may begin; if none may after a wait, add a failure."""
    wait = request.deadline.at_most(request.slot_wait) if request.slot_wait else 0
    if not request.slots or hold.reserve(request.slots, wait):
        return True
    if wait:
        reason = f"{hold.tree.base}: {request.slots} other transfers into this target went on for {wait:.0f} s: nothing was sent"
        done.failures.append(failure(STAGE, reason))
    return False


def _lay_out(tree: Tree, tarball: Tarball, path: str, offer: Offer, deadline: Deadline, done: Done) -> None:
    """Copy an older tarball to a path in `basis`, from which rsync takes unchanged blocks; an error is a note: the offer is sent whole."""
    argv = [find_tool("cp"), "--reflink=auto", "--", tree.path(tarball.relpath), path]
    try:
        run(argv, what=f"copying {tarball.relpath} for deltas", deadline=deadline)
    except AltbackupError as error:
        remove_if_there(path)
        done.notes.append(f"{offer.relpath} is sent whole: {error}")
