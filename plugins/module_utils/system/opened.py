"""Folders opened part by part: no link is followed that a user other than root or this one can have made.

Work done through the descriptors stays in the folders that were checked, whatever others do to the path meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InvalidInput
from .visible import printable

_MOST_LINKS = 40
_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Step:
    """A folder on the way to a path, held open."""

    descriptor: int
    path: str
    """Its path without links"""
    held: bool
    """Whether nobody else can replace it by another folder"""
    keeps: bool
    """Whether nobody else can rename or replace what this user makes in it"""
    own: bool
    """Whether nobody else can make anything in it"""


def user_name() -> str:
    """Return the name of this process's user, independent of the environment, or its number."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def user_home() -> str:
    """Return the home of this process's user, one that is nowhere if the node does not know him."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/nonexistent"


def owner_name(uid: int) -> str:
    """Return a user as shown in messages: name and uid."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def is_trusted(uid: int) -> bool:
    """Return whether a user is root or this process's own."""
    return uid in (0, os.geteuid())


@contextlib.contextmanager
def walked(path: str) -> Iterator[tuple[list[Step], list[str]]]:
    """Yield the folders of an absolute path, held open, and the names of those that are missing at its end.

    Raise InvalidInput for something else on the way, or a link that others can have made; OSError if a folder cannot be entered.
    """
    steps = [_step(os.open("/", _OPEN), "/", None)]
    links = 0
    try:
        waiting = [part for part in path.split("/") if part not in ("", ".")]
        while waiting:
            name = waiting.pop(0)
            if name == "..":
                if len(steps) > 1:
                    os.close(steps.pop().descriptor)
                continue
            above = steps[-1]
            full = os.path.join(above.path, name)
            try:
                steps.append(_step(os.open(name, _OPEN, dir_fd=above.descriptor), full, above))
            except FileNotFoundError:
                if links and ".." in waiting:
                    raise InvalidInput(
                        f"{printable(path)} leads through a link to {printable(full)}, which is not there"
                    ) from None
                yield steps, [name, *waiting]
                return
            except NotADirectoryError:
                try:
                    target = _target(above, name, full, path)
                except FileNotFoundError:
                    raise InvalidInput(
                        f"{printable(full)} was taken away while it was looked at: nothing was done"
                    ) from None
                links += 1
                if links > _MOST_LINKS:
                    raise InvalidInput(f"{printable(path)} leads through more than {_MOST_LINKS} links") from None
                if target.startswith("/"):
                    while len(steps) > 1:
                        os.close(steps.pop().descriptor)
                waiting = [*(part for part in target.split("/") if part not in ("", ".")), *waiting]
            except OSError as error:
                raise OSError(error.errno, error.strerror, full) from error
        yield steps, []
    finally:
        for step in steps:
            os.close(step.descriptor)


def _step(descriptor: int, path: str, above: Step | None) -> Step:
    status = os.fstat(descriptor)
    trusted = is_trusted(status.st_uid)
    alone = trusted and not status.st_mode & 0o022
    held = above is None or above.own or (above.keeps and trusted)
    return Step(
        descriptor, path, held, held and (alone or (trusted and bool(status.st_mode & stat.S_ISVTX))), held and alone
    )


def _target(above: Step, name: str, full: str, path: str) -> str:
    """Return the target of a link. Raise InvalidInput if it is no link, or others can have made it."""
    status = os.stat(name, dir_fd=above.descriptor, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        raise InvalidInput(f"{printable(path)} cannot be used: {printable(full)} is no folder")
    if not (above.own and is_trusted(status.st_uid)):
        raise InvalidInput(
            f"{printable(path)} leads through {printable(full)}, a link of {owner_name(status.st_uid)} in a folder that others can change: "
            "it is not followed, and nothing was done; give the path that it leads to, if that is what is meant"
        )
    return os.readlink(name, dir_fd=above.descriptor)


def make_below(step: Step, names: Sequence[str], mode: int) -> list[Step]:
    """Make folders, each in the one before, and return them, held open; the caller closes them. Raise InvalidInput or OSError."""
    made: list[Step] = []
    try:
        for name in names:
            full = os.path.join(step.path, name)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=step.descriptor)
            try:
                descriptor = os.open(name, _OPEN, dir_fd=step.descriptor)
            except (FileNotFoundError, NotADirectoryError):
                raise InvalidInput(
                    f"{printable(full)} was made as a folder, but somebody put another thing in its place"
                ) from None
            except OSError as error:
                raise OSError(error.errno, error.strerror, full) from error
            step = _step(descriptor, full, step)
            made.append(step)
            if not is_trusted(os.fstat(descriptor).st_uid):
                raise InvalidInput(f"{printable(full)} was made as a folder, but somebody put another one in its place")
    except BaseException:
        for step in made:
            os.close(step.descriptor)
        raise
    return made


def prune_below(step: Step, names: Sequence[str]) -> None:
    """Remove folders, each named in the one before, from the last one on while they are empty and of this user; errors end it silently."""
    opened = [step.descriptor]
    try:
        for name in names:
            try:
                descriptor = os.open(name, _OPEN, dir_fd=opened[-1])
            except (FileNotFoundError, NotADirectoryError):
                break
            opened.append(descriptor)
            if os.fstat(descriptor).st_uid != os.geteuid():
                return
        for above, name in reversed(list(zip(opened, names[: len(opened) - 1]))):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=above)
    except OSError:
        return
    finally:
        for descriptor in opened[1:]:
            os.close(descriptor)


def inode_of(folder: int, name: str) -> list[int] | None:
    """Return [device, inode] of a name in an open folder, None if there is none; no link is followed."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return [status.st_dev, status.st_ino]


def mount_of(descriptor: int) -> tuple[int, str]:
    """Return device and mount id of an open file: rename(2) works between files for which both are equal."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as stream:
        lines = dict(line.split(":", 1) for line in stream if ":" in line)
    return os.fstat(descriptor).st_dev, lines.get("mnt_id", "").strip()


def open_own(name: str, folder: int, path: str) -> int:
    """Open a private folder in an open one for reading; `path` is for messages.

    Raise InvalidInput unless it is a real folder of this user's, mode 0700; FileNotFoundError if it is missing.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except (NotADirectoryError, PermissionError):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        raise InvalidInput(_not_own(path, status)) from None
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(descriptor)
        raise InvalidInput(_not_own(path, status))
    return descriptor


def _not_own(path: str, status: os.stat_result) -> str:
    what = (
        "a link"
        if stat.S_ISLNK(status.st_mode)
        else f"a folder of mode {stat.S_IMODE(status.st_mode):04o}"
        if stat.S_ISDIR(status.st_mode)
        else "no folder"
    )
    return (
        f"{printable(path)} is {what} of {owner_name(status.st_uid)}, where a private folder of {owner_name(os.geteuid())} belongs, mode 0700: "
        "it is not used and nothing in it was touched; look at it, then remove it or have its owner do so"
    )


def require_kept(path: str, what: str) -> None:
    """Raise InvalidInput if others can replace what this user makes in a folder; `what` names its use in the message."""
    with walked(path) as (steps, missing):
        if missing:
            raise InvalidInput(f"folder {path!r} for {what} is no folder on this node")
        if not steps[-1].keeps:
            bad = next(step for step in steps if not step.keeps)
            status = os.fstat(bad.descriptor)
            raise InvalidInput(
                f"folder {path!r} for {what} cannot be used: {printable(bad.path)} is of {owner_name(status.st_uid)}, mode "
                f"{stat.S_IMODE(status.st_mode):04o}, so others could replace what is made there; give a folder below none but folders of "
                f"root and {owner_name(os.geteuid())} that nobody else can write, or that have the sticky bit"
            )


def require_own(path: str) -> None:
    """Raise InvalidInput if a path exists and is not a real folder of this user's, mode 0700."""
    with walked(os.path.dirname(path)) as (steps, missing):
        if not missing:
            with contextlib.suppress(FileNotFoundError):
                os.close(open_own(os.path.basename(path), steps[-1].descriptor, path))


def names_in(descriptor: int) -> list[str]:
    """Return the names in an open folder, as it is now. Raise OSError.

    Without the rewinding, a listing on Btrfs lacks what came after the folder was opened (Linux 6.6 and newer).
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.listdir(descriptor)


def walk_open(top: str | bytes, dir_fd: int | None = None) -> Iterator[tuple[Any, list[Any], list[Any], int]]:
    """Yield (path, names of folders, names of all else, open folder) of a folder and all below it, as os.fwalk does.

    Unlike os.fwalk, it never opens or follows a link to see what it is. Raise OSError.
    """
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        folders: list[Any] = []
        others: list[Any] = []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name) if isinstance(top, bytes) else entry.name
                (folders if entry.is_dir(follow_symlinks=False) else others).append(name)
        yield top, folders, others, descriptor
        for name in folders:
            for path, inner, files, below in walk_open(name, descriptor):
                yield os.path.join(top, path), inner, files, below
    finally:
        os.close(descriptor)
