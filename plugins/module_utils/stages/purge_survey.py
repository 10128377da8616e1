"""Collecting what a purge plan needs to know of a tree."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..system.errors import FULL, AltbackupError, InvalidInput
from ..system.seeing import as_whom
from ..tree.arrivals import arrivals
from ..tree.digests import digests
from ..tree.failures import explain, failure
from ..tree.layout import Tarball, Tree, parse_filename
from ..tree.marks import Marks, keep_marks, marks_of, merged, parse_given
from ..tree.recorded import recorded
from ..tree.rulings import Ruling
from ..tree.scan import Scan
from ..tree.stamps import Moment
from ..tree.suspects import reasons_of
from .purge_plan import STAGE, Copies


def parse_awaited(value: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, set[Hashable]]:
    """Parse {item: mappings of dig, size and alg} to {item: keys of these bytes}. Raise InvalidInput."""
    try:
        return {
            key: {(str(one["alg"]), str(one["dig"]), int(one["size"])) for one in several}
            for key, several in value.items()
        }
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidInput("purge: awaited is no mapping of items to digests and sizes") from error


def copies_of(
    tree: Tree,
    items: Mapping[str, Sequence[Tarball]],
    ruling: Ruling,
    imagined: Mapping[str, Sequence[tuple[str, str]]],
    unseen: Collection[str],
    marks: Marks,
    needed: Mapping[str, Mapping[str, str]],
    awaited: Mapping[str, Collection[Hashable]],
) -> tuple[dict[str, Copies], list[dict[str, Any]]]:
    """Return {item: Copies}, in order, and a failure for each item that cannot be judged.

    `needed` is what `needed_fulls` returns. `imagined`, {item: (stamp, filename)}, are predicted tarballs, with the content of the item's newest one.
    `unseen` are items of which a folder cannot be read.
    """
    known: dict[str, Copies] = {}
    failures = []
    for key, tarballs in sorted(items.items()):
        rules = ruling.of(key)
        if rules is None:
            reason = f"no number of copies to keep is given for {key}: nothing of it was removed"
            failures.append(failure(STAGE, reason, key=key))
            continue
        try:
            came = arrivals(tree, key) if tree.source and key not in unseen else {}
            suspects = reasons_of(tree, tarballs, marks)
        except (AltbackupError, OSError) as error:
            failures.append(failure(STAGE, error, key=key))
            continue
        new = [replace(tarballs[-1], stamp=stamp, filename=filename) for stamp, filename in imagined.get(key, ())]
        records = recorded(tree, tarballs)
        known[key] = Copies(
            tarballs,
            rules,
            new,
            came,
            records.partial,
            key not in unseen,
            suspects=suspects,
            holds=marks.holds,
            content=records.content,
            needed=needed.get(key, {}),
            awaited=awaited.get(key, ()),
        )
    return known, failures


def needed_fulls(found: Scan, items: Mapping[str, Sequence[Tarball]]) -> dict[str, dict[str, str]]:
    """Return {item: {digest of a full tarball: stamp of a differential that needs it and does not count now}}."""
    counting = {tarball.relpath for tarballs in items.values() for tarball in tarballs}
    needed: dict[str, dict[str, str]] = {}
    for tarball in found.tarballs:
        if tarball.dna and tarball.dna.base_dig and tarball.relpath not in counting:
            needed.setdefault(tarball.key, {})[tarball.dna.base_dig] = tarball.stamp
    return needed


def counting_items(found: Scan, moment: Moment) -> tuple[dict[str, list[Tarball]], list[str]]:
    """Return {category/name: its tarballs that count, oldest first}, and the relpaths of unverified ones."""
    items: dict[str, list[Tarball]] = {}
    unverified = []
    for tarball in found.tarballs:
        if not tarball.verified or not parse_filename(tarball.filename, tarball.name):
            unverified.append(tarball.relpath)
        elif moment.counts(tarball.stamp):
            items.setdefault(tarball.key, []).append(tarball)
    return items, unverified


def merge_marks(tree: Tree, given: Mapping[str, Any], check_mode: bool) -> tuple[Marks, list[dict[str, Any]]]:
    """Merge and store marks, as a controller passes them; return the tree's marks, and a failure if the disk is full.

    Raise AltbackupError if the stored ones are damaged: then it is not known what is held.
    """
    marks = merged(marks_of(tree), parse_given(given))
    if check_mode:
        return marks, []
    try:
        return keep_marks(tree, given), []
    except OSError as error:
        if error.errno not in FULL:
            raise
        reason = f"what was accepted and held could not be written, but this purge went by it: {explain(error)}"
        return marks, [failure(STAGE, reason)]


def matching_tarballs(
    tree: Tree, items: Mapping[str, Sequence[Tarball]]
) -> tuple[dict[str, list[Tarball]], dict[str, dict[str, Any]]]:
    """Read tarballs; return {item: those that match their dna}, and {relpath: failure} of the others."""
    tarballs = [tarball for several in items.values() for tarball in several]
    read = digests({tree.path(tarball.relpath): tarball.dna for tarball in tarballs if tarball.dna})
    matching: dict[str, list[Tarball]] = {}
    bad = {}
    for tarball in tarballs:
        outcome = read[tree.path(tarball.relpath)]
        if tarball.dna and outcome == (tarball.dna.dig, tarball.dna.size):
            matching.setdefault(tarball.key, []).append(tarball)
        else:
            why = f"cannot be read{as_whom(outcome)}" if isinstance(outcome, OSError) else "does not match its dna"
            reason = f"{tarball.relpath} {why}: it does not count and was left alone"
            bad[tarball.relpath] = failure(STAGE, reason, relpath=tarball.relpath)
    return matching, bad
