"""The proof beside a tarball, `<tarball>.proof`: when, and by what, it was proved to restore. One line of JSON."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .digest import open_plain
from .layout import PROOF, Tarball, Tree
from .publish import write_text

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_MAX_BYTES = 1 << 16


def moment_at(epoch: float) -> str:
    """Given seconds since 1970, return the moment as proofs have it, in UTC."""
    return time.strftime(_MOMENT, time.gmtime(epoch))


def write_proof(tree: Tree, tarball: Tarball, proof: Mapping[str, Any]) -> None:
    """Keep a proof beside its tarball. Raise OSError."""
    write_text(tree.path(tarball.relpath) + PROOF, json.dumps(proof, sort_keys=True) + "\n")


def proved_at(tree: Tree, tarball: Tarball) -> float:
    """Given a tarball, return when it was proved to restore, in seconds since 1970; 0 for one that never was.

    A proof of other bytes proves nothing, nor does one that cannot be read.
    """
    try:
        with open_plain(tree.path(tarball.relpath) + PROOF) as stream:
            proof = json.loads(stream.read(_MAX_BYTES).decode("utf-8"))
        content = (proof["dig"], int(proof["size"]), proof["alg"])
        moment = float(calendar.timegm(time.strptime(proof["when"], _MOMENT)))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    dna = tarball.dna
    return moment if dna is not None and content == (dna.dig, dna.size, dna.alg) else 0.0


def last_proved(tree: Tree, tarballs: Iterable[Tarball]) -> dict[str, float]:
    """Given tarballs, return {category/name: when one of that item's was last proved}, 0 for never."""
    found: dict[str, float] = {}
    for tarball in tarballs:
        found[tarball.key] = max(found.get(tarball.key, 0.0), proved_at(tree, tarball))
    return found
