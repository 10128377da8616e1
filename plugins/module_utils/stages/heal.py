"""Healing: good copies from other nodes replace tarballs in the quarantine.

What arrived from another node lies in `.altbackup/healing/[<source>]`, by its path below the base there. Only a tarball that the quarantine has is accepted,
and only with the content that this node's own sidecar gives, so no node can substitute another one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..synchronize.offer import Offer, parse_offers, tarball_at
from ..system.errors import AltbackupError, DigestMismatch, InvalidInput
from ..system.seeing import is_there
from ..tree.arrivals import arrivals, note_arrival
from ..tree.failures import explain, failure
from ..tree.layout import Tarball, Tree, is_relpath
from ..tree.locks import Hold
from ..tree.origin import Origin, require_origin
from ..tree.publish import (
    link,
    make_folders,
    point_last,
    prune_empty,
    publish,
    read_record,
    remove_folder,
    remove_if_there,
    temporary_beside,
    write_record,
)
from ..tree.quarantine import Quarantined, healing_folder, note_healed, put_proof_back, put_record_back, quarantined
from ..tree.readings import keep_readings, readings
from ..tree.stamps import Moment, ahead_reason

STAGE = "heal"


def heal(
    hold: Hold, tarballs: Sequence[Mapping[str, Any]], *, moment: Moment, origin: Origin | None = None
) -> dict[str, Any]:
    """Publish the good copies that arrived of tarballs in the quarantine; return `healed` (relpaths), `notes`, and a failure for each other one.

    Each of `tarballs` has the keys of an offer, and `held`, its path below the base from which it came, or below this one if `here` is true. Raise
    BaseUnusable if the tree has the copies of another source than `origin`.
    """
    tree = hold.tree
    require_origin(tree, origin)
    offers = parse_offers(tarballs)
    apart = {entry.relpath: entry for entry in quarantined(tree)[0] if not entry.healed}
    stored: dict[str, Tarball] = {}
    healed: list[str] = []
    failures = []
    for offer, given in sorted(zip(offers, tarballs), key=lambda pair: pair[0].dna.base is not None):
        try:
            entry = _awaited(offer, apart.get(offer.relpath), moment)
            twin = stored.get(offer.transit_name)
            if twin is None and given.get("here"):
                twin = tarball_at(tree, Offer(_held(given), offer.dna, {}))
            stored[offer.transit_name] = _put_back(tree, entry, offer, _held(given), twin, moment)
            healed.append(offer.relpath)
            note_healed(entry, moment)
        except DigestMismatch as error:
            reason = f"{offer.relpath}: what came is not what it was: {explain(error)}"
            failures.append(failure(STAGE, reason, relpath=offer.relpath))
        except (AltbackupError, OSError) as error:
            failures.append(failure(STAGE, error, relpath=offer.relpath))
    _tidy(tree, healed, set(apart) - set(healed), moment)
    return {"changed": bool(healed), "healed": healed, "notes": [], "failures": failures}


def _awaited(offer: Offer, entry: Quarantined | None, moment: Moment) -> Quarantined:
    """Return the entry of the quarantine that an offered copy may replace. Raise AltbackupError if there is none with that content."""
    if moment.is_ahead(offer.stamp):
        raise AltbackupError(f"{ahead_reason(offer.relpath, 0, moment)}. It was not taken")
    if entry is None or not entry.is_same(offer.dna):
        raise AltbackupError(
            f"{offer.relpath} with {offer.dna.alg} {offer.dna.dig} is not what lies in the quarantine: it was not taken"
        )
    return entry


def _held(given: Mapping[str, Any]) -> str:
    held = str(given.get("held", ""))
    if not is_relpath(held):
        raise InvalidInput(f"{given.get('relpath')}: it is not said where it lies elsewhere")
    return held


def _put_back(tree: Tree, entry: Quarantined, offer: Offer, held: str, twin: Tarball | None, moment: Moment) -> Tarball:
    """Verify a good copy and publish it, as a link to its `twin` here if there is one. Raise AltbackupError or OSError."""
    final = tree.path(offer.relpath)
    if is_there(final):
        raise AltbackupError(f"{offer.relpath} stands there already: it was not touched")
    arrived = os.path.join(healing_folder(tree), held)
    if twin is None and not is_there(arrived):
        raise AltbackupError(f"{offer.relpath} did not arrive")
    folder = os.path.dirname(final)
    make_folders(folder, tree.base)
    try:
        put_record_back(tree, entry)
        if not read_record(tree, offer.key, offer.stamp):
            write_record(tree, offer.key, offer.stamp, offer.record)
        if tree.source and entry.came and offer.relpath not in arrivals(tree, offer.key):
            note_arrival(tree, offer.relpath, entry.came)
        if twin is not None:
            link(tree, twin, offer.relpath, offer.dna)
        else:
            temporary = temporary_beside(final)
            os.replace(arrived, temporary)
            try:
                publish(tree, temporary, offer.relpath, offer.dna)
            finally:
                remove_if_there(temporary)
        put_proof_back(tree, entry)
        point_last(tree, offer.key, offer.stamp, moment)
    except BaseException:
        prune_empty(folder, tree.path(offer.key))
        raise
    return tarball_at(tree, offer)


def _tidy(tree: Tree, healed: Sequence[str], waiting: Collection[str], moment: Moment) -> None:
    """Empty the folder in which good copies arrive, which exists while any is awaited, and record that the healed ones were read."""
    folder = healing_folder(tree)
    remove_folder(folder)
    if waiting:
        make_folders(folder, tree.private)
    with contextlib.suppress(AltbackupError):  # the next check reports and rewrites a damaged file
        if healed:
            keep_readings(tree, {**readings(tree), **dict.fromkeys(healed, moment.stamp)})
