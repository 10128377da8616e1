"""Atomic renames that exchange two names, or replace nothing."""

from __future__ import annotations

import ctypes
import errno
import os

from .opened import inode_of

NO_REPLACE, EXCHANGE = 1, 2
UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def renameat2(folder: int, name: str, to: int, new: str, flags: int) -> None:
    """Rename as renameat2(2) does; NO_REPLACE is emulated, not atomically, on file systems without it. Raise OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    number = errno.ENOSYS
    if function is not None:
        if not function(folder, os.fsencode(name), to, os.fsencode(new), ctypes.c_uint(flags)):
            return
        number = ctypes.get_errno()
    if flags == NO_REPLACE and number in UNSUPPORTED:
        if inode_of(to, new) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(name, new, src_dir_fd=folder, dst_dir_fd=to)
        return
    raise OSError(number, os.strerror(number), new)
