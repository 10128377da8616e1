"""The private folder in which a restore works, and the state of a restore in this user's own state.

Folders are held open throughout, so that whoever may write beside the destination cannot redirect any step.
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
from ..system.opened import Step, inode_of, make_below, mount_of, names_in, open_own, prune_below, walked
from ..system.own_state import has_state, opened_state
from ..system.process_groups import inherited
from ..system.seeing import is_impossible
from ..tree.layout import TEMPORARY
from ..tree.publish import remove_folder, remove_if_there, write_text

_STATES = "restores"
JOURNAL = "journal"
LOADING = "loading"
"""Name of the record of what a restore was about to make in a server; it is kept until that is removed there"""
_WORK = "work"


@dataclass(frozen=True)
class NearestFolder:
    """The nearest existing folder above a destination, the free bytes there, and whether folders between are missing."""

    path: str
    free: int
    missing: bool


@dataclass(frozen=True)
class Work:
    """The private folder of a restore, locked by this call."""

    path: str
    """The folder through /proc, valid for this process and its children even if it is moved"""
    title: str
    """Its path when it was made"""
    destination: str
    descriptor: int
    parent: int
    """Descriptor of the destination's folder"""
    state: int
    """Descriptor of the folder with this restore's state"""
    arriving: str
    """Path of the folder into which others transfer files"""

    @property
    def name(self) -> str:
        """The destination's name in its folder."""
        return os.path.basename(self.destination)

    @property
    def arrived(self) -> str:
        """The folder of arrived files, by a descriptor."""
        top = self.path if os.path.dirname(self.arriving) == self.title else by_descriptor(self.state)
        return f"{top}/{os.path.basename(self.arriving)}"

    @property
    def place(self) -> str:
        """The destination, by the descriptor of its folder."""
        return f"{by_descriptor(self.parent)}/{self.name}"

    def folder(self, name: str) -> str:
        """Make an empty folder in it, and return its path."""
        path = f"{self.path}/{name}"
        remove(path)
        os.mkdir(path, 0o700)
        return path

    def clear_arriving(self) -> str:
        """Make the folder into which others transfer files, empty, and return its path."""
        remove(self.arrived)
        os.mkdir(self.arrived, 0o700)
        return self.arriving

    @contextlib.contextmanager
    def real_paths_in_errors(self) -> Iterator[None]:
        """Replace paths by descriptor in errors of the block by the real ones, and raise them."""
        try:
            yield
        except OSError as error:
            if isinstance(error.filename, str):
                error.filename = self._with_real_paths(error.filename)
            raise
        except AltbackupError as error:
            error.args = tuple(self._with_real_paths(part) if isinstance(part, str) else part for part in error.args)
            raise

    def _with_real_paths(self, text: str) -> str:
        for descriptor, path in ((self.descriptor, self.title), (self.parent, os.path.dirname(self.destination))):
            text = text.replace(f"{by_descriptor(descriptor)}/", f"{path}/")
        return text


def by_descriptor(descriptor: int) -> str:
    """Return the path of an open folder, for this process and its children."""
    return f"/proc/self/fd/{descriptor}"


def state_key(destination: str) -> str:
    """Return the name of a destination's folder in the user's own state."""
    return f"{_STATES}/{hashlib.sha256(os.fsencode(destination)).hexdigest()[:32]}"


def has_leftovers(destination: str) -> bool:
    """Return whether an earlier attempt of this user at a destination left state."""
    return has_state(state_key(destination))


def nearest_folder(path: str) -> NearestFolder:
    """Return the nearest existing folder above a path. Raise InvalidInput or OSError."""
    with walked(os.path.dirname(path)) as (steps, missing):
        status = os.statvfs(by_descriptor(steps[-1].descriptor))
        return NearestFolder(steps[-1].path, status.f_bavail * status.f_frsize, bool(missing))


@contextlib.contextmanager
def working(destination: str) -> Iterator[Work]:
    """Hold the work folder of a destination while the block lasts; it and missing parents of the destination are made.

    Raise Locked if another restore of this user holds it, AltbackupError or OSError.
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
        folders = [*steps, *made]
        descriptor, where, kept = _open_work(state, known, folders)
        stack.callback(os.close, descriptor)
        for held in (state, descriptor):
            stack.enter_context(inherited(held))
        arriving = f"{where if kept else title}/incoming"
        yield Work(by_descriptor(descriptor), where, destination, descriptor, folders[-1].descriptor, state, arriving)


def _locked_state(destination: str, stack: contextlib.ExitStack) -> tuple[int, str]:
    """Open and lock the state of a destination, again if the previous holder removed it meanwhile. Raise Locked."""
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
    """Raise AltbackupError if a restore by version 0.1.0 was interrupted here: its work folder may hold what was at the destination."""
    folder, name = os.path.split(destination)
    older = f"{TEMPORARY}restore-{name}"
    with walked(folder) as (steps, missing):
        if missing:
            return
        try:
            descriptor = open_own(older, steps[-1].descriptor, f"{folder}/{older}")
        except (FileNotFoundError, InvalidInput):
            return  # not this user's, so it is not trusted
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


def _open_work(state: int, known: dict[str, Any], folders: list[Step]) -> tuple[int, str, bool]:
    """Open the recorded work folder, or make one; return its descriptor, its path, and whether nobody else can replace it.

    It is made where nobody else can replace it, if there is such a folder on the destination's file system, else beside the destination.
    """
    kept = {step.path: step for step in folders if step.keeps}
    where = known.get("where")
    if isinstance(where, str) and where in {step.path for step in folders}:
        above = next(step for step in folders if step.path == where)
        opened = _open_known(above, known)
        if opened is not None:
            return opened, f"{where}/{known['name']}", where in kept
    if inode_of(state, JOURNAL):
        raise AltbackupError(
            f"the work folder {where}/{known.get('name')} of a restore that was ended is not there, or not the one that was made: what stood at "
            f"{known.get('destination')} may be in it. Nothing was touched: find it, put what is wanted in its place, and remove "
            f"{os.readlink(by_descriptor(state))}"
        )
    above = _best_parent(folders)
    name = f"{TEMPORARY}restore-{secrets.token_hex(16)}"
    known.update(where=above.path, name=name, id=None)
    write_json(state, _WORK, known)
    os.mkdir(name, 0o700, dir_fd=above.descriptor)
    descriptor = open_own(name, above.descriptor, f"{above.path}/{name}")
    status = os.fstat(descriptor)
    known["id"] = [status.st_dev, status.st_ino]
    write_json(state, _WORK, known)
    return descriptor, f"{above.path}/{name}", above.path in kept


def _best_parent(folders: list[Step]) -> Step:
    """Return the nearest folder on the destination's file system that nobody else can change and this user can write to, else the last."""
    mount = mount_of(folders[-1].descriptor)
    for step in reversed(folders):
        if mount_of(step.descriptor) != mount:
            break
        if step.keeps and os.access(by_descriptor(step.descriptor), os.W_OK | os.X_OK, effective_ids=True):
            return step
    return folders[-1]


def _open_known(above: Step, known: dict[str, Any]) -> int | None:
    """Open the recorded work folder; None if it is gone or another one."""
    name = str(known.get("name"))
    if "/" in name or not name.startswith(TEMPORARY):
        return None
    try:
        descriptor = open_own(name, above.descriptor, f"{above.path}/{name}")
    except (FileNotFoundError, InvalidInput):
        return None
    status = os.fstat(descriptor)
    if known.get("id") == [status.st_dev, status.st_ino] or (known.get("id") is None and not names_in(descriptor)):
        return descriptor
    os.close(descriptor)
    return None


def discard(work: Work) -> None:
    """Remove a work folder, its state but for LOADING, and the still empty parents of the destination that were made for it.

    A folder with an incomplete replacement stays, since it may hold what was at the destination.
    """
    if is_under_way(work):
        return
    known = read_json(work.state, _WORK) or {}
    for name in names_in(work.descriptor):
        remove(f"{work.path}/{name}")
    with contextlib.suppress(InvalidInput):  # something else is in its place
        _remove_empty(work)
        with walked(str(known.get("above"))) as (steps, missing):
            if not missing:
                prune_below(steps[-1], [str(name) for name in known.get("made", ())])
    folder = os.readlink(by_descriptor(work.state))
    for name in {*names_in(work.state)} - {LOADING}:
        remove(f"{by_descriptor(work.state)}/{name}")
    if not names_in(work.state):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(folder)


def _remove_empty(work: Work) -> None:
    folder, name = os.path.split(work.title)
    status = os.fstat(work.descriptor)
    with walked(folder) as (steps, missing):
        if not missing and inode_of(steps[-1].descriptor, name) == [status.st_dev, status.st_ino]:
            os.rmdir(name, dir_fd=steps[-1].descriptor)


def is_under_way(work: Work) -> bool:
    """Return whether there is a journal: a replacement is incomplete."""
    return inode_of(work.state, JOURNAL) is not None


def remove(path: str) -> None:
    """Remove a file, or a folder with all below it, if it exists."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_folder(path)
    else:
        remove_if_there(path)


def read_json(folder: int, name: str) -> dict[str, Any] | None:
    """Return the mapping in a file of an open folder; None if there is none, or it is not a mapping in JSON."""
    try:
        with open(f"{by_descriptor(folder)}/{name}", encoding="utf-8", errors="surrogateescape") as stream:
            value = json.load(stream)
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(folder: int, name: str, value: dict[str, Any]) -> None:
    write_text(f"{by_descriptor(folder)}/{name}", json.dumps(value))
