"""The exceptions of this collection: each message says what, where and what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The numbers of an OSError that tell that there is no room"""
UNABLE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""The numbers with which file systems refuse what they have not, such as links and modes; EPERM may tell of other things, too"""


class AltbackupError(Exception):
    """An expected failure, told to the user by its message alone."""


class InvalidInput(AltbackupError):
    """A value given by the user that cannot be used."""


class BaseUnusable(AltbackupError):
    """A base folder that is missing, not mounted or not writable."""


class NotMounted(BaseUnusable):
    """A base folder that is not there, or not marked, as that of a disk that is not mounted."""


class Locked(BaseUnusable):
    """A tree that another run, or a module that still works, has for itself."""


class SidecarMalformed(AltbackupError):
    """A sidecar whose text is no dna."""


class ToolMissing(AltbackupError):
    """A program that is not installed on this node."""


class ToolFailed(AltbackupError):
    """A program that ended with an error; `rc` and `stderr` are its own words."""

    def __init__(self, message: str, rc: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.rc = rc
        self.stderr = stderr


class Unconfined(ToolFailed):
    """A kernel that does not allow to confine programs: nothing was run."""


class DeadlineExceeded(AltbackupError):
    """A step that took longer than its limit and was ended."""


class SourceChanged(AltbackupError):
    """Live data that changed while it was read; worth another try."""

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        """`paths` are those that changed, as far as they are known."""
        super().__init__(message)
        self.paths = list(paths)


class DigestMismatch(AltbackupError):
    """Bytes on disk that are not those that were written or promised."""


class Hostile(AltbackupError):
    """An archive that would do what no archive of an item does: nothing of it is used."""


class NoLinks(AltbackupError):
    """Files that cannot have a second name, nor share their blocks, where they lie."""


class NoRoom(AltbackupError):
    """A disk that is full."""


class ProofFailed(AltbackupError):
    """What was unpacked is not what its dump recorded, or is not sound."""


@contextlib.contextmanager
def name_os_errors(path: str) -> Iterator[None]:
    """Given the path of a file that is open, let errors that the block meets with it name it. Raise OSError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from error
