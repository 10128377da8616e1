"""The private folder in which a destination is restored, and what is remembered of it in this user's own state.

Folders are held open from the first look to the last rename; whoever may write beside the destination can lead none of it elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError, InvalidInput, Locked
from ..system.opened import Step, inode_of, make_below, mount_of, open_own, prune_below, walked
from ..system.own_state import has_state, opened_state
from ..system.processes import inherited
from ..system.seeing import is_impossible
from ..tree.layout import TEMPORARY
from ..tree.publish import remove_folder, remove_if_there, write_text

_STATES = "restores"
JOURNAL = "journal"
LOADING = "loading"
"""What a restore was about to make in a server: it stays until that is seen to there, whatever else is restored by way of the destination"""
_WORK = "work"


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
        top = self.path if os.path.dirname(self.arriving) == self.title else by_descriptor(self.state)
        return f"{top}/{os.path.basename(self.arriving)}"

    @property
    def place(self) -> str:
        """The destination, in the folder that is held open."""
        return f"{by_descriptor(self.parent)}/{self.name}"

    def folder(self, name: str) -> str:
        """Make an empty folder in it, and return its path."""
        path = f"{self.path}/{name}"
        remove(path)
        os.mkdir(path, 0o700)
        return path

    def clear_arriving(self) -> str:
        """Make the folder in which others may put files, empty, and return its path."""
        remove(self.arrived)
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
            text = text.replace(f"{by_descriptor(descriptor)}/", f"{path}/")
        return text


def by_descriptor(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def state_key(destination: str) -> str:
    return f"{_STATES}/{hashlib.sha256(os.fsencode(destination)).hexdigest()[:32]}"


def is_left(destination: str) -> bool:
    """Return whether an earlier attempt of this user at a destination left something to see to."""
    return has_state(state_key(destination))


def nearest_folder(path: str) -> Nearest:
    """Given a destination, return the nearest folder above it that is there. Raise InvalidInput or OSError."""
    with walked(os.path.dirname(path)) as (steps, missing):
        status = os.statvfs(by_descriptor(steps[-1].descriptor))
        return Nearest(steps[-1].path, status.f_bavail * status.f_frsize, bool(missing))


@contextlib.contextmanager
def working(destination: str) -> Iterator[Work]:
    """Given a destination, hold its work folder while the block lasts; it and the parents of the destination are made where missing.

    Raise Locked if another restore of this user is at work on it, AltbackupError or OSError.
    """
    _refuse_older(destination)
    with contextlib.ExitStack() as stack:
        state, title = _locked_state(destination, stack)
        known = read_json(state, _WORK)
        steps, missing = stack.enter_context(walked(os.path.dirname(destination)))
        if known is None:
            known = {"destination": destination, "above": steps[-1].path, "made": missing}
            write_json(state, _WORK, known)
        made = make_below(steps[-1], missing, 0o755)
        for step in made:
            stack.callback(os.close, step.descriptor)
        ways = [*steps, *made]
        descriptor, where, kept = _open_work(state, known, ways)
        stack.callback(os.close, descriptor)
        for held in (state, descriptor):
            stack.enter_context(inherited(held))
        arriving = f"{where if kept else title}/incoming"
        yield Work(by_descriptor(descriptor), where, destination, descriptor, ways[-1].descriptor, state, arriving)


def _locked_state(destination: str, stack: contextlib.ExitStack) -> tuple[int, str]:
    """Hold what is remembered of a destination; whoever held it before may have removed it meanwhile. Raise Locked."""
    while True:
        with contextlib.ExitStack() as attempt:
            state, title = attempt.enter_context(opened_state(state_key(destination)))
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
            if inode_of(descriptor, JOURNAL):
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
    if inode_of(state, JOURNAL):
        raise AltbackupError(
            f"the work folder {where}/{known.get('name')} of a restore that was ended is not there, or not the one that was made: what stood at "
            f"{known.get('destination')} may be in it. Nothing was touched: find it, put what is wanted in its place, and remove "
            f"{os.readlink(by_descriptor(state))}"
        )
    above = _best(ways)
    name = f"{TEMPORARY}restore-{secrets.token_hex(16)}"
    known.update(where=above.path, name=name, id=None)
    write_json(state, _WORK, known)
    os.mkdir(name, 0o700, dir_fd=above.descriptor)
    descriptor = open_own(name, above.descriptor, f"{above.path}/{name}")
    status = os.fstat(descriptor)
    known["id"] = [status.st_dev, status.st_ino]
    write_json(state, _WORK, known)
    return descriptor, f"{above.path}/{name}", above.path in kept


def _best(ways: list[Step]) -> Step:
    """Return the folder nearest to the destination in which a work folder is safe and can be renamed from, else the destination's own."""
    mount = mount_of(ways[-1].descriptor)
    for step in reversed(ways):
        if mount_of(step.descriptor) != mount:
            break
        if step.keeps and os.access(by_descriptor(step.descriptor), os.W_OK | os.X_OK, effective_ids=True):
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


def discard(work: Work) -> None:
    """Remove a work folder, and the parents of the destination that were made for it and are still empty; what is LOADING stays known.

    One in which a replacement could not be brought to its end stays, since what stood at the destination may be in it.
    """
    if is_under_way(work):
        return
    known = read_json(work.state, _WORK) or {}
    for name in os.listdir(work.descriptor):
        remove(f"{work.path}/{name}")
    with contextlib.suppress(InvalidInput):  # somebody put another thing in its place
        _remove_empty(work)
        with walked(str(known.get("above"))) as (steps, missing):
            if not missing:
                prune_below(steps[-1], [str(name) for name in known.get("made", ())])
    folder = os.readlink(by_descriptor(work.state))
    for name in {*os.listdir(work.state)} - {LOADING}:
        remove(f"{by_descriptor(work.state)}/{name}")
    if not os.listdir(work.state):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(folder)


def _remove_empty(work: Work) -> None:
    folder, name = os.path.split(work.title)
    status = os.fstat(work.descriptor)
    with walked(folder) as (steps, missing):
        if not missing and inode_of(steps[-1].descriptor, name) == [status.st_dev, status.st_ino]:
            os.rmdir(name, dir_fd=steps[-1].descriptor)


def is_under_way(work: Work) -> bool:
    return inode_of(work.state, JOURNAL) is not None


def remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_folder(path)
    else:
        remove_if_there(path)


def read_json(folder: int, name: str) -> dict[str, Any] | None:
    try:
        with open(f"{by_descriptor(folder)}/{name}", encoding="utf-8", errors="surrogateescape") as stream:
            value = json.load(stream)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(folder: int, name: str, value: dict[str, Any]) -> None:
    write_text(f"{by_descriptor(folder)}/{name}", json.dumps(value))
