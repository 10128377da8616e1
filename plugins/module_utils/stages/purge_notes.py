"""Notes of a purge: what was left alone, waits, or stays because of a suspect."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..system.units import counted
from ..system.visible import command_of
from ..tree.layout import Tarball, Tree, item_key, parse_filename, split_relpath
from ..tree.owner import source_of
from ..tree.retention import FROZEN
from ..tree.scan import Scan
from ..tree.scan_failures import by_item
from ..tree.stamps import Moment
from .purge_plan import Copies, PurgePlan

_NAMED = 10
"""Maximum number of items that a note names"""


def newest_good(items: Mapping[str, Copies]) -> list[dict[str, Any]]:
    """Return the newest tarball of each item that is complete and no suspect, with its size and digest."""
    good = [
        [one for one in item.tarballs if one.dna and one.relpath not in {*item.partial, *item.suspects}]
        for item in items.values()
    ]
    return [as_judged(max(several, key=lambda one: one.stamp)) for several in good if several]


def as_judged(tarball: Tarball) -> dict[str, Any]:
    dna = tarball.dna
    return {"relpath": tarball.relpath, **({"size": dna.size, "dig": dna.dig, "alg": dna.alg} if dna else {})}


def left_alone(tree: Tree, found: Scan, names: Sequence[str] | None, moment: Moment) -> Iterator[str]:
    """Yield a note on each entry that does not count and is no failure."""
    for relpath, why in found.strange:
        if names is None or relpath.count("/") == 0 or item_key(relpath) in names:
            yield f"left alone in {tree.base}: {relpath}: {why}"
    for relpath in found.orphans:
        yield f"left alone in {tree.base}: {relpath}: it is a dna without its tarball"
    for tarball in found.verified():
        proper = parse_filename(tarball.filename, tarball.name)
        if proper and not moment.counts(tarball.stamp) and not moment.is_ahead(tarball.stamp):
            yield f"left alone: {tarball.relpath} is dated later than {moment.stamp}, so it does not count"


def notes_of_suspects(tree: Tree, copies: Mapping[str, Copies], plan: PurgePlan) -> Iterator[str]:
    """Yield a note on each item of which good tarballs stay only because a suspect of it is not accepted."""
    source = tree.source or source_of(tree) or "SOURCE"
    for key, item in copies.items():
        frozen = [tarball for tarball in item.tarballs if list(plan.reasons[tarball.relpath]) == [FROZEN]]
        if frozen:
            relpath = max(item.suspects, key=lambda relpath: split_relpath(relpath)[2])
            yield (
                f"{counted(len(frozen), 'older copy', 'older copies')} of {key} {'stays' if len(frozen) == 1 else 'stay'}: suspect {relpath} is "
                f"not accepted: {'; '.join(item.suspects[relpath])}. Look at it, then accept it, if it is what it should be: "
                f"{command_of('accept', f'{source}/{key}')}"
            )


def notes_of_waiting(tree: Tree, waiting: Sequence[str]) -> Iterator[str]:
    """Yield a note with the numbers of tarballs that a later run will remove."""
    groups = by_item(waiting)
    if groups:
        numbers = [f"{len(relpaths)} of {item_key(relpaths[0])}" for relpaths in groups[:_NAMED]]
        if len(groups) > _NAMED:
            numbers.append(f"{sum(map(len, groups[_NAMED:]))} of {counted(len(groups) - _NAMED, 'more item')}")
        yield (
            f"{counted(len(waiting), 'tarball')} of {tree.base} {'is' if len(waiting) == 1 else 'are'} no longer to be kept, but "
            f"{'waits' if len(waiting) == 1 else 'wait'} for the next runs ({', '.join(numbers)}): a run removes "
            "at most one more of an item than it added, the oldest first"
        )


def nothing_there(tree: Tree, names: Sequence[str] | None, there: Collection[str]) -> Iterator[str]:
    """Yield a message for each item, or the base, without any tarball: no data is never success."""
    if names is None and not there:
        yield f"no tarballs in {tree.base}: there is nothing to purge"
    for name in names or ():
        if name not in there:
            yield f"no tarballs of {name} in {tree.base}: there is nothing of it to purge"
