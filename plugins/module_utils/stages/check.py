"""Checking: recompute the digests of tarballs and compare them with those in their sidecars."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

from ..system.errors import InvalidInput
from ..system.seeing import as_whom
from ..tree.digests import digests
from ..tree.failures import failure
from ..tree.layout import open_tree, plain_status, read_state, scan
from ..tree.scan_failures import unreadable
from ..tree.sidecar import SUFFIX, Dna
from ..tree.stamps import interpret_day, today_in

_STAGE = "check"


def verify_paths(paths: Sequence[str]) -> dict[str, Any]:
    """Given paths of tarballs (or of their sidecars), return how each stands: lists of paths as given, and failures."""
    result = nothing_verified()
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for path in paths:
        tarball = path[: -len(SUFFIX)] if path.endswith(SUFFIX) else path
        if not os.path.isabs(path):
            raise InvalidInput(f"path {path!r} is not absolute")
        status = plain_status(tarball)
        if status is None:
            if plain_status(tarball + SUFFIX):
                _note(result, "orphan", path, f"{tarball + SUFFIX} is a dna without its tarball")
            else:
                _note(result, "", path, f"{tarball} does not exist or is no plain file")
            continue
        dna, problem, state = read_state(tarball, status.st_size)
        if dna is None:
            _note(result, state, path, f"{tarball} {problem}")
        else:
            dnas[tarball], given[tarball] = dna, path
    _compare(result, dnas, given)
    if not paths:
        _note(result, "", "", "no paths are given: nothing could be verified")
    return result


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
    result = nothing_verified(of_day or "all")
    dnas: dict[str, Dna] = {}
    given: dict[str, str] = {}
    for tarball in found.tarballs:
        path = tree.path(tarball.relpath)
        if tarball.dna is None:
            _note(result, tarball.state, tarball.relpath, f"{tarball.relpath} {tarball.problem}")
        else:
            dnas[path], given[path] = tarball.dna, tarball.relpath
    for relpath in found.orphans:
        _note(result, "orphan", relpath, f"{relpath} is a dna without its tarball")
    _compare(result, dnas, given)
    result["failures"] += unreadable(found)
    if not found.tarballs and not found.orphans and not predicted:
        of = "" if day == "all" else f"of {of_day} "
        reason = f"no tarballs {of}in {tree.base}: nothing could be verified"
        result["failures"].append(failure(_STAGE, reason, absent=True))
    return result


def nothing_verified(day: str = "") -> dict[str, Any]:
    """Return the result of a verification of no tarball."""
    lists: dict[str, Any] = {"match": [], "mismatch": [], "missing": [], "malformed": [], "orphan": []}
    return {"day": day, **lists, "bytes_read": 0, "failures": []}


def _note(result: dict[str, Any], state: str, path: str, reason: str) -> None:
    if state:
        result[state].append(path)
    relpath = "" if os.path.isabs(path) else path
    result["failures"].append(failure(_STAGE, reason, relpath=relpath))


def _compare(result: dict[str, Any], dnas: dict[str, Dna], given: dict[str, str]) -> None:
    read = digests(dnas)
    for path, dna in dnas.items():
        outcome, name = read[path], given[path]
        if isinstance(outcome, OSError):
            _note(result, "mismatch", name, f"{name} cannot be read{as_whom(outcome)}")
            continue
        dig, size = outcome
        if (dig, size) == (dna.dig, dna.size):
            result["match"].append(name)
        elif size != dna.size:
            _note(result, "mismatch", name, f"{name} has {size} bytes, but its dna says {dna.size}")
        else:
            _note(result, "mismatch", name, f"{name} does not match its dna: {dna.alg} is {dig}, expected {dna.dig}")
    once = {id(outcome): outcome for outcome in read.values()}
    result["bytes_read"] = sum(outcome[1] for outcome in once.values() if not isinstance(outcome, OSError))
    result["match"].sort()
