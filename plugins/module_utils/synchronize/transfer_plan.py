"""What becomes of each tarball that a source offers a target, and what there is room for, from what is known of both alone."""

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
from .offer import Offer
from .send import STAGE

_WORTH_A_BASIS = 1 << 20
"""Bytes from which on a copy of an older tarball may save more than it costs"""
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


def parse_request(options: Mapping[str, Any]) -> Request:
    """Given the parameters of the module, return what is asked for."""
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
