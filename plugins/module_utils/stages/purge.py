"""Purge: removing the verified tarballs that no retention rule keeps, and nothing else."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..tree.failures import failure
from ..tree.layout import Tree, item_key, split_relpath
from ..tree.leftovers import remove_outgoing
from ..tree.marks import held_here
from ..tree.publish import require_writable
from ..tree.rulings import parse_ruling
from ..tree.scan import Scan, of_items, scan
from ..tree.scan_failures import ahead, unreadable
from ..tree.stamps import Moment, day_of
from ..tree.trash import complete_removals, expired, kept_ones, last_links
from .care import Safeguards, withhold
from .purge_notes import as_judged, left_alone, newest_good, notes_of_suspects, notes_of_waiting, nothing_there
from .purge_plan import STAGE, Copies, PurgePlan, Reviewed, plan_purge, plan_reviewed
from .purge_removal import clean_up, count_late, count_removed, empty_trash, links_of, remove_going
from .purge_survey import copies_of, counting_items, matching_tarballs, merge_marks, needed_fulls, parse_awaited
from .rot import bad_survivors


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
    safeguards: Safeguards = Safeguards(),  # noqa: B008 (it is frozen)
    reverify_days: int = 0,
    awaited: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    found: Scan | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Remove the tarballs of a base that no rule keeps; return what was kept, removed and left alone.

    `keep` and `rules` are as parse_ruling takes them. `names` (category/name) limits the purge to these items. Tarballs later than `moment` are left alone,
    are reported and do not count. With `verify` each tarball that would count is read first, and one that does not match its dna does not count. With
    `reverify_days` the remaining tarballs of an item of which something is removed are read, if that was not done within as many days. `found` is a scan of
    the base, if there is one already. `awaited`, {item: dna}, are contents that other nodes lost and need from here, so they stay. `predicted` are relpaths
    that a run in check mode would have made.

    Of each item at most one more is removed than the run of the stamps `made_now` added to this node, the oldest first; the others are `waiting`. What the
    `safeguards` withhold is neither removed nor waiting. With `only` nothing but these tarballs is removed, and each of them that is not is a failure.
    `marks`, as a controller passes them, are stored, and `held` are the tarballs that are held here. Raise AltbackupError if nothing can be done.
    """
    ruling = parse_ruling(keep, rules or {}, "purge")
    predicted_items: dict[str, list[tuple[str, str]]] = {}
    for category, name, stamp, filename in map(split_relpath, predicted):
        predicted_items.setdefault(f"{category}/{name}", []).append((stamp, filename))
    tree = require_writable(base)
    if not check_mode and not tree.source:
        remove_outgoing(tree)  # its hard links would keep the blocks of removed tarballs
    known, mark_failures = merge_marks(tree, marks or {}, check_mode)
    notes, failures = complete_removals(tree, check_mode=check_mode)
    failures += mark_failures
    changed = bool(notes)
    keys = None if names is None else set(names)
    found = scan(tree, keys=keys, tolerate_unreadable=True) if found is None else of_items(found, keys)
    items, unverified = counting_items(found, moment)
    notes += left_alone(tree, found, names, moment)
    if verify:
        items, bad = matching_tarballs(tree, items)
        unverified += bad
        failures += bad.values()
    there = {tarball.key for tarball in found.tarballs}.union(predicted_items)
    failures += [failure(STAGE, reason) for reason in nothing_there(tree, names, there)]
    failures += [*unreadable(found, STAGE), *ahead(tree, moment, keys)]
    unseen = {item_key(relpath) for relpath, _ in found.unreadable}
    copies, unknown = copies_of(
        tree, items, ruling, predicted_items, unseen, known, needed_fulls(found, items), parse_awaited(awaited or {})
    )
    failures += unknown
    plan = plan_purge(copies, made_now, moment.stamp)
    judged = [tarball for item in copies.values() for tarball in item.tarballs]
    numbers = {**dict.fromkeys(copies, 0), **Counter(tarball.key for tarball in plan.due)}
    withheld = withhold(tree, numbers, {key: vars(item.rules) for key, item in copies.items()}, safeguards, moment)
    notes += withheld.notes
    failures += withheld.failures
    plan = plan.without(withheld.items)
    due = plan.due
    if only is not None:
        plan, refused = plan_reviewed(tree, plan, judged, only)
        failures += refused
    plan, stale = _without_damaged(tree, copies, plan, moment, reverify_days, noting=not check_mode)
    failures += stale
    today = day_of(moment.clock)
    removed = dict.fromkeys(plan.going(), not safeguards.trash_days)
    failed: set[str] = set()
    problems: list[dict[str, Any]] = []
    if not check_mode:
        uncounted = count_removed(tree, len(plan.going()))
        came = {relpath: run for item in copies.values() for relpath, run in item.came.items()}
        removed, failed, problems = remove_going(tree, plan, today if safeguards.trash_days else "", came)
        if uncounted:  # there may be free space now
            problems += count_late(tree, len(removed))
    failures += problems
    gone = failed.union(tarball.relpath for tarball in removed)
    waiting = [tarball.relpath for tarball in due if tarball.relpath not in gone]
    deleted = [tarball for tarball, is_deleted in removed.items() if is_deleted]
    expired_entries = (
        []
        if safeguards.trash_days is None or not safeguards.allows(moment)
        else expired(kept_ones(tree), today, safeguards.trash_days)
    )
    freed = last_links(
        [*map(links_of, deleted), *(links for one in expired_entries if check_mode for links in one.tarballs)]
    )
    if not check_mode:
        staying = [tarball for tarball in found.tarballs if tarball not in removed]
        tidied, untidy = clean_up(tree, items, copies, staying)
        emptied, trash_notes, trash_failures = empty_trash(
            tree, today if safeguards.allows(moment) else "", safeguards.trash_days, staying
        )
        changed, freed = changed or tidied or bool(emptied), freed + emptied
        notes += trash_notes
        failures += [*untidy, *trash_failures, *withheld.remember(tree)]
    return {
        "changed": changed or bool(removed) or bool(expired_entries),
        "kept": [tarball.relpath for tarball in judged if tarball.relpath not in gone],
        "waiting": waiting,
        "newest": newest_good(copies),
        "suspects": {path: [*why] for item in copies.values() for path, why in item.suspects.items()},
        "free": shutil.disk_usage(tree.private).free,
        "removed": [tarball.relpath for tarball in removed],
        "reasons": {relpath: [*why] for relpath, why in plan.reasons.items()},
        "judged": [as_judged(tarball) for tarball in judged if tarball.dna],
        "unverified": unverified,
        "marks_kept": not mark_failures,
        "held": held_here(tree, known),
        "notes": [*notes, *notes_of_suspects(tree, copies, plan), *notes_of_waiting(tree, waiting)],
        "bytes_freed": freed,
        "bytes_in_trash": last_links(links_of(tarball) for tarball, is_deleted in removed.items() if not is_deleted),
        "failures": failures,
    }


def _without_damaged(
    tree: Tree, copies: Mapping[str, Copies], plan: PurgePlan, moment: Moment, days: int, *, noting: bool
) -> tuple[PurgePlan, list[dict[str, Any]]]:
    """Read the remaining tarballs of items of which something is removed, if they were not read within `days` days (0: read nothing).

    Return the plan without items of which a remaining tarball is damaged, and failures.
    """
    going = {tarball.key: tarball for tarball in plan.going()} if days else {}
    due = {tarball.relpath for tarball in plan.due}
    staying = [one for key in going for one in copies[key].tarballs if one.relpath not in due]
    bad, failures = bad_survivors(tree, staying, moment, days, noting=noting)
    return replace(plan, allowed={**plan.allowed, **dict.fromkeys((one.key for one in bad), 0)}), failures
