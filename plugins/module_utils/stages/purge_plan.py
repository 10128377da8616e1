"""The plan of a purge: which tarballs are to be removed, and how many of them now; nothing is read here."""

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
"""Reasons of tarballs that no rule keeps"""


@dataclass(frozen=True)
class Copies:
    """An item's tarballs on a node, what is known of them, and the rules by which they are kept."""

    tarballs: Sequence[Tarball]
    """The tarballs that count"""
    rules: Rules
    imagined: Sequence[Tarball] = ()
    """Tarballs that a run in check mode would have made"""
    came: Mapping[str, str] = field(default_factory=dict)
    """{relpath: stamp of the run in which it arrived}"""
    partial: Collection[str] = ()
    """Relpaths of incomplete ones"""
    readable: bool = True
    """Whether all of the item's folders can be read; if not, nothing is removed"""
    suspects: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{relpath: reasons} of suspects that are not accepted"""
    holds: Mapping[str, str] = field(default_factory=dict)
    """{category/name/stamp: text of the hold}"""
    content: Mapping[str, Hashable] = field(default_factory=dict)
    """{relpath: key of its content}"""
    needed: Mapping[str, str] = field(default_factory=dict)
    """{digest of a full tarball: stamp of a differential that needs it and does not count}"""
    awaited: Collection[Hashable] = ()
    """(algorithm, digest, bytes) of tarballs that other nodes lost and need from here"""


@dataclass(frozen=True)
class Reviewed:
    """A tarball whose removal was reviewed by a user."""

    relpath: str
    size: int
    dig: str
    alg: str

    def is_of(self, tarball: Tarball | None) -> bool:
        """Return whether a tarball has the reviewed size and digest."""
        dna = tarball.dna if tarball else None
        return dna is not None and (dna.size, dna.dig, dna.alg) == (self.size, self.dig, self.alg)


@dataclass(frozen=True)
class PurgePlan:
    """The tarballs that no rule keeps, and how many of them may be removed now."""

    due: Sequence[Tarball]
    """Tarballs to remove, the oldest first"""
    allowed: Mapping[str, int]
    """{item: number of its tarballs that may be removed now}"""
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """{relpath: reasons why it stays}, empty for those in `due`; the newest of each item first"""
    rests: Mapping[str, Collection[str]] = field(default_factory=dict)
    """{full tarball: differentials (relpaths) that need it}, for full ones to be removed, which go after those"""

    def going(self, failed: Collection[str] = ()) -> list[Tarball]:
        """Return the tarballs to remove now; each in `failed` (relpaths), which could not be removed, is replaced by the next of its item."""
        left = dict(self.allowed)
        going: dict[str, Tarball] = {}
        for tarball in self.due:
            if left[tarball.key] and tarball.relpath not in failed and self.is_free(tarball, going):
                left[tarball.key] -= 1
                going[tarball.relpath] = tarball
        return [*going.values()]

    def is_free(self, tarball: Tarball, gone: Collection[str]) -> bool:
        """Return whether no differential needs a tarball once those in `gone` (relpaths) are removed."""
        return all(relpath in gone for relpath in self.rests.get(tarball.relpath, ()))

    def without(self, items: Mapping[str, str]) -> PurgePlan:
        """Return the plan without {item of which nothing is removed: reason}."""
        staying = {tarball.relpath: [items[tarball.key]] for tarball in self.due if tarball.key in items}
        due = [tarball for tarball in self.due if tarball.key not in items]
        return replace(self, due=due, reasons={**self.reasons, **staying})


def plan_purge(items: Mapping[str, Copies], made_now: Collection[str] = (), now: str = "") -> PurgePlan:
    """Return the plan for {category/name: copies}, the stamps made in this run and the run's own stamp, empty for the newest."""
    all_reasons: dict[str, Sequence[str]] = {}
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
        all_reasons.update(
            {
                relpath: why or _other_reason(item, relpath in awaited)
                for relpath, why in reasons.items()
                if relpath in own
            }
        )
        due += [tarball for relpath, tarball in own.items() if not all_reasons[relpath]]
        allowed[key] = removable(added, late)
        rests.update(rests_on(item.tarballs, [relpath for relpath in own if all_reasons[relpath]]))
    return PurgePlan(sorted(due, key=lambda tarball: _order_key(tarball, rests)), allowed, all_reasons, rests)


def _order_key(tarball: Tarball, rests: Mapping[str, Collection[str]]) -> tuple[str, bool, str]:
    """Return the sort key of a tarball to remove: the oldest first, a full one after the differentials that need it."""
    users = [split_relpath(relpath)[2] for relpath in rests.get(tarball.relpath, ())]
    return max([tarball.stamp, *users]), bool(users), tarball.filename


def _other_reason(item: Copies, is_awaited: bool) -> list[str]:
    """Return why a tarball stays that no rule keeps, empty for one that is removed."""
    if not item.readable:
        return [_UNREADABLE]
    return [_AWAITED] if is_awaited else []


def _bytes_of(dna: Dna | None) -> Hashable:
    """Return a key of the bytes of a tarball, full or differential."""
    return (dna.alg, dna.dig, dna.size) if dna else None


def plan_reviewed(
    tree: Tree, plan: PurgePlan, judged: Sequence[Tarball], only: Sequence[Reviewed]
) -> tuple[PurgePlan, list[dict[str, Any]]]:
    """Limit the plan to reviewed tarballs; return it, and a failure for each reviewed one that is not removed.

    `judged` are all tarballs that count. One that differs from what was reviewed, or that stays or waits now, is not removed.
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
