"""Giving a restored thing its place, near which it was made: by one rename, so that what stood there is there, or the new one is.

What is under way is told by a journal in this user's own state, so that the next attempt puts right what a killed one left: the
thing that is to take the place, what is to become of the one that stood there, and the marker as it was. Folders are held open
from the first look to the last rename; whoever may write beside the destination can lead none of it elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError, InvalidInput, Locked
from ..system.opened import Step, inode_of, make_below, mount_of, open_own, prune_below, walked
from ..system.own_state import has_state, opened_state
from ..system.processes import Deadline, find_tool, inherited, run
from ..system.seeing import is_impossible
from ..system.units import readable
from ..system.visible import printable
from ..tree.completed import describe, remember
from ..tree.layout import TEMPORARY
from ..tree.publish import flush_folder, remove_folder, remove_if_there, write_text
from ..tree.restored import marker_text, remove_marker, require_marker_place, write_marker

_NOREPLACE, _EXCHANGE = 1, 2
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
_STATES = "restores"
_JOURNAL = "journal"
_WORK = "work"
_OLD = "old"
_LOCK_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True)
class Nearest:
    """The nearest folder above a destination, the bytes that are free in it, and whether others between them are missing."""

    path: str
    free: int
    missing: bool


@dataclass(frozen=True)
class Work:
    """The private folder in which a destination is restored, held by this call alone."""

    path: str
    """The folder as this process and its children see it, wherever somebody moves it"""
    title: str
    """Where it was made"""
    destination: str
    descriptor: int
    parent: int
    """The folder of the destination, as an open one"""
    state: int
    """Where what is under way is remembered, as an open folder"""
    arriving: str
    """The folder in which others may put files by its path"""

    @property
    def name(self) -> str:
        """The destination's name in its folder."""
        return os.path.basename(self.destination)

    @property
    def arrived(self) -> str:
        """The folder in which files arrived, as it is held open."""
        top = self.path if os.path.dirname(self.arriving) == self.title else _opened(self.state)
        return f"{top}/{os.path.basename(self.arriving)}"

    @property
    def place(self) -> str:
        """The destination, in the folder that is held open."""
        return f"{_opened(self.parent)}/{self.name}"

    def folder(self, name: str) -> str:
        """Make an empty folder in it, and return its path."""
        path = f"{self.path}/{name}"
        _remove(path)
        os.mkdir(path, 0o700)
        return path

    def clear_arriving(self) -> str:
        """Make the folder in which others may put files, empty, and return its path."""
        _remove(self.arrived)
        os.mkdir(self.arrived, 0o700)
        return self.arriving

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Let errors that the block meets tell the folder by its path. Raise them."""
        try:
            yield
        except OSError as error:
            if isinstance(error.filename, str):
                error.filename = self._told(error.filename)
            raise
        except AltbackupError as error:
            error.args = tuple(self._told(part) if isinstance(part, str) else part for part in error.args)
            raise

    def _told(self, text: str) -> str:
        for descriptor, path in ((self.descriptor, self.title), (self.parent, os.path.dirname(self.destination))):
            text = text.replace(f"{_opened(descriptor)}/", f"{path}/")
        return text


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


def _opened(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _key(destination: str) -> str:
    return f"{_STATES}/{hashlib.sha256(os.fsencode(destination)).hexdigest()[:32]}"


def is_left(destination: str) -> bool:
    """Return whether an earlier attempt of this user at a destination left something to see to."""
    return has_state(_key(destination))


def nearest_folder(path: str) -> Nearest:
    """Given a destination, return the nearest folder above it that is there. Raise InvalidInput or OSError."""
    with walked(os.path.dirname(path)) as (steps, missing):
        status = os.statvfs(_opened(steps[-1].descriptor))
        return Nearest(steps[-1].path, status.f_bavail * status.f_frsize, bool(missing))


@contextlib.contextmanager
def working(destination: str) -> Iterator[Work]:
    """Given a destination, hold its work folder while the block lasts; it and the parents of the destination are made where missing.

    Raise Locked if another restore of this user is at work on it, AltbackupError or OSError.
    """
    _refuse_older(destination)
    with contextlib.ExitStack() as stack:
        state, title = _locked_state(destination, stack)
        known = _read_json(state, _WORK)
        steps, missing = stack.enter_context(walked(os.path.dirname(destination)))
        if known is None:
            known = {"destination": destination, "above": steps[-1].path, "made": missing}
            _write_json(state, _WORK, known)
        made = make_below(steps[-1], missing, 0o755)
        for step in made:
            stack.callback(os.close, step.descriptor)
        ways = [*steps, *made]
        descriptor, where, kept = _open_work(state, known, ways)
        stack.callback(os.close, descriptor)
        for held in (state, descriptor):
            stack.enter_context(inherited(held))
        arriving = f"{where if kept else title}/incoming"
        yield Work(_opened(descriptor), where, destination, descriptor, ways[-1].descriptor, state, arriving)


def _locked_state(destination: str, stack: contextlib.ExitStack) -> tuple[int, str]:
    """Hold what is remembered of a destination; whoever held it before may have removed it meanwhile. Raise Locked."""
    while True:
        with contextlib.ExitStack() as attempt:
            state, title = attempt.enter_context(opened_state(_key(destination)))
            try:
                fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Locked(
                    f"another restore is at work on {destination}: let it end; nothing was done here"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(state), os.lstat(title)):
                    stack.push(attempt.pop_all())
                    return state, title


def _refuse_older(destination: str) -> None:
    """Raise AltbackupError if a restore of version 0.1.0 was ended in its place: what stood there may be in its work folder."""
    folder, name = os.path.split(destination)
    older = f"{TEMPORARY}restore-{name}"
    with walked(folder) as (steps, missing):
        if missing:
            return
        try:
            descriptor = open_own(older, steps[-1].descriptor, f"{folder}/{older}")
        except (FileNotFoundError, InvalidInput):
            return  # not this user's: nothing that it says is obeyed
        except OSError as error:
            if is_impossible(older, error):
                return
            raise
        try:
            if inode_of(descriptor, _JOURNAL):
                raise AltbackupError(
                    f"{folder}/{older} holds a journal: a restore of another version was ended there, and what stood at {destination} may be "
                    "in that folder. Nothing was touched: look at both, put the one that is wanted in its place, and remove the folder"
                )
        finally:
            os.close(descriptor)


def _open_work(state: int, known: dict[str, Any], ways: list[Step]) -> tuple[int, str, bool]:
    """Open the work folder that is remembered, or make one; return it, its path, and whether nobody else can replace it.

    It is made where nobody else can replace it, if such a folder is on the destination's file system, else beside the destination.
    """
    kept = {step.path: step for step in ways if step.keeps}
    where = known.get("where")
    if isinstance(where, str) and where in {step.path for step in ways}:
        above = next(step for step in ways if step.path == where)
        opened = _open_known(above, known)
        if opened is not None:
            return opened, f"{where}/{known['name']}", where in kept
    if inode_of(state, _JOURNAL):
        raise AltbackupError(
            f"the work folder {where}/{known.get('name')} of a restore that was ended is not there, or not the one that was made: what stood at "
            f"{known.get('destination')} may be in it. Nothing was touched: find it, put what is wanted in its place, and remove "
            f"{os.readlink(_opened(state))}"
        )
    above = _best(ways)
    name = f"{TEMPORARY}restore-{secrets.token_hex(16)}"
    known.update(where=above.path, name=name, id=None)
    _write_json(state, _WORK, known)
    os.mkdir(name, 0o700, dir_fd=above.descriptor)
    descriptor = open_own(name, above.descriptor, f"{above.path}/{name}")
    status = os.fstat(descriptor)
    known["id"] = [status.st_dev, status.st_ino]
    _write_json(state, _WORK, known)
    return descriptor, f"{above.path}/{name}", above.path in kept


def _best(ways: list[Step]) -> Step:
    """Return the folder nearest to the destination in which a work folder is safe and can be renamed from, else the destination's own."""
    mount = mount_of(ways[-1].descriptor)
    for step in reversed(ways):
        if mount_of(step.descriptor) != mount:
            break
        if step.keeps and os.access(_opened(step.descriptor), os.W_OK | os.X_OK, effective_ids=True):
            return step
    return ways[-1]


def _open_known(above: Step, known: dict[str, Any]) -> int | None:
    """Open the work folder that was made before, None if it is gone or another one."""
    name = str(known.get("name"))
    if "/" in name or not name.startswith(TEMPORARY):
        return None
    try:
        descriptor = open_own(name, above.descriptor, f"{above.path}/{name}")
    except (FileNotFoundError, InvalidInput):
        return None
    status = os.fstat(descriptor)
    if known.get("id") == [status.st_dev, status.st_ino] or (known.get("id") is None and not os.listdir(descriptor)):
        return descriptor
    os.close(descriptor)
    return None


def clear(work: Work, *, keep: bool = False) -> list[str]:
    """Given a work folder, put right what a killed attempt left in it and empty it; return notes. With `keep` what arrived stays.

    Raise AltbackupError or OSError: what stood at the destination may then be in the work folder, in which nothing was touched.
    """
    notes = _heal(work, _read_journal(work)) if _is_under_way(work) else []
    kept = os.path.basename(work.arriving) if keep else ""
    for name in sorted(os.listdir(work.descriptor)):
        if name != kept:
            notes.append(f"removed {printable(name)}, which an earlier restore had left in {work.title}")
            _remove(f"{work.path}/{name}")
    if not keep and os.path.dirname(work.arriving) != work.title:
        _remove(work.arrived)
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
    with opened_state(_key(destination)) as (state, _), walked(os.path.dirname(destination)) as (steps, missing):
        known = _parse_placement(_read_json(state, _JOURNAL) or {}, destination)
        there = None if missing else inode_of(steps[-1].descriptor, os.path.basename(destination))
    return {**known.done, "id": there} if known.done and there is not None and there == known.new else None


def discard(work: Work) -> None:
    """Remove a work folder, and the parents of the destination that were made for it and are still empty.

    One in which a replacement could not be brought to its end stays, since what stood at the destination may be in it.
    """
    if _is_under_way(work):
        return
    known = _read_json(work.state, _WORK) or {}
    for name in os.listdir(work.descriptor):
        _remove(f"{work.path}/{name}")
    with contextlib.suppress(InvalidInput):  # somebody put another thing in its place
        _remove_empty(work)
        with walked(str(known.get("above"))) as (steps, missing):
            if not missing:
                prune_below(steps[-1], [str(name) for name in known.get("made", ())])
    folder = os.readlink(_opened(work.state))
    for name in os.listdir(work.state):
        _remove(f"{_opened(work.state)}/{name}")
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(folder)


def _remove_empty(work: Work) -> None:
    folder, name = os.path.split(work.title)
    status = os.fstat(work.descriptor)
    with walked(folder) as (steps, missing):
        if not missing and inode_of(steps[-1].descriptor, name) == [status.st_dev, status.st_ino]:
            os.rmdir(name, dir_fd=steps[-1].descriptor)


def _is_under_way(work: Work) -> bool:
    return inode_of(work.state, _JOURNAL) is not None


def _read_journal(work: Work) -> Placement:
    journal = _read_json(work.state, _JOURNAL)
    if journal is None:
        raise AltbackupError(
            f"{os.readlink(_opened(work.state))}/{_JOURNAL} cannot be read: a restore was ended, and what stood at {work.destination} may be in "
            f"{work.title}. Nothing was touched: look at both, put the one that is wanted in its place, and remove both folders"
        )
    return _parse_placement(journal, work.destination)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_folder(path)
    else:
        remove_if_there(path)


def _read_json(folder: int, name: str) -> dict[str, Any] | None:
    try:
        with open(f"{_opened(folder)}/{name}", encoding="utf-8", errors="surrogateescape") as stream:
            value = json.load(stream)
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write_json(folder: int, name: str, value: dict[str, Any]) -> None:
    write_text(f"{_opened(folder)}/{name}", json.dumps(value))


def require_place(destination: str, aside: str) -> None:
    """Given a destination and the path for what stands there, or none, raise AltbackupError if that may not be replaced."""
    with walked(os.path.dirname(destination)) as (steps, missing):
        if not missing:
            _require_place(steps[-1].descriptor, destination, aside)


def stands_beside(destination: str, suffix: str) -> bool:
    """Return whether there is something with the destination's name and a suffix."""
    with walked(os.path.dirname(destination)) as (steps, missing):
        return not missing and inode_of(steps[-1].descriptor, os.path.basename(destination) + suffix) is not None


def _require_place(parent: int, destination: str, aside: str) -> None:
    name = os.path.basename(destination)
    if inode_of(parent, name) is None:
        return
    if not aside:
        raise AltbackupError(
            f"{destination} is there already, and a restore replaces nothing by itself: "
            f"give the entry replace: move_aside to have it moved aside, or another path as to ({_described(parent, name)} stands there)"
        )
    if _is_mount(parent, name):
        raise AltbackupError(f"{destination} is a mount point, which cannot be moved aside: give another path as to")
    if inode_of(parent, os.path.basename(aside)) is not None:
        raise AltbackupError(f"{aside} is there already, so what stands at {destination} cannot be moved there")


def _described(parent: int, name: str) -> str:
    """Return what a thing is that somebody may want to keep."""
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    changed = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(status.st_mtime))
    what = f"a file of {readable(status.st_size)}" if stat.S_ISREG(status.st_mode) else "something special"
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "a link" if stat.S_ISLNK(status.st_mode) else what
    return f"{what}, changed {changed},"


def _is_mount(parent: int, name: str) -> bool:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        return mount_of(descriptor)[1] != mount_of(parent)[1]
    finally:
        os.close(descriptor)


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
    _require_place(work.parent, destination, aside)
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
    _write_json(work.state, _JOURNAL, vars(placement))
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
        flush_folder(_opened(folder))


def _settle(work: Work, placement: Placement) -> tuple[bool, list[str]]:
    """Bring a placement to its end: the new thing in its place and the old one aside, or all as it was.

    Return whether the new thing is in its place, and notes.
    """
    notes: list[str] = []
    placed = placement.new is not None and inode_of(work.parent, work.name) == placement.new
    placed = placed and _put_aside(work, placement)
    if not placed:
        if inode_of(work.descriptor, _OLD) is not None:
            _renameat2(work.descriptor, _OLD, work.parent, work.name, _NOREPLACE)
            notes.append(f"moved what stood at {work.destination} back, where a killed restore had taken it away")
        _unmark(work, placement.marked, placement.marker)
    _flush(work.parent)
    if placed and placement.done:
        notes += remember(work.parent, work.destination, placement.done)
    remove_if_there(f"{_opened(work.state)}/{_JOURNAL}")
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
                    _renameat2(folder, name, work.parent, placement.aside, _NOREPLACE)
                    _flush(folder)
                    return True
            _swap(work, folder, name)
            return False
    return True


def _swap(work: Work, folder: int, name: str) -> None:
    """Give what is in the work folder its place at the destination again, and take the new thing back."""
    try:
        _renameat2(folder, name, work.parent, work.name, _EXCHANGE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        back = f"{TEMPORARY}{secrets.token_hex(8)}"
        _renameat2(work.parent, work.name, work.descriptor, back, _NOREPLACE)
        _renameat2(folder, name, work.parent, work.name, _NOREPLACE)


def _exchange(work: Work, folder: int, name: str) -> None:
    """Put the new thing where the old one stands, in one step where the file system can do that, else in two."""
    try:
        _renameat2(folder, name, work.parent, work.name, _EXCHANGE)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _renameat2(work.parent, work.name, work.descriptor, _OLD, _NOREPLACE)
        _renameat2(folder, name, work.parent, work.name, _NOREPLACE)


def _rename_to_nothing(work: Work, folder: int, name: str) -> None:
    try:
        _renameat2(folder, name, work.parent, work.name, _NOREPLACE)
    except FileExistsError:
        _require_place(work.parent, work.destination, "")
        raise


def _renameat2(folder: int, name: str, to: int, new: str, flags: int) -> None:
    """Rename as renameat2(2) does; one that is to replace nothing also where the file system cannot see to that. Raise OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    number = errno.ENOSYS
    if function is not None:
        if not function(folder, os.fsencode(name), to, os.fsencode(new), ctypes.c_uint(flags)):
            return
        number = ctypes.get_errno()
    if flags == _NOREPLACE and number in _UNSUPPORTED:
        if inode_of(to, new) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=to)
        return
    raise OSError(number, os.strerror(number), new)
