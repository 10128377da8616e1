"""Checking: recompute the digests of tarballs and compare them with those in their sidecars."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..synchronize.offer import NOT_LISTED, listing
from ..system.errors import InvalidInput
from ..system.seeing import as_whom
from ..tree.digests import digests
from ..tree.failures import as_failures, failure
from ..tree.layout import open_tree, plain_status, read_state, scan
from ..tree.scan_failures import unreadable
from ..tree.sidecar import SUFFIX, Dna
from ..tree.stamps import interpret_day, moment_of, today_in
from .count import COUNTING, EMPTY, count_demanded

_STAGE = "check"
CHECKING: dict[str, Any] = {
    "scope": {"type": "str", "choices": ["day", "all"], "default": "day"},
    **COUNTING,
}
"""What a call of a module that checks a base may be told: of which day, and what should be there"""


@dataclass(frozen=True)
class Verdict:
    """How a tarball, or a sidecar without one, stands."""

    state: str
    """`match`, `mismatch`, `missing`, `malformed` or `orphan`; empty where there is nothing to verify"""
    name: str
    """Its path as it was given, or from its base"""
    reason: str = ""
    """What is wrong with it"""


def verify_paths(paths: Sequence[str]) -> dict[str, Any]:
    """Given paths of tarballs (or of their sidecars), return how each stands: lists of paths as given, and failures."""
    verdicts = []
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for path in paths:
        tarball = path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path
        if not os.path.isabs(path):
            raise InvalidInput(f"path {path!r} is not absolute")
        status = plain_status(tarball)
        if status is None and plain_status(tarball + SUFFIX):
            verdicts.append(Verdict("orphan", path, f"{tarball + SUFFIX} is a dna without its tarball"))
        elif status is None:
            verdicts.append(Verdict("", path, f"{tarball} does not exist or is no plain file"))
        else:
            dna, problem, state = read_state(tarball, status.st_size)
            if dna is None:
                verdicts.append(Verdict(state, path, f"{tarball} {problem}"))
            else:
                dnas[tarball], given[tarball] = dna, path
    if not paths:
        verdicts.append(Verdict("", "", "no paths are given: nothing could be verified"))
    return _verified("", verdicts, dnas, given)


def verify_base(
    base: str,
    day: str,
    predicted: Collection[str] = (),
    *,
    timezone: str = "UTC",
    keys: Collection[str] | None = None,
) -> dict[str, Any]:
    """Given a base and a day (a user's day, or `all`), read all its tarballs; return lists of relpaths, and failures.

    No tarball at all is a failure, unless some are predicted in check mode. Raise BaseUnusable or InvalidInput.
    """
    tree = open_tree(base)
    of_day = "" if day == "all" else interpret_day(day, today_in(timezone))
    found = scan(tree, of_day, keys, tolerate_unreadable=True)
    dnas = {tree.path(tarball.relpath): tarball.dna for tarball in found.tarballs if tarball.dna}
    given = {tree.path(tarball.relpath): tarball.relpath for tarball in found.tarballs}
    verdicts = [
        *(
            Verdict(tarball.state, tarball.relpath, f"{tarball.relpath} {tarball.problem}")
            for tarball in found.tarballs
            if tarball.dna is None
        ),
        *(Verdict("orphan", relpath, f"{relpath} is a dna without its tarball") for relpath in found.orphans),
    ]
    result = _verified(of_day or "all", verdicts, dnas, given)
    result["failures"] += unreadable(found)
    if not found.tarballs and not found.orphans and not predicted:
        of = "" if day == "all" else f"of {of_day} "
        reason = f"no tarballs {of}in {tree.base}: nothing could be verified"
        result["failures"].append(failure(_STAGE, reason, absent=True))
    return result


def check(options: Mapping[str, Any], *, listed: bool = False) -> dict[str, Any]:
    """Given the options of a module that checks a base (CHECKING and those of the call), verify and count; return what both found.

    What goes wrong in the one does not keep the other from being done. With `listed` all tarballs of the base are listed, too, as a source
    offers them to its targets.
    """
    day = "all" if options["scope"] == "all" else options["day"]
    base, timezone = options["base"], options["timezone"]
    parts = [
        as_failures(
            _STAGE, nothing_verified(), lambda: verify_base(base, day, options["predicted"], timezone=timezone)
        ),
        as_failures(_STAGE, EMPTY, lambda: count_demanded(options)),
    ]
    if listed:
        parts.append(as_failures(_STAGE, NOT_LISTED, lambda: listing(base, moment=moment_of(options), records=True)))
    found: dict[str, Any] = {}
    failures: dict[str, dict[str, Any]] = {}
    for part in parts:
        found.update(part)
        failures.update({json.dumps(entry, sort_keys=True): entry for entry in part["failures"]})
    return {**found, "failures": list(failures.values())}


def passed(checked: Mapping[str, Any], predicted: Collection[str] = ()) -> list[str]:
    """Given what a check returned, return the items (category/name) that passed: one of their tarballs counted, and none was found bad."""
    good = {*(checked.get("match") or ()), *predicted}
    bad = {item_of(path) for kind in ("mismatch", "missing", "malformed") for path in checked.get(kind) or ()}
    counted = [path for paths in (checked.get("relpaths") or {}).values() for path in paths]
    return sorted({item_of(path) for path in counted if path in good} - bad)


def item_of(relpath: str) -> str:
    """Given the relpath of a tarball, return its item, `<category>/<name>`."""
    return "/".join(relpath.split("/")[:2])


def nothing_checked() -> dict[str, Any]:
    """Return the result of a check that could not be done."""
    return {**nothing_verified(), **EMPTY}


def nothing_verified(day: str = "") -> dict[str, Any]:
    """Return the result of a verification of no tarball."""
    lists: dict[str, Any] = {"match": [], "mismatch": [], "missing": [], "malformed": [], "orphan": []}
    return {"day": day, **lists, "bytes_read": 0, "failures": []}


def judge(name: str, dna: Dna, outcome: tuple[str, int] | OSError) -> Verdict:
    """Given a tarball's name, what its sidecar says, and its digest and size as they were read, or why it could not be, return how it stands."""
    if isinstance(outcome, OSError):
        return Verdict("mismatch", name, f"{name} cannot be read{as_whom(outcome)}")
    dig, size = outcome
    if size != dna.size:
        return Verdict("mismatch", name, f"{name} has {size} bytes, but its dna says {dna.size}")
    if dig != dna.dig:
        return Verdict("mismatch", name, f"{name} does not match its dna: {dna.alg} is {dig}, expected {dna.dig}")
    return Verdict("match", name)


def _verified(
    day: str, verdicts: Sequence[Verdict], dnas: Mapping[str, Dna], given: Mapping[str, str]
) -> dict[str, Any]:
    """Given verdicts, and {path: dna} and {path: name} of what is to be read, read it; return the result."""
    read = digests(dnas)
    result = nothing_verified(day)
    for verdict in [*verdicts, *(judge(given[path], dna, read[path]) for path, dna in dnas.items())]:
        if verdict.state:
            result[verdict.state].append(verdict.name)
        if verdict.reason:
            relpath = "" if os.path.isabs(verdict.name) else verdict.name
            result["failures"].append(failure(_STAGE, verdict.reason, relpath=relpath))
    once = {id(outcome): outcome for outcome in read.values()}
    result["bytes_read"] = sum(outcome[1] for outcome in once.values() if not isinstance(outcome, OSError))
    result["match"].sort()
    return result
