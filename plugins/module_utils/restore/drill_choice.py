"""Choice of the tarballs that a drill proves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.errors import InvalidInput, ProofFailed
from ..system.visible import printable
from ..tree.failures import failure
from ..tree.layout import ALONE, Tarball, Tree, parse_filename
from ..tree.proof_files import last_proved
from ..tree.remembered import with_remembered
from ..tree.scan import full_of, scan
from ..tree.scan_failures import ahead
from ..tree.stamps import Moment

STAGE = "drill"
PROVING: dict[str, Any] = {
    "names": {"type": "list", "elements": "str"},
    "remembered": {"type": "bool", "default": False},
    "limit": {"type": "int", "default": 0},
    "user": {"type": "str", "default": "nobody"},
    "verify": {"type": "dict", "default": {}},
    "identity": {"type": "str", "default": "", "no_log": True},
    "identity_file": {"type": "path", "default": "", "no_log": False},
}
"""Options that all modules share that drill"""
SHARE: dict[str, Any] = {"share": {"type": "float", "default": 1}}
"""The option of those that drill a share of the items"""


def names_of(options: Mapping[str, Any]) -> list[str] | None:
    """Return the items (category/name) among which a module chooses by its options, None for all."""
    names = options["names"]
    return with_remembered(options["base"], {}, names)[1] if names is not None and options["remembered"] else names


def choose(
    tree: Tree, names: Sequence[str] | None, share: float, moment: Moment, result: dict[str, Any]
) -> list[Tarball]:
    """Return the newest verified tarballs of the `share` of items whose last proof is oldest.

    Tarballs later than `moment` do not count. `left` (relpaths not chosen) and `failures` are added to `result`. Raise InvalidInput.
    """
    if not 0 < share <= 1:
        raise InvalidInput(f"share {share:g} is not a part of the items above 0 and up to 1")
    newest, proved = _newest(tree, names, moment, result)
    order = sorted(newest.values(), key=lambda tarball: (proved[tarball.key], tarball.key))
    chosen = order[: math.ceil(share * len(order))]
    result["left"] = [tarball.relpath for tarball in order[len(chosen) :]]
    return chosen


def chain_of(tree: Tree, tarball: Tarball) -> list[Tarball]:
    """Return the tarballs that restore to the state of one: itself, or its full tarball and then it. Raise ProofFailed if the full one is missing."""
    dna = tarball.dna
    if dna is None or dna.base is None:
        return [tarball]
    relpath = f"{tarball.key}/{dna.base}"
    there = scan(tree, keys={tarball.key}).verified()
    full = full_of(tarball, there)
    if full is None and relpath in {entry.relpath for entry in there}:
        raise ProofFailed(f"its full tarball {relpath} is another one than it was made against: it cannot be restored")
    if full is None:
        raise ProofFailed(f"its full tarball {relpath} is missing or not verified: it cannot be restored")
    return [full, tarball]


def failure_of(relpath: str, reason: str | BaseException) -> dict[str, Any]:
    """Return the failure of a tarball that was not proved; its reason names the tarball."""
    found = failure(STAGE, reason, relpath=relpath)
    return {**found, "reason": f"{printable(relpath)}: {found['reason']}"}


def _newest(
    tree: Tree, names: Sequence[str] | None, moment: Moment, result: dict[str, Any]
) -> tuple[dict[str, Tarball], dict[str, float]]:
    """Return {category/name: newest verified tarball} and {category/name: time of the last proof}; an item without a tarball is a failure."""
    found = scan(tree, keys=None if names is None else set(names), tolerate_unreadable=True)
    verified = [
        tarball
        for tarball in found.tarballs
        if (tarball.verified or tarball.state == ALONE)
        and parse_filename(tarball.filename, tarball.name)
        and moment.counts(tarball.stamp)
    ]
    newest = {tarball.key: tarball for tarball in sorted(verified, key=lambda tarball: tarball.stamp)}
    for relpath, why in found.unreadable:
        reason = f"what folder {relpath} holds was not drilled: it cannot be read{why}"
        result["failures"].append(failure(STAGE, reason, relpath=relpath))
    result["failures"] += ahead(tree, moment, None if names is None else set(names))
    for key in names or ():
        if key not in newest:
            reason = f"there is no verified tarball of {key}: nothing of it could be proved"
            result["failures"].append(failure(STAGE, reason, key=key, absent=True))
    if names is None and not newest:
        result["failures"].append(failure(STAGE, f"no verified tarballs in {tree.base}: nothing could be proved"))
    if names is not None and not names:
        result["failures"].append(failure(STAGE, f"no items are expected in {tree.base}: nothing could be proved"))
    return newest, last_proved(tree, verified)
