"""Placement of a restored file or folder by one rename: afterwards either the new or the old one is at the destination, complete.

A journal in this user's own state records the replacement, so that the next attempt completes or reverts what a killed one left: the new
file or folder, the name for the old one, and the previous marker. Folders are held open throughout, so that whoever may write beside the
destination cannot redirect any step.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError
from ..system.opened import inode_of, names_in, walked
from ..system.own_state import opened_state
from ..system.processes import Deadline, run
from ..system.programs import find_tool
from ..system.renames import EXCHANGE, NO_REPLACE, UNSUPPORTED, renameat2
from ..system.visible import printable
from ..tree.completed import describe, remember
from ..tree.layout import TEMPORARY
from ..tree.publish import flush_folder, remove_if_there
from ..tree.restored import marker_text, remove_marker, require_marker_place, write_marker
from .destination import require_place_in
from .work_folder import JOURNAL, Work, by_descriptor, is_under_way, read_json, remove, state_key, write_json

_OLD = "old"
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Placement:
    """A planned replacement, as the journal records it beforehand."""

    path: str
    """Path of the new file or folder, below the work folder"""
    new: list[int] | None
    """Its [device, inode]"""
    old: list[int] | None
    """[device, inode] of what is at the destination, None for nothing"""
    aside: str
    """Name to which that is moved; empty if nothing may be there"""
    marked: str
    """Path beside which the marker is written; empty for none"""
    marker: str | None
    """Text of the previous marker, None if there was none"""
    done: dict[str, Any] | None
    """Description of the restored order, to be remembered"""


def _parse_placement(journal: Mapping[str, Any], destination: str) -> Placement:
    """Return the placement in a journal; keys that another version did not write count as empty."""
    before, done, aside = journal.get("marker"), journal.get("done"), os.path.basename(str(journal.get("aside") or ""))
    return Placement(
        str(journal.get("path")),
        journal.get("new"),
        journal.get("old"),
        aside,
        str(journal.get("marked", destination)),
        before if isinstance(before, str) else None,
        done if isinstance(done, dict) else None,
    )


def clear(work: Work, *, keep: bool = False) -> list[str]:
    """Complete or revert what a killed attempt left in a work folder and empty it, but for arrived tarballs with `keep`; return notes.

    Raise AltbackupError or OSError: the work folder, which may hold what was at the destination, is then unchanged.
    """
    notes = _recover(work, _read_journal(work)) if is_under_way(work) else []
    kept = os.path.basename(work.arriving) if keep else ""
    for name in sorted(names_in(work.descriptor)):
        if name != kept:
            notes.append(f"removed {printable(name)}, which an earlier restore had left in {work.title}")
            remove(f"{work.path}/{name}")
    if not keep and os.path.dirname(work.arriving) != work.title:
        remove(work.arrived)
    return notes


def _recover(work: Work, placement: Placement) -> list[str]:
    """Complete or revert the placement of a killed attempt; return notes."""
    placed, notes = _finish(work, placement)
    if not placed:
        return notes
    aside = os.path.join(os.path.dirname(work.destination), placement.aside)
    what = f"; what stood there is {aside}" if placement.aside and placement.old else ""
    return [f"{work.destination} was restored by an attempt that was killed at its end{what}", *notes]


def placed_by_killed(destination: str) -> dict[str, Any] | None:
    """Return what will be remembered of what is at the destination, if a killed attempt put it there, else None.

    Nothing is changed. Raise AltbackupError or OSError.
    """
    with opened_state(state_key(destination)) as (state, _), walked(os.path.dirname(destination)) as (steps, missing):
        known = _parse_placement(read_json(state, JOURNAL) or {}, destination)
        there = None if missing else inode_of(steps[-1].descriptor, os.path.basename(destination))
    return {**known.done, "id": there} if known.done and there is not None and there == known.new else None


def _read_journal(work: Work) -> Placement:
    journal = read_json(work.state, JOURNAL)
    if journal is None:
        raise AltbackupError(
            f"{os.readlink(by_descriptor(work.state))}/{JOURNAL} cannot be read: a restore was ended, and what stood at {work.destination} may be in "
            f"{work.title}. Nothing was touched: look at both, put the one that is wanted in its place, and remove both folders"
        )
    return _parse_placement(journal, work.destination)


def _require_same_parent(work: Work) -> None:
    """Raise AltbackupError if the destination's folder is no longer the one that is held open."""
    folder = os.path.dirname(work.destination)
    with walked(folder) as (steps, missing):
        if missing or not os.path.samestat(os.fstat(steps[-1].descriptor), os.fstat(work.parent)):
            raise AltbackupError(
                f"{folder} was moved away, or another folder put in its place, while {work.destination} was being restored: nothing was restored"
            )


def place(
    work: Work,
    new: str,
    *,
    aside: str = "",
    marker: str,
    deadline: Deadline,
    marked: str | None = None,
    order: Mapping[str, Any] | None = None,
    title: str = "",
) -> list[str]:
    """Rename something of a work folder to the destination, flushed and with its marker; return notes.

    The marker is written beside `marked`, by default the destination, or not at all if that is empty. What is at the destination is moved
    to the path `aside`, in the same folder; without that nothing may be there. An `order`, plain JSON values, is remembered as done under
    `title`. Raise AltbackupError or OSError: then the old file or folder is still there, or the work folder is kept, and the next attempt
    restores it.
    """
    destination = work.destination
    marked = destination if marked is None else marked
    require_place_in(work.parent, destination, aside)
    with _marker_folder(work, marked) as folder:
        if marked:
            require_marker_place(folder, marked)
        before = marker_text(folder, marked) if marked else None
    run([find_tool("sync"), "-f", work.path], what=f"flushing {work.title}", deadline=deadline)
    _require_same_parent(work)
    path, status = os.path.relpath(new, work.path), os.lstat(new)
    placement = Placement(
        path,
        [status.st_dev, status.st_ino],
        inode_of(work.parent, work.name),
        os.path.basename(aside),
        marked,
        before,
        describe(work.descriptor, path, order, title) if order else None,
    )
    write_json(work.state, JOURNAL, vars(placement))
    try:
        if marked:
            with _marker_folder(work, marked) as folder:
                write_marker(work.descriptor, folder, marked, marker)
                _flush(folder)
        with _open_new(work, placement) as (folder, name):
            if placement.old:
                _exchange(work, folder, name)
            else:
                _rename_without_replacing(work, folder, name)
        _flush(work.parent)
    except BaseException:
        _finish(work, placement)
        raise
    placed, notes = _finish(work, placement)
    if not placed:
        raise AltbackupError(
            f"somebody put another thing at {destination}{f', or something at {aside},' if aside else ''} while it was being restored: "
            "what stands there was left, and nothing was restored"
        )
    return notes


@contextlib.contextmanager
def _open_new(work: Work, placement: Placement) -> Iterator[tuple[int, str]]:
    """Yield (open folder, name) of the new file or folder, in the work folder."""
    parts = placement.path.split("/")
    if {"", ".", ".."} & set(parts):
        raise AltbackupError(
            f"the journal of a restore of {work.destination} names {placement.path!r}, which is no path in {work.title}"
        )
    with contextlib.ExitStack() as stack:
        folder = work.descriptor
        for part in parts[:-1]:
            folder = os.open(part, _OPEN_FOLDER, dir_fd=folder)
            stack.callback(os.close, folder)
        yield folder, parts[-1]


def _flush(folder: int) -> None:
    """Flush the entries of an open folder, if this user may read it."""
    with contextlib.suppress(PermissionError):
        flush_folder(by_descriptor(folder))


def _finish(work: Work, placement: Placement) -> tuple[bool, list[str]]:
    """Complete a placement, with the old file or folder moved aside, or revert it entirely.

    Return whether the new one is at the destination, and notes.
    """
    notes: list[str] = []
    placed = placement.new is not None and inode_of(work.parent, work.name) == placement.new
    placed = placed and _put_aside(work, placement)
    if not placed:
        if inode_of(work.descriptor, _OLD) is not None:
            renameat2(work.descriptor, _OLD, work.parent, work.name, NO_REPLACE)
            notes.append(f"moved what stood at {work.destination} back, where a killed restore had taken it away")
        _restore_marker(work, placement.marked, placement.marker)
    _flush(work.parent)
    if placed and placement.done:
        notes += remember(work.parent, work.destination, placement.done)
    remove_if_there(f"{by_descriptor(work.state)}/{JOURNAL}")
    return placed, notes


@contextlib.contextmanager
def _marker_folder(work: Work, marked: str) -> Iterator[int]:
    """Yield the open folder of a marker. Raise AltbackupError or OSError."""
    folder = os.path.dirname(marked)
    if folder == os.path.dirname(work.destination) or not marked:
        yield work.parent
        return
    with walked(folder) as (steps, missing):
        if missing:
            raise AltbackupError(f"{folder} was removed while {work.destination} was being restored")
        yield steps[-1].descriptor


def _restore_marker(work: Work, marked: str, before: str | None) -> None:
    """Restore the previous marker, or remove the new one."""
    if not marked:
        return
    with _marker_folder(work, marked) as folder:
        if before is not None:
            write_marker(work.descriptor, folder, marked, before)
        else:
            with contextlib.suppress(AltbackupError):  # not a regular file, so not ours
                remove_marker(folder, marked)
        _flush(folder)


def _put_aside(work: Work, placement: Placement) -> bool:
    """Move the old file or folder aside if the new one is in place; return whether the new one still is.

    If the old one changed since it was inspected, or the name aside is taken, the old one is moved back.
    """
    with contextlib.ExitStack() as stack:
        places = [(work.descriptor, _OLD)]
        with contextlib.suppress(FileNotFoundError):
            places.append(stack.enter_context(_open_new(work, placement)))
        for folder, name in places:
            found = inode_of(folder, name)
            if found is None or found == placement.new:
                continue
            if placement.aside and found == placement.old:
                with contextlib.suppress(FileExistsError):
                    renameat2(folder, name, work.parent, placement.aside, NO_REPLACE)
                    _flush(folder)
                    return True
            _move_back(work, folder, name)
            return False
    return True


def _move_back(work: Work, folder: int, name: str) -> None:
    """Move what is in the work folder back to the destination, and the new file or folder out of it."""
    try:
        renameat2(folder, name, work.parent, work.name, EXCHANGE)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        back = f"{TEMPORARY}{secrets.token_hex(8)}"
        renameat2(work.parent, work.name, work.descriptor, back, NO_REPLACE)
        renameat2(folder, name, work.parent, work.name, NO_REPLACE)


def _exchange(work: Work, folder: int, name: str) -> None:
    """Replace the old file or folder by the new one, atomically if the file system supports it, else by two renames."""
    try:
        renameat2(folder, name, work.parent, work.name, EXCHANGE)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        renameat2(work.parent, work.name, work.descriptor, _OLD, NO_REPLACE)
        renameat2(folder, name, work.parent, work.name, NO_REPLACE)


def _rename_without_replacing(work: Work, folder: int, name: str) -> None:
    try:
        renameat2(folder, name, work.parent, work.name, NO_REPLACE)
    except FileExistsError:
        require_place_in(work.parent, work.destination, "")
        raise
