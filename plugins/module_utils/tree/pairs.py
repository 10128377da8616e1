"""State of each target as its source knows it, so that an empty or restored disk does not pass for the one that held its copies.

`.altbackup/state/pairs/<target>` of a source describes its tree on that target after the last run: the id of the base, how many copies it
held, how many had been purged there in all, and the newest one. `.altbackup/state/<source>/purged` of a target counts what was purged. The
controller hands the source's state to the target, which compares it with its own; neither writes the other's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..system.digest import open_plain
from ..system.errors import AltbackupError, InvalidInput, name_os_errors
from ..system.units import counted
from ..system.visible import one_line
from .known import held_items
from .layout import Tree, is_relpath, open_tree, stamp_in
from .owner import id_of
from .publish import make_folders, write_text
from .quarantine import quarantined
from .scan import scan
from .stamps import Moment, is_stamp

_LONGEST = 1 << 14
"""Most bytes of each of the files"""
_LARGEST = 1 << 53
_MOST = 1000
"""Most targets of a source"""


@dataclass(frozen=True)
class Pair:
    """State of a source's tree on a target; unknown values are empty."""

    id: str
    """Id of the target's base"""
    copies: int
    purged: int
    """Number of copies ever purged there"""
    newest: str
    """The newest stamp"""
    run: str = ""
    """The stamp of the run after which this was the state"""


def parse_pair(value: Mapping[str, Any] | None) -> Pair | None:
    """Return the Pair in a mapping, None for an empty one. Raise InvalidInput."""
    if not value:
        return None
    try:
        pair = Pair(**{name: value[name] for name in Pair.__dataclass_fields__ if name in value})
        numbers = all(type(number) is int and 0 <= number < _LARGEST for number in (pair.copies, pair.purged))
        if (
            numbers
            and re.fullmatch("(?:[0-9a-f]{32})?", pair.id)
            and all(text == "" or is_stamp(text) for text in (pair.newest, pair.run))
        ):
            return pair
    except (KeyError, TypeError):
        pass
    raise InvalidInput("it is not the id of a base, the numbers of copies and of purged ones, and two stamps")


def pair_path(tree: Tree, target: str) -> str:
    """Return the path of what a source's own tree knows of a target."""
    return os.path.join(_folder(tree), target)


def _folder(tree: Tree) -> str:
    return os.path.join(tree.private, "state", "pairs")


def known_pairs(tree: Tree) -> tuple[dict[str, Pair], list[AltbackupError]]:
    """Return {target: what a source's own tree knows of it}, and an error for each state that cannot be read."""
    found: dict[str, Pair] = {}
    errors = []
    try:
        names = sorted(os.listdir(_folder(tree)))[:_MOST]
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [AltbackupError(f"{_folder(tree)}: {error.strerror}")]
    for name in names:
        if name.startswith("."):
            continue
        try:
            pair = known_pair(tree, name)
        except AltbackupError as error:
            errors.append(error)
            continue
        if pair is not None:
            found[name] = pair
    return found, errors


def known_pair(tree: Tree, target: str) -> Pair | None:
    """Return what a source's own tree knows of a target, None for nothing. Raise AltbackupError."""
    path = pair_path(tree, target)
    what = f"what {one_line(target)} was after the last run; it is not known whether it has lost copies"
    value = _read(path, what)
    try:
        if value is None:
            return None
        pair = parse_pair(value)
        if pair is not None:
            return pair
    except (InvalidInput, AttributeError):
        pass
    raise _damaged(path, what)


def keep_pairs(tree: Tree, pairs: Mapping[str, Mapping[str, Any]]) -> list[AltbackupError | OSError]:
    """Store {target: its state now} in a source's own tree, whose lock is held; return the errors."""
    errors: list[AltbackupError | OSError] = []
    for target, value in sorted(pairs.items()):
        try:
            _keep_pair(tree, target, parse_pair(value))
        except (AltbackupError, OSError) as error:
            errors.append(error)
    return errors


def _keep_pair(tree: Tree, target: str, pair: Pair | None) -> None:
    """Store the state of a target. Raise AltbackupError or OSError."""
    if not target or "/" in target or target.startswith(".") or "\0" in target:
        raise InvalidInput(f"pairs names {target!r}, which is no target")
    if pair is not None and known_pair(tree, target) != pair:
        path = pair_path(tree, target)
        make_folders(os.path.dirname(path), tree.private)
        write_text(path, json.dumps(asdict(pair), sort_keys=True) + "\n")


def purged_number(tree: Tree) -> int:
    """Return how many copies were ever purged from a source's tree on a target. Raise AltbackupError."""
    path = tree.private_path("state", "purged")
    what = "how many copies were purged here"
    value = _read(path, what)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise _damaged(path, what)
    return value


def count_purged(tree: Tree, number: int) -> None:
    """Add the copies that are about to be purged from a source's tree on a target, whose lock is held. Raise AltbackupError or OSError.

    They are counted before, so that a killed run has removed no more than it counted.
    """
    if tree.source and number:
        total = purged_number(tree) + number
        path = tree.private_path("state", "purged")
        make_folders(os.path.dirname(path), tree.private)
        write_text(path, f"{total}\n")


def pair_now(tree: Tree, seen: Sequence[str], keys: Collection[str], moment: Moment) -> Pair:
    """Return the state of a source's tree on a target; `seen` are the stamps of all verified tarballs of the items `keys` (category/name).

    Other items are scanned here. Tarballs in the quarantine are rotten, not lost, so they count. Stamps ahead of the moment do not. Raise
    AltbackupError or OSError.
    """
    more = held_items(tree).difference(keys)
    others = scan(tree, keys=more, tolerate_unreadable=True).verified() if more else []
    named = [tarball.stamp for tarball in others if is_relpath(tarball.relpath)]
    waiting = [entry.relpath for entry in quarantined(tree)[0] if not entry.healed]
    apart = [stamp_in(relpath) for relpath in waiting if not os.path.lexists(tree.path(relpath))]
    stamps = [stamp for stamp in [*seen, *named, *apart] if not moment.is_ahead(stamp)]
    base = os.path.dirname(tree.private)
    return Pair(id_of(open_tree(base)), len(stamps), purged_number(tree), max(stamps, default=""), moment.stamp)


def differences(known: Pair, now: Pair) -> list[str]:
    """Return why a tree's state differs from that after the last run; empty if it fits."""
    doubts = []
    lost = known.copies - max(0, now.purged - known.purged) - now.copies
    if known.id and now.id and known.id != now.id:
        doubts.append("its base is another one than before")
    if lost > 0:
        purged = f", of which {now.purged - known.purged} were purged since" if now.purged > known.purged else ""
        doubts.append(f"it holds {counted(now.copies, 'copy', 'copies')}, but held {known.copies}{purged}")
    if known.newest > now.newest:
        doubts.append(f"the newest is of {now.newest or 'no run'}, but one of {known.newest} was there")
    if now.purged < known.purged:
        doubts.append("its own count of what was purged is an older one")
    return doubts


def _read(path: str, what: str) -> Any:
    """Return a file's content as JSON, None if there is no file. Raise AltbackupError."""
    try:
        with name_os_errors(path), open_plain(path) as stream:
            text = stream.read(_LONGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AltbackupError(f"{path}, which tells {what}, cannot be read: {error.strerror}") from error
    try:
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, what) from error
    if value is None:
        raise _damaged(path, what)
    return value


def _damaged(path: str, what: str) -> AltbackupError:
    return AltbackupError(
        f"{path}, which tells {what}, is damaged: see what the copies are, then remove that file; it is written anew"
    )
