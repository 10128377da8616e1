"""The exceptions of this collection: each message says what, where and what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk or an exhausted quota"""
UNABLE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""Error numbers with which file systems refuse what they do not support, such as links and modes; EPERM has other causes, too"""


class AltbackupError(Exception):
    """An expected failure, shown to the user by its message alone."""


class InvalidInput(AltbackupError):
    """A value given by the user that cannot be used."""


class BaseUnusable(AltbackupError):
    """A base folder that is missing, not mounted or not writable."""


class NotMounted(BaseUnusable):
    """A base folder that is missing or has no marker, as if its disk were not mounted."""


class Locked(BaseUnusable):
    """A tree that another run, or a module still at work, has locked."""


class SidecarMalformed(AltbackupError):
    """A sidecar whose text is not a dna."""


class ToolMissing(AltbackupError):
    """A program that is not installed on this node."""


class ToolFailed(AltbackupError):
    """A command that failed; `rc` is its exit code, `stderr` its output."""

    def __init__(self, message: str, rc: int | None = None, stderr: str = "") -> None:
        super().__init__(message)
        self.rc = rc
        self.stderr = stderr


class Unconfined(ToolFailed):
    """The kernel does not allow to confine programs: nothing was run."""


class DeadlineExceeded(AltbackupError):
    """A step that took longer than its limit and was ended."""


class SourceChanged(AltbackupError):
    """Live data changed while it was read; worth another try."""

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        """`paths` are the changed ones, as far as they are known."""
        super().__init__(message)
        self.paths = list(paths)


class DigestMismatch(AltbackupError):
    """Bytes on disk differ from those that were written or promised."""


class Hostile(AltbackupError):
    """An archive that would do what no archive of an item does: nothing of it is used."""


class NoLinks(AltbackupError):
    """Files that can have neither a second name nor shared blocks where they lie."""


class NoRoom(AltbackupError):
    """A disk that is full."""


class ProofFailed(AltbackupError):
    """Unpacked data differs from what its dump recorded, or is damaged."""


@contextlib.contextmanager
def name_os_errors(path: str) -> Iterator[None]:
    """Add the path of an open file to errors of the block that name none. Raise OSError."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from error
