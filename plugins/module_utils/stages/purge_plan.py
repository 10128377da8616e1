"""What is to go of what a tree holds, and how much of it now, from what is known of it alone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..tree.arrivals import behind_ones, late_ones
from ..tree.failures import failure
from ..tree.layout import Tarball, Tree, split_relpath
from ..tree.retention import Rules, judge, removable, rests_on
from ..tree.sidecar import Dna

STAGE = "purge"
_AWAITED = "another node lost a copy of that, and has none again"
_UNREADABLE = "a folder of the item cannot be read"
"""Why one stays that no rule demands"""


@dataclass(frozen=True)
class Copies:
    """What is known of an item's copies on a node, and the rules by which they are kept."""

    tarballs: Sequence[Tarball]
    """Those that count"""
    rules: Rules
    imagined: Sequence[Tarball] = ()
    """Those that a run in check mode would have made"""
    came: Mapping[str, str] = field(default_factory=dict)
    """{relpath: stamp of the run in which it came}"""
    partial: Collection[str] = ()
    """Relpaths of those that are not whole"""
    readable: bool = True
    """Whether all of the item's folders can be read; of one of which not all can, nothing goes"""
    suspects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{relpath: why it is suspect} of those that nobody accepted"""
    holds: Mapping[str, str] = field(default_factory=dict)
    """{category/name/stamp: why it is held}"""
    content: Mapping[str, Hashable] = field(default_factory=dict)
    """{relpath: what stands for its content}"""
    needed: Mapping[str, str] = field(default_factory=dict)
    """{digest of a full tarball: stamp of a differential that does not count, and needs it}"""
    awaited: Collection[Hashable] = ()
    """Digests and sizes of what other nodes lost, and need from here"""


@dataclass(frozen=True)
class Reviewed:
    """A tarball that somebody has seen and wants to go."""

    relpath: str
    size: int
    dig: str
    alg: str

    def is_of(self, tarball: Tarball | None) -> bool:
        """Return whether that is what was seen."""
        dna = tarball.dna if tarball else None
        return dna is not None and (dna.size, dna.dig, dna.alg) == (self.size, self.dig, self.alg)


@dataclass(frozen=True)
class PurgePlan:
    """What is no longer to be kept, and how much of it may go now."""

    due: Sequence[Tarball]
    """The oldest first"""
    allowed: Mapping[str, int]
    """{item: how many of its tarballs may go now}"""
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{relpath: why it stays}, nothing for those that are due; of each item the newest first"""
    rests: Mapping[str, Collection[str]] = field(default_factory=dict)
    """{full one: differentials (relpaths) that need it}, where none like it stays: it goes after all of them"""

    def going(self, failed: Collection[str] = ()) -> list[Tarball]:
        """Return those that go now; in the place of those that could not be removed (relpaths) the item's next ones go."""
        left = dict(self.allowed)
        going: dict[str, Tarball] = {}
        for tarball in self.due:
            if left[tarball.key] and tarball.relpath not in failed and self.is_free(tarball, going):
                left[tarball.key] -= 1
                going[tarball.relpath] = tarball
        return [*going.values()]

    def is_free(self, tarball: Tarball, gone: Collection[str]) -> bool:
        """Return whether nothing rests on a tarball once others (relpaths) are gone."""
        return all(relpath in gone for relpath in self.rests.get(tarball.relpath, ()))

    def without(self, items: Mapping[str, str]) -> PurgePlan:
        """Given {item of which nothing goes: why}, return the plan without these."""
        staying = {tarball.relpath: [items[tarball.key]] for tarball in self.due if tarball.key in items}
        due = [tarball for tarball in self.due if tarball.key not in items]
        return replace(self, due=due, reasons={**self.reasons, **staying})


def plan_purge(items: Mapping[str, Copies], made_now: Collection[str] = (), now: str = "") -> PurgePlan:
    """Given what is known of items (category/name), the stamps made in this run and its own, return what is to go, and how much of it now."""
    told: dict[str, Sequence[str]] = {}
    due: list[Tarball] = []
    allowed: dict[str, int] = {}
    rests: dict[str, Collection[str]] = {}
    for key, item in items.items():
        everything = [*item.tarballs, *item.imagined]
        late = late_ones(item.tarballs, item.came)
        awaited = {tarball.relpath: tarball for tarball in item.tarballs if _bytes_of(tarball.dna) in item.awaited}
        bases = {one.dna.base_dig: one.stamp for one in awaited.values() if one.dna and one.dna.base_dig}
        reasons = judge(
            everything,
            item.rules,
            now=now,
            made_now=made_now,
            late=late,
            behind=behind_ones(item.tarballs, item.came),
            partial=item.partial,
            suspects=item.suspects,
            holds=item.holds,
            content=item.content,
            needed={**item.needed, **bases},
        )
        added = [tarball for tarball in everything if item.came.get(tarball.relpath, tarball.stamp) in made_now]
        own = {tarball.relpath: tarball for tarball in item.tarballs}
        told.update(
            {relpath: why or _why_else(item, relpath in awaited) for relpath, why in reasons.items() if relpath in own}
        )
        due += [tarball for relpath, tarball in own.items() if not told[relpath]]
        allowed[key] = removable(added, late)
        rests.update(rests_on(item.tarballs, [relpath for relpath in own if told[relpath]]))
    return PurgePlan(sorted(due, key=lambda tarball: _turn(tarball, rests)), allowed, told, rests)


def _turn(tarball: Tarball, rests: Mapping[str, Collection[str]]) -> tuple[str, bool, str]:
    """Return what sorts those that go: the oldest first, but a full one after the differentials that rest on it."""
    users = [split_relpath(relpath)[2] for relpath in rests.get(tarball.relpath, ())]
    return max([tarball.stamp, *users]), bool(users), tarball.filename


def _why_else(item: Copies, is_awaited: bool) -> list[str]:
    """Return why a tarball stays that no rule demands, nothing for one that is to go."""
    if not item.readable:
        return [_UNREADABLE]
    return [_AWAITED] if is_awaited else []


def _bytes_of(dna: Dna | None) -> Hashable:
    """Return what stands for the bytes of a tarball, be it a differential or not."""
    return (dna.alg, dna.dig, dna.size) if dna else None


def plan_reviewed(
    tree: Tree, plan: PurgePlan, judged: Sequence[Tarball], only: Sequence[Reviewed]
) -> tuple[PurgePlan, list[dict[str, Any]]]:
    """Given what is to go, all tarballs that were judged and what somebody has reviewed, return what goes of that, and failures.

    What is not what was reviewed, and what is to stay or to wait now, does not go, and is a failure that says so.
    """
    there = {tarball.relpath: tarball for tarball in judged}
    due = {tarball.relpath for tarball in plan.due}
    chosen = {one.relpath for one in only if one.is_of(there.get(one.relpath))}
    left = replace(plan, due=[tarball for tarball in plan.due if tarball.relpath in chosen])
    going = {tarball.relpath for tarball in left.going()}
    refused = []
    for one in only:
        if one.relpath in going:
            continue
        if one.relpath not in there:
            why = "no tarball that counts is there now"
        elif not one.is_of(there[one.relpath]):
            now = there[one.relpath].dna
            why = (
                f"it has {now.alg} {now.dig} and {now.size} bytes now, not {one.alg} {one.dig} and {one.size}"
                if now
                else ""
            )
        elif one.relpath not in due:
            why = f"it is to be kept now ({', '.join(plan.reasons[one.relpath])})"
        elif not left.is_free(there[one.relpath], going):
            why = "differentials that need it are still here, and are to go before it"
        else:
            why = "a run removes at most one more of an item than it added, so it has to wait"
        reason = f"{tree.path(one.relpath)} was not removed, which the reviewed plan says to do: {why}. Make a new plan, with --check"
        refused.append(failure(STAGE, reason, relpath=one.relpath))
    return left, refused
