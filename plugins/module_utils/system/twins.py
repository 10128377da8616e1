"""A second file of the same content: a hard link, or else a file that shares its blocks, or else a copy.

File systems such as exFAT and vfat, and some network file systems, have no links of either kind and keep no modes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil

from .digest import CHUNK, open_plain, within_limits
from .errors import UNABLE, AltbackupError, name_os_errors
from .units import readable, told_apart

MARGIN = 16 << 20
"""Bytes left free on a disk for sidecars, records and folders"""
_FICLONE = 0x40049409
"""The request of ioctl_ficlone(2)"""
_NO_LINK = (*UNABLE, errno.EMLINK)
_NO_CLONE = (*UNABLE, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.EISDIR, errno.ETXTBSY)


def share(old: str, new: str) -> bool:
    """Make a hard link to a plain file, or a file that shares its blocks; return whether either was possible. Raise OSError."""
    try:
        os.link(old, new)
        return True
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    return _clone(old, new)


def duplicate(old: str, new: str) -> bool:
    """Make a second file as `share` does, or else a flushed copy; return whether it is a copy.

    Raise AltbackupError if there is no room for a copy, DeadlineExceeded if reading is limited, or OSError.
    """
    if share(old, new):
        return False
    try:
        _copy(old, new)
    except BaseException:
        _remove(new)
        raise
    return True


def _clone(old: str, new: str) -> bool:
    with open_plain(old) as source, open(_made(new), "wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
            os.fsync(copy.fileno())
            return True
        except OSError as error:
            _remove(new)
            if error.errno not in _NO_CLONE:
                raise OSError(error.errno, error.strerror, new) from error
    return False


def _copy(old: str, new: str) -> None:
    with open_plain(old) as source, open(_made(new), "wb") as copy:
        _require_room(old, os.fstat(source.fileno()).st_size, os.path.dirname(new))
        while chunk := source.read(CHUNK):
            within_limits()
            with name_os_errors(new):
                copy.write(chunk)
        with name_os_errors(new):
            copy.flush()
            os.fsync(copy.fileno())


def _require_room(path: str, size: int, folder: str) -> None:
    free = shutil.disk_usage(folder).free
    if size + MARGIN > free:
        needed, left = told_apart(size + MARGIN, free)
        raise AltbackupError(
            f"{path} can have no hard link, and a copy of it needs {needed} ({readable(MARGIN)} of them a margin), but only {left} are free "
            f"below {folder}"
        )


def _made(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _remove(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def point(target: str, path: str) -> None:
    """Make a symbolic link. Raise AltbackupError if the file system has none, or OSError."""
    try:
        os.symlink(target, path)
    except OSError as error:  # its own filename is the target alone
        if error.errno in UNABLE:
            raise AltbackupError(
                f"no symbolic link can be made at {path} ({error.strerror}): its file system has none, so what has links cannot be copied "
                "there; put the base on one that has them, or take the link out of the item"
            ) from error
        raise OSError(error.errno, error.strerror, path) from error


def take_attributes(source: str, copied: str, *, follow_symlinks: bool = True) -> None:
    """Copy mode, times and extended attributes to another file, as far as its file system keeps modes. Raise OSError."""
    try:
        shutil.copystat(source, copied, follow_symlinks=follow_symlinks)
    except OSError as error:  # copystat sets the mode last
        if error.errno not in UNABLE or not _is_own(copied):
            raise


def set_mode(path: str | bytes, mode: int) -> None:
    """Set the mode of a file or folder of this user, unless its file system keeps none, which preflight notes. Raise OSError."""
    try:
        os.chmod(path, mode)
    except OSError as error:
        if error.errno not in UNABLE or not _is_own(path):
            raise


def _is_own(path: str | bytes) -> bool:
    return os.geteuid() in (0, os.lstat(path).st_uid)
