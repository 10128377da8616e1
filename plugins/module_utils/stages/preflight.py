"""Preflight: what a node must have before anything is touched, and what it discovers. All that stays written are locks and owners."""

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
from ..synchronize.send import Peer, parse_peer, reach
from ..system import mounts
from ..system.digest import in_parallel
from ..system.errors import AltbackupError, NotMounted
from ..system.processes import Deadline, find_tool
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
"""Seconds between the clocks of a node and its controller from which on one of them is wrong"""
_CLOCKS_DIFFER = 60.0
"""Seconds from which on that is a note"""


@dataclass(frozen=True)
class Demands:
    """What a node has to be ready for."""

    bases: Sequence[str]
    discover: Mapping[str, str] = field(default_factory=dict)
    """{kind: folder} all of whose repositories are items"""
    ext: str = ""
    """The archive format, if any is written"""
    tools: Sequence[str] = ()
    programs: Sequence[str] = ()
    """What this node needs besides by its settings"""
    now: float | None = None
    """The controller's clock, in seconds since 1970; more than an hour's difference is a failure, more than a minute's a note"""
    writable: bool = True
    space: bool = True
    """Whether it is estimated"""
    items: Sequence[Mapping[str, Any]] = ()
    """Those dumped to the first base, and those discovered are, too"""
    trees: Sequence[Mapping[str, Any]] = ()
    """Those in bases that receive tarballs ({base, keys, keeps, rules}), of their `origin` alone, if that is given"""
    keeps: Mapping[str, Any] = field(default_factory=dict)
    """{item: days and contents that are kept} of the first base"""
    rules: Mapping[str, Any] = field(default_factory=dict)
    """What else is kept there, as rulings.parse_ruling takes it"""
    peers: Sequence[Peer] = ()
    """Tried over ssh, all at once, in the direction of their transfers"""
    fetch: bool = False
    locks: Sequence[str] = ()
    """Trees that are taken for the run where all bases and trees can be used; one that is another run's makes the node unusable"""
    owners: Sequence[Mapping[str, Any]] = ()
    """Whose the bases are to be ({base, role, name, former_names})"""
    claim: bool = False
    """Whether bases that are nobody's are theirs from now on"""
    watch: Mapping[str, Any] | None = None
    """What the node is to know of the source of the first tree to notice that it does not come; empty ends that"""
    watch_secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)
    watch_program: str = field(default="", repr=False)
    run: Run | None = None
    deadline: Deadline = field(default_factory=Deadline)


@dataclass(frozen=True)
class _Bases:
    """What a look at bases, and at the trees in them, shows."""

    free: dict[str, int] = field(default_factory=dict)
    identities: list[dict[str, Any]] = field(default_factory=list)
    pairs: dict[str, dict[str, Any]] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    reasons: list[str | BaseException] = field(default_factory=list)


def parse_demands(options: Mapping[str, Any], *, check_mode: bool) -> Demands:
    """Given the parameters of the module, return what a node has to be ready for; in check mode nothing is taken or claimed."""
    given = {one.name: options[one.name] for one in fields(Demands) if one.name in options}
    given["peers"] = [parse_peer(value, options["ssh_args"]) for value in options["peers"]]
    given["run"], given["deadline"] = parse_run(options["run"]), Deadline(options["step_timeout"], "preflight")
    return Demands(**{**given, "locks": [] if check_mode else options["locks"], "claim": not check_mode})


def inspect(demands: Demands) -> dict[str, Any]:
    """Given what a node will do, return what is wrong and what it discovers.

    Keys are `failures`, `items` (discovered), `discovered` (whether these are all), `notes`, `lacking` (those of the notes that tell what
    file systems of bases have not, which are tried with `claim`), `free` ({base: bytes}), `steady` (what is kept of each tree, and what its
    rules keep once they are filled, as space.steady_need has it), `pairs` (what a source's base knows of its targets),
    `unreachable_peers`, `absent` ({base that is not mounted: the reason of its failure}), `unusable` (bases, and those of `trees`),
    `identities` (of bases, as owner.identify has them) and `usable`: whether any base is there, and the peers from which it fetches.

    Nothing more looks at a path that does not answer. In a base of which trees are given, another tree need not answer.
    """
    bases = [os.path.normpath(base) for base in demands.bases]
    limit = demands.deadline
    parsed = _parsed(demands.items) if demands.space else []
    seconds = mounts.answer_timeout(limit)
    inner = list(dict.fromkeys(base for base in (str(tree["base"]) for tree in demands.trees) if base not in bases))
    steady: list[dict[str, Any]] = []
    silent = _silent(bases, inner, [item.path for item in parsed if item.path], seconds)
    seen = _look_at_bases(
        demands, bases, inner, {path: mounts.hung_message(at, seconds) for path, at in silent.items()}
    )
    reasons = [*seen.reasons, *missing_tools([*demands.tools, *demands.programs], demands.ext)]
    wrong, differing = clocks(time.time(), demands.now)
    reasons += wrong
    items, notes, failures = _discovered(demands, next((base for base in bases[:1] if base not in silent), ""))
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
        reasons += _watch(demands)
    if usable and not seen.unusable and demands.space:
        explicit = {item.path for item in parsed}
        more = [item for item in _parsed(items) if item.path not in explicit]
        silent.update(
            mounts.find_hung_within({item.path: item.path for item in more if item.path}, mounts.answer_timeout(limit))
        )
        answers = [item for item in [*more, *parsed] if item.path not in silent]  # the dump tells of the others
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
    """Given the clocks of this node and of the controller, in seconds since 1970, if that is known, return what is wrong, and what is a note."""
    apart = 0.0 if controller is None else here - controller
    if abs(apart) <= _CLOCKS_DIFFER:
        return [], []
    mine, others = (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(clock)) for clock in (here, here - apart))
    told = f"the clocks are {abs(apart):.0f} s apart: this node's says {mine}, the controller's {others}: set the one that is wrong, for instance by NTP"
    return ([told], []) if abs(apart) > _CLOCKS_APART else ([], [told])


def _discovered(demands: Demands, stored: str) -> tuple[list[dict[str, Any]], list[str], list[dict[str, Any]]]:
    """Given the base where their tarballs lie, if it answers, return the items that are discovered, notes and failures."""
    items, notes, failures = [], [], []
    for kind, folder in demands.discover.items():
        # All kinds come with it: a call that discovers nothing reads none of them.
        from .discovery import discover_items

        found = discover_items(kind, folder, stored, demands.deadline)
        items += found.items
        notes += found.notes
        failures += found.failures
    return items, notes, failures


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


def _look_at_bases(demands: Demands, bases: Sequence[str], inner: Sequence[str], silent: Mapping[str, str]) -> _Bases:
    """Given bases and the trees in them, and {one that does not answer: why}, return what a look at the others shows."""
    seen = _Bases()
    owners = {os.path.normpath(str(one["base"])): parse_owner(one) for one in demands.owners}
    origins = {os.path.normpath(str(tree["base"])): tree.get("origin") for tree in demands.trees}
    for base in [*bases, *inner]:
        if base in inner and os.path.dirname(base) in seen.unusable:
            continue
        try:
            if base in silent:
                raise AltbackupError(silent[base])
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
    """Add what a base shows, and make it the owner's where it is claimed. Raise AltbackupError or OSError if it cannot be used."""
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
    """Raise AltbackupError unless a tree in a base is what a source's copies may be written to."""
    if os.path.dirname(base) in bases and is_folder(os.path.join(base, MARKER)):
        raise AltbackupError(_marked_inside(base))
    if owner:
        require_no_source(open_tree(base), owner)
    if origin:
        require_origin(open_tree(base), parse_origin(origin))


def _marked_inside(base: str) -> str:
    """Given a source's tree on a target that is marked itself, return what is wrong: its state would not be where it is sent to."""
    marker = os.path.join(base, MARKER)
    return (
        f"{marker} marks the tree of a source on a target, as if it were that source's own: was it copied with its tarballs? "
        f"Only {os.path.dirname(base)} is to be marked here: remove {marker}, not the tarballs beside it"
    )


def take(base: str, run: Run | None, former: Sequence[str] = (), origin: Origin | None = None) -> list[str]:
    """Given a base, take it for a run, with what is there under former names of its source, and remove what killed runs left; return notes.

    Raise AltbackupError or OSError.
    """
    tree = require_writable(base)
    with held(tree, run, clean=lambda: remove_leftovers(tree)) as hold:
        return [*hold.notes, *take_over(tree, former, origin, run)]


def _watch(demands: Demands) -> list[str | BaseException]:
    """Leave what the node is to know of its source, and see whether its own check runs; return what is wrong."""
    # Only targets of a run that backs up need it.
    from ..tree.watching import leave_watched, silence

    try:
        tree = open_tree(str(demands.trees[0]["base"]))
        leave_watched(tree, demands.watch or {}, demands.watch_secrets, demands.watch_program)
        silent = silence(tree, time.time())
    except (AltbackupError, OSError) as error:
        return [error]
    return [silent] if silent else []


def _former(trees: Sequence[Mapping[str, Any]], base: str) -> tuple[Sequence[str], Origin | None]:
    """Return the names that the source of a tree had, and that source."""
    for tree in trees:
        if os.path.normpath(str(tree["base"])) == os.path.normpath(base):
            return [str(name) for name in tree.get("former_names") or ()], parse_origin(tree.get("origin"))
    return (), None


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
    """Given items as written, return those that can be read: the dump tells of the others."""
    items = []
    for value in values:
        with contextlib.suppress(AltbackupError):
            items.append(parse_item(value))
    return items
