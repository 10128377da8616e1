"""Check: recompute the digests of tarballs and compare them with those in their sidecars."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..synchronize.offer import NOT_LISTED, listing
from ..system.errors import InvalidInput
from ..system.seeing import as_whom
from ..system.visible import visible
from ..tree.digests import digests
from ..tree.failures import as_failures, failure
from ..tree.layout import Tarball, Tree, item_key, open_tree, plain_status, read_state
from ..tree.locks import Run
from ..tree.read_ahead import read_ahead
from ..tree.scan import Scan, full_of, scan
from ..tree.scan_failures import unreadable
from ..tree.sidecar import SUFFIX, Dna
from ..tree.stamps import interpret_day, moment_of, today_in
from . import rot
from .count import COUNTING, EMPTY, count_demanded

_STAGE = "check"
ROT: dict[str, Any] = {
    "quarantine": {"type": "bool", "default": False},
    "reverify_days": {"type": "int", "default": 0},
}
"""Options of modules that look for rot: `quarantine` moves damaged tarballs away, `reverify_days` is the period of a full reading"""
CHECKING: dict[str, Any] = {
    "scope": {"type": "str", "choices": ["day", "all"], "default": "day"},
    **COUNTING,
}
"""Options of modules that check a base: which day, and what is expected there"""


@dataclass(frozen=True)
class Verification:
    """The result of verifying one tarball, or a sidecar without its tarball."""

    state: str
    """`match`, `mismatch`, `missing`, `malformed` or `orphan`; empty if there is nothing to verify"""
    name: str
    """Its path as given, or its relpath"""
    reason: str = ""
    """The error message; empty for a match"""


def verify_paths(paths: Sequence[str]) -> dict[str, Any]:
    """Read the tarballs at absolute paths (of them or of their sidecars); return lists of these paths by state, and failures. Raise InvalidInput."""
    verifications = []
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for path in paths:
        tarball = path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path
        if not os.path.isabs(path):
            raise InvalidInput(f"path {path!r} is not absolute")
        status = plain_status(tarball)
        if status is None and plain_status(tarball + SUFFIX):
            verifications.append(Verification("orphan", path, f"{tarball + SUFFIX} is a dna without its tarball"))
        elif status is None:
            verifications.append(Verification("", path, f"{tarball} does not exist or is no plain file"))
        else:
            dna, problem, state = read_state(tarball, status.st_size)
            if dna is None:
                verifications.append(Verification(state, path, f"{tarball} {problem}"))
            else:
                dnas[tarball], given[tarball] = dna, path
    if not paths:
        verifications.append(Verification("", "", "no paths are given: nothing could be verified"))
    return _verified("", verifications, dnas, given, digests(dnas))


def verify_base(
    base: str,
    day: str,
    predicted: Collection[str] = (),
    *,
    timezone: str = "UTC",
    keys: Collection[str] | None = None,
) -> dict[str, Any]:
    """Read all tarballs of a base of one day (as users write it, or `all`); return lists of relpaths by state, and failures.

    No tarball at all is a failure, unless check mode `predicted` some. Raise BaseUnusable or InvalidInput.
    """
    return _verify_base(base, day, predicted, timezone=timezone, keys=keys)[0]


def _verify_base(
    base: str,
    day: str,
    predicted: Collection[str],
    *,
    timezone: str,
    keys: Collection[str] | None = None,
    whole: Scan | None = None,
    rot_check: rot.RotCheck | None = None,
    run: Run | None = None,
) -> tuple[dict[str, Any], dict[str, rot.ReadResult]]:
    """Do what verify_base does; return its result and {relpath: what reading it found}.

    `whole` is a scan of the whole base, if there is one already. With `rot_check` more tarballs are read, which are in `reread` (relpaths), and the result of
    reading a file holds for its other hard links.
    """
    tree = open_tree(base)
    of_day = "" if day == "all" else interpret_day(day, today_in(timezone))
    if of_day or whole is None:
        found = scan(tree, of_day, keys, tolerate_unreadable=True)
    else:
        found = whole
    more = rot.due_tarballs(rot_check, found.tarballs) if rot_check else []
    more += _full_tarballs_of(tree, found.tarballs, more, whole)
    listed = [*found.tarballs, *more]
    files = {(one.inode, one.dna.alg): tree.path(one.relpath) for one in listed if one.dna}
    others = rot.other_names(rot_check, listed) if rot_check else []
    read_as = [(one, files.get((one.inode, one.dna.alg))) for one in others if one.dna]
    unlike = [
        one for one, path in read_as if path is None
    ]  # their sidecars have another algorithm, so each needs a digest of its own
    dnas = {tree.path(one.relpath): one.dna for one in (*listed, *unlike) if one.dna}
    given = {tree.path(tarball.relpath): tarball.relpath for tarball in listed}
    verifications = [
        *(
            Verification(tarball.state, tarball.relpath, f"{tarball.relpath} {tarball.problem}")
            for tarball in found.tarballs
            if tarball.dna is None
        ),
        *(Verification("orphan", relpath, f"{relpath} is a dna without its tarball") for relpath in found.orphans),
    ]
    again = [tree.path(tarball.relpath) for tarball in more]
    known = _known_of(tree, listed, whole, run) if of_day and whole and run else {}
    due = {path: dna for path, dna in dnas.items() if path not in known}
    fresh = digests(due, again) if again else digests(due)
    read = {**fresh, **known}
    result = _verified(
        of_day or "all", verifications, {path: dnas[path] for path in given if path in dnas}, given, read
    )
    result["failures"] += unreadable(found)
    if not found.tarballs and not found.orphans and not predicted:
        of = "" if day == "all" else f"of {of_day} "
        reason = f"no tarballs {of}in {tree.base}: nothing could be verified"
        result["failures"].append(failure(_STAGE, reason, absent=True))
    result.update(read_ahead=sorted(given[path] for path in known), bytes_read=_bytes_of(fresh))
    if rot_check:
        good = {*result["match"]}
        result["reread"] = [tarball.relpath for tarball in more if tarball.relpath in good]
    names = {tree.path(one.relpath): one.relpath for one in (*listed, *unlike)}
    outcomes = {names[path]: outcome for path, outcome in read.items()}
    outcomes.update({one.relpath: read[path] for one, path in read_as if path is not None})
    return result, outcomes


def _known_of(tree: Tree, tarballs: Sequence[Tarball], whole: Scan, run: Run) -> dict[str, rot.ReadResult]:
    """Return {path: what reading found} of those of the tarballs that the dump of the same run has read ahead, under whatever name."""
    ahead = {(one.inode, one.dna) for one in read_ahead(tree, run, whole.tarballs)}
    return {
        tree.path(one.relpath): (one.dna.dig, one.dna.size)
        for one in tarballs
        if one.dna and (one.inode, one.dna) in ahead
    }


def _bytes_of(read: Mapping[str, rot.ReadResult]) -> int:
    """Return the number of bytes that were read; names of one file share a result."""
    once = {id(outcome): outcome for outcome in read.values()}
    return sum(outcome[1] for outcome in once.values() if not isinstance(outcome, OSError))


def _full_tarballs_of(
    tree: Tree, read: Sequence[Tarball], more: Sequence[Tarball], whole: Scan | None
) -> list[Tarball]:
    """Return the full tarballs that differentials in `read` need, and that are neither in `read` nor in `more`."""
    pairs = [one for one in read if one.verified and one.dna and one.dna.base]
    if not pairs:
        return []
    scanned = whole or scan(tree, keys={one.key for one in pairs}, tolerate_unreadable=True)
    there = {one.inode for one in (*read, *more)}
    fulls = (full_of(one, scanned.tarballs) for one in pairs)
    return list({one.inode: one for one in fulls if one is not None and one.inode not in there}.values())


def check(
    options: Mapping[str, Any],
    *,
    listed: bool = False,
    moving: bool = False,
    whole: Scan | None = None,
    run: Run | None = None,
) -> dict[str, Any]:
    """Verify and count the tarballs of a base, by the options CHECKING and those of the call; return the merged results.

    An error in one part does not prevent the other. With `listed` the result has all tarballs of the base, as a source offers them to targets. `moving` needs
    the lock of the tree: then tonight's share of the older tarballs is read, too, and damaged ones are moved to the quarantine once all else was counted;
    they are in `quarantined`. `whole` is a scan of the whole base, if there is one already; what is moved is taken out of it. What the dump of the same `run`
    has read ahead is not read again, unless all is to be read; it is in `read_ahead` (relpaths).
    """
    day = "all" if options["scope"] == "all" else options["day"]
    base, timezone = options["base"], options["timezone"]
    outcomes: dict[str, rot.ReadResult] = {}
    rot_check: rot.RotCheck | None = None

    def verified() -> dict[str, Any]:
        nonlocal rot_check, whole
        if moving:
            tree = open_tree(base)
            whole = scan(tree, tolerate_unreadable=True) if whole is None else whole
            rot_check = rot.begin_check(tree, whole, moment_of(options), options["reverify_days"])
        none_needed = options["predicted"] or options["not_now"]
        result, found = _verify_base(
            base, day, none_needed, timezone=timezone, whole=whole, rot_check=rot_check, run=run
        )
        outcomes.update(found)
        return result

    steps: list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]] = [
        (nothing_verified(), verified),
        (EMPTY, lambda: count_demanded(options)),
    ]
    parts = [as_failures(_STAGE, empty, step) for empty, step in steps]
    if rot_check is not None:
        parts = _quarantine_damaged(rot_check, parts, outcomes)
    if listed:
        parts.append(
            as_failures(_STAGE, NOT_LISTED, lambda: listing(base, moment=moment_of(options), records=True, found=whole))
        )
    merged: dict[str, Any] = {"reread": [], **rot.NOTHING}
    notes: list[str] = []
    failures: dict[str, dict[str, Any]] = {}
    for part in parts:
        merged.update(part)
        notes += part.get("notes", [])
        failures.update({json.dumps(entry, sort_keys=True): entry for entry in part["failures"]})
    return {**merged, "notes": notes, "failures": list(failures.values())}


def _quarantine_damaged(
    rot_check: rot.RotCheck, parts: Sequence[dict[str, Any]], outcomes: Mapping[str, rot.ReadResult]
) -> list[dict[str, Any]]:
    """Quarantine damaged tarballs, from {relpath: what reading found}; return the parts of the result, with that one added.

    A tarball that is moved to the quarantine has one failure, that of the move; the failure of one that cannot be read says why it stays.
    """

    def has_reason(entry: Mapping[str, Any], of: Mapping[str, str]) -> bool:
        return bool(of.get(entry["relpath"]) == entry["reason"])

    reasons = {
        tarball.relpath: visible(compare_with_dna(tarball.relpath, tarball.dna, outcomes[tarball.relpath]).reason)
        for tarball in rot_check.whole.tarballs
        if tarball.dna is not None and tarball.relpath in outcomes
    }
    rotten = {path: why for path, why in reasons.items() if why and not isinstance(outcomes[path], OSError)}
    unread = {path: why for path, why in reasons.items() if why and path not in rotten}
    settled = rot.quarantine_damaged(rot_check, outcomes, rotten)
    merged_parts = []
    for part in parts:
        entries = [
            {**entry, "reason": f"{entry['reason']}; {rot.LEFT}"} if has_reason(entry, unread) else entry
            for entry in part["failures"]
            if not has_reason(entry, rotten)
        ]
        merged_parts.append({**part, "failures": entries})
    return [*merged_parts, settled]


def passed(checked: Mapping[str, Any], predicted: Collection[str] = ()) -> list[str]:
    """Return the items (category/name) that passed a check: one of their tarballs counted, and none is damaged."""
    good = {*(checked.get("match") or ()), *predicted}
    bad = {item_key(path) for kind in ("mismatch", "missing", "malformed") for path in checked.get(kind) or ()}
    counted = [path for paths in (checked.get("relpaths") or {}).values() for path in paths]
    return sorted({item_key(path) for path in counted if path in good} - bad)


def nothing_checked() -> dict[str, Any]:
    """Return the empty result of a check that could not be made."""
    return {**nothing_verified(), **EMPTY, "reread": [], **rot.NOTHING}


def nothing_verified(day: str = "") -> dict[str, Any]:
    """Return the result of verifying no tarball."""
    lists: dict[str, Any] = {"match": [], "mismatch": [], "missing": [], "malformed": [], "orphan": []}
    return {"day": day, **lists, "bytes_read": 0, "read_ahead": [], "failures": []}


def compare_with_dna(name: str, dna: Dna, outcome: tuple[str, int] | OSError) -> Verification:
    """Compare the sidecar of a tarball with what reading it found: (digest, bytes), or an error."""
    if isinstance(outcome, OSError):
        return Verification("mismatch", name, f"{name} cannot be read{as_whom(outcome)}")
    dig, size = outcome
    if size != dna.size:
        return Verification("mismatch", name, f"{name} has {size} bytes, but its dna says {dna.size}")
    if dig != dna.dig:
        return Verification("mismatch", name, f"{name} does not match its dna: {dna.alg} is {dig}, expected {dna.dig}")
    return Verification("match", name)


def _verified(
    day: str,
    verifications: Sequence[Verification],
    dnas: Mapping[str, Dna],
    given: Mapping[str, str],
    read: Mapping[str, rot.ReadResult],
) -> dict[str, Any]:
    """Return the result of a verification; `dnas`, `given` and `read` are {path: dna}, {path: name in the result}, {path: what reading found}."""
    result = nothing_verified(day)
    for verification in [
        *verifications,
        *(compare_with_dna(given[path], dna, read[path]) for path, dna in dnas.items()),
    ]:
        if verification.state:
            result[verification.state].append(verification.name)
        if verification.reason:
            relpath = "" if os.path.isabs(verification.name) else verification.name
            result["failures"].append(failure(_STAGE, verification.reason, relpath=relpath))
    result["bytes_read"] = _bytes_of(read)
    result["match"].sort()
    return result
