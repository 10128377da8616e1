"""Sending: a source lays out what its targets lack, under transit names, and sends it to them or lets them fetch it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..system import progress
from ..system.digest import in_parallel, open_plain
from ..system.errors import FULL, AltbackupError, DeadlineExceeded, InvalidInput
from ..system.processes import Deadline
from ..system.twins import duplicate, share
from ..tree.failures import explain, failure
from ..tree.layout import Tree
from ..tree.leftovers import remove_outgoing
from ..tree.publish import make_folders, remove_folder, require_writable
from .offer import STAGE, Offer, parse_offers
from .peers import Peer
from .rsync import transfer


def send(
    base: str,
    deliveries: Sequence[tuple[Peer, Sequence[Mapping[str, Any]]]],
    deadline: Deadline,
    offers: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
) -> dict[str, Any]:
    """Send tarballs of a source's base to all peers in parallel, each with its own limits.

    `offers` are (target, tarballs) of targets that fetch by themselves: the files are laid out for them. Return `sent` ({target: bytes of
    the tarballs}), `wire` ({target: bytes on the wire}), `offered` ({target: folder}) and `failures`, whose `delegate` is the target.
    Whether a file is whole is found out by the target when it accepts it.
    """
    tree = require_writable(base)
    remove_outgoing(tree)
    offered: dict[str, str] = {}
    failures: list[dict[str, Any]] = []
    for target, tarballs in offers:
        wanted, refused = _parsed(tarballs)
        failures += [{**entry, "delegate": target} for entry in refused]
        try:
            offered[target], bad, _ = _lay_out(tree, target, wanted, copying=True)
            failures += [{**entry, "delegate": target} for entry in bad.values()]
        except (AltbackupError, OSError) as error:
            failures.append({**failure(STAGE, error), "delegate": target})
    outcomes = in_parallel(
        lambda delivery: _deliver(tree, delivery[0], delivery[1], deadline),
        deliveries,
        max(1, len(deliveries)),
    )
    for (peer, _), outcome in zip(deliveries, outcomes):
        failures += [{**entry, "delegate": peer.node} for entry in outcome["failures"]]
    return {
        "changed": any(outcome["bytes"] for outcome in outcomes),
        "sent": {peer.node: outcome["bytes"] for (peer, _), outcome in zip(deliveries, outcomes)},
        "wire": {peer.node: outcome["wire"] for (peer, _), outcome in zip(deliveries, outcomes)},
        "offered": offered,
        "failures": failures,
    }


def offer_folder(base: str, target: str) -> str:
    """Return the folder, below a source's base, from which a target fetches."""
    return os.path.join(base, ".altbackup", "outgoing", target)


def _lay_out(
    tree: Tree, target: str, wanted: Sequence[Offer], *, copying: bool = False
) -> tuple[str, dict[str, dict[str, Any]], dict[str, str]]:
    """Link tarballs, under their transit names, into a target's folder of what it is sent or fetches.

    Return the folder, {transit name: failure} of those that cannot be linked, such as another user's, which do not stop the others, and
    {transit name: path} of those to be sent from where they lie, because there are no links; with `copying` they are copied instead. Raise
    DeadlineExceeded, or OSError on a full disk.
    """
    folder = offer_folder(tree.base, target)
    remove_folder(folder)
    make_folders(folder, tree.private)
    bad: dict[str, dict[str, Any]] = {}
    apart: dict[str, str] = {}
    for file in wanted:
        link = os.path.join(folder, file.transit_name)
        if os.path.lexists(link) or file.transit_name in apart:
            continue
        try:
            path = tree.path(file.relpath)
            open_plain(path).close()
            if copying:
                duplicate(path, link)
            elif not share(path, link):
                apart[file.transit_name] = path
            bad.pop(file.transit_name, None)
        except (AltbackupError, OSError) as error:
            if isinstance(error, DeadlineExceeded) or (isinstance(error, OSError) and error.errno in FULL):
                raise
            reason = f"{file.relpath} cannot be sent: no link to it can be made: {explain(error)}"
            bad[file.transit_name] = failure(STAGE, reason, relpath=file.relpath)
    return folder, bad, apart


def _parsed(tarballs: Sequence[Mapping[str, Any]]) -> tuple[list[Offer], list[dict[str, Any]]]:
    """Return one target's tarballs as checked offers, and a failure for each that is invalid."""
    wanted, refused = [], []
    for value in tarballs:
        try:
            wanted += parse_offers([value])
        except InvalidInput as error:
            refused.append(failure(STAGE, f"is not sent: {error}"))
    return wanted, refused


def _deliver(tree: Tree, peer: Peer, tarballs: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[str, Any]:
    """Send tarballs to one peer; return `bytes` of the tarballs, `wire` and `failures`."""
    wanted, refused = _parsed(tarballs)
    outcome: dict[str, Any] = {"bytes": 0, "wire": 0, "failures": refused}
    try:
        outgoing, bad, apart = _lay_out(tree, peer.node, wanted)
        outcome["failures"] += bad.values()
        ready = [file for file in wanted if file.transit_name not in bad]
        with progress.at_work(f"to {peer.node}"):
            outcome["wire"] = transfer(peer, outgoing, ready, deadline, apart=apart)
        outcome["bytes"] = sum(file.dna.size for file in {file.transit_name: file for file in ready}.values())
    except (AltbackupError, OSError) as error:
        outcome["failures"].append(failure(STAGE, error))
    finally:
        remove_folder(offer_folder(tree.base, peer.node))
    return outcome
