"""A store is filled with what its node holds verified, read in turn, counted, and purged by its own rules."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..stages.count import newest_of_each_item, take_tally
from ..system.errors import AltbackupError, DeadlineExceeded, NotMounted
from ..system.processes import Deadline
from ..system.units import counted, first_of, readable
from ..tree.failures import explain, failure
from ..tree.layout import Tarball, open_tree, parse_filename
from ..tree.marks import Marks, marks_of, merged, parse_given
from ..tree.publish import read_record
from ..tree.recorded import recorded
from ..tree.rekeyed import BEFORE
from ..tree.rulings import parse_ruling
from ..tree.scan import Scan, scan
from ..tree.stamps import Moment, day_of, interpret_day, moment_of, today_in
from ..tree.suspects import reasons_of
from .known import Copy, Memory, recall
from .locks import Seen, locker_of, markers_told
from .plan import Held, View, as_tarball, differing, plan_uploads, refreshed, unread_sidecars, view_of
from .presence import absent_disks, absent_store, find
from .purge import purge
from .reading import digested, read_back, read_sidecars
from .remote import Remote
from .settings import parse_store, read_secrets, require_name
from .upload import upload
from .work import EMPTY, STAGE, TOLD, Work


def sync(options: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """Do the `steps` in the module's options for what one node holds of one source; return what was found and done. Raise AltbackupError."""
    store = parse_store(options["store"])
    tree, moment = open_tree(options["base"]), moment_of(options)
    source = str(options["source"] or tree.source or os.path.basename(tree.base))
    require_name(source, "source")
    deadline = Deadline(options["step_timeout"], "store step")
    secrets = read_secrets(store)
    remote = Remote(store, secrets, deadline)
    locker = locker_of(store, secrets, deadline)
    work = Work(store, source, tree, remote, locker, moment, Memory(""), options, check_mode)
    try:
        presence = find(remote, tree, adopted=options["adopt"], check_mode=check_mode)
    except (AltbackupError, OSError) as error:
        return _absent(work, error)
    work.notes += presence.notes
    try:
        work.memory = recall(tree, store.name, presence.id)
    except AltbackupError as error:
        work.memory = Memory(presence.id)
        work.fail(error)
    if store.is_disk:
        away = absent_disks(tree, remote, presence.id, moment)
        work.notes += away.notes
        for reason in away.failures:
            work.fail(reason)
    work.memory = replace(work.memory, seen=moment.stamp)
    return _work_through(work)


def _absent(work: Work, error: AltbackupError | OSError) -> dict[str, Any]:
    """Return what is told of a store that is not there, or not to be used."""
    if not isinstance(error, (NotMounted, DeadlineExceeded)) and not _is_away(error):
        work.fail(error)
        return {**EMPTY, "store": work.store.name, "changed": False, "failures": work.failures}
    why = error if isinstance(error, AltbackupError) else AltbackupError(explain(error))
    absence = absent_store(work.tree, work.remote, why, work.moment)
    for reason in absence.failures:
        work.fail(reason)
    return {**EMPTY, "store": work.store.name, "changed": False, "notes": absence.notes, "failures": work.failures}


def _is_away(error: BaseException) -> bool:
    """Return whether an error says that a store cannot be reached, and not that it refuses."""
    words = (
        "connection refused",
        "no route to host",
        "no such host",
        "i/o timeout",
        "network is unreachable",
        "timed out",
        "connection reset",
        "send request failed",
        ": eof",
    )
    return any(word in str(error).lower() for word in words)


def _work_through(work: Work) -> dict[str, Any]:
    steps = set(work.options["steps"])
    marks = _marks(work)
    ruling = parse_ruling(work.options["keep"], work.options["rules"], STAGE)
    held = _held(work, marks)
    seen = work.locker.seen(work.source) if work.locker else Seen()
    view = _look(work, seen)
    work.disowned = {relpath: copy for relpath, copy in work.memory.copies.items() if relpath in view.damaged}
    copies = refreshed(view.copies, held, marks)
    view = replace(view, copies=copies)
    work.save(copies)
    hidden = {*seen.markers}
    for relpath, reason in markers_told(seen):
        work.fail(reason, relpath)
    _tell(work, held, view)
    keys = work.options["items"]
    rules = {one.key: ruling.of(one.key) for one in held.tarballs if keys is None or one.key in keys}
    uploads = plan_uploads(
        held, view, {key: rule for key, rule in rules.items() if rule}, work.moment, hidden=hidden, holds=marks.holds
    )
    if "upload" in steps:
        copies = upload(work, uploads, copies, held)
    good = digested(work, copies, seen)
    if "check" in steps:
        copies = read_back(work, copies, good, held, every=work.options["scope"] == "all")
    coming = [one.tarball.relpath for one in uploads] if "upload" in steps else []
    counts = _count(work, copies, [*coming, *work.options["predicted"]] if work.check_mode else [])
    until = _locks(work, copies)
    removed: list[str] = []
    freed = 0
    if "purge" in steps:
        copies, removed, freed = purge(work, copies, ruling, marks, held, until)
    work.save(copies)
    waiting = [one.tarball.relpath for one in uploads if one.tarball.relpath not in copies]
    return {
        **EMPTY,
        **counts,
        "store": work.store.name,
        "changed": bool(work.uploaded or work.replaced or removed),
        "uploaded": work.uploaded,
        "replaced": work.replaced,
        "removed": removed,
        "kept": sorted(copies),
        "match": sorted({*work.match, *good}),
        "mismatch": work.mismatch,
        "newest": _newest(copies, work.moment),
        "suspects": {relpath: [*copy.suspect] for relpath, copy in copies.items() if copy.suspect},
        "locked_until": {relpath: _shown(date) for relpath, date in until.items() if relpath in copies},
        "waiting": waiting if "upload" in steps else [],
        "bytes_read": work.read,
        "bytes_freed": freed,
        "wire": work.sent,
        "notes": [*work.notes, *_summary(work, copies, until, held, waiting)],
        "failures": work.failures,
    }


def _marks(work: Work) -> Marks:
    return merged(marks_of(work.tree), parse_given(work.options["marks"]))


def _held(work: Work, marks: Marks) -> Held:
    """Return what the node holds verified, and is known of that."""
    found = scan(work.tree, tolerate_unreadable=True)
    for relpath, why in found.unreadable:
        work.fail(f"folder {work.tree.path(relpath)} cannot be read{why}: what lies there is not put into the store")
    tarballs = [
        one
        for one in found.verified()
        if parse_filename(one.filename, one.name) and not work.moment.is_ahead(one.stamp)
    ]
    return Held(tarballs, _suspects(work, tarballs, marks), recorded(work.tree, tarballs).partial)


def _suspects(work: Work, tarballs: Sequence[Tarball], marks: Marks) -> dict[str, Sequence[str]]:
    """Return {relpath: why it is suspect} of those that nobody accepted; one of which that cannot be known is one."""
    found: dict[str, Sequence[str]] = {}
    for one in tarballs:
        try:
            found.update(reasons_of(work.tree, [one], marks))
        except AltbackupError as error:
            work.fail(error, one.relpath)
            found[one.relpath] = ["its record cannot be read"]
    return found


def _look(work: Work, seen: Seen) -> View:
    """Return what the store has, with the sidecars read that are not known."""
    objects = [replace(entry, path=entry.path[len(work.source) + 1 :]) for entry in work.remote.listing(work.source)]
    digests = {path: version.digest for path, version in seen.latest.items()}
    unread = unread_sidecars(objects, work.memory.copies, digests)
    read = read_sidecars(work.remote, work.source, unread)
    return view_of(objects, work.memory.copies, read, {*seen.markers})


def _tell(work: Work, held: Held, view: View) -> None:
    """Tell what is wrong with what lies in the store."""
    there = {one.relpath for one in held.tarballs}
    for one, copy in differing(held, view):
        dig = one.dna.dig if one.dna else ""
        if read_record(work.tree, one.key, one.stamp).get(BEFORE) == copy.dna.dig:
            work.notes.append(
                f"{one.relpath} is there as it was before it was encrypted anew, for others, and stays so"
            )
            continue
        work.fail(
            f"{one.relpath} is there with {copy.dna.alg} {copy.dna.dig}, but {work.tree.base} has {dig}: neither was touched",
            one.relpath,
        )
    for relpath, what in view.damaged.items():
        work.fail(
            f"{relpath} {what}{'' if relpath in there else '; the node that fills the store has none any more'}",
            relpath,
        )
    for relpath in view.gone:
        what = f"the dna of {relpath}" if relpath in view.halves else relpath
        work.fail(f"{what} was there, and is gone: somebody other than this collection removed it", relpath)
    for relpath in view.orphans:
        if relpath not in view.gone:
            work.fail(f"{relpath} is gone, its dna alone is there", relpath)
    alone = [relpath for relpath in view.halves if relpath not in there]
    work.notes += [
        f"{relpath} has no dna, and the node that fills the store has none such any more: it was left alone"
        for relpath in alone[:TOLD]
    ]
    if len(alone) > TOLD:
        work.notes.append(f"{len(alone) - TOLD} more have no dna")
    if view.strange:
        work.notes.append(
            f"{counted(len(view.strange), 'file')} that are no tarballs lie there and were left alone: {first_of(list(view.strange), 3)}"
        )


def _count(work: Work, copies: Mapping[str, Copy], predicted: Sequence[str]) -> dict[str, Any]:
    """Count the copies of the day against what should be there."""
    options = work.options
    day = interpret_day(options["day"], today_in(options["timezone"]))
    tarballs = [as_tarball(relpath, copy) for relpath, copy in copies.items() if not copy.doubted]
    fulls = {(one.key, one.dna.dig) for one in tarballs if one.dna and one.dna.base is None}
    found = Scan(
        [one for one in tarballs if one.dna and (one.dna.base is None or (one.key, one.dna.base_dig) in fulls)]
    )
    expect = {str(key): int(number) for key, number in (options["expect"] or {}).items()}
    newest = newest_of_each_item(found, list(predicted), day, work.moment)
    tally = take_tally(
        Scan([one for one in found.tarballs if day_of(one.stamp) == day]), expect, options["items"], newest
    )
    if "check" in options["steps"]:
        for key, relpaths in tally.relpaths.items():
            if len(relpaths) != expect[key]:
                got = f": {', '.join(relpaths)}" if relpaths else ""
                plural = "" if expect[key] == 1 else "s"
                reason = f"{work.store.name}: expecting {expect[key]} tarball{plural} for {key} of {work.source} on {day} but got {len(relpaths)}{got}"
                work.failures.append(
                    failure(STAGE, reason, key=key if "/" in key else f"/{key}", absent=len(relpaths) < expect[key])
                )
                work.bad.update(one for one in options["items"] or () if one == key or one.endswith(f"/{key}"))
        for relpath, copy in copies.items():
            if work.moment.is_ahead(as_tarball(relpath, copy).stamp):
                work.fail(
                    f"{relpath} is stamped later than this run: no run can have made it, so it counts nowhere", relpath
                )
    return {
        "day": day,
        "counts": {key: len(paths) for key, paths in tally.relpaths.items()},
        "relpaths": dict(tally.relpaths),
    }


def _locks(work: Work, copies: Mapping[str, Copy]) -> dict[str, float]:
    """Return {relpath: until when it is locked} of those that are, as it was told when they were locked."""
    now = time.time()
    return {relpath: copy.until for relpath, copy in copies.items() if copy.until > now}


def _newest(copies: Mapping[str, Copy], moment: Moment) -> list[dict[str, Any]]:
    """Return the newest good copy of each item."""
    newest: dict[str, str] = {}
    for relpath, copy in copies.items():
        one = as_tarball(relpath, copy)
        good = moment.counts(one.stamp) and not (copy.suspect or copy.partial or copy.doubted)
        if good and (one.key not in newest or newest[one.key] < relpath):
            newest[one.key] = relpath
    return [{"relpath": relpath, "size": copies[relpath].dna.size} for _, relpath in sorted(newest.items())]


def _summary(
    work: Work, copies: Mapping[str, Copy], until: Mapping[str, float], held: Held, waiting: Sequence[str]
) -> list[str]:
    """Return what the store has now, as a sentence or two."""
    bytes_ = sum(copy.dna.size for copy in copies.values())
    unread = sum(1 for copy in copies.values() if not copy.read)
    told = f"the store {work.store.name} has {counted(len(copies), 'tarball')} of {work.source}, {readable(bytes_)}"
    told += f", {unread} of them not read back yet" if unread else ""
    locked = [date for relpath, date in until.items() if relpath in copies]
    if locked:
        told += f", {len(locked)} locked, the last one until {_shown(max(locked))}"
    if waiting and not work.check_mode:
        told += f"; {counted(len(waiting), 'tarball')} not there yet"
    return [told]


def _shown(date: float) -> str:
    return (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(date))
        if date != float("inf")
        else "a legal hold is taken off it"
    )
