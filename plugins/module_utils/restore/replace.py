"""Giving a restored thing its place, near which it was made: by one rename, so that what stood there is there, or the new one is.

What is under way is told by a journal in this user's own state, so that the next attempt puts right what a killed one left: the
thing that is to take the place, what is to become of the one that stood there, and the marker as it was. Folders are held open
from the first look to the last rename; whoever may write beside the destination can lead none of it elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError
from ..system.opened import inode_of, walked
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
_LOCK_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Placement:
    """What is to happen at a destination, as the journal has it before it does."""

    path: str
    """The new thing, below the work folder"""
    new: list[int] | None
    """Its device and inode"""
    old: list[int] | None
    """Those of what stands at the destination, if anything does"""
    aside: str
    """The name which that gets; empty where nothing may stand there"""
    marked: str
    """Beside what the marker stands; empty for none"""
    marker: str | None
    """Its text as it was before"""
    done: dict[str, Any] | None
    """What is remembered of what was restored"""


def _parse_placement(journal: Mapping[str, Any], destination: str) -> Placement:
    """Given what a journal holds, return it; what is missing in one that another version wrote is taken for nothing."""
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
    """Given a work folder, put right what a killed attempt left in it and empty it; return notes. With `keep` what arrived stays.

    Raise AltbackupError or OSError: what stood at the destination may then be in the work folder, in which nothing was touched.
    """
    notes = _heal(work, _read_journal(work)) if is_under_way(work) else []
    kept = os.path.basename(work.arriving) if keep else ""
    for name in sorted(os.listdir(work.descriptor)):
        if name != kept:
            notes.append(f"removed {printable(name)}, which an earlier restore had left in {work.title}")
            remove(f"{work.path}/{name}")
    if not keep and os.path.dirname(work.arriving) != work.title:
        remove(work.arrived)
    return notes


def _heal(work: Work, placement: Placement) -> list[str]:
    """Bring what the journal of a killed attempt tells of to its end; return notes."""
    placed, notes = _settle(work, placement)
    if not placed:
        return notes
    aside = os.path.join(os.path.dirname(work.destination), placement.aside)
    what = f"; what stood there is {aside}" if placement.aside and placement.old else ""
    return [f"{work.destination} was restored by an attempt that was killed at its end{what}", *notes]


def left_in_place(destination: str) -> dict[str, Any] | None:
    """Given a destination at which something was left, return what will be remembered of what stands there, where a killed attempt put that.

    Change nothing. Raise AltbackupError or OSError.
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
    """Given something in a work folder, give it its place at the destination, with its marker, all of it flushed; return notes.

    The marker stands beside `marked`, by default the destination; there is none if that is empty. What stands at the destination goes
    to the path `aside`, in the same folder; without that nothing may stand there. With an `order`, plain JSON values, it is remembered
    as done under that title. Raise AltbackupError or OSError: then what stood there still does, or the work folder stays for the next
    attempt to put that right.
    """
    destination = work.destination
    marked = destination if marked is None else marked
    require_place_in(work.parent, destination, aside)
    with _beside(work, marked) as folder:
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
            with _beside(work, marked) as folder:
                write_marker(work.descriptor, folder, marked, marker)
                _flush(folder)
        with _holder(work, placement) as (folder, name):
            if placement.old:
                _exchange(work, folder, name)
            else:
                _rename_to_nothing(work, folder, name)
        _flush(work.parent)
    except BaseException:
        _settle(work, placement)
        raise
    placed, notes = _settle(work, placement)
    if not placed:
        raise AltbackupError(
            f"somebody put another thing at {destination}{f', or something at {aside},' if aside else ''} while it was being restored: "
            "what stands there was left, and nothing was restored"
        )
    return notes


@contextlib.contextmanager
def _holder(work: Work, placement: Placement) -> Iterator[tuple[int, str]]:
    """Yield the open folder in the work folder in which the new thing was made, and its name there."""
    parts = placement.path.split("/")
    if {"", ".", ".."} & set(parts):
        raise AltbackupError(
            f"the journal of a restore of {work.destination} names {placement.path!r}, which is no path in {work.title}"
        )
    with contextlib.ExitStack() as stack:
        folder = work.descriptor
        for part in parts[:-1]:
            folder = os.open(part, _LOCK_FOLDER, dir_fd=folder)
            stack.callback(os.close, folder)
        yield folder, parts[-1]


def _flush(folder: int) -> None:
    """Flush an open folder's entries, where this user may read it."""
    with contextlib.suppress(PermissionError):
        flush_folder(by_descriptor(folder))


def _settle(work: Work, placement: Placement) -> tuple[bool, list[str]]:
    """Bring a placement to its end: the new thing in its place and the old one aside, or all as it was.

    Return whether the new thing is in its place, and notes.
    """
    notes: list[str] = []
    placed = placement.new is not None and inode_of(work.parent, work.name) == placement.new
    placed = placed and _put_aside(work, placement)
    if not placed:
        if inode_of(work.descriptor, _OLD) is not None:
            renameat2(work.descriptor, _OLD, work.parent, work.name, NO_REPLACE)
            notes.append(f"moved what stood at {work.destination} back, where a killed restore had taken it away")
        _unmark(work, placement.marked, placement.marker)
    _flush(work.parent)
    if placed and placement.done:
        notes += remember(work.parent, work.destination, placement.done)
    remove_if_there(f"{by_descriptor(work.state)}/{JOURNAL}")
    return placed, notes


@contextlib.contextmanager
def _beside(work: Work, marked: str) -> Iterator[int]:
    """Yield the open folder in which the marker of something stands. Raise AltbackupError or OSError."""
    folder = os.path.dirname(marked)
    if folder == os.path.dirname(work.destination) or not marked:
        yield work.parent
        return
    with walked(folder) as (steps, missing):
        if missing:
            raise AltbackupError(f"{folder} was taken away while {work.destination} was being restored")
        yield steps[-1].descriptor


def _unmark(work: Work, marked: str, before: str | None) -> None:
    """Let the marker beside something be as it was before."""
    if not marked:
        return
    with _beside(work, marked) as folder:
        if before is not None:
            write_marker(work.descriptor, folder, marked, before)
        else:
            with contextlib.suppress(AltbackupError):  # no file: it is not ours
                remove_marker(folder, marked)
        _flush(folder)


def _put_aside(work: Work, placement: Placement) -> bool:
    """Move what stood at the destination aside, if the new thing is there; return whether the new thing still is.

    Where it is another one than was looked at, or its name is taken, it gets its place back.
    """
    with contextlib.ExitStack() as stack:
        places = [(work.descriptor, _OLD)]
        with contextlib.suppress(FileNotFoundError):
            places.append(stack.enter_context(_holder(work, placement)))
        for folder, name in places:
            found = inode_of(folder, name)
            if found is None or found == placement.new:
                continue
            if placement.aside and found == placement.old:
                with contextlib.suppress(FileExistsError):
                    renameat2(folder, name, work.parent, placement.aside, NO_REPLACE)
                    _flush(folder)
                    return True
            _swap(work, folder, name)
            return False
    return True


def _swap(work: Work, folder: int, name: str) -> None:
    """Give what is in the work folder its place at the destination again, and take the new thing back."""
    try:
        renameat2(folder, name, work.parent, work.name, EXCHANGE)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        back = f"{TEMPORARY}{secrets.token_hex(8)}"
        renameat2(work.parent, work.name, work.descriptor, back, NO_REPLACE)
        renameat2(folder, name, work.parent, work.name, NO_REPLACE)


def _exchange(work: Work, folder: int, name: str) -> None:
    """Put the new thing where the old one stands, in one step where the file system can do that, else in two."""
    try:
        renameat2(folder, name, work.parent, work.name, EXCHANGE)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        renameat2(work.parent, work.name, work.descriptor, _OLD, NO_REPLACE)
        renameat2(folder, name, work.parent, work.name, NO_REPLACE)


def _rename_to_nothing(work: Work, folder: int, name: str) -> None:
    try:
        renameat2(folder, name, work.parent, work.name, NO_REPLACE)
    except FileExistsError:
        require_place_in(work.parent, work.destination, "")
        raise
