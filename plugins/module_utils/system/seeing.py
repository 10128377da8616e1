"""What exists, and what cannot be known: an error of looking is never taken for an absent file."""

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
    """Note that this process changed its user by itself: `become` would not help if it may not read something."""
    _switched.append(uid)


def advice() -> str:
    """Return advice if this user may not read something; empty if it is root, or was when the module began."""
    return "" if os.geteuid() == 0 or _switched else "; use become"


def denied(path: str) -> str:
    """Return the message about a path that this user may not use: as whom, and what to do."""
    deed = "written" if _is_readable(path) else "read"
    return forbidden(path, os.geteuid(), deed)


def forbidden(path: str, uid: int, deed: str = "read") -> str:
    """Return the message about a path that a user may not read, or another `deed`, with advice."""
    return f"{visible(path)} cannot be {deed} by uid {uid}{advice() or ': Permission denied'}"


def _is_readable(path: str) -> bool:
    """Return whether this user can read what is at a path, or see that nothing is."""
    try:
        mode = os.stat(path).st_mode
    except _ABSENT:
        return True
    except OSError:
        return False
    return os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0), effective_ids=True)


def as_whom(error: OSError) -> str:
    """Return the end of a sentence that something cannot be read: by whom, and advice, or why."""
    who = f" by uid {os.geteuid()}" if isinstance(error, PermissionError) else ""
    return f"{who}{(who and advice()) or f': {error.strerror or error}'}"


def unseen(path: str, error: OSError) -> AltbackupError:
    """Return the error about a path that could not be looked at: as whom, and what to do."""
    if isinstance(error, PermissionError):
        return AltbackupError(forbidden(path, os.geteuid()))
    return AltbackupError(f"{visible(path)} cannot be read by uid {os.geteuid()}: {error.strerror or error}")


@contextlib.contextmanager
def looking_at(path: str) -> Iterator[None]:
    """Turn PermissionError of the block into AltbackupError about the path."""
    try:
        yield
    except PermissionError as error:
        raise unseen(path, error) from error


def status_of(path: str, *, follow: bool = True) -> os.stat_result | None:
    """Return the status of what a path leads to, without `follow` of a link itself; None if nothing is there.

    Raise AltbackupError if that cannot be known.
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
    """Return whether an error says that nothing can have a path, because a name in it is too long."""
    return error.errno == errno.ENAMETOOLONG and len(os.fsencode(path)) < _LONGEST_PATH


def is_folder(path: str, *, follow: bool = True) -> bool:
    """Return whether a path leads to a folder, without `follow` whether it is one itself. Raise AltbackupError if that cannot be known."""
    status = status_of(path, follow=follow)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_there(path: str) -> bool:
    """Return whether a path exists, even as a dangling link. Raise AltbackupError if that cannot be known."""
    return status_of(path, follow=False) is not None
