"""Purging: removing the verified tarballs that retention does not keep, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..system.errors import FULL, AltbackupError, InvalidInput
from ..system.seeing import as_whom
from ..system.twins import MARGIN
from ..system.units import counted
from ..system.visible import extra_vars
from ..tree.arrivals import arrivals, behind_ones, forget_arrivals, late_ones
from ..tree.digests import digests
from ..tree.failures import explain, failure
from ..tree.layout import EXTENSIONS, Scan, Tarball, Tree, of_items, parse_filename, scan, split_relpath
from ..tree.leftovers import remove_outgoing
from ..tree.marks import Marks, held_here, keep_marks, marks_of, merged, parse_given
from ..tree.owner import source_of
from ..tree.pairs import count_purged
from ..tree.private import opened_private
from ..tree.publish import prune_empty, record_path, remove_if_there, require_writable
from ..tree.recorded import recorded
from ..tree.retention import FROZEN, Rules, judge, removable, rests_on
from ..tree.rulings import Ruling, parse_ruling
from ..tree.scan_failures import ahead, by_item, unreadable
from ..tree.sidecar import Dna
from ..tree.stamps import Moment, day_of, is_stamp
from ..tree.suspects import reasons_of
from ..tree.trash import (
    Links,
    complete_removals,
    delete_expired,
    expired,
    kept_ones,
    last_links,
    make_room,
    take_out,
)
from ..tree.trash import keep as keep_in_trash
from .care import Care, withhold
from .rot import bad_survivors

_STAGE = "purge"
_NAMED = 10
"""Most items that a note names"""
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


def purge(
    base: str,
    keep: int | str | Mapping[str, Any],
    names: Sequence[str] | None = None,
    *,
    rules: Mapping[str, Any] | None = None,
    moment: Moment,
    made_now: Collection[str] = (),
    predicted: Sequence[str] = (),
    verify: bool = False,
    only: Sequence[Reviewed] | None = None,
    marks: Mapping[str, Any] | None = None,
    care: Care = Care(),  # noqa: B008 (it is frozen)
    reverify_days: int = 0,
    awaited: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    found: Scan | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base and how many to keep, remove what retention does not; return what was kept, removed and left alone.

    `keep` and `rules` are as parse_ruling takes them. `names` (category/name) limits it to these items. Tarballs later than the moment
    are left alone, reported and do not count. With `verify` each tarball that would count is read first, and only a match counts; with
    `reverify_days` what stays of an item of which something goes, if it was not read within so many days. `found` is what the base holds,
    if that is known. `awaited`, {item: dna}, are contents that do not go, as other nodes lost them. `predicted` are relpaths that a run
    in check mode would have made. Of an item at most one more goes than what the run of the stamps `made_now` added to this node, oldest
    first; what is to go and has to wait is `waiting`, too. What `care` withholds is neither. With `only` nothing but these goes, and each
    of them that does not is a failure. `marks`, as a controller hands them over, are kept, too, and `held` are those tarballs that are
    held and there. Raise AltbackupError where nothing can be done.
    """
    ruling = parse_ruling(keep, rules or {}, "purge")
    imagined: dict[str, list[tuple[str, str]]] = {}
    for category, name, stamp, filename in map(split_relpath, predicted):
        imagined.setdefault(f"{category}/{name}", []).append((stamp, filename))
    tree = require_writable(base)
    if not check_mode and not tree.source:
        remove_outgoing(tree)  # its links would keep on disk what is removed here
    known, untold = _marked(tree, marks or {}, check_mode)
    notes, failures = complete_removals(tree, check_mode=check_mode)
    failures += untold
    changed = bool(notes)
    keys = None if names is None else set(names)
    found = scan(tree, keys=keys, tolerate_unreadable=True) if found is None else of_items(found, keys)
    items, unverified = _items(found, moment)
    notes += _left_alone(tree, found, names, moment)
    if verify:
        items, bad = _matching(tree, items)
        unverified += bad
        failures += bad.values()
    there = {tarball.key for tarball in found.tarballs}.union(imagined)
    failures += [failure(_STAGE, reason) for reason in _nothing(tree, names, there)]
    failures += [*unreadable(found, _STAGE), *ahead(tree, moment, keys)]
    unseen = {"/".join(relpath.split("/")[:2]) for relpath, _ in found.unreadable}
    copies, unknown = _copies(
        tree, items, ruling, imagined, unseen, known, _needed(found, items), _awaited(awaited or {})
    )
    failures += unknown
    plan = plan_purge(copies, made_now, moment.stamp)
    judged = [tarball for item in copies.values() for tarball in item.tarballs]
    numbers = {**dict.fromkeys(copies, 0), **Counter(tarball.key for tarball in plan.due)}
    withheld = withhold(tree, numbers, {key: vars(item.rules) for key, item in copies.items()}, care, moment)
    notes += withheld.notes
    failures += withheld.failures
    plan = plan.without(withheld.items)
    due = plan.due
    if only is not None:
        plan, refused = plan_reviewed(tree, plan, judged, only)
        failures += refused
    plan, stale = _trusted(tree, copies, plan, moment, reverify_days, noting=not check_mode)
    failures += stale
    today = day_of(moment.clock)
    removed = dict.fromkeys(plan.going(), not care.trash_days)
    failed: set[str] = set()
    problems: list[dict[str, Any]] = []
    if not check_mode:
        uncounted = _count(tree, len(plan.going()))
        came = {relpath: run for item in copies.values() for relpath, run in item.came.items()}
        removed, failed, problems = _execute(tree, plan, today if care.trash_days else "", came)
        if uncounted:  # there may be room now
            problems += _uncounted(tree, len(removed))
    failures += problems
    gone = failed.union(tarball.relpath for tarball in removed)
    waiting = [tarball.relpath for tarball in due if tarball.relpath not in gone]
    deleted = [tarball for tarball, is_deleted in removed.items() if is_deleted]
    lapsed = (
        [] if care.trash_days is None or not care.allows(moment) else expired(kept_ones(tree), today, care.trash_days)
    )
    freed = last_links([*map(_links_of, deleted), *(links for one in lapsed if check_mode for links in one.tarballs)])
    if not check_mode:
        staying = [tarball for tarball in found.tarballs if tarball not in removed]
        tidied, untidy = _clean_up(tree, items, copies, staying)
        emptied, told, left = _empty_trash(tree, today if care.allows(moment) else "", care.trash_days, staying)
        changed, freed = changed or tidied or bool(emptied), freed + emptied
        notes += told
        failures += [*untidy, *left, *withheld.remember(tree)]
    return {
        "changed": changed or bool(removed) or bool(lapsed),
        "kept": [tarball.relpath for tarball in judged if tarball.relpath not in gone],
        "waiting": waiting,
        "newest": _newest(copies),
        "suspects": {path: [*why] for item in copies.values() for path, why in item.suspects.items()},
        "free": shutil.disk_usage(tree.private).free,
        "removed": [tarball.relpath for tarball in removed],
        "reasons": {relpath: [*why] for relpath, why in plan.reasons.items()},
        "judged": [_as_judged(tarball) for tarball in judged if tarball.dna],
        "unverified": unverified,
        "marks_kept": not untold,
        "held": held_here(tree, known),
        "notes": [*notes, *_of_suspects(tree, copies, plan), *_of_waiting(tree, waiting)],
        "bytes_freed": freed,
        "bytes_in_trash": last_links(_links_of(tarball) for tarball, is_deleted in removed.items() if not is_deleted),
        "failures": failures,
    }


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


def _awaited(value: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, set[Hashable]]:
    """Given {item: mappings of dig, size and alg}, return {item: what stands for these bytes}. Raise InvalidInput."""
    try:
        return {
            key: {(str(one["alg"]), str(one["dig"]), int(one["size"])) for one in several}
            for key, several in value.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput("purge: awaited is no mapping of items to digests and sizes") from error


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
        refused.append(failure(_STAGE, reason, relpath=one.relpath))
    return left, refused


def _newest(items: Mapping[str, Copies]) -> list[dict[str, Any]]:
    """Return the newest tarball of each item that is whole and no suspect, with its size and digest."""
    good = [
        [one for one in item.tarballs if one.dna and one.relpath not in {*item.partial, *item.suspects}]
        for item in items.values()
    ]
    return [_as_judged(max(several, key=lambda one: one.stamp)) for several in good if several]


def _as_judged(tarball: Tarball) -> dict[str, Any]:
    dna = tarball.dna
    return {"relpath": tarball.relpath, **({"size": dna.size, "dig": dna.dig, "alg": dna.alg} if dna else {})}


def _count(tree: Tree, number: int) -> bool:
    """Count what is about to be removed; return whether there was no room to write that. Raise AltbackupError or OSError."""
    try:
        count_purged(tree, number)
    except OSError as error:
        if error.errno not in FULL:
            raise
        return True
    return False


def _uncounted(tree: Tree, number: int) -> list[dict[str, Any]]:
    """Count what was removed where there had been no room to count it before; return a failure where there is none still."""
    if not _count(tree, number):
        return []
    reason = f"{tree.base}: {counted(number, 'tarball')} went, and there is no room to write that down: the next run may take them for lost"
    return [failure(_STAGE, reason)]


def _trusted(
    tree: Tree, copies: Mapping[str, Copies], plan: PurgePlan, moment: Moment, days: int, *, noting: bool
) -> tuple[PurgePlan, list[dict[str, Any]]]:
    """Given what is known of items and what is to go, read what stays of those of which something goes, if it was not within so many days.

    Return the plan, by which nothing goes of an item of which a copy that stays is not good, and failures; with 0 days nothing is read.
    """
    going = {tarball.key: tarball for tarball in plan.going()} if days else {}
    due = {tarball.relpath for tarball in plan.due}
    staying = [one for key in going for one in copies[key].tarballs if one.relpath not in due]
    bad, failures = bad_survivors(tree, staying, moment, days, noting=noting)
    return replace(plan, allowed={**plan.allowed, **dict.fromkeys((one.key for one in bad), 0)}), failures


def _execute(
    tree: Tree, plan: PurgePlan, day: str = "", came: Mapping[str, str] | None = None
) -> tuple[dict[Tarball, bool], set[str], list[dict[str, Any]]]:
    """Remove what goes with sidecars and records; one that cannot be removed keeps no other from going in its place.

    It is kept in the trash, of a `day`, if that is given, with the stamp of the run in which it `came`, {relpath: stamp}.
    Return {tarball that was removed: whether its file is deleted, too}, the relpaths of those that could not be, and failures.
    """
    removed: dict[Tarball, bool] = {}
    failed: set[str] = set()
    failures = []
    while going := [tarball for tarball in plan.going(failed) if tarball not in removed]:
        for tarball in going:
            if not plan.is_free(tarball, {one.relpath for one in removed}):
                continue
            try:
                taken = take_out(tree, tarball)
            except (AltbackupError, OSError) as error:
                failed.add(tarball.relpath)
                reason = f"{tarball.relpath} could not be removed: {explain(error)}"
                failures.append(failure(_STAGE, reason, relpath=tarball.relpath))
                continue
            removed[tarball] = False
            try:
                removed[tarball] = _put_away(tree, tarball, taken, day, (came or {}).get(tarball.relpath, ""))
            except (AltbackupError, OSError) as error:
                reason = f"{tarball.relpath} was removed, but not all that belongs to it: {explain(error)}"
                failures.append(failure(_STAGE, reason, relpath=tarball.relpath))
    return removed, failed, failures


def _links_of(tarball: Tarball) -> Links:
    return tarball.inode, tarball.links, tarball.size


def _empty_trash(
    tree: Tree, today: str, days: int | None, staying: Sequence[Tarball]
) -> tuple[int, list[str], list[dict[str, Any]]]:
    """Delete what is kept no longer in the trash, if it is known which day it is, and more where its disk is too small for the next night.

    That is as much as the newest tarballs of those `staying` take. Return the bytes that were freed, notes and failures.
    """
    freed = 0
    newest = {tarball.key: tarball.size for tarball in sorted(staying, key=lambda tarball: tarball.stamp)}
    try:
        freed += delete_expired(tree, today, days) if today and days is not None else 0
        more, notes = make_room(tree, sum(newest.values()) + MARGIN) if days else (0, [])
        return freed + more, notes, []
    except (AltbackupError, OSError) as error:
        return freed, [], [failure(_STAGE, f"the trash of {tree.base} cannot be emptied: {explain(error)}")]


def _copies(
    tree: Tree,
    items: Mapping[str, Sequence[Tarball]],
    ruling: Ruling,
    imagined: Mapping[str, Sequence[tuple[str, str]]],
    unseen: Collection[str],
    marks: Marks,
    needed: Mapping[str, Mapping[str, str]],
    awaited: Mapping[str, Collection[Hashable]],
) -> tuple[dict[str, Copies], list[dict[str, Any]]]:
    """Return {item: what is known of its copies}, in order, and a failure for each item that cannot be judged.

    What is `needed` is {item: what full ones are, by what does not count}. What is `imagined`, {item: (stamp, filename)}, counts with the content
    of the item's newest one.
    """
    known: dict[str, Copies] = {}
    failures = []
    for key, tarballs in sorted(items.items()):
        rules = ruling.of(key)
        if rules is None:
            reason = f"no number of copies to keep is given for {key}: nothing of it was removed"
            failures.append(failure(_STAGE, reason, key=key))
            continue
        try:
            came = arrivals(tree, key) if tree.source and key not in unseen else {}
            suspects = reasons_of(tree, tarballs, marks)
        except (AltbackupError, OSError) as error:
            failures.append(failure(_STAGE, error, key=key))
            continue
        new = [replace(tarballs[-1], stamp=stamp, filename=filename) for stamp, filename in imagined.get(key, ())]
        said = recorded(tree, tarballs)
        known[key] = Copies(
            tarballs,
            rules,
            new,
            came,
            said.partial,
            key not in unseen,
            suspects=suspects,
            holds=marks.holds,
            content=said.content,
            needed=needed.get(key, {}),
            awaited=awaited.get(key, ()),
        )
    return known, failures


def _needed(found: Scan, items: Mapping[str, Sequence[Tarball]]) -> dict[str, dict[str, str]]:
    """Return {item: {digest of a full tarball: stamp of a differential that does not count now, and needs it}}."""
    counting = {tarball.relpath for tarballs in items.values() for tarball in tarballs}
    needed: dict[str, dict[str, str]] = {}
    for tarball in found.tarballs:
        if tarball.dna and tarball.dna.base_dig and tarball.relpath not in counting:
            needed.setdefault(tarball.key, {})[tarball.dna.base_dig] = tarball.stamp
    return needed


def _clean_up(
    tree: Tree, items: Collection[str], judged: Collection[str], staying: Sequence[Tarball]
) -> tuple[bool, list[dict[str, Any]]]:
    """See to what killed purges left of the items, and forget when those came that are gone.

    Return whether anything was left, and failures.
    """
    changed, failures = False, []
    there: dict[str, set[str]] = {}
    for tarball in staying:
        there.setdefault(tarball.key, set()).add(tarball.relpath)
    for key in items:
        try:
            changed = _tidy(tree, key) or changed
            if tree.source and key in judged:
                forget_arrivals(tree, key, there.get(key, ()))
        except (AltbackupError, OSError) as error:
            failures.append(failure(_STAGE, error, key=key))
    return changed, failures


def _items(found: Scan, moment: Moment) -> tuple[dict[str, list[Tarball]], list[str]]:
    """Return {category/name: its tarballs that count, oldest first}, and the relpaths of those for which no sidecar vouches."""
    items: dict[str, list[Tarball]] = {}
    unverified = []
    for tarball in found.tarballs:
        if not tarball.verified or not parse_filename(tarball.filename, tarball.name):
            unverified.append(tarball.relpath)
        elif moment.counts(tarball.stamp):
            items.setdefault(tarball.key, []).append(tarball)
    return items, unverified


def _left_alone(tree: Tree, found: Scan, names: Sequence[str] | None, moment: Moment) -> Iterator[str]:
    """Yield a note on each thing that is no copy that counts, but for those that are failures."""
    for relpath, why in found.strange:
        if names is None or relpath.count("/") == 0 or "/".join(relpath.split("/")[:2]) in names:
            yield f"left alone in {tree.base}: {relpath}: {why}"
    for relpath in found.orphans:
        yield f"left alone in {tree.base}: {relpath}: it is a dna without its tarball"
    for tarball in found.verified():
        proper = parse_filename(tarball.filename, tarball.name)
        if proper and not moment.counts(tarball.stamp) and not moment.is_ahead(tarball.stamp):
            yield f"left alone: {tarball.relpath} is dated later than {moment.stamp}, so it does not count"


def _marked(tree: Tree, given: Mapping[str, Any], check_mode: bool) -> tuple[Marks, list[dict[str, Any]]]:
    """Given a tree and marks as a controller hands them over, keep them; return the marks of the tree, and a failure where there is no room.

    Raise AltbackupError where those that it has are damaged: it is not known then what is held.
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
        return marks, [failure(_STAGE, reason)]


def _of_suspects(tree: Tree, copies: Mapping[str, Copies], plan: PurgePlan) -> Iterator[str]:
    """Yield a note on each item of which good copies stay that no rule demands, as a suspect of it is not accepted."""
    source = tree.source or source_of(tree) or "SOURCE"
    for key, item in copies.items():
        frozen = [tarball for tarball in item.tarballs if list(plan.reasons[tarball.relpath]) == [FROZEN]]
        if frozen:
            relpath = max(item.suspects, key=lambda relpath: split_relpath(relpath)[2])
            accept = extra_vars({"altbackup_accept": [f"{source}/{key}"]})
            yield (
                f"{counted(len(frozen), 'older copy', 'older copies')} of {key} {'stays' if len(frozen) == 1 else 'stay'}: suspect {relpath} is "
                f"not accepted: {'; '.join(item.suspects[relpath])}. Look at it, then accept it, if it is what it should be: "
                f"ansible-playbook -i INVENTORY altbackup.core.mark {accept}"
            )


def _of_waiting(tree: Tree, waiting: Sequence[str]) -> Iterator[str]:
    """Yield a note on how many of which items are to go, but in a later run."""
    groups = by_item(waiting)
    if groups:
        numbers = [f"{len(relpaths)} of {'/'.join(relpaths[0].split('/')[:2])}" for relpaths in groups[:_NAMED]]
        if len(groups) > _NAMED:
            numbers.append(f"{sum(map(len, groups[_NAMED:]))} of {len(groups) - _NAMED} more items")
        yield (
            f"{len(waiting)} tarballs in {tree.base} are no longer to be kept, but wait for the next runs ({', '.join(numbers)}): a run removes "
            "at most one more of an item than it added, the oldest first"
        )


def _nothing(tree: Tree, names: Sequence[str] | None, there: Collection[str]) -> Iterator[str]:
    """Yield why there is nothing to purge: no data is never success."""
    if names is None and not there:
        yield f"no tarballs in {tree.base}: there is nothing to purge"
    for name in names or ():
        if name not in there:
            yield f"no tarballs of {name} in {tree.base}: there is nothing of it to purge"


def _matching(
    tree: Tree, items: Mapping[str, Sequence[Tarball]]
) -> tuple[dict[str, list[Tarball]], dict[str, dict[str, Any]]]:
    """Return the tarballs whose bytes match their dna, and of the others {relpath: failure}."""
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
            bad[tarball.relpath] = failure(_STAGE, reason, relpath=tarball.relpath)
    return matching, bad


def _put_away(tree: Tree, tarball: Tarball, gone: str, day: str, came: str) -> bool:
    """Keep a tarball that was taken out in the trash, of a day, or delete it if none is given; return whether it is deleted.

    Its empty folders and its record go. Raise AltbackupError or OSError; what cannot be deleted is reported by each purge until it can.
    """
    is_kept = bool(day) and keep_in_trash(tree, tarball, gone, day, came)
    prune_empty(os.path.dirname(tree.path(tarball.relpath)), tree.path(tarball.key))
    _remove_record(tree, tarball.key, tarball.stamp)
    if not is_kept:
        shutil.rmtree(gone)
    return not is_kept


def _remove_record(tree: Tree, key: str, stamp: str) -> bool:
    """Remove the record of a dump, unless a tarball of that stamp is still there; return whether it is removed."""
    folder = tree.path(f"{key}/{stamp}")
    if os.path.isdir(folder) and any(name.endswith(EXTENSIONS) for name in os.listdir(folder)):
        return False
    record = record_path(tree, key, stamp)
    remove_if_there(record)
    if os.path.isdir(os.path.dirname(record)):
        prune_empty(os.path.dirname(record), tree.private_path("records"))
    return True


def _tidy(tree: Tree, key: str) -> bool:
    """Remove what killed purges left of an item: records without a tarball and dated folders without anything.

    Return whether there was any. Raise BaseUnusable where a link is in the place of the records, or OSError.
    """
    with opened_private(tree, tree.private_path("records", *key.split("/"))) as top:
        walk = os.fwalk(".", dir_fd=top) if top is not None else ()
        found = [os.path.normpath(os.path.join(parent, name)) for parent, _, names, _ in walk for name in names]
    stamps = [path[: -len(".json")] for path in found if path.endswith(".json") and is_stamp(path[: -len(".json")])]
    removed = [stamp for stamp in stamps if _remove_record(tree, key, stamp)]
    dated = [parent for parent, _, _ in os.walk(tree.path(key), topdown=False) if os.path.basename(parent).isdecimal()]
    empty = [folder for folder in dated if not os.listdir(folder)]
    for folder in empty:
        prune_empty(folder, tree.path(key))
    return bool(removed or empty)
