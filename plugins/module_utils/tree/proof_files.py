"""The proof beside a tarball, `<tarball>.proof`: when, and by what, it was proved to restore. One line of JSON."""

from __future__ import annotations

import calendar
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..system.digest import open_plain
from ..system.visible import command_of
from .failures import failure
from .layout import PROOF, Tarball, Tree, open_tree
from .publish import write_text
from .scan import scan
from .stamps import Moment

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_MAX_BYTES = 1 << 16
_AHEAD = 86400.0
"""Seconds by which clocks may differ"""


def moment_at(epoch: float) -> str:
    """Return seconds since 1970 as proofs write them, `YYYY-MM-DDTHH:MM:SSZ` in UTC."""
    return time.strftime(_MOMENT, time.gmtime(epoch))


def write_proof(tree: Tree, tarball: Tarball, proof: Mapping[str, Any]) -> None:
    """Write a proof beside its tarball. Raise OSError."""
    write_text(tree.path(tarball.relpath) + PROOF, json.dumps(proof, sort_keys=True) + "\n")


def proved_at(tree: Tree, tarball: Tarball) -> float:
    """Return when a tarball was proved to restore, in seconds since 1970; 0 for never.

    A proof of other bytes does not count, nor one that cannot be read, or that is more than a day later than this node's clock.
    """
    try:
        with open_plain(tree.path(tarball.relpath) + PROOF) as stream:
            proof = json.loads(stream.read(_MAX_BYTES).decode("utf-8"))
        content = (proof["dig"], int(proof["size"]), proof["alg"])
        moment = float(calendar.timegm(time.strptime(proof["when"], _MOMENT)))
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError):
        return 0.0
    dna = tarball.dna
    is_of_it = dna is not None and content == (dna.dig, dna.size, dna.alg)
    return moment if is_of_it and moment <= time.time() + _AHEAD else 0.0


def last_proved(tree: Tree, tarballs: Iterable[Tarball]) -> dict[str, float]:
    """Return {category/name: when a tarball of that item was last proved}, 0 for never."""
    found: dict[str, float] = {}
    for tarball in tarballs:
        found[tarball.key] = max(found.get(tarball.key, 0.0), proved_at(tree, tarball))
    return found


def unproved(
    base: str,
    items: Sequence[str] | None,
    age: float,
    source: str,
    node: str,
    moment: Moment,
    now: float | None = None,
) -> list[dict[str, Any]]:
    """Return a failure for each of a base's items (category/name, None for all) whose last proof is older than `age` seconds.

    Items without any verified tarball that counts are left to the count. Age 0 requires no proof.
    """
    if not age:
        return []
    tree = open_tree(base)
    found = scan(tree, keys=None if items is None else set(items), tolerate_unreadable=True).verified()
    counting = [tarball for tarball in found if moment.counts(tarball.stamp)]
    limit = (time.time() if now is None else now) - age
    title = source or os.path.basename(tree.base)
    return [
        failure("check", _overdue(key, proved, age, title, node), key=key)
        for key, proved in sorted(last_proved(tree, counting).items())
        if proved < limit
    ]


def _overdue(key: str, moment: float, age: float, title: str, node: str) -> str:
    where = f"{key} of {title}{f' on {node}' if node else ''}"
    last = f"was last proved to restore at {moment_at(moment)}" if moment else "was never proved to restore"
    command = command_of("drill", *([node] if node else ()))
    return f"{where} {last}; a proof not older than {_readable(age)} is asked for: {command}"


def _readable(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
