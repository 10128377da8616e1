"""Purging a store by its own rules: never what a lock or a hold keeps, nor anything of an item with which something is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from ..stages.purge_plan import Copies, plan_purge
from ..system.errors import AltbackupError
from ..system.units import counted
from ..tree.failures import explain
from ..tree.layout import Tarball
from ..tree.marks import Marks
from ..tree.retention import Rules
from ..tree.rules import fallen
from ..tree.rulings import Ruling
from ..tree.sidecar import SUFFIX
from ..tree.stamps import parse_stamp
from .known import Copy
from .plan import Held, as_tarball, private_path
from .work import Work


def purge(
    work: Work, copies: Mapping[str, Copy], ruling: Ruling, marks: Marks, held: Held, until: Mapping[str, float]
) -> tuple[dict[str, Copy], list[str], int]:
    """Remove what the rules of the store do not keep; return the copies then, the relpaths of those removed, and their bytes."""
    items = _items(work, copies, ruling)
    known = {key: _copies(work, tarballs, rules, copies, marks, held) for key, (tarballs, rules) in items.items()}
    plan = plan_purge(known, [work.moment.stamp], work.moment.stamp).without(_withheld(work, known, copies))
    now = time.time()
    locked = {one.relpath for one in plan.due if until.get(one.relpath, 0.0) > now}
    removed: list[str] = []
    freed = 0
    left = dict(copies)
    for one in plan.going(locked):
        if not plan.is_free(one, removed):
            continue
        try:
            if not work.check_mode and not _remove(work, one.relpath):
                locked.add(one.relpath)
                continue
        except (AltbackupError, OSError) as error:
            work.fail(f"{one.relpath} could not be removed: {explain(error)}", one.relpath)
            continue
        removed.append(one.relpath)
        freed += one.size
        if not work.check_mode:
            del left[one.relpath]
            work.save(left)
    if locked:
        work.notes.append(
            f"{counted(len(locked), 'tarball')} would go, but the store keeps them locked until their dates"
        )
    if not work.check_mode:
        numbers = {
            key: {word: float(number) for word, number in vars(item.rules).items()} for key, item in known.items()
        }
        work.memory = replace(
            work.memory,
            rules={**work.memory.rules, **{key: numbers[key] for key in known if key not in _fell(work, known)}},
        )
    return left, removed, freed


def _items(work: Work, copies: Mapping[str, Copy], ruling: Ruling) -> dict[str, tuple[list[Tarball], Rules]]:
    """Return {item: its copies that count, oldest first, and its rules} of the items that may be purged."""
    found: dict[str, list[Tarball]] = {}
    for relpath, copy in copies.items():
        one = as_tarball(relpath, copy)
        if work.moment.counts(one.stamp) and not copy.doubted and one.key in (work.options["items"] or ()):
            found.setdefault(one.key, []).append(one)
    known = {}
    for key, tarballs in sorted(found.items()):
        rules = ruling.of(key)
        if rules is not None and key not in work.bad:
            known[key] = (sorted(tarballs, key=lambda one: (one.stamp, one.filename)), rules)
    return known


def _copies(
    work: Work, tarballs: list[Tarball], rules: Rules, copies: Mapping[str, Copy], marks: Marks, held: Held
) -> Copies:
    own = {one.relpath: copies[one.relpath] for one in tarballs}
    return Copies(
        tarballs,
        rules,
        came={relpath: copy.came for relpath, copy in own.items() if copy.came},
        partial=[relpath for relpath, copy in own.items() if copy.partial],
        suspects={relpath: copy.suspect for relpath, copy in own.items() if copy.suspect},
        holds=marks.holds,
    )


def _fell(work: Work, known: Mapping[str, Copies]) -> dict[str, str]:
    """Return {item: what fell of its rules since the last purge, and is not confirmed}."""
    if work.options["confirm"]:
        return {}
    now = {key: {word: float(number) for word, number in vars(item.rules).items()} for key, item in known.items()}
    return {
        key: ", ".join(f"{word} from {then:g} to {number:g}" for word, then, number in words)
        for key, words in fallen(work.memory.rules, now).items()
    }


def _withheld(work: Work, known: Mapping[str, Copies], copies: Mapping[str, Copy]) -> dict[str, str]:
    """Return {item: why nothing of it goes}: rules that fell, and copies that stay and were not read for too long."""
    withheld: dict[str, str] = {}
    for key, words in _fell(work, known).items():
        work.fail(
            f"of {key} less is to be kept than before ({words}): nothing of it was removed. If it is meant: -e altbackup_purge_confirm=true",
            f"{key}/",
        )
        withheld[key] = "a rule fell"
    days = work.options["reverify_days"]
    since = (parse_stamp(work.moment.stamp) - timedelta(days=max(days, 1) + 1)).strftime("%Y/%m/%d/%H%M%S")
    for key, item in known.items():
        if key not in withheld and any(copies[one.relpath].read < since for one in item.tarballs):
            withheld[key] = "a copy of it was not read lately"
    return withheld


def _remove(work: Work, relpath: str) -> bool:
    """Remove a tarball, its sidecar first, so that nothing vouches for what is half gone; return whether nothing keeps it. Raise AltbackupError."""
    path = work.at(relpath)
    if work.locker and any(work.locker.is_locked(name) for name in (path, path + SUFFIX)):
        return False
    for name in (path + SUFFIX, path, private_path(work.source, "records", relpath)):
        work.remove(name)
    return True
