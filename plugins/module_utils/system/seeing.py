"""What is there, and what cannot be known: an error of looking is never taken for a thing that is not there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from .errors import AltbackupError
from .visible import visible

_LONGEST_PATH = 4096
_ABSENT = (FileNotFoundError, NotADirectoryError)
_switched: list[int] = []


def switched(uid: int) -> None:
    """Note that this process became another user by itself: that it may not read something is nothing that become would change."""
    _switched.append(uid)


def advice() -> str:
    """Return what to do where this user may not read something, empty where it is root, or was when the module began."""
    return "" if os.geteuid() == 0 or _switched else "; use become"


def denied(path: str) -> str:
    """Given a path that this user may not use, return what tells as whom, and what to do."""
    deed = "written" if _is_readable(path) else "read"
    return forbidden(path, os.geteuid(), deed)


def forbidden(path: str, uid: int, deed: str = "read") -> str:
    """Given a path, a user and what he may not do, return the sentence that tells it, with what to do."""
    return f"{visible(path)} cannot be {deed} by uid {uid}{advice() or ': Permission denied'}"


def _is_readable(path: str) -> bool:
    """Return whether nothing keeps this user from reading what has a path, or from seeing that nothing has it."""
    try:
        mode = os.stat(path).st_mode
    except _ABSENT:
        return True
    except OSError:
        return False
    return os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0), effective_ids=True)


def as_whom(error: OSError) -> str:
    """Return how a sentence goes on that something cannot be read: by whom, and what to do, or why."""
    who = f" by uid {os.geteuid()}" if isinstance(error, PermissionError) else ""
    return f"{who}{(who and advice()) or f': {error.strerror or error}'}"


def unseen(path: str, error: OSError) -> AltbackupError:
    """Given a path and the error of a look at it, return what tells as whom it cannot be read, and what to do."""
    if isinstance(error, PermissionError):
        return AltbackupError(forbidden(path, os.geteuid()))
    return AltbackupError(f"{visible(path)} cannot be read by uid {os.geteuid()}: {error.strerror or error}")


@contextlib.contextmanager
def looking_at(path: str) -> Iterator[None]:
    """Let errors of permission that the block meets on its way to a path tell of that. Raise AltbackupError."""
    try:
        yield
    except PermissionError as error:
        raise unseen(path, error) from error


def status_of(path: str, *, follow: bool = True) -> os.stat_result | None:
    """Return the status of what a path leads to, or with `follow` false of a link itself; None if nothing is there.

    Raise AltbackupError where that cannot be known.
    """
    try:
        return os.stat(path) if follow else os.lstat(path)
    except _ABSENT:
        return None
    except OSError as error:
        if is_impossible(path, error):
            return None
        raise unseen(path, error) from error


def is_impossible(path: str, error: OSError) -> bool:
    """Return whether an error tells that nothing can have a path, since a name in it is longer than any."""
    return error.errno == errno.ENAMETOOLONG and len(os.fsencode(path)) < _LONGEST_PATH


def is_folder(path: str, *, follow: bool = True) -> bool:
    """Return whether a path leads to a folder, or without `follow` is one. Raise AltbackupError where that cannot be known."""
    status = status_of(path, follow=follow)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_there(path: str) -> bool:
    """Return whether something has a path, a link to nothing too. Raise AltbackupError where that cannot be known."""
    return status_of(path, follow=False) is not None
