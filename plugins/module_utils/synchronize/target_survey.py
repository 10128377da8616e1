"""What a target has of its source's offers, and whether it is still the target that the source knows."""

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
from ..tree.layout import ALONE, Tarball, Tree, is_relpath
from ..tree.marks import Marks, marks_of, merged, parse_given
from ..tree.pairs import differences, pair_now
from ..tree.publish import point_last, verify, write_sidecar
from ..tree.quarantine import quarantined
from ..tree.recorded import recorded
from ..tree.scan import Scan
from ..tree.scan_failures import by_item
from ..tree.stamps import Moment, ahead_reason
from ..tree.suspects import suspects_of
from .offer import STAGE, Offer, take_record, tarball_at
from .transfer_plan import Held, Request


@dataclass
class Done:
    """Results of preparing a target, collected step by step."""

    changed: bool = False
    linked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


def doubted_tree(tree: Tree, found: Scan, held: Mapping[str, Held], request: Request, done: Done) -> tuple[bool, bool]:
    """Return whether a tree is not what the source knows of it, which is a failure, and whether it is not but is adopted.

    `held` is {item: what the target has of it}. If the clock of the last run was ahead, what that run left counts as present.
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
    """Return a tree's marks merged with those given; the latter alone if its own are damaged, as nothing is removed by marks here."""
    told = parse_given(given)
    try:
        return merged(marks_of(tree), told)
    except AltbackupError:
        return merged(Marks(), told)


def arrived_bytes(incoming: str, lacking: Sequence[Offer]) -> dict[str, int]:
    """Return {transit name: bytes that arrived already} of offers of which anything did."""
    names = {offer.transit_name for offer in lacking}
    found = {name: status_of(os.path.join(incoming, name), follow=False) for name in names}
    return {name: status.st_size for name, status in found.items() if status}


def believed_offers(tree: Tree, offers: Sequence[Offer], moment: Moment, done: Done) -> list[Offer]:
    """Return offers without those with stamps of the future, which are a failure for each item."""
    for relpaths in by_item(offer.relpath for offer in offers if moment.is_ahead(offer.stamp)):
        told = ahead_reason(relpaths[0], len(relpaths) - 1, moment)
        reason = f"source {tree.source or tree.base} lists what was not taken: {told}"
        done.failures.append(failure(STAGE, reason, relpath=relpaths[0]))
    return [offer for offer in offers if not moment.is_ahead(offer.stamp)]


def offers_as_before(tree: Tree, offers: Sequence[Offer], done: Done) -> list[Offer]:
    """Return offers without those whose content differs from that of the copy that rotted here under the same relpath; each is a failure.

    Raise BaseUnusable if a link is in the quarantine's place.
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
    """Return {item: what this target has of it, without stamps of the future}. Raise BaseUnusable.

    `offered` is {relpath: offer}; tarballs in it that a killed run left without sidecar are completed first.
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
        records = recorded(tree, own)
        held[key] = Held(own, came, records.partial, suspects, records.content, rotted)
    return held


def _completed(tree: Tree, tarball: Tarball, offer: Offer, moment: Moment, done: Done) -> Tarball:
    """Return a tarball that is offered as verified if a killed run only left out its sidecar; else return it as it is, with a note."""
    if tarball.verified or tarball.size != offer.dna.size:
        return tarball
    if (
        tarball.state == ALONE and tarball.dna and tarball.dna.same_content(offer.dna)
    ):  # its full tarball is still to come
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
