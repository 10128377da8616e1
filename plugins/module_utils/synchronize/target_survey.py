"""What a target has of what its source offers, and whether it is still the target that the source knows."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..system.errors import AltbackupError
from ..system.seeing import status_of
from ..system.visible import extra_vars
from ..tree.arrivals import arrivals, note_coming
from ..tree.failures import explain, failure
from ..tree.layout import ALONE, Scan, Tarball, Tree, is_relpath
from ..tree.marks import Marks, marks_of, merged, parse_given
from ..tree.pairs import differences, pair_now
from ..tree.publish import point_last, verify, write_sidecar
from ..tree.quarantine import quarantined
from ..tree.recorded import recorded
from ..tree.scan_failures import by_item
from ..tree.stamps import Moment, ahead_reason
from ..tree.suspects import suspects_of
from .offer import Offer, take_record, tarball_at
from .send import STAGE
from .transfer_plan import Held, Request


@dataclass
class Done:
    """What was done, and what could not be."""

    changed: bool = False
    linked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def doubted_tree(tree: Tree, found: Scan, held: Mapping[str, Held], request: Request, done: Done) -> tuple[bool, bool]:
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


def known_marks(tree: Tree, given: Mapping[str, Any]) -> Marks:
    """Return the marks of a tree with those that are given; where its own are damaged, these alone, as nothing is removed by them here."""
    told = parse_given(given)
    try:
        return merged(marks_of(tree), told)
    except AltbackupError:
        return merged(Marks(), told)


def arrived_bytes(incoming: str, lacking: Sequence[Offer]) -> dict[str, int]:
    """Return {transit name: bytes that arrived already}, of those of which anything did."""
    names = {offer.transit_name for offer in lacking}
    found = {name: status_of(os.path.join(incoming, name), follow=False) for name in names}
    return {name: status.st_size for name, status in found.items() if status}


def believed_offers(tree: Tree, offers: Sequence[Offer], moment: Moment, done: Done) -> list[Offer]:
    """Given what the source says that it holds, return it without what nothing honest can have made, which is a failure."""
    for relpaths in by_item(offer.relpath for offer in offers if moment.is_ahead(offer.stamp)):
        told = ahead_reason(relpaths[0], len(relpaths) - 1, moment)
        reason = f"source {tree.source or tree.base} lists what was not taken: {told}"
        done.failures.append(failure(STAGE, reason, relpath=relpaths[0]))
    return [offer for offer in offers if not moment.is_ahead(offer.stamp)]


def offers_as_before(tree: Tree, offers: Sequence[Offer], done: Done) -> list[Offer]:
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


def held_of(
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
