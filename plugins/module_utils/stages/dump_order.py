"""The order of the items of one dump, in sequence or in parallel, and the hooks around each and around all."""

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
from ..tree.marks import Marks
from ..tree.scan import scan
from ..tree.stamps import day_of
from .dump_ahead import ReadAhead
from .dump_encrypted import format_of
from .dump_item import dump_item, predict_item
from .dump_state import STAGE, ItemDump, Outcome
from .dump_store import stored_under
from .hook_guard import Guard
from .hook_ledger import is_anything_left
from .hooks import HookOwner, Report, Runner, hook_owner_of, report_predicted, report_skip

MAX_AGE = 129600.0
"""Default number of seconds after which an item's newest copy is too old"""


_SHOWN = 5


@dataclass
class Dumper:
    """The items of a dump in the order of their declaration, with everything needed to dump them."""

    items: Sequence[Item]
    context: Context
    form: ArchiveFormat
    limits: doubt.Limits | None
    marks: Marks
    hooks: Hooks
    """Hooks of the source, around all items"""
    max_age: float
    fits: Callable[[Item], None]
    """Raises InvalidInput for an item that cannot be dumped from its path as it is now"""
    report: Report
    declared: Sequence[Item] = ()
    """Items that cannot be dumped now, whose `after` hooks may be owed"""
    secret: bytes = b""
    """The secret of the source, if any item is encrypted"""
    check_mode: bool = False
    ahead: ReadAhead | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    _directory: Directory = field(default_factory=Directory)

    def dump_all(self) -> None:
        """Dump all items, or predict that; add the results to `outcomes`, and failures and notes to the report."""
        kinds = {
            item.kind: kind_of(item.kind) for item in self.items
        }  # imported now: in a view a reader cannot import modules
        groups: dict[str, list[Item]] = {}
        for item in sorted(self.items, key=lambda item: (item.name, not kinds[item.kind].is_first)):
            groups.setdefault(item.name, []).append(item)
        members = self._members()
        chain = [item for name in self._names_in_order() for item in groups.pop(name, ()) if item.key not in members]
        hook_owners = self._hook_owners(self.items)
        all_hook_owners = self._hook_owners([*self.declared, *self.items])
        if self.check_mode:
            report_predicted(hook_owners.values(), self.report)
        with contextlib.ExitStack() as stack:
            runner = None
            if not self.check_mode and (hook_owners or is_anything_left(self.context.tree)):
                runner = Runner(stack.enter_context(Guard(self.context.tree)), self.context)
            readers = stack.enter_context(Readers())
            if runner and (self.hooks or not chain):
                runner.run_owed(all_hook_owners, self.report)

            def one_by_one(items: Sequence[Item]) -> list[Outcome]:
                if runner and items is chain and not self.hooks:
                    runner.run_owed(all_hook_owners, self.report)
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
                    self._add(outcomes)

            if runner and self.hooks and not all(map(self._is_stored, self.items)):
                runner.around(HookOwner(self.hooks), self.report, all_of_them, self._skip_all)
            else:
                all_of_them()
            if runner:
                runner.end(self.report)

    def _members(self) -> set[str]:
        """Return the items (category/name) that are members of a set, and are dumped with it."""
        return {key for item in self.items if item.kind == SET for key in item.option("members")}

    def _names_in_order(self) -> list[str]:
        """Return the names of the items that are dumped in sequence: those with hooks, sets and members of sets."""
        members = self._members()
        alone = [item.name for item in self.items if item.hooks or item.kind == SET]
        return list(dict.fromkeys([*alone, *(item.name for item in self.items if item.key in members)]))

    def _hook_owners(self, items: Sequence[Item]) -> dict[str, HookOwner]:
        own = [HookOwner(self.hooks)] if self.hooks else []
        return {
            hook_owner.key: hook_owner for hook_owner in [*own, *(hook_owner_of(item) for item in items if item.hooks)]
        }

    def _add(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes
        for outcome in outcomes:
            self.report.failures += outcome.failures
            self.report.notes += outcome.notes

    def _skip_all(self, why: str) -> None:
        """Record that a hook of the source skipped all items."""
        for item in self.items:
            outcome = Outcome(key=item.key)
            outcome.skipped = report_skip(
                item, self.context, why, self.max_age, Report(outcome.failures, outcome.notes)
            )
            self._add([outcome])

    def _dump(self, item: Item, readers: Readers, runner: Runner | None, dumped: Sequence[Any] = ()) -> Outcome:
        """Dump an item, with its hooks unless it is stored already; `dumped` are the tarballs of a set's members, for its list."""
        dump = ItemDump(
            item,
            replace(self.context, known={DUMPED: dumped}) if dumped else self.context,
            format_of(item, self.form),
            readers,
            self._directory,
            self._limits_of(item),
            self.marks,
            secret=self.secret,
            ahead=self.ahead,
        )
        outcome = dump.outcome
        outcome.key = item.key
        if self.check_mode:
            _guarded(self._predict, dump)
        elif runner is None or not item.hooks or self._is_stored(item):
            _guarded(self._dump_prepared, dump)
        else:
            report = Report(outcome.failures, outcome.notes)

            def skip(why: str) -> None:
                outcome.skipped = report_skip(item, self.context, why, self.max_age, report)

            runner.around(hook_owner_of(item), report, lambda: _guarded(self._dump_prepared, dump), skip)
        return outcome

    def _dump_set(self, item: Item, readers: Readers, runner: Runner | None) -> list[Outcome]:
        """Dump the members of a set in sequence between its hooks, then its list if all members have tarballs."""
        members = [one for key in item.option("members") for one in self.items if one.key == key]
        outcome = Outcome(key=item.key)
        outcomes: list[Outcome] = []
        report = Report(outcome.failures, outcome.notes)

        def dump_members() -> None:
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
                report.fail(f"item set {item.name!r}: {reason}", item.key)
                return
            tarballs = [each.tarball for each in outcomes]
            own = self._dump(replace(item, hooks=NO_HOOKS), readers, runner, tarballs)
            outcome.tarball, outcome.changed = own.tarball, own.changed
            report.failures += own.failures
            report.notes += own.notes

        def skip(why: str) -> None:
            for member in members:
                other = Outcome(key=member.key)
                other.skipped = report_skip(
                    member, self.context, why, self.max_age, Report(other.failures, other.notes)
                )
                outcomes.append(other)
            outcome.skipped = report_skip(item, self.context, why, self.max_age, report)

        if runner is None or not item.hooks or all(map(self._is_stored, [*members, item])):
            dump_members()
        else:
            runner.around(hook_owner_of(item), report, dump_members, skip)
        for member in members if not outcomes else ():
            reason = f"item {member.kind} {member.name!r}: it was not copied, as nothing was of its set {item.key}"
            outcomes.append(Outcome(key=member.key, failures=[failure(STAGE, reason, key=member.key)]))
        return [*outcomes, outcome]

    def _is_stored(self, item: Item) -> bool:
        """Return whether an item has its tarball under this stamp; also true if that cannot be read, which its dump reports."""
        try:
            of_day = scan(self.context.tree, day_of(self.context.stamp), {item.key}).verified()
            return stored_under(self.context, item, of_day) is not None
        except (AltbackupError, OSError):
            return True

    def _dump_prepared(self, dump: ItemDump) -> None:
        """Dump an item; check its path again if a hook may have changed what is there."""
        if self._is_prepared(dump.item):
            self.fits(dump.item)
        dump_item(dump)

    def _predict(self, dump: ItemDump) -> None:
        item = dump.item
        is_there = not (item.path and self._is_prepared(item)) or os.path.lexists(item.path)
        if not is_there:
            dump.outcome.notes.append(
                f"{item.key}: {item.path} is not there before its hooks were run, so its dump cannot be predicted"
            )
        predict_item(dump, is_there=is_there)

    def _is_prepared(self, item: Item) -> bool:
        """Return whether a `before` hook runs before an item is read: the source's, its own, or that of its set."""
        owners = [one for one in self.items if one.kind == SET and item.key in one.option("members")]
        return any(each.before for each in (self.hooks, item.hooks, *(one.hooks for one in owners)))

    def _limits_of(self, item: Item) -> doubt.Limits:
        """Return the limits of deviation from earlier dumps, the item's own before the common ones."""
        common = self.limits or doubt.Limits()
        return doubt.Limits(item.shrink or common.shrink, item.churn or common.churn)


def skipped_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the items (category/name) that were skipped without a failure."""
    return [outcome.key for outcome in outcomes if outcome.skipped]


def _guarded(function: Callable[[ItemDump], None], dump: ItemDump) -> None:
    """Call a function for one item; turn every exception into a failure of that item, so that the others are dumped."""
    item, failures = dump.item, dump.outcome.failures
    try:
        with progress.at_work(item.key, lambda: _last_size(dump)):
            function(dump)
    except (AltbackupError, OSError) as error:
        failures.append(failure(STAGE, error, key=item.key))
    except Exception as error:  # noqa: BLE001 (an unexpected error in one item does not stop the others)
        reason = f"item {item.kind} {item.name!r}: unexpected {type(error).__name__}: {error}"
        failures.append(failure(STAGE, reason, key=item.key))


def _last_size(dump: ItemDump) -> int:
    """Return the size in bytes of the item's newest tarball, 0 if there is none."""
    with contextlib.suppress(AltbackupError, OSError):
        found = scan(dump.context.tree, keys={dump.item.key}).verified()
        return max(found, key=lambda tarball: tarball.stamp).dna.size if found else 0  # type: ignore[union-attr]
    return 0
