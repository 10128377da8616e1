"""Preflight: the requirements of a node before anything is changed, and what it discovers. It writes only locks and owners."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..archive.write import ArchiveFormat, compressor
from ..kinds.items import Item, parse_item
from ..synchronize.peers import Peer, parse_peer
from ..synchronize.rsync import reach
from ..system import mounts
from ..system.digest import in_parallel
from ..system.errors import AltbackupError, NotMounted
from ..system.processes import Deadline
from ..system.programs import find_tool
from ..system.seeing import is_folder
from ..tree.abilities import describe_base
from ..tree.failures import failure
from ..tree.layout import MARKER, open_tree, require_there
from ..tree.leftovers import remove_leftovers
from ..tree.locks import Run, held, parse_run
from ..tree.origin import Origin, parse_origin, require_origin
from ..tree.owner import Owner, Taken, identify, parse_owner, require_no_source
from ..tree.pairs import known_pairs
from ..tree.publish import require_writable
from ..tree.renamed import take_over
from .space import estimate, missing_space

_STAGE = "preflight"
_CLOCKS_APART = 3600.0
"""Difference in seconds between the clocks of a node and its controller above which it is a failure"""
_CLOCKS_DIFFER = 60.0
"""Difference in seconds above which it is a note"""


@dataclass(frozen=True)
class Demands:
    """The requirements of a node."""

    bases: Sequence[str]
    discover: Mapping[str, str] = field(default_factory=dict)
    """{kind: folder} of discovery"""
    ext: str = ""
    """Extension of the archive format, if any is written"""
    tools: Sequence[str] = ()
    programs: Sequence[str] = ()
    """What this node needs besides by its settings"""
    now: float | None = None
    """The controller's clock, in seconds since 1970"""
    writable: bool = True
    space: bool = True
    """Whether the needed space is estimated"""
    items: Sequence[Mapping[str, Any]] = ()
    """Items that are dumped to the first base, together with the discovered ones"""
    trees: Sequence[Mapping[str, Any]] = ()
    """Trees in bases that receive tarballs ({base, keys, keeps, rules}), only from their `origin` if that is given"""
    keeps: Mapping[str, Any] = field(default_factory=dict)
    """{item: days and contents that are kept} of the first base"""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """Further retention rules of the first base, see rulings.parse_ruling"""
    peers: Sequence[Peer] = ()
    """Peers that are tried over ssh, all at once, in the direction of their transfers"""
    fetch: bool = False
    locks: Sequence[str] = ()
    """Trees that are locked for the run if all bases and trees are usable; one locked by another run makes the node unusable"""
    owners: Sequence[Mapping[str, Any]] = ()
    """Owners of the bases ({base, role, name, former_names})"""
    claim: bool = False
    """Whether bases without an owner get these owners"""
    watch: Mapping[str, Any] | None = None
    """What the node's watch has to know of the source of the first tree to notice missing runs; empty ends the watch"""
    watch_secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    watch_program: str = field(default="", repr=False)
    run: Run | None = None
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True)
class _Bases:
    """The state of bases and of the trees in them."""

    free: dict[str, int] = field(default_factory=dict)
    identities: list[dict[str, Any]] = field(default_factory=list)
    pairs: dict[str, dict[str, Any]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    reasons: list[str | BaseException] = field(default_factory=list)


def parse_demands(options: Mapping[str, Any], *, check_mode: bool) -> Demands:
    """Return the requirements in the options of a module; in check mode without locks and claims."""
    given = {one.name: options[one.name] for one in fields(Demands) if one.name in options}
    given["peers"] = [parse_peer(value, options["ssh_args"]) for value in options["peers"]]
    given["run"], given["deadline"] = parse_run(options["run"]), Deadline(options["step_timeout"], "preflight")
    return Demands(**{**given, "locks": [] if check_mode else options["locks"], "claim": not check_mode})


def inspect(demands: Demands) -> dict[str, Any]:
    """Test the requirements of a node; return what is missing, and what it discovers.

    Keys are `failures`, `items` (discovered), `discovered` (whether these are all), `notes`, `lacking` (notes on features that file systems of bases do not
    have, which are tested with `claim`), `free` ({base: bytes}), `steady` (see space.estimate), `pairs` (what a source's base knows of its targets),
    `unreachable_peers`, `absent` ({base that is not mounted: reason of its failure}), `unusable` (bases and trees), `identities` (of bases, see
    owner.identify) and `usable`: whether any base is usable, and the peers from which it fetches.

    A path that does not answer is not accessed again. In a base of which trees are given, other trees need not answer.
    """
    bases = [os.path.normpath(base) for base in demands.bases]
    limit = demands.deadline
    parsed = _parsed(demands.items) if demands.space else []
    seconds = mounts.answer_timeout(limit)
    inner = list(dict.fromkeys(base for base in (str(tree["base"]) for tree in demands.trees) if base not in bases))
    steady: list[dict[str, Any]] = []
    hung = _hung(bases, inner, [item.path for item in parsed if item.path], seconds)
    seen = _look_at_bases(demands, bases, inner, {path: mounts.hung_message(at, seconds) for path, at in hung.items()})
    reasons = [*seen.reasons, *missing_tools([*demands.tools, *demands.programs], demands.ext)]
    wrong, differing = clocks(time.time(), demands.now)
    reasons += wrong
    items, notes, failures = _discovered(demands, next((base for base in bases[:1] if base not in hung), ""))
    complete = not failures
    problems = in_parallel(lambda peer: _try(peer, limit, demands.fetch), demands.peers, max(1, len(demands.peers)))
    unreachable = [(peer.node, problem) for peer, problem in zip(demands.peers, problems) if problem is not None]
    failures += [{**failure(_STAGE, why), "delegate": "" if demands.fetch else node} for node, why in unreachable]
    usable = not bases or any(base not in seen.unusable for base in bases)
    usable = usable and not (demands.fetch and unreachable)
    for base in demands.locks if usable and not seen.unusable else ():
        try:
            notes += take(base, demands.run, *_former(demands.trees, base))
        except (AltbackupError, OSError) as error:
            reasons.append(error)
            usable = False
    if usable and not seen.unusable and demands.watch is not None and demands.claim:
        silent, unheard = _watch(demands)
        reasons += silent
        notes += unheard
    if usable and not seen.unusable and demands.space:
        explicit = {item.path for item in parsed}
        more = [item for item in _parsed(items) if item.path not in explicit]
        hung.update(
            mounts.find_hung_within({item.path: item.path for item in more if item.path}, mounts.answer_timeout(limit))
        )
        answers = [item for item in [*more, *parsed] if item.path not in hung]  # the dump reports the others
        estimates, unseen, steady = estimate(
            bases[0], answers, demands.trees, {"keeps": demands.keeps, "rules": demands.rules}
        )
        missing, emptied = missing_space(estimates, demands.run, may_empty=bool(demands.locks))
        reasons += missing
        notes += emptied
        failures += unseen
    return {
        "changed": False,
        "items": items,
        "discovered": complete,
        "notes": [*seen.lacking, *differing, *notes],
        "free": seen.free,
        "usable": usable,
        "unusable": seen.unusable,
        "absent": seen.absent,
        "unreachable_peers": [] if demands.fetch else [node for node, _ in unreachable],
        "identities": seen.identities,
        "pairs": seen.pairs,
        "steady": steady,
        "lacking": seen.lacking,
        "failures": [*map(_failure, reasons), *failures],
    }


def clocks(here: float, controller: float | None) -> tuple[list[str], list[str]]:
    """Compare the clocks of this node and of the controller (None if unknown), in seconds since 1970; return failures and notes."""
    apart = 0.0 if controller is None else here - controller
    if abs(apart) <= _CLOCKS_DIFFER:
        return [], []
    mine, others = (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(clock)) for clock in (here, here - apart))
    told = f"the clocks are {abs(apart):.0f} s apart: this node's says {mine}, the controller's {others}: set the one that is wrong, for instance by NTP"
    return ([told], []) if abs(apart) > _CLOCKS_APART else ([], [told])


def _discovered(demands: Demands, stored: str) -> tuple[list[dict[str, Any]], list[str], list[dict[str, Any]]]:
    """Return discovered items, notes and failures; `stored` is the base that has their tarballs, empty if it does not answer."""
    items, notes, failures = [], [], []
    for kind, folder in demands.discover.items():
        # imported here, as it imports all kinds: a call without discovery needs none
        from .discovery import discover_items

        found = discover_items(kind, folder, stored, demands.deadline)
        items += found.items
        notes += found.notes
        failures += found.failures
    return items, notes, failures


def _failure(reason: str | BaseException) -> dict[str, Any]:
    """Return a failure; one about an owner has the name of this node."""
    return {**failure(_STAGE, reason), **({"node": reason.owner.name} if isinstance(reason, Taken) else {})}


def _hung(bases: Sequence[str], inner: Sequence[str], paths: Sequence[str], seconds: float) -> dict[str, str]:
    """Return {base, tree or path that does not answer within `seconds`: its hung mount or folder}.

    Of a base of which trees are given, only its private folder has to answer.
    """
    private = {os.path.join(base, MARKER): base for base in {os.path.dirname(tree) for tree in inner} & set(bases)}
    places = [*bases, *private, *inner, *paths]
    found = mounts.find_hung_within(
        {place: place for place in places}, seconds, lambda place, inside: place not in private.values()
    )
    return {**{private[place]: path for place, path in found.items() if place in private}, **found}


def _look_at_bases(demands: Demands, bases: Sequence[str], inner: Sequence[str], hung: Mapping[str, str]) -> _Bases:
    """Test bases and the trees in them; `hung` is {path that does not answer: reason}."""
    seen = _Bases()
    owners = {os.path.normpath(str(one["base"])): parse_owner(one) for one in demands.owners}
    origins = {os.path.normpath(str(tree["base"])): tree.get("origin") for tree in demands.trees}
    for base in [*bases, *inner]:
        if base in inner and os.path.dirname(base) in seen.unusable:
            continue
        try:
            if base in hung:
                raise AltbackupError(hung[base])
            if base in inner:
                _require_received(base, bases, owners.get(os.path.dirname(base)), origins.get(base))
            else:
                _look_at_base(demands, base, owners.get(base), seen)
        except (AltbackupError, OSError) as error:
            seen.reasons.append(error)
            seen.unusable.append(base)
            if isinstance(error, NotMounted):
                seen.absent[base] = _failure(error)["reason"]
    return seen


def _look_at_base(demands: Demands, base: str, owner: Owner | None, seen: _Bases) -> None:
    """Add the state of a base to `seen`, and claim it for its owner. Raise AltbackupError or OSError if it is unusable."""
    tree = require_writable(base) if demands.writable else open_tree(base)
    claim = demands.claim and demands.writable
    if owner:
        if owner.role == "source":
            require_there(tree)
        seen.identities.append(identify(tree, owner, claim=claim))
        if owner.role == "source":
            pairs, damaged = known_pairs(tree)
            seen.pairs.update({target: asdict(pair) for target, pair in pairs.items()})
            seen.reasons.extend(damaged)
    seen.free[base] = shutil.disk_usage(tree.private).free
    if demands.writable and (told := describe_base(tree, trying=claim)):
        seen.lacking.append(told)


def _require_received(base: str, bases: Sequence[str], owner: Owner | None, origin: Mapping[str, Any] | None) -> None:
    """Raise AltbackupError unless a tree in a base may receive a source's copies."""
    if os.path.dirname(base) in bases and is_folder(os.path.join(base, MARKER)):
        raise AltbackupError(_marked_inside(base))
    if owner:
        require_no_source(open_tree(base), owner)
    if origin:
        require_origin(open_tree(base), parse_origin(origin))


def _marked_inside(base: str) -> str:
    """Return the message on a source's tree on a target that has a marker of its own, so that its state would be kept in the wrong place."""
    marker = os.path.join(base, MARKER)
    return (
        f"{marker} marks the tree of a source on a target, as if it were that source's own: was it copied with its tarballs? "
        f"Only {os.path.dirname(base)} is to be marked here: remove {marker}, not the tarballs beside it"
    )


def take(base: str, run: Run | None, former: Sequence[str] = (), origin: Origin | None = None) -> list[str]:
    """Lock a base for a run, rename trees with former names of its source, and remove what killed runs left; return notes.

    Raise AltbackupError or OSError.
    """
    tree = require_writable(base)
    with held(tree, run, clean=lambda: remove_leftovers(tree)) as hold:
        return [*hold.notes, *take_over(tree, former, origin, run)]


def _watch(demands: Demands) -> tuple[list[str | BaseException], list[str]]:
    """Store what the node's watch has to know of its source, and test whether the watch itself runs; return what is wrong, and notes."""
    # imported here, as only targets of a backup run need it
    from ..tree.watching import cannot_mail, leave_watched, silence

    try:
        tree = open_tree(str(demands.trees[0]["base"]))
        leave_watched(tree, demands.watch or {}, demands.watch_secrets, demands.watch_program)
        silent = silence(tree, time.time())
    except (AltbackupError, OSError) as error:
        return [error], []
    unheard = cannot_mail((demands.watch or {}).get("mail") or {})
    notes = [f"the check of this target by itself (altbackup_watch) could send {unheard}"] if unheard else []
    return [silent] if silent else [], notes


def _former(trees: Sequence[Mapping[str, Any]], base: str) -> tuple[Sequence[str], Origin | None]:
    """Return the former names of the source of a tree, and its origin."""
    for tree in trees:
        if os.path.normpath(str(tree["base"])) == os.path.normpath(base):
            return [str(name) for name in tree.get("former_names") or ()], parse_origin(tree.get("origin"))
    return (), None


def missing_tools(tools: Sequence[str], ext: str) -> list[str | BaseException]:
    """Return an error for each missing program, and for a missing compressor of the archive format `ext` (empty for none)."""
    errors: list[str | BaseException] = []
    for tool in tools:
        try:
            find_tool(tool)
        except AltbackupError as error:
            errors.append(error)
    if ext:
        try:
            compressor(ArchiveFormat(ext))
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
    """Parse declared items, without invalid ones, which the dump reports."""
    items = []
    for value in values:
        with contextlib.suppress(AltbackupError):
            items.append(parse_item(value))
    return items
