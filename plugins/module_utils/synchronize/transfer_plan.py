"""Plan of a transfer: what happens to each offer, and what fits on the disk, decided from known facts alone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..system.processes import Deadline
from ..system.twins import MARGIN
from ..tree.arrivals import behind_ones, late_ones
from ..tree.contents import content_of
from ..tree.incomplete import missing_of
from ..tree.layout import Tarball, split_relpath
from ..tree.marks import Marks
from ..tree.origin import Origin, parse_origin
from ..tree.pairs import Pair, parse_pair
from ..tree.retention import WITHIN, demanded, judge
from ..tree.rulings import Ruling, parse_ruling
from ..tree.sidecar import Dna
from ..tree.stamps import Moment, day_of, moment_of
from ..tree.suspects import doubts_of
from .offer import STAGE, Offer

_WORTH_A_BASIS = 1 << 20
"""Smallest older tarball, in bytes, of which a copy may save more than it costs"""
_MOST_YOUNG = 100
"""Most tarballs of an item that a run sends for their age alone, so that a source that lists thousands does not fill the disk at once"""


@dataclass(frozen=True)
class Request:
    """What a target is asked to make ready for."""

    base: str
    tarballs: Sequence[Mapping[str, Any]]
    """What the source holds, as a listing returns it"""
    day: str
    moment: Moment
    ruling: Ruling
    """Retention of this target"""
    items: Sequence[str] = ()
    """Items of the source, which the target remembers; unless all were `discovered`, those remembered before stay"""
    discovered: bool = True
    predicted: Sequence[str] = ()
    """Relpaths that a run in check mode would have made"""
    guides: Mapping[str, str] = field(default_factory=dict)
    """{file name: text} to keep beside the trees"""
    basis: bool = False
    """Whether copies of older tarballs are laid out as a basis for deltas"""
    slots: int = 0
    """Parallel transfers into this target, of which one is reserved; 0 for no limit"""
    slot_wait: float = 0
    """Seconds to wait for a slot"""
    origin: Origin | None = None
    pair: Pair | None = None
    """What the source knows of this target"""
    adopt: bool = False
    """Whether this target is accepted as it is, whatever it was before"""
    node: str = ""
    """The target's name in messages"""
    carried: bool = False
    """Whether the tarballs are another target's, from which the controller brings them"""
    rekeyed: bool = False
    """Whether the tarballs are what this target has, encrypted to others, and take the places of those"""
    marks: Mapping[str, Any] = field(default_factory=dict)
    """Marks of copies given to the controller, which the target keeps"""
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True)
class Held:
    """What a target has of an item."""

    tarballs: Sequence[Tarball] = ()
    """Verified ones"""
    came: Mapping[str, str] | None = field(default_factory=dict)
    """{relpath: stamp of the run in which it arrived}; None where that cannot be read"""
    partial: Collection[str] = ()
    """Relpaths of incomplete ones"""
    suspects: Collection[str] = ()
    """Relpaths of suspects that nobody accepted"""
    content: Mapping[str, Hashable] = field(default_factory=dict)
    """{relpath: key of its content}; equal keys are equal contents"""
    rotted: Mapping[str, str] = field(default_factory=dict)
    """{relpath: stamp of the run in which it arrived, its own if unknown} of those that rotted and may come back"""


@dataclass(frozen=True)
class TransferPlan:
    """What happens to each tarball that a source offers."""

    have: Sequence[Offer]
    differing: Sequence[tuple[Offer, Dna]]
    """Those verified here with other bytes, and the dna found here"""
    unwanted: Sequence[Offer]
    """Those that the target's own purge would remove"""
    lacking: Sequence[tuple[Offer, Sequence[Tarball]]]
    """In sending order, each with its content's copies under other stamps, newest first"""
    alone: Sequence[Offer] = ()
    """Lacking differentials whose full tarball is neither here nor offered"""


@dataclass(frozen=True)
class Load:
    """What fits on the disk."""

    sent: Mapping[str, Offer]
    """{transit name: offer that is sent}"""
    left_out: Sequence[Offer]
    needed: int
    """Bytes still to come, including those of what is left out"""
    taken: int
    """Bytes still to come of what is sent"""
    bases: Mapping[str, Tarball]
    """{transit name: older tarball from whose copy rsync takes unchanged blocks}"""


def parse_request(options: Mapping[str, Any]) -> Request:
    """Return the request that a module's parameters describe."""
    given = {one.name: options[one.name] for one in fields(Request) if one.name in options}
    given["deadline"] = Deadline(options["step_timeout"], "preparation")
    known = {"origin": parse_origin(options["origin"]), "pair": parse_pair(options["pair"])}
    ruling = parse_ruling(options["keep"], options["rules"], STAGE, options["keeps"])
    return Request(**{**given, **known, "ruling": ruling, "moment": moment_of(options)})


def of_day(offers: Sequence[Offer], day: str) -> list[Offer]:
    """Return the offers of a day, and the full tarballs that these need."""
    needed = {(offer.key, offer.dna.base_dig) for offer in offers if day_of(offer.stamp) == day and offer.dna.base_dig}
    return [
        offer
        for offer in offers
        if day_of(offer.stamp) == day or (offer.dna.base is None and (offer.key, offer.dna.dig) in needed)
    ]


def plan_transfer(
    request: Request,
    offers: Sequence[Offer],
    held: Mapping[str, Held],
    unseen: Sequence[str] = (),
    marks: Marks = Marks(),  # noqa: B008 (it is frozen)
) -> TransferPlan:
    """Return what happens to each offer; `held` is {item: what the target has of it}. Offers in `unseen` folders are left out."""
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
        elif request.rekeyed:
            lacking.append((offer, []))
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
    """Return the relpaths of offered full tarballs that the differentials in `wanted` need.

    A full tarball that the target has, or is to have, under any stamp serves.
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
    """Return what is lacking in order, but each full tarball before the differentials that are useless without it."""
    fulls = {(entry[0].key, entry[0].dna.dig): entry for entry in lacking if entry[0].dna.base is None}
    order: dict[str, tuple[Offer, Sequence[Tarball]]] = {}
    for entry in lacking:
        offer = entry[0]
        full = fulls.get((offer.key, offer.dna.base_dig or ""))
        if full:
            order.setdefault(full[0].relpath, full)
        order.setdefault(offer.relpath, entry)
    return list(order.values())


def _kept(request: Request, offers: Sequence[Offer], held: Mapping[str, Held], marks: Marks) -> set[str]:
    """Return the relpaths that the target's purge would keep if the target had everything offered."""
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
    """Return what fits on the disk, taken in the order of `lacking`.

    `arrived` is {transit name: bytes that arrived already}; `free` and `spare` are bytes that are free and that can be made free. A tarball
    that does not fit is left out with the differentials that need it, and the next one is tried. Free bytes that remain are for copies of
    each item's newest other tarball, as a basis for files of which nothing arrived yet.
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
        needed = (
            offer.dna.base_dig
        )  # a full tarball is like full ones, a differential like those against the same full one
        alike = [one for one in held[offer.key].tarballs if one.dna and one.dna.base_dig == needed]
        others = [tarball for tarball in alike if tarball.stamp != offer.stamp]
        newest = max(others, key=lambda tarball: tarball.stamp, default=None)
        if newest and name not in arrived and _WORTH_A_BASIS <= newest.size <= room:
            bases[name] = newest
            room -= newest.size
    left_out = [offer for offer in lacking if offer.transit_name not in sent]
    return Load(sent, left_out, sum(missing.values()), taken, bases)
