"""Preparing: what a target lacks of what its source holds, and what it has under another stamp."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..system.errors import FULL, AltbackupError, DigestMismatch
from ..system.processes import Deadline, find_tool, run
from ..system.seeing import is_folder, is_there, status_of
from ..system.twins import MARGIN
from ..system.units import first_of, readable, told_apart
from ..system.visible import extra_vars
from ..tree.arrivals import arrivals, behind_ones, late_ones, note_coming
from ..tree.contents import content_of
from ..tree.failures import explain, failure
from ..tree.incomplete import missing_of
from ..tree.layout import ALONE, TEMPORARY, Scan, Tarball, Tree, is_relpath, open_tree, scan, split_relpath
from ..tree.locks import Hold
from ..tree.marks import Marks, marks_of, merged, parse_given, try_keep
from ..tree.origin import Origin, bind, parse_origin, require_origin
from ..tree.pairs import Pair, differences, pair_now, parse_pair
from ..tree.publish import (
    link,
    make_folders,
    make_tree,
    point_last,
    prune_empty,
    remove_folder,
    remove_if_there,
    verify,
    write_sidecar,
)
from ..tree.quarantine import quarantined
from ..tree.readings import read_first
from ..tree.recorded import recorded
from ..tree.remembered import remember_items, remembered_items
from ..tree.retention import WITHIN, demanded, judge
from ..tree.rulings import Ruling, parse_ruling
from ..tree.scan_failures import ahead, by_item, unreadable
from ..tree.sidecar import Dna
from ..tree.stamps import Moment, ahead_reason, day_of, moment_of
from ..tree.suspects import doubts_of, suspects_of
from ..tree.trash import make_room, spare_room
from .guides import check_guides, write_guides
from .offer import Offer, parse_offers, take_record, tarball_at
from .receivers import end_receivers
from .send import BASIS, CARRIED, STAGE

_WORTH_A_BASIS = 1 << 20
"""Bytes from which on a copy of an older tarball may save more than it costs"""
_NAMED = 10
"""Most tarballs that a failure names"""
_MOST_YOUNG = 100
"""Most tarballs of an item that a run sends for their age alone, so that a source that lists thousands does not fill the disk at once"""


@dataclass(frozen=True)
class Request:
    """What a target is to make ready for."""

    base: str
    tarballs: Sequence[Mapping[str, Any]]
    """What the source holds, as a listing of it has it"""
    day: str
    moment: Moment
    ruling: Ruling
    """By which this target keeps them"""
    items: Sequence[str] = ()
    """The items of the source, which the target remembers; where not all were `discovered`, with those before"""
    discovered: bool = True
    predicted: Sequence[str] = ()
    """Relpaths that a run in check mode would have made"""
    guides: Mapping[str, str] = field(default_factory=dict)
    """{file name: text} to keep beside the trees"""
    basis: bool = False
    """Whether copies of older tarballs are laid out for deltas"""
    slots: int = 0
    """Transfers into this target at a time, of which one is reserved; 0 for any number"""
    slot_wait: float = 0
    """Seconds to wait for one"""
    origin: Origin | None = None
    pair: Pair | None = None
    """What the source knows of this target"""
    adopt: bool = False
    """Whether this target is taken as it is, whatever it was"""
    node: str = ""
    """The target's name in messages"""
    carried: bool = False
    """Whether what is offered is another target's, from which the controller brings it"""
    marks: Mapping[str, Any] = field(default_factory=dict)
    """What the controller was told of the copies, which the target keeps"""
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True)
class Held:
    """What a target has of an item."""

    tarballs: Sequence[Tarball] = ()
    """Verified ones"""
    came: Mapping[str, str] | None = field(default_factory=dict)
    """{relpath: stamp of the run in which it came}; None where that cannot be read"""
    partial: Collection[str] = ()
    """Relpaths of those that are not whole"""
    suspects: Collection[str] = ()
    """Relpaths of those that are suspect, and that nobody accepted"""
    content: Mapping[str, Hashable] = field(default_factory=dict)
    """{relpath: what stands for its content}"""
    rotted: Mapping[str, str] = field(default_factory=dict)
    """{relpath: stamp of the run in which it came, its own if that is not known} of those that rotted and may come back"""


@dataclass(frozen=True)
class TransferPlan:
    """What becomes of each tarball that a source offers."""

    have: Sequence[Offer]
    differing: Sequence[tuple[Offer, Dna]]
    """Those that are verified here with other bytes"""
    unwanted: Sequence[Offer]
    """Those that the target's own purge would remove"""
    lacking: Sequence[tuple[Offer, Sequence[Tarball]]]
    """In the order in which they are sent, each with the copies of its content that are here under other stamps, the newest first"""
    alone: Sequence[Offer] = ()
    """Differentials that are lacking, whose full tarball is neither here nor offered"""


@dataclass(frozen=True)
class Load:
    """What there is room for."""

    sent: Mapping[str, Offer]
    """{transit name: one that is sent}"""
    left_out: Sequence[Offer]
    needed: int
    """Bytes that are to come, those of what is left out included"""
    taken: int
    """Bytes of what is sent that are to come"""
    bases: Mapping[str, Tarball]
    """{transit name: the older tarball from whose copy rsync takes what did not change}"""


@dataclass
class Done:
    """What was done, and what could not be."""

    changed: bool = False
    linked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def parse_request(options: Mapping[str, Any]) -> Request:
    """Given the parameters of the module, return what is asked for."""
    given = {one.name: options[one.name] for one in fields(Request) if one.name in options}
    given["deadline"] = Deadline(options["step_timeout"], "preparation")
    known = {"origin": parse_origin(options["origin"]), "pair": parse_pair(options["pair"])}
    ruling = parse_ruling(options["keep"], options["rules"], STAGE, options["keeps"])
    return Request(**{**given, **known, "ruling": ruling, "moment": moment_of(options)})


def prepare(request: Request, hold: Hold | None = None) -> dict[str, Any]:
    """Given what a source holds, decide what is sent to a target; link what the target has under another stamp.

    Tarballs of the day come first, then older ones, newest first. But for each item's newest one of the day, they are only
    those that this target's own retention would keep, which knows what came late and what would. What nothing honest can have
    made is not taken, and a failure that names the source. If no slot was free in time, `busy` is true.
    Without a `hold`, in check mode, nothing is written. A tree that holds the copies of another source than the origin
    is left alone; one of which that is not known is this one's from now on. Raise BaseUnusable.
    What lies in a folder that cannot be read is not known: its tarballs are left out, and a failure names the folder.
    Of a target all of which can be read, that is not what the source knows of it, and that nobody has adopted, `doubted` is true: it gets
    what is of the day alone. Of one that somebody has, `refilled` is.
    Return `have`, `linked`, `send` (relpaths), `unwanted`, `incoming` (folder), `free` (bytes), `busy`, `doubted`, `refilled`, `notes` and `failures`.
    """
    tree = hold.tree if hold else open_tree(request.base)
    require_origin(tree, request.origin)
    incoming = tree.private_path("incoming")
    done = Done()
    offers = _believed(tree, parse_offers(request.tarballs), request.moment, done)
    offers = _as_it_was(tree, offers, done)
    check_guides(request.guides)
    if hold:
        _make_ready(tree, incoming, request, offers, done)
    keys = {offer.key for offer in offers}
    found = scan(tree, keys=keys, tolerate_unreadable=True)
    done.failures += [*unreadable(found, STAGE), *ahead(tree, request.moment, keys)]
    kept = try_keep(tree, request.marks) if hold else {"marks_kept": False, "held": []}
    marks = _known_marks(tree, request.marks)
    by_path = {offer.relpath: offer for offer in offers if hold}
    held = _held(tree, found, keys, by_path, request.moment, marks, done)
    doubted, refilled = (False, False) if found.unreadable else _doubt(tree, found, held, request, done)
    if doubted:
        offers = _of_day(offers, request.day)
    plan = plan_transfer(request, offers, held, [folder for folder, _ in found.unreadable], marks)
    for offer, dna in plan.differing:
        reason = f"{offer.relpath} is verified here with {dna.alg} {dna.dig}, but the source has {offer.dna.dig}: neither was touched"
        done.failures.append(failure(STAGE, reason, relpath=offer.relpath))
    for offer in plan.alone:
        reason = (
            f"{offer.relpath} is a differential, and its full tarball {offer.dna.base} is neither here nor offered: it was not sent, as nothing could be "
            "restored from it"
        )
        done.failures.append(failure(STAGE, reason, relpath=offer.relpath))
    lacking = _store(tree, incoming, plan, request.moment, done) if hold else [offer for offer, _ in plan.lacking]
    free, arrived = shutil.disk_usage(tree.private).free, _arrived(incoming, lacking)
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


def _of_day(offers: Sequence[Offer], day: str) -> list[Offer]:
    """Return the offers of a day, and the full tarballs that these need."""
    needed = {(offer.key, offer.dna.base_dig) for offer in offers if day_of(offer.stamp) == day and offer.dna.base_dig}
    return [
        offer
        for offer in offers
        if day_of(offer.stamp) == day or (offer.dna.base is None and (offer.key, offer.dna.dig) in needed)
    ]


def _doubt(tree: Tree, found: Scan, held: Mapping[str, Held], request: Request, done: Done) -> tuple[bool, bool]:
    """Given what a tree holds, and {item: what counts of that}, return whether it is not what the source knows of it, a failure, and whether that
    is adopted.

    Where the last run was of a time that has not come, as a clock was wrong, what it left is there all the same.
    """
    if request.pair is None:
        return False, False
    moment = replace(request.moment, clock=max(request.moment.clock, request.pair.run))
    later = [one.stamp for one in found.verified() if is_relpath(one.relpath) and request.moment.is_ahead(one.stamp)]
    stamps = [*(tarball.stamp for own in held.values() for tarball in own.tarballs), *later]
    try:
        doubts = differences(request.pair, pair_now(tree, stamps, held, moment))
    except (AltbackupError, OSError) as error:
        done.failures.append(failure(STAGE, error))
        return True, False
    if not doubts:
        return False, False
    where, why = request.node or tree.base, "; ".join(doubts)
    if request.adopt:
        done.notes.append(
            f"{where} is taken as it is (altbackup_adopt), though {why}: what its source and other targets keep goes there again"
        )
        return False, True
    reason = (
        f"{where} is not what it was after the run of {request.pair.run or 'before'}: {why}. Is its disk another one, or was an older state of it "
        f"restored? Tonight's tarballs are sent to {tree.base} all the same, older ones are not, and nothing is purged there. Look at it. To take "
        f"it as it is, and to fill it again: {extra_vars({'altbackup_adopt': [where]})}"
    )
    done.failures.append(failure(STAGE, reason))
    return True, False


def plan_transfer(
    request: Request,
    offers: Sequence[Offer],
    held: Mapping[str, Held],
    unseen: Sequence[str] = (),
    marks: Marks = Marks(),  # noqa: B008 (it is frozen)
) -> TransferPlan:
    """Given what a source offers and {item: what the target has of it}, return what becomes of each offer but those in `unseen` folders."""
    kept = _kept(request, offers, held, marks)
    hidden = tuple(f"{folder}/" for folder in unseen)
    order = sorted(offers, key=lambda offer: offer.stamp, reverse=True)
    order = [offer for offer in order if not offer.relpath.startswith(hidden)]
    newest = {offer.key: offer.stamp for offer in reversed(order) if day_of(offer.stamp) == request.day}
    kept |= _fulls_for([offer for offer in order if offer.stamp == newest.get(offer.key)], order, held, kept)
    have: list[Offer] = []
    differing: list[tuple[Offer, Dna]] = []
    unwanted: list[Offer] = []
    lacking: list[tuple[Offer, Sequence[Tarball]]] = []
    for offer in sorted(order, key=lambda offer: day_of(offer.stamp) != request.day):
        own = held[offer.key].tarballs
        here = next((tarball.dna for tarball in own if tarball.relpath == offer.relpath), None)
        if here and here.same_content(offer.dna):
            have.append(offer)
        elif here:
            differing.append((offer, here))
        elif offer.stamp != newest.get(offer.key) and offer.relpath not in kept:
            unwanted.append(offer)
        else:
            same = [tarball for tarball in own if tarball.dna and tarball.dna.same_content(offer.dna)]
            files = {tarball.inode: tarball for tarball in sorted(same, key=lambda tarball: tarball.stamp)}
            lacking.append((offer, sorted(files.values(), key=lambda tarball: tarball.stamp, reverse=True)))
    fulls = {(offer.key, offer.dna.dig) for offer in order if offer.dna.base is None}
    fulls |= {
        (key, one.dna.dig) for key, own in held.items() for one in own.tarballs if one.dna and one.dna.base is None
    }
    alone = [offer for offer, _ in lacking if offer.dna.base_dig and (offer.key, offer.dna.base_dig) not in fulls]
    lacking = [entry for entry in lacking if entry[0] not in alone]
    return TransferPlan(have, differing, unwanted, _fulls_first(lacking), alone)


def _fulls_for(
    wanted: Sequence[Offer], offers: Sequence[Offer], held: Mapping[str, Held], kept: Collection[str]
) -> set[str]:
    """Given what is wanted in any case, return the relpaths of the full tarballs among the offers that its differentials need.

    One that the target has, or is to have, under any stamp serves.
    """
    found = set()
    for key, dig in {(offer.key, offer.dna.base_dig) for offer in wanted if offer.dna.base_dig}:
        same = [offer.relpath for offer in offers if offer.key == key and _is_full(offer.dna, dig)]
        there = any(tarball.dna and _is_full(tarball.dna, dig) for tarball in held[key].tarballs)
        if same and not there and not set(same) & set(kept):
            found.add(same[0])
    return found


def _is_full(dna: Dna, dig: str | None) -> bool:
    return dna.base is None and dna.dig == dig


def _fulls_first(
    lacking: Sequence[tuple[Offer, Sequence[Tarball]]],
) -> list[tuple[Offer, Sequence[Tarball]]]:
    """Return what is lacking in its order, but each full tarball before the differentials that need it: alone they are nothing."""
    fulls = {(entry[0].key, entry[0].dna.dig): entry for entry in lacking if entry[0].dna.base is None}
    order: dict[str, tuple[Offer, Sequence[Tarball]]] = {}
    for entry in lacking:
        offer = entry[0]
        full = fulls.get((offer.key, offer.dna.base_dig or ""))
        if full:
            order.setdefault(full[0].relpath, full)
        order.setdefault(offer.relpath, entry)
    return list(order.values())


def _known_marks(tree: Tree, given: Mapping[str, Any]) -> Marks:
    """Return the marks of a tree with those that are given; where its own are damaged, these alone, as nothing is removed by them here."""
    told = parse_given(given)
    try:
        return merged(marks_of(tree), told)
    except AltbackupError:
        return merged(Marks(), told)


def _kept(request: Request, offers: Sequence[Offer], held: Mapping[str, Held], marks: Marks) -> set[str]:
    """Return the relpaths of what the target's purge would keep, if it had all that is offered."""
    offered: dict[str, dict[str, Offer]] = {}
    for offer in offers:
        offered.setdefault(offer.key, {})[offer.relpath] = offer
    kept: set[str] = set()
    for key, by_path in offered.items():
        own, rules = held[key], request.ruling.of(key)
        if own.came is None or rules is None:
            continue
        there = {tarball.relpath for tarball in own.tarballs}
        coming = [offer for relpath, offer in by_path.items() if relpath not in there]
        everything = [*own.tarballs, *map(_as_tarball, coming)]
        came = {**own.came, **{offer.relpath: own.rotted.get(offer.relpath, request.moment.stamp) for offer in coming}}
        partial = [*own.partial, *(offer.relpath for offer in coming if missing_of(offer.record))]
        content = {**own.content, **{offer.relpath: content_of(offer.record, offer.dna) for offer in coming}}
        late, now = late_ones(everything, came), request.moment.stamp
        doubtful = [offer for offer in coming if doubts_of(offer.record) and not marks.accepts(key, offer.stamp)]
        suspects = [*own.suspects, *(offer.relpath for offer in doubtful)]
        reasons = judge(
            everything,
            rules,
            now=now,
            late=late,
            behind=behind_ones(everything, came),
            partial=partial,
            suspects=suspects,
            holds=marks.holds,
            content=content,
        )
        young = [
            offer.relpath for offer in coming if all(reason.startswith(WITHIN) for reason in reasons[offer.relpath])
        ]
        waiting = sorted((relpath for relpath in young if reasons[relpath]), reverse=True)[_MOST_YOUNG:]
        kept.update(relpath for relpath, why in reasons.items() if demanded(why) and relpath not in waiting)
    return kept


def _as_tarball(offer: Offer) -> Tarball:
    category, name, stamp, filename = split_relpath(offer.relpath)
    return Tarball(category, name, stamp, filename, offer.dna.size, (0, 0), 1, offer.dna, "", "verified")


def plan_load(
    lacking: Sequence[Offer], arrived: Mapping[str, int], free: int, held: Mapping[str, Held], spare: int = 0
) -> Load:
    """Given what is lacking, in order, {transit name: bytes that arrived already}, the free bytes and those that can be made free, return what
    there is room for.

    What has no room is left out, however much of it there is, with the differentials that need it, and what comes after it is tried all the
    same. What is left when it has come of the free bytes is for copies of each item's newest other tarball, for those of which nothing arrived
    yet.
    """
    room = free + spare - MARGIN
    once = {offer.transit_name: offer for offer in lacking}
    missing = {name: max(0, offer.dna.size - arrived.get(name, 0)) for name, offer in once.items()}
    sent: dict[str, Offer] = {}
    fulls = {
        (key, one.dna.dig) for key, own in held.items() for one in own.tarballs if one.dna and one.dna.base is None
    }
    for name, offer in once.items():
        if missing[name] <= room and (offer.dna.base_dig is None or (offer.key, offer.dna.base_dig) in fulls):
            sent[name] = offer
            fulls.add((offer.key, offer.dna.dig))
            room -= missing[name]
    taken = sum(missing[name] for name in sent)
    room -= spare
    bases: dict[str, Tarball] = {}
    for name, offer in sent.items():
        needed = offer.dna.base_dig  # full ones are like full ones, and differentials like those against the same one
        alike = [one for one in held[offer.key].tarballs if one.dna and one.dna.base_dig == needed]
        others = [tarball for tarball in alike if tarball.stamp != offer.stamp]
        newest = max(others, key=lambda tarball: tarball.stamp, default=None)
        if newest and name not in arrived and _WORTH_A_BASIS <= newest.size <= room:
            bases[name] = newest
            room -= newest.size
    left_out = [offer for offer in lacking if offer.transit_name not in sent]
    return Load(sent, left_out, sum(missing.values()), taken, bases)


def _arrived(incoming: str, lacking: Sequence[Offer]) -> dict[str, int]:
    """Return {transit name: bytes that arrived already}, of those of which anything did."""
    names = {offer.transit_name for offer in lacking}
    found = {name: status_of(os.path.join(incoming, name), follow=False) for name in names}
    return {name: status.st_size for name, status in found.items() if status}


def _no_room(tree: Tree, load: Load, number: int, free: int) -> str:
    """Return how much room is missing for so many tarballs, and which of them are left out."""
    left_out = [offer.relpath for offer in load.left_out]
    names = first_of(left_out, _NAMED)
    needed, left = told_apart(load.needed, free)
    return (
        f"{tree.base}: {needed} are needed for {number} tarballs, but {left} are free, "
        f"of which {readable(MARGIN)} stay free: {len(left_out)} {'was' if len(left_out) == 1 else 'were'} not sent: {names}"
    )


def _believed(tree: Tree, offers: Sequence[Offer], moment: Moment, done: Done) -> list[Offer]:
    """Given what the source says that it holds, return it without what nothing honest can have made, which is a failure."""
    for relpaths in by_item(offer.relpath for offer in offers if moment.is_ahead(offer.stamp)):
        told = ahead_reason(relpaths[0], len(relpaths) - 1, moment)
        reason = f"source {tree.source or tree.base} lists what was not taken: {told}"
        done.failures.append(failure(STAGE, reason, relpath=relpaths[0]))
    return [offer for offer in offers if not moment.is_ahead(offer.stamp)]


def _as_it_was(tree: Tree, offers: Sequence[Offer], done: Done) -> list[Offer]:
    """Given what the source holds, return it without what would take the place of a tarball that rotted here with another content: a failure.

    Raise BaseUnusable.
    """
    apart = {entry.relpath: entry for entry in quarantined(tree)[0] if not entry.healed}
    others = [offer for offer in offers if offer.relpath in apart and not apart[offer.relpath].is_same(offer.dna)]
    for offer in others:
        entry = apart[offer.relpath]
        reason = (
            f"{offer.relpath} had rotted here and lies in {entry.folder}, but the source has another content under that stamp, {offer.dna.alg} "
            f"{offer.dna.dig}: it was not taken. Find out which of the two is right; if it is the source's, remove that folder"
        )
        done.failures.append(failure(STAGE, reason, relpath=offer.relpath))
    return [offer for offer in offers if offer not in others]


def _make_ready(tree: Tree, incoming: str, request: Request, offers: Sequence[Offer], done: Done) -> None:
    """Make a target's tree, clear it of what dead runs left, and keep there whose it is, what items there are, and the guides."""
    done.notes += _cleared(tree, incoming, offers)
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


def _cleared(tree: Tree, incoming: str, offers: Sequence[Offer]) -> list[str]:
    """End receivers of dead runs, and remove what they left and this run does not want: on a full disk this makes room. Return notes."""
    notes = end_receivers(incoming)
    names = {offer.transit_name for offer in offers}
    for name in sorted(os.listdir(incoming)) if is_folder(incoming) else ():
        path = os.path.join(incoming, name)
        if name in (BASIS, CARRIED):
            remove_folder(path)
        elif (
            name not in names or os.lstat(path).st_nlink > 1
        ):  # what arrives is written in place, never into another file
            remove_if_there(path)
            notes.append(f"removed {name} from {incoming}: left by an earlier run and not wanted by this one")
    by_path = {offer.relpath: offer for offer in offers}
    for relpath in scan(tree, tolerate_unreadable=True).temporaries:
        path = tree.path(relpath)
        folder, name = os.path.split(relpath)
        entry = by_path.get(f"{folder}/{name[len(TEMPORARY) :].partition('-')[2]}")
        arrived = os.path.join(incoming, entry.transit_name) if entry else ""
        if entry and _is_alone(path, entry.dna.size) and not is_there(arrived):
            make_folders(incoming, tree.private)
            os.replace(path, arrived)
            notes.append(f"took {relpath}, which a killed run had left, back to {incoming}")
        else:
            remove_if_there(path)
            notes.append(f"removed {relpath}, which a killed run left")
        prune_empty(os.path.dirname(path), tree.base)
    return notes


def _is_alone(path: str, size: int) -> bool:
    """Return whether a file has that size and no other name: what arrives is written in place, so it must be nobody else's."""
    status = os.lstat(path)
    return (status.st_size, status.st_nlink) == (size, 1)


def _held(
    tree: Tree,
    found: Scan,
    keys: Collection[str],
    offered: Mapping[str, Offer],
    moment: Moment,
    marks: Marks,
    done: Done,
) -> dict[str, Held]:
    """Return {item: what this target has of it that is not of the future}. Raise BaseUnusable.

    Of {relpath: one that is offered} those are completed first that a killed run had not come to.
    """
    tarballs: dict[str, list[Tarball]] = {key: [] for key in keys}
    for tarball in found.tarballs:
        if is_relpath(tarball.relpath) and not moment.is_ahead(tarball.stamp):
            offer = offered.get(tarball.relpath)
            known = _completed(tree, tarball, offer, moment, done) if offer else tarball
            tarballs[tarball.key] += [known] if known.verified else []
    rotted = {entry.relpath: entry.came or entry.stamp for entry in quarantined(tree, keys)[0] if not entry.healed}
    held = {}
    for key, own in tarballs.items():
        came = None
        suspects: set[str] = set()
        try:
            suspects = suspects_of(tree, own, marks)
            came = arrivals(tree, key)
        except (AltbackupError, OSError) as error:
            done.failures.append(failure(STAGE, error, key=key))
        said = recorded(tree, own)
        held[key] = Held(own, came, said.partial, suspects, said.content, rotted)
    return held


def _completed(tree: Tree, tarball: Tarball, offer: Offer, moment: Moment, done: Done) -> Tarball:
    """Given a tarball on this target that is wanted, return it verified, if a killed run had only not come to its dna."""
    if tarball.verified or tarball.size != offer.dna.size:
        return tarball
    if tarball.state == ALONE and tarball.dna and tarball.dna.same_content(offer.dna):  # its full one is to come
        return replace(tarball, state="verified")
    try:
        verify(tree.path(offer.relpath), offer.dna, from_disk=True)
        take_record(tree, offer)
        if offer.relpath not in arrivals(tree, offer.key):
            note_coming(tree, offer.relpath, offer.dna, moment.stamp)
        write_sidecar(tree.path(offer.relpath), offer.dna)
        point_last(tree, offer.key, offer.stamp, moment)
    except (AltbackupError, OSError) as error:
        done.notes.append(f"{offer.relpath} is not verified: it {tarball.problem}; {explain(error)}")
        return tarball
    done.changed = True
    done.notes.append(f"completed {offer.relpath}, which {tarball.problem}")
    return tarball_at(tree, offer)


def _store(tree: Tree, incoming: str, plan: TransferPlan, moment: Moment, done: Done) -> list[Offer]:
    """Store what is lacking and here under another stamp, and see to `last`; return what is to be sent."""
    for offer in plan.have:
        _point_last(tree, offer, moment, done)
    lacking = [offer for offer, copies in plan.lacking if not _link(tree, offer, copies, moment, done)]
    seen = [*plan.have, *plan.unwanted, *(offer for offer, _ in (*plan.differing, *plan.lacking))]
    for name in {offer.transit_name for offer in seen} - {offer.transit_name for offer in lacking}:
        remove_if_there(os.path.join(incoming, name))
    return lacking


def _point_last(tree: Tree, offer: Offer, moment: Moment, done: Done) -> None:
    """See to it that `last` is not behind what is verified here, as a killed run had not come to it, nor ahead of all."""
    try:
        done.changed = point_last(tree, offer.key, offer.stamp, moment) or done.changed
    except (AltbackupError, OSError) as error:
        done.failures.append(failure(STAGE, error, relpath=offer.relpath))


def _link(tree: Tree, offer: Offer, copies: Sequence[Tarball], moment: Moment, done: Done) -> bool:
    """Store a tarball whose content the target has under other stamps, as a link or a copy; return whether it is not to be sent.

    A copy that is damaged or cannot be used is reported, and the next one tried.
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


def _reserve(hold: Hold, request: Request, done: Done) -> bool:
    """Return whether a transfer into this target may begin; that none may after a wait is a failure."""
    wait = request.deadline.at_most(request.slot_wait) if request.slot_wait else 0
    if not request.slots or hold.reserve(request.slots, wait):
        return True
    if wait:
        reason = f"{hold.tree.base}: {request.slots} other transfers into this target went on for {wait:.0f} s: nothing was sent"
        done.failures.append(failure(STAGE, reason))
    return False


def _lay_out(tree: Tree, tarball: Tarball, path: str, offer: Offer, deadline: Deadline, done: Done) -> None:
    """Lay out a copy of an older tarball, from which rsync takes what did not change in the one that is offered."""
    argv = [find_tool("cp"), "--reflink=auto", "--", tree.path(tarball.relpath), path]
    try:
        run(argv, what=f"copying {tarball.relpath} for deltas", deadline=deadline)
    except AltbackupError as error:
        remove_if_there(path)
        done.notes.append(f"{offer.relpath} is sent whole: {error}")
