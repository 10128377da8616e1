"""Rot: which older tarballs a run reads again, and what is done with those that no longer match their dna.

They are moved to the quarantine, so that they do not count, are not sent and not restored, and a good copy can replace them. One that cannot be read stays
where it is, as the disk or its connection may be at fault instead of the content.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Tuple, Union

from ..system.digest import digest_file
from ..system.errors import FULL, AltbackupError
from ..system.units import counted, first_of
from ..tree.arrivals import arrivals
from ..tree.digests import digests
from ..tree.failures import explain, failure
from ..tree.layout import Tarball, Tree
from ..tree.publish import make_folders, point_last, remove_folder
from ..tree.quarantine import (
    Quarantined,
    complete_moves,
    healing_folder,
    note_healed,
    note_since,
    quarantined,
    remove,
    set_apart,
)
from ..tree.readings import due_share, files_of, is_fresh, keep_readings, readings
from ..tree.scan import Scan
from ..tree.sidecar import Dna
from ..tree.stamps import Moment

ReadResult = Union[Tuple[str, int], OSError]
"""Result of reading a tarball: (digest, bytes), or the error"""
NOTHING: dict[str, Any] = {"quarantined": [], "healed": [], "notes": []}
"""Result if nothing could be quarantined"""
LEFT = "it stays where it is: its disk, or what leads there, may be at fault, and not what is on it"
_STAGE = "check"
_MOST = 1000
"""Maximum number of quarantined tarballs that one call returns; later runs return the others"""
_NAMED = 10
"""Maximum number of names of one file in a failure"""


@dataclass
class RotCheck:
    """The state of a check that may move tarballs: a scan of the tree, and when its tarballs were read."""

    tree: Tree
    whole: Scan
    """Scan of the whole base; quarantined tarballs are removed from it"""
    moment: Moment
    days: int
    """Days in which all tarballs are to be read once; 0 to read only those of the check"""
    last_read: dict[str, str]
    """{relpath: stamp of its last reading}"""
    failures: list[dict[str, Any]] = field(default_factory=list)


def begin_check(tree: Tree, whole: Scan, moment: Moment, days: int) -> RotCheck:
    """Return the state of a check; the lock of the tree is held. Damaged readings are a failure, and count as none."""
    try:
        return RotCheck(tree, whole, moment, days, readings(tree))
    except (AltbackupError, OSError) as error:
        return RotCheck(tree, whole, moment, days, {}, [failure(_STAGE, error)])


def due_tarballs(rot_check: RotCheck, tonight: Sequence[Tarball]) -> list[Tarball]:
    """Return the tarballs to read in addition to `tonight`: the share of one night, and those with a wrong size."""
    if not rot_check.days:
        return []
    read = {tarball.inode for tarball in tonight}
    others = [tarball for tarball in rot_check.whole.tarballs if tarball.dna is not None and tarball.inode not in read]
    files = files_of(others, rot_check.last_read, rot_check.moment)
    due = {*due_share(files, rot_check.days, rot_check.moment), *(one.inode for one in others if not one.verified)}
    return [tarball for tarball in others if tarball.inode in due]


def other_names(rot_check: RotCheck, read: Sequence[Tarball]) -> list[Tarball]:
    """Return the other hard links of the files that a check reads."""
    inodes = {tarball.inode for tarball in read}
    given = {tarball.relpath for tarball in read}
    return [
        tarball
        for tarball in rot_check.whole.tarballs
        if tarball.inode in inodes and tarball.dna is not None and tarball.relpath not in given
    ]


def quarantine_damaged(
    rot_check: RotCheck, read: Mapping[str, ReadResult], reasons: Mapping[str, str]
) -> dict[str, Any]:
    """Quarantine damaged tarballs, from {relpath: what reading found} and {relpath: message}, and record what was read.

    Return `quarantined`, those that wait for a good copy, `healed`, those that were replaced (relpaths), `notes`, and `failures`, one for each damaged file.
    In an entry of `quarantined`, `reported` and `reason` are relpath and text of its failure of now, empty for one of an earlier run.
    """
    tree, moment, notes, failures = rot_check.tree, rot_check.moment, [], list(rot_check.failures)
    reported: dict[str, dict[str, Any]] = {}
    healed: list[str] = []
    waiting: list[Quarantined] = []
    for names in _damaged_files(rot_check.whole.tarballs, read):
        moved = []
        unsteady = _unsteady(tree, names[0], read[names[0].relpath])
        if unsteady:
            reason = f"{reasons.get(names[0].relpath, names[0].relpath)}; {unsteady}"
            failures.append(failure(_STAGE, reason, relpath=names[0].relpath))
            continue
        for tarball in names:
            reason = reasons.get(tarball.relpath, f"{tarball.relpath} does not match its dna")
            try:
                found = _as_dna(tarball, read[tarball.relpath])
                moved.append(set_apart(tree, tarball, found, reason, moment, _arrived(tree, tarball)))
                rot_check.whole.tarballs.remove(tarball)
            except (AltbackupError, OSError) as error:
                failures.append(_move_failure(tarball, reason, error))
        if moved:
            failures.append(failure(_STAGE, _message(moved), relpath=moved[0].relpath))
            reported.update(dict.fromkeys((one.relpath for one in moved), failures[-1]))
            waiting += moved
    try:
        _store_readings(rot_check, read)
        notes += _complete_moves(rot_check)
        keys = {entry.key for entry in waiting}
        entries, problems = quarantined(tree)
        failures += [failure(_STAGE, problem, relpath=relpath) for relpath, problem in problems]
        waiting, healed = _review_quarantine(rot_check, entries, reported, notes, failures)
        remove_folder(healing_folder(tree))
        if waiting:
            make_folders(healing_folder(tree), tree.private)
        _point_last(rot_check, keys)
    except (AltbackupError, OSError) as error:
        failures.append(failure(_STAGE, error))
    return {
        "quarantined": [
            {
                "relpath": entry.relpath,
                "dig": entry.dna.dig,
                "size": entry.dna.size,
                "alg": entry.dna.alg,
                "read": entry.read.dig if entry.read else "",
                "read_size": entry.read.size if entry.read else 0,
                "told": reported[entry.relpath]["relpath"] if entry.relpath in reported else "",
                "reason": reported[entry.relpath]["reason"] if entry.relpath in reported else "",
                "since": entry.since,
            }
            for entry in sorted(waiting, key=lambda entry: entry.relpath not in reported)[:_MOST]
            if entry.dna is not None
        ],
        "healed": healed,
        "notes": notes,
        "failures": failures,
    }


def bad_survivors(
    tree: Tree, staying: Sequence[Tarball], moment: Moment, days: int, *, noting: bool
) -> tuple[list[Tarball], list[dict[str, Any]]]:
    """Read the tarballs that a purge would leave, if they were not read within `days` days.

    Return those that are damaged or unreadable, and a failure for each: nothing is removed of such an item. With `noting` the readings are recorded, and
    damaged ones are marked, so that the next check reads and quarantines them first.
    """
    if not staying:
        return [], []
    try:
        last_read = readings(tree)
    except (AltbackupError, OSError):
        last_read = {}  # the check reports it
    files = files_of(staying, last_read, moment)
    stale = [tarball for tarball in staying if tarball.dna and not is_fresh(files[tarball.inode], days, moment)]
    read = digests({tree.path(tarball.relpath): tarball.dna for tarball in stale if tarball.dna}) if stale else {}
    bad, failures = [], []
    noted = dict(last_read)
    for tarball in stale:
        outcome = read[tree.path(tarball.relpath)]
        if tarball.dna and outcome == (tarball.dna.dig, tarball.dna.size):
            noted[tarball.relpath] = moment.stamp
            continue
        bad.append(tarball)
        if isinstance(outcome, OSError):
            reason = f"{tarball.relpath} cannot be read: {explain(outcome)}; {LEFT}"
        else:
            reason = f"{tarball.relpath} does not match its dna; the next check sets it apart, and fetches a good copy"
            noted[tarball.relpath] = ""
        failures.append(failure("purge", f"{reason}. Nothing of this item was removed", relpath=tarball.relpath))
    if noting and noted != last_read:
        try:
            keep_readings(tree, noted)
        except OSError as error:
            if error.errno not in FULL:
                raise
            failures.append(
                failure("purge", f"what was read could not be written down, and is read again: {explain(error)}")
            )
    return bad, failures


def _damaged_files(tarballs: Sequence[Tarball], read: Mapping[str, ReadResult]) -> list[list[Tarball]]:
    """Return the tarballs that do not match their dna, grouped by file, the newest first."""
    files: dict[tuple[int, int], list[Tarball]] = {}
    for tarball in sorted(tarballs, key=lambda tarball: tarball.stamp, reverse=True):
        outcome = read.get(tarball.relpath)
        if isinstance(outcome, tuple) and tarball.dna and outcome != (tarball.dna.dig, tarball.dna.size):
            files.setdefault(tarball.inode, []).append(tarball)
    return list(files.values())


def _unsteady(tree: Tree, tarball: Tarball, outcome: ReadResult) -> str:
    """Read a damaged tarball again from disk; return why it is not moved if the result differs, else an empty text.

    A different result points to the machine's memory or the connection of its disk, so that other results are not reliable either.
    """
    path, alg = tree.path(tarball.relpath), tarball.dna.alg if tarball.dna else ""
    try:
        again = digest_file(path, alg, from_disk=True)
    except (AltbackupError, OSError) as error:
        return f"the next time it could not be read: {explain(error)}; {LEFT}"
    if again == outcome:
        return ""
    return f"the next time {alg} is {again[0]} over {again[1]} bytes; {LEFT}. Look at the memory of this machine, too"


def _as_dna(tarball: Tarball, outcome: ReadResult) -> Dna | None:
    if tarball.dna is None or isinstance(outcome, OSError):
        return None
    return Dna(outcome[0], outcome[1], tarball.dna.alg)


def _message(moved: Sequence[Quarantined]) -> str:
    """Return the message on the names of one damaged file."""
    others = [entry.relpath for entry in moved[1:]]
    also = ""
    if others:
        also = f"; the same file stood under {counted(len(others), 'other stamp')}, and was moved there, too: {first_of(others, _NAMED)}"
    return f"{moved[0].reason}; it was moved to {moved[0].folder}{also}"


def _arrived(tree: Tree, tarball: Tarball) -> str:
    """Return the stamp of the run in which a tarball arrived, empty if unknown."""
    with contextlib.suppress(AltbackupError, OSError):  # the purge reports a damaged file
        return arrivals(tree, tarball.key).get(tarball.relpath, "")
    return ""


def _point_last(rot_check: RotCheck, keys: Collection[str]) -> None:
    """Update the link `last` of items with a quarantined tarball to the newest one that remains."""
    for key in keys:
        stamps = [tarball.stamp for tarball in rot_check.whole.verified() if tarball.key == key]
        if stamps:
            point_last(rot_check.tree, key, max(stamps), rot_check.moment)


def _complete_moves(rot_check: RotCheck) -> list[str]:
    """Complete the moves of a killed call; return a note on each."""
    done = complete_moves(rot_check.tree, rot_check.whole.orphans)
    rot_check.whole.orphans[:] = [relpath for relpath in rot_check.whole.orphans if relpath not in done]
    return [f"moved {path} after its tarball to the quarantine, as a killed call had not come to it" for path in done]


def _move_failure(tarball: Tarball, reason: str, error: AltbackupError | OSError) -> dict[str, Any]:
    return failure(
        _STAGE, f"{reason}; it could not be moved to the quarantine: {explain(error)}", relpath=tarball.relpath
    )


def _review_quarantine(
    rot_check: RotCheck,
    entries: Sequence[Quarantined],
    reported: Collection[str],
    notes: list[str],
    failures: list[dict[str, Any]],
) -> tuple[list[Quarantined], list[str]]:
    """Mark quarantined tarballs that were replaced, and remove those that are no longer needed.

    Return those that wait for a good copy, and the relpaths of replaced ones.
    """
    tree, moment = rot_check.tree, rot_check.moment
    standing = {tarball.relpath: tarball.dna for tarball in rot_check.whole.verified()}
    contents = {(dna.alg, dna.size, dna.dig) for dna in standing.values() if dna}
    items = {tarball.key for tarball in rot_check.whole.verified()}
    waiting = []
    healed = []
    for found in entries:
        entry = found
        try:
            entry = found if found.since else note_since(found, moment)
            there = standing.get(entry.relpath)
            if not entry.healed and there is not None and entry.is_same(there):
                entry = note_healed(entry, moment)
                notes.append(f"a good copy of {entry.relpath} stands in its place again; {_kept_note(entry)}")
            same = entry.dna is not None and (entry.dna.alg, entry.dna.size, entry.dna.dig) in contents
            if entry.is_due(moment) and (entry.healed or same):
                remove(tree, entry)
                notes.append(
                    f"removed {entry.folder}, where {entry.relpath}, which had rotted, was kept since {entry.since}"
                )
                continue
        except OSError as error:
            failures.append(failure(_STAGE, error, relpath=entry.relpath))
        if entry.healed:
            healed += [entry.relpath] if entry.relpath in standing else []
            continue
        if entry.relpath not in reported:
            text = (
                f"{entry.relpath} lies in {entry.folder} since {entry.since}, as its bytes are not what its dna says, and no good copy of it has "
                "come back"
            )
            if entry.key in items:
                notes.append(text)
            else:
                failures.append(
                    failure(_STAGE, f"{text}, nor is any other tarball of its item here", relpath=entry.relpath)
                )
        if not entry.is_due(moment):
            waiting.append(entry)
    return waiting, healed


def _kept_note(entry: Quarantined) -> str:
    return f"what had rotted is kept in {entry.folder}"


def _store_readings(rot_check: RotCheck, read: Mapping[str, ReadResult]) -> None:
    """Record what was read, and remove the readings of tarballs that are gone. Raise OSError."""
    now = rot_check.moment.stamp
    noted: dict[str, str] = {}
    for tarball in rot_check.whole.tarballs:
        outcome = read.get(tarball.relpath)
        if tarball.dna is not None and outcome == (tarball.dna.dig, tarball.dna.size):
            noted[tarball.relpath] = now
        elif tarball.relpath in rot_check.last_read:
            noted[tarball.relpath] = rot_check.last_read[tarball.relpath]
    if noted != rot_check.last_read or rot_check.failures:
        keep_readings(rot_check.tree, noted)
