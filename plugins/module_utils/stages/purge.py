"""Purge: removing the verified tarballs that no retention rule keeps, and nothing else."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..tree.failures import failure
from ..tree.layout import Tarball, Tree, item_key, split_relpath
from ..tree.leftovers import remove_outgoing
from ..tree.marks import Marks, held_here
from ..tree.publish import require_writable
from ..tree.rulings import parse_ruling
from ..tree.scan import Scan, of_items, scan
from ..tree.scan_failures import ahead, unreadable
from ..tree.stamps import Moment, day_of
from ..tree.trash import Kept, complete_removals, expired, kept_ones, last_links
from .care import Safeguards, Withheld, withhold
from .purge_notes import as_judged, left_alone, newest_good, notes_of_suspects, notes_of_waiting, nothing_there
from .purge_plan import STAGE, Copies, PurgePlan, Reviewed, plan_purge, plan_reviewed
from .purge_removal import clean_up, count_late, count_removed, empty_trash, links_of, remove_going
from .purge_survey import copies_of, counting_items, matching_tarballs, merge_marks, needed_fulls, parse_awaited
from .rot import bad_survivors


@dataclass(frozen=True)
class PurgeRequest:
    """What one purge is asked for."""

    base: str
    keep: int | str | Mapping[str, Any]
    """With `rules` as parse_ruling takes them"""
    moment: Moment
    """Tarballs later than that are left alone, are reported and do not count"""
    names: Sequence[str] | None = None
    """The items (category/name) to which it is limited"""
    rules: Mapping[str, Any] = field(default_factory=dict)
    made_now: Collection[str] = ()
    """Stamps of the run: of each item at most one more tarball is removed than it added to this node, the oldest first; the others wait"""
    predicted: Sequence[str] = ()
    """Relpaths that a run in check mode would have made"""
    verify: bool = False
    """Whether each tarball that would count is read first; one that does not match its dna does not count"""
    only: Sequence[Reviewed] | None = None
    """The only tarballs that are removed; each of them that is not is a failure"""
    marks: Mapping[str, Any] = field(default_factory=dict)
    """Marks as a controller passes them, which are stored"""
    safeguards: Safeguards = field(default_factory=Safeguards)
    """What they withhold is neither removed nor waiting"""
    reverify_days: int = 0
    """If not 0, the remaining tarballs of an item of which something is removed are read, unless that was done within as many days"""
    awaited: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """{item: dna} of contents that other nodes lost and need from here, so that they stay"""
    found: Scan | None = None
    """A scan of the base, if there is one already"""
    check_mode: bool = False

    @property
    def keys(self) -> set[str] | None:
        """The items to which it is limited, None for all."""
        return None if self.names is None else set(self.names)

    @property
    def today(self) -> str:
        """The day of the trash to which tarballs are moved."""
        return day_of(self.moment.clock)


@dataclass(frozen=True)
class _Survey:
    """What a base holds, after what killed purges left was completed and the marks were stored."""

    tree: Tree
    found: Scan
    marks: Marks
    is_marked: bool
    """Whether the marks could be stored"""
    is_changed: bool
    items: Mapping[str, Sequence[Tarball]]
    """{item: its tarballs that count, oldest first}"""
    copies: Mapping[str, Copies]
    """{item: these with what is known of them}, without items that cannot be judged"""
    unverified: Sequence[str]
    notes: Sequence[str]
    failures: Sequence[Mapping[str, Any]]

    @property
    def judged(self) -> list[Tarball]:
        """The tarballs on which rules decide."""
        return [tarball for item in self.copies.values() for tarball in item.tarballs]


@dataclass(frozen=True)
class _Decision:
    """What is to be removed."""

    plan: PurgePlan
    due: Sequence[Tarball]
    """What no rule keeps and nothing withholds, also if it is not removed now"""
    withheld: Withheld
    failures: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Removal:
    """What was removed, or in check mode would be."""

    removed: Mapping[Tarball, bool]
    """{tarball: whether its file is deleted, not moved to the trash}"""
    failed: Collection[str] = ()
    """Relpaths of those that could not be removed"""
    is_changed: bool = False
    freed: int = 0
    """Bytes"""
    notes: Sequence[str] = ()
    failures: Sequence[Mapping[str, Any]] = ()

    @property
    def gone(self) -> set[str]:
        """Relpaths of what was removed, or was tried in vain."""
        return {*self.failed, *(tarball.relpath for tarball in self.removed)}


def purge(request: PurgeRequest) -> dict[str, Any]:
    """Remove the tarballs of a base that no rule keeps; return what was kept, removed and left alone.

    Raise AltbackupError if nothing can be done.
    """
    survey = _survey(request)
    decision = _decide(request, survey)
    removal = (_predict if request.check_mode else _remove)(request, survey, decision)
    return _result(survey, decision, removal)


def _survey(request: PurgeRequest) -> _Survey:
    """Complete what killed purges left, store the marks, and look at the base."""
    ruling = parse_ruling(request.keep, request.rules, STAGE)
    imagined: dict[str, list[tuple[str, str]]] = {}
    for category, name, stamp, filename in map(split_relpath, request.predicted):
        imagined.setdefault(f"{category}/{name}", []).append((stamp, filename))
    tree, keys, moment = require_writable(request.base), request.keys, request.moment
    if not request.check_mode and not tree.source:
        remove_outgoing(tree)  # its hard links would keep the blocks of removed tarballs
    marks, unmarked = merge_marks(tree, request.marks, request.check_mode)
    completed, failures = complete_removals(tree, check_mode=request.check_mode)
    failures += unmarked
    found = of_items(request.found, keys) if request.found else scan(tree, keys=keys, tolerate_unreadable=True)
    items, unverified = counting_items(found, moment)
    if request.verify:
        items, bad = matching_tarballs(tree, items)
        unverified += bad
        failures += bad.values()
    there = {tarball.key for tarball in found.tarballs}.union(imagined)
    failures += [failure(STAGE, reason) for reason in nothing_there(tree, request.names, there)]
    failures += [*unreadable(found, STAGE), *ahead(tree, moment, keys)]
    unseen = {item_key(relpath) for relpath, _ in found.unreadable}
    awaited = parse_awaited(request.awaited)
    copies, unknown = copies_of(tree, items, ruling, imagined, unseen, marks, needed_fulls(found, items), awaited)
    notes = [*completed, *left_alone(tree, found, request.names, moment)]
    return _Survey(
        tree, found, marks, not unmarked, bool(completed), items, copies, unverified, notes, [*failures, *unknown]
    )


def _decide(request: PurgeRequest, survey: _Survey) -> _Decision:
    """Decide what goes by the rules, the safeguards and the user's review; what would remain of these items is read, if that is due."""
    tree, copies, moment = survey.tree, survey.copies, request.moment
    plan = plan_purge(copies, request.made_now, moment.stamp)
    numbers = {**dict.fromkeys(copies, 0), **Counter(tarball.key for tarball in plan.due)}
    rules = {key: vars(item.rules) for key, item in copies.items()}
    withheld = withhold(tree, numbers, rules, request.safeguards, moment)
    plan = plan.without(withheld.items)
    due = plan.due
    refused: list[dict[str, Any]] = []
    if request.only is not None:
        plan, refused = plan_reviewed(tree, plan, survey.judged, request.only)
    plan, stale = _without_damaged(survey, plan, moment, request.reverify_days, noting=not request.check_mode)
    return _Decision(plan, due, withheld, [*withheld.failures, *refused, *stale])


def _without_damaged(
    survey: _Survey, plan: PurgePlan, moment: Moment, days: int, *, noting: bool
) -> tuple[PurgePlan, list[dict[str, Any]]]:
    """Read the remaining tarballs of items of which something is removed, if they were not read within `days` days (0: read nothing).

    Return the plan without items of which a remaining tarball is damaged, and failures.
    """
    going = {tarball.key: tarball for tarball in plan.going()} if days else {}
    due = {tarball.relpath for tarball in plan.due}
    staying = [one for key in going for one in survey.copies[key].tarballs if one.relpath not in due]
    bad, failures = bad_survivors(survey.tree, staying, moment, days, noting=noting)
    return replace(plan, allowed={**plan.allowed, **dict.fromkeys((one.key for one in bad), 0)}), failures


def _predict(request: PurgeRequest, survey: _Survey, decision: _Decision) -> _Removal:
    """Return what `_remove` would do."""
    removed = dict.fromkeys(decision.plan.going(), not request.safeguards.trash_days)
    emptied = _expired(request, survey)
    freed = last_links([*map(links_of, _deleted(removed)), *(links for one in emptied for links in one.tarballs)])
    return _Removal(removed, is_changed=bool(emptied), freed=freed)


def _remove(request: PurgeRequest, survey: _Survey, decision: _Decision) -> _Removal:
    """Remove what goes, tidy up, and empty the trash."""
    tree, trash_days = survey.tree, request.safeguards.trash_days
    uncounted = count_removed(tree, len(decision.plan.going()))
    came = {relpath: run for item in survey.copies.values() for relpath, run in item.came.items()}
    removed, failed, failures = remove_going(tree, decision.plan, request.today if trash_days else "", came)
    if uncounted:  # there may be free space now
        failures += count_late(tree, len(removed))
    has_expired = bool(_expired(request, survey))
    freed = last_links(map(links_of, _deleted(removed)))
    staying = [tarball for tarball in survey.found.tarballs if tarball not in removed]
    tidied, untidy = clean_up(tree, survey.items, survey.copies, staying)
    today = request.today if request.safeguards.allows(request.moment) else ""
    emptied, notes, not_emptied = empty_trash(tree, today, trash_days, staying)
    failures += [*untidy, *not_emptied, *decision.withheld.remember(tree)]
    return _Removal(removed, failed, has_expired or tidied or bool(emptied), freed + emptied, notes, failures)


def _expired(request: PurgeRequest, survey: _Survey) -> list[Kept]:
    """Return what of the trash is deleted for its age."""
    safeguards = request.safeguards
    if safeguards.trash_days is None or not safeguards.allows(request.moment):
        return []
    return expired(kept_ones(survey.tree), request.today, safeguards.trash_days)


def _deleted(removed: Mapping[Tarball, bool]) -> list[Tarball]:
    return [tarball for tarball, is_deleted in removed.items() if is_deleted]


def _result(survey: _Survey, decision: _Decision, removal: _Removal) -> dict[str, Any]:
    """Return the result of the module."""
    tree, copies, plan, removed, gone = survey.tree, survey.copies, decision.plan, removal.removed, removal.gone
    waiting = [tarball.relpath for tarball in decision.due if tarball.relpath not in gone]
    told = [*survey.notes, *decision.withheld.notes, *removal.notes]
    return {
        "changed": survey.is_changed or removal.is_changed or bool(removed),
        "kept": [tarball.relpath for tarball in survey.judged if tarball.relpath not in gone],
        "waiting": waiting,
        "newest": newest_good(copies),
        "suspects": {path: [*why] for item in copies.values() for path, why in item.suspects.items()},
        "free": shutil.disk_usage(tree.private).free,
        "removed": [tarball.relpath for tarball in removed],
        "reasons": {relpath: [*why] for relpath, why in plan.reasons.items()},
        "judged": [as_judged(tarball) for tarball in survey.judged if tarball.dna],
        "unverified": survey.unverified,
        "marks_kept": survey.is_marked,
        "held": held_here(tree, survey.marks),
        "notes": [*told, *notes_of_suspects(tree, copies, plan), *notes_of_waiting(tree, waiting)],
        "bytes_freed": removal.freed,
        "bytes_in_trash": last_links(links_of(tarball) for tarball, is_deleted in removed.items() if not is_deleted),
        "failures": [*survey.failures, *decision.failures, *removal.failures],
    }
