"""The items of one dump: which come one after another, which side by side, and the hooks around each and around all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..archive.write import ArchiveFormat
from ..kinds.base import Context
from ..kinds.hooks import NO_HOOKS, Hooks
from ..kinds.items import Item
from ..kinds.registry import kind_of
from ..kinds.sets import DUMPED, SET
from ..system import progress
from ..system.digest import cores, in_parallel
from ..system.errors import AltbackupError
from ..system.names import Directory
from ..system.readers import Readers
from ..system.units import first_of
from ..tree import doubt
from ..tree.failures import failure
from ..tree.layout import scan
from ..tree.marks import Marks
from .dump_encrypted import form_of
from .dump_item import dump_item, predict_item
from .dump_state import STAGE, Dump, Outcome
from .dump_store import stored_under
from .hook_guard import Guard
from .hook_ledger import is_anything_left
from .hooks import Bearer, Runner, Said, bearer_of, foretold, skipped

MAX_AGE = 129600.0
"""Seconds after which an item's newest copy is too old, where nobody says it"""


_SHOWN = 5


@dataclass
class Order:
    """The items of a dump, in the order in which they are declared, and how each is dumped."""

    items: Sequence[Item]
    context: Context
    form: ArchiveFormat
    limits: doubt.Limits | None
    marks: Marks
    hooks: Hooks
    """Those of the source"""
    max_age: float
    fits: Callable[[Item], None]
    """Raise InvalidInput for an item that cannot be dumped, by what lies at its path now"""
    said: Said
    declared: Sequence[Item] = ()
    """Those that cannot be dumped now, of which something may be owed"""
    secret: bytes = b""
    """That of the source, where something is encrypted"""
    check_mode: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    _directory: Directory = field(default_factory=Directory)

    def work(self) -> None:
        """Dump all, or predict that; what became of each is in `outcomes`, what went wrong is told."""
        kinds = {
            item.kind: kind_of(item.kind) for item in self.items
        }  # read now: readers, in their views, can import nothing
        groups: dict[str, list[Item]] = {}
        for item in sorted(self.items, key=lambda item: (item.name, not kinds[item.kind].is_first)):
            groups.setdefault(item.name, []).append(item)
        members = self._members()
        chain = [item for name in self._names_in_order() for item in groups.pop(name, ()) if item.key not in members]
        bearers = self._bearers(self.items)
        owing = self._bearers([*self.declared, *self.items])
        if self.check_mode:
            foretold(bearers.values(), self.said)
        with contextlib.ExitStack() as stack:
            runner = None
            if not self.check_mode and (bearers or is_anything_left(self.context.tree)):
                runner = Runner(stack.enter_context(Guard(self.context.tree)), self.context)
            readers = stack.enter_context(Readers())
            if runner and (self.hooks or not chain):
                runner.settle(owing, self.said)

            def one_by_one(items: Sequence[Item]) -> list[Outcome]:
                if runner and items is chain and not self.hooks:
                    runner.settle(owing, self.said)
                return [
                    outcome
                    for item in items
                    for outcome in (
                        self._dump_set(item, readers, runner)
                        if item.kind == SET
                        else [self._dump(item, readers, runner)]
                    )
                ]

            def all_of_them() -> None:
                lists = [*([chain] if chain else []), *groups.values()]
                for outcomes in in_parallel(one_by_one, lists, max(2, cores())):
                    self._take(outcomes)

            if runner and self.hooks and not all(map(self._is_stored, self.items)):
                runner.around(Bearer(self.hooks), self.said, all_of_them, self._skip_all)
            else:
                all_of_them()
            if runner:
                runner.end(self.said)

    def _members(self) -> set[str]:
        """Return the items (category/name) that are members of a set, which come with that."""
        return {key for item in self.items if item.kind == SET for key in item.option("members")}

    def _names_in_order(self) -> list[str]:
        """Return the names of items that come one after another: of those with hooks, sets and their members."""
        members = self._members()
        alone = [item.name for item in self.items if item.hooks or item.kind == SET]
        return list(dict.fromkeys([*alone, *(item.name for item in self.items if item.key in members)]))

    def _bearers(self, items: Sequence[Item]) -> dict[str, Bearer]:
        own = [Bearer(self.hooks)] if self.hooks else []
        return {bearer.key: bearer for bearer in [*own, *(bearer_of(item) for item in items if item.hooks)]}

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes
        for outcome in outcomes:
            self.said.failures += outcome.failures
            self.said.notes += outcome.notes

    def _skip_all(self, why: str) -> None:
        """Take that a hook of the source said that this is no time for any item."""
        for item in self.items:
            outcome = Outcome(key=item.key)
            outcome.skipped = skipped(item, self.context, why, self.max_age, Said(outcome.failures, outcome.notes))
            self._take([outcome])

    def _dump(self, item: Item, readers: Readers, runner: Runner | None, dumped: Sequence[Any] = ()) -> Outcome:
        """Dump an item, with its hooks if it has any and is not stored yet; the list of a set by what was `dumped` of its members."""
        work = Dump(
            item,
            replace(self.context, known={DUMPED: dumped}) if dumped else self.context,
            form_of(item, self.form),
            readers,
            self._directory,
            self._limits_of(item),
            self.marks,
            secret=self.secret,
        )
        outcome = work.outcome
        outcome.key = item.key
        if self.check_mode:
            _guarded(self._predict, work)
        elif runner is None or not item.hooks or self._is_stored(item):
            _guarded(self._dump_prepared, work)
        else:
            said = Said(outcome.failures, outcome.notes)

            def skip(why: str) -> None:
                outcome.skipped = skipped(item, self.context, why, self.max_age, said)

            runner.around(bearer_of(item), said, lambda: _guarded(self._dump_prepared, work), skip)
        return outcome

    def _dump_set(self, item: Item, readers: Readers, runner: Runner | None) -> list[Outcome]:
        """Dump the members of a set one after another between its hooks, and its list once all of them are there."""
        members = [one for key in item.option("members") for one in self.items if one.key == key]
        outcome = Outcome(key=item.key)
        outcomes: list[Outcome] = []
        said = Said(outcome.failures, outcome.notes)

        def make() -> None:
            earlier = [] if self._is_stored(item) else [member.key for member in members if self._is_stored(member)]
            outcomes.extend(self._dump(member, readers, runner) for member in members)
            lacking = [each.key for each in outcomes if each.tarball is None]
            reason = ""
            if lacking:
                reason = f"its member {first_of(lacking, _SHOWN)} was not copied, so its list is not stored"
            elif earlier:
                reason = (
                    f"its member {first_of(earlier, _SHOWN)} was copied by an earlier call of this run, so the copies are of no one time and its list "
                    "is not stored: a run under a stamp of its own copies all of them"
                )
            if reason:
                said.fail(f"item set {item.name!r}: {reason}", item.key)
                return
            tarballs = [each.tarball for each in outcomes]
            own = self._dump(replace(item, hooks=NO_HOOKS), readers, runner, tarballs)
            outcome.tarball, outcome.changed = own.tarball, own.changed
            said.failures += own.failures
            said.notes += own.notes

        def skip(why: str) -> None:
            for member in members:
                other = Outcome(key=member.key)
                other.skipped = skipped(member, self.context, why, self.max_age, Said(other.failures, other.notes))
                outcomes.append(other)
            outcome.skipped = skipped(item, self.context, why, self.max_age, said)

        if runner is None or not item.hooks or all(map(self._is_stored, [*members, item])):
            make()
        else:
            runner.around(bearer_of(item), said, make, skip)
        for member in members if not outcomes else ():
            reason = f"item {member.kind} {member.name!r}: it was not copied, as nothing was of its set {item.key}"
            outcomes.append(Outcome(key=member.key, failures=[failure(STAGE, reason, key=member.key)]))
        return [*outcomes, outcome]

    def _is_stored(self, item: Item) -> bool:
        """Return whether nothing is to be done for an item under this stamp, or that cannot be known, which its dump tells."""
        try:
            return stored_under(self.context, item) is not None
        except (AltbackupError, OSError):
            return True

    def _dump_prepared(self, work: Dump) -> None:
        """Dump an item, whose path a hook may have made lead elsewhere only now."""
        if self._is_prepared(work.item):
            self.fits(work.item)
        dump_item(work)

    def _predict(self, work: Dump) -> None:
        item = work.item
        is_there = not (item.path and self._is_prepared(item)) or os.path.lexists(item.path)
        if not is_there:
            work.outcome.notes.append(
                f"{item.key}: {item.path} is not there before its hooks were run, so its dump cannot be predicted"
            )
        predict_item(work, is_there=is_there)

    def _is_prepared(self, item: Item) -> bool:
        """Return whether a `before` runs before an item is read: that of the source, its own, or that of its set."""
        owners = [one for one in self.items if one.kind == SET and item.key in one.option("members")]
        return any(each.before for each in (self.hooks, item.hooks, *(one.hooks for one in owners)))

    def _limits_of(self, item: Item) -> doubt.Limits:
        """Return how far a dump of an item may be from earlier ones: what it says itself goes before what holds for all."""
        common = self.limits or doubt.Limits()
        return doubt.Limits(item.shrink or common.shrink, item.churn or common.churn)


def skipped_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the items (category/name) that were skipped, which is no failure."""
    return [outcome.key for outcome in outcomes if outcome.skipped]


def _guarded(function: Callable[[Dump], None], work: Dump) -> None:
    """Work on one item so that nothing that goes wrong with it reaches the others."""
    item, failures = work.item, work.outcome.failures
    try:
        with progress.at_work(item.key, lambda: _last_size(work)):
            function(work)
    except (AltbackupError, OSError) as error:
        failures.append(failure(STAGE, error, key=item.key))
    except Exception as error:  # noqa: BLE001 (a bug that one item meets does not stop the others)
        reason = f"item {item.kind} {item.name!r}: unexpected {type(error).__name__}: {error}"
        failures.append(failure(STAGE, reason, key=item.key))


def _last_size(work: Dump) -> int:
    """Return the bytes of the item's newest tarball, 0 without one."""
    with contextlib.suppress(AltbackupError, OSError):
        found = scan(work.context.tree, keys={work.item.key}).verified()
        return max(found, key=lambda tarball: tarball.stamp).dna.size if found else 0  # type: ignore[union-attr]
    return 0
