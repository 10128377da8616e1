"""Preflight: what a node must have before anything is touched, and what it discovers. All that stays written are locks and owners."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..archive.write import Form, compressor
from ..kinds.items import Item, parse_item
from ..synchronize.send import Peer, reach
from ..system import mounts
from ..system.digest import in_parallel
from ..system.errors import AltbackupError
from ..system.processes import Deadline, find_tool
from ..system.seeing import is_folder
from ..tree.abilities import describe_base
from ..tree.failures import failure
from ..tree.layout import MARKER, open_tree, require_there
from ..tree.leftovers import remove_leftovers
from ..tree.locks import Run, held
from ..tree.origin import parse_origin, require_origin
from ..tree.owner import Owner, Taken, identify, require_no_source
from ..tree.publish import require_writable
from .space import estimate, missing_space

_STAGE = "preflight"
_CLOCK_TOLERANCE = 60.0  # seconds


def inspect(
    bases: Sequence[str],
    *,
    discover: Mapping[str, str] | None = None,
    ext: str = "",
    tools: Sequence[str] = (),
    now: float | None = None,
    writable: bool = True,
    space: bool = True,
    items: Sequence[Mapping[str, Any]] = (),
    trees: Sequence[Mapping[str, Any]] = (),
    peers: Sequence[Peer] = (),
    fetch: bool = False,
    locks: Sequence[str] = (),
    owners: Sequence[Mapping[str, Any]] = (),
    claim: bool = False,
    run: Run | None = None,
    deadline: Deadline | None = None,
) -> dict[str, Any]:
    """Given a node's bases and what it will do, return what is wrong and what it discovers.

    Keys are `failures`, `items` (discovered), `discovered` (whether these are all), `notes`, `lacking` (those of the notes that tell what
    file systems of bases have not, which are tried with `claim`), `free` ({base: bytes}),
    `unreachable_peers`, `unusable` (bases, and those of `trees`), `identities` (of bases, as owner.identify has them) and
    `usable`: whether any base is there, and the peers from which it fetches. `owners` ({base, role, name}) say whose the bases
    are to be; with `claim` those that are nobody's are theirs from now on. `peers` are tried over ssh, all at once, in the
    direction of their transfers. Where all bases and trees can be used, the trees in `locks` are taken for the run; one that is
    another run's makes the node unusable. Then with `space` it is estimated for `items`, and those discovered, dumped to the
    first base, and for `trees` ({base, keys}) that receive
    tarballs, those of their `origin` alone, if that is given. `now` is the controller's clock (seconds since 1970); more
    than a minute's difference is a failure.

    Nothing more looks at a path that does not answer. In a base of which trees are given, another tree need not answer.
    """
    result: dict[str, Any] = {
        "changed": False,
        "items": [],
        "discovered": True,
        "notes": [],
        "free": {},
        "usable": True,
        "unusable": [],
        "unreachable_peers": [],
        "identities": [],
        "lacking": [],
        "failures": [],
    }
    bases = [os.path.normpath(base) for base in bases]
    limit = deadline or Deadline()
    parsed = _parsed(items) if space else []
    seconds = mounts.answer_timeout(limit)
    inner = list(dict.fromkeys(base for base in (str(tree["base"]) for tree in trees) if base not in bases))
    silent = _silent(bases, inner, [item.path for item in parsed], seconds)
    whose = {os.path.normpath(str(entry["base"])): Owner(str(entry["role"]), str(entry["name"])) for entry in owners}
    origins = {os.path.normpath(str(tree["base"])): tree.get("origin") for tree in trees}
    reasons = _look_at_bases(bases, inner, silent, seconds, writable, whose, claim and writable, result, origins)
    result["usable"] = not bases or any(base not in result["unusable"] for base in bases)
    reasons += missing_tools(tools, ext)
    if now is not None and abs(time.time() - now) > _CLOCK_TOLERANCE:
        reasons.append(
            f"this node's clock is {time.time() - now:+.0f} s off the controller's: set it, for instance by NTP"
        )
    stored = next((base for base in bases[:1] if base not in silent), "")
    for kind, folder in (discover or {}).items():
        # All kinds come with it: a call that discovers nothing reads none of them.
        from .discovery import discover_items

        found = discover_items(kind, folder, stored, limit)
        result["items"] += found.items
        result["notes"] += found.notes
        result["failures"] += found.failures
        result["discovered"] = result["discovered"] and not found.failures
    for peer, problem in zip(peers, in_parallel(lambda peer: _try(peer, limit, fetch), peers, max(1, len(peers)))):
        if problem is None:
            continue
        result["failures"].append({**failure(_STAGE, problem), "delegate": "" if fetch else peer.node})
        if fetch:
            result["usable"] = False
        else:
            result["unreachable_peers"].append(peer.node)
    for base in locks if result["usable"] and not result["unusable"] else ():
        try:
            result["notes"] += take(base, run)
        except (AltbackupError, OSError) as error:
            reasons.append(error)
            result["usable"] = False
    if result["usable"] and not result["unusable"] and space:
        explicit = {item.path for item in parsed}
        more = [item for item in _parsed(result["items"]) if item.path not in explicit]
        silent.update(mounts.find_hung_within({item.path: item.path for item in more}, mounts.answer_timeout(limit)))
        answers = [item for item in [*more, *parsed] if item.path not in silent]  # the dump tells of the others
        estimates, unseen = estimate(bases[0], answers, trees)
        reasons += missing_space(estimates)
        result["failures"] += unseen
    result["failures"] = [*map(_failure, reasons), *result["failures"]]
    return result


def _failure(reason: str | BaseException) -> dict[str, Any]:
    """Return a failure; one that is of this node alone, whoever asks it, bears its name."""
    return {**failure(_STAGE, reason), **({"node": reason.owner.name} if isinstance(reason, Taken) else {})}


def _silent(bases: Sequence[str], inner: Sequence[str], paths: Sequence[str], seconds: float) -> dict[str, str]:
    """Given bases, trees in them and other paths, return {each that does not answer within so many seconds: what of it does not}.

    What is mounted below a base of which trees are given is theirs, but for its private state.
    """
    private = {os.path.join(base, MARKER): base for base in {os.path.dirname(tree) for tree in inner} & set(bases)}
    places = [*bases, *private, *inner, *paths]
    found = mounts.find_hung_within(
        {place: place for place in places}, seconds, lambda place, inside: place not in private.values()
    )
    return {**{private[place]: path for place, path in found.items() if place in private}, **found}


def _look_at_bases(
    bases: Sequence[str],
    inner: Sequence[str],
    silent: Mapping[str, str],
    seconds: float,
    writable: bool,
    owners: Mapping[str, Owner],
    claim: bool,
    result: dict[str, Any],
    origins: Mapping[str, Mapping[str, Any] | None],
) -> list[str | BaseException]:
    """Note the room of bases, and which of them, and of the trees in them, cannot be used; return why."""
    reasons: list[str | BaseException] = []
    for base in bases:
        try:
            if base in silent:
                raise AltbackupError(mounts.hung_message(silent[base], seconds))
            tree = require_writable(base) if writable else open_tree(base)
            if base in owners:
                if owners[base].role == "source":
                    require_there(tree)
                result["identities"].append(identify(tree, owners[base], claim=claim))
            result["free"][base] = shutil.disk_usage(tree.private).free
            if writable and (told := describe_base(tree, trying=claim)):
                result["lacking"].append(told)
                result["notes"].append(told)
        except (AltbackupError, OSError) as error:
            reasons.append(error)
            result["unusable"].append(base)
    for base in inner:
        above = os.path.dirname(base)
        if above in result["unusable"]:
            continue
        try:
            if base in silent:
                raise AltbackupError(mounts.hung_message(silent[base], seconds))
            if above in bases and is_folder(os.path.join(base, MARKER)):
                raise AltbackupError(_marked_inside(base))
            if above in owners:
                require_no_source(open_tree(base), owners[above])
            if origins.get(base):
                require_origin(open_tree(base), parse_origin(origins[base]))
        except (AltbackupError, OSError) as error:
            reasons.append(error)
            result["unusable"].append(base)
    return reasons


def _marked_inside(base: str) -> str:
    """Given a source's tree on a target that is marked itself, return what is wrong: its state would not be where it is sent to."""
    marker = os.path.join(base, MARKER)
    return (
        f"{marker} marks the tree of a source on a target, as if it were that source's own: was it copied with its tarballs? "
        f"Only {os.path.dirname(base)} is to be marked here: remove {marker}, not the tarballs beside it"
    )


def take(base: str, run: Run | None) -> list[str]:
    """Given a base, take it for a run and remove what killed runs left there; return notes. Raise AltbackupError or OSError."""
    tree = require_writable(base)
    with held(tree, run, clean=lambda: remove_leftovers(tree)) as hold:
        return hold.notes


def missing_tools(tools: Sequence[str], ext: str) -> list[str | BaseException]:
    """Given programs and an archive format (or none), return an error for each program that is not installed."""
    errors: list[str | BaseException] = []
    for tool in tools:
        try:
            find_tool(tool)
        except AltbackupError as error:
            errors.append(error)
    if ext:
        try:
            compressor(Form(ext))
        except AltbackupError as error:
            errors.append(error)
    return errors


def _try(peer: Peer, deadline: Deadline, fetch: bool) -> AltbackupError | OSError | None:
    try:
        reach(peer, deadline, fetch=fetch)
    except (AltbackupError, OSError) as error:
        return error
    return None


def _parsed(values: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Given items as written, return those that can be read: the dump tells of the others."""
    items = []
    for value in values:
        with contextlib.suppress(AltbackupError):
            items.append(parse_item(value))
    return items
