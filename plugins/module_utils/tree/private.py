"""Private folders and files, opened so that nothing in their place can lead elsewhere, block, or fill the memory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import IO

from ..system.digest import open_plain
from ..system.errors import BaseUnusable, name_os_errors
from .layout import Tree

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def opened_private(tree: Tree, path: str) -> Iterator[int | None]:
    """Yield a folder below the private one, open, None if it is missing. Raise BaseUnusable if a link, or no folder, is in the way."""
    descriptor = os.open(tree.private, _FOLDER)
    try:
        for name in os.path.relpath(path, tree.private).split("/"):
            try:
                below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            except FileNotFoundError:
                yield None
                return
            except NotADirectoryError:
                raise BaseUnusable(
                    f"{path} is, or lies behind, a link or no folder: nothing in it was touched; look at it, and remove it"
                ) from None
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_private_file(tree: Tree, path: str) -> Iterator[IO[bytes]]:
    """Yield a plain file below the private folder, open for reading.

    Raise FileNotFoundError if it is missing, BaseUnusable if a link, or no folder, is in the way, OSError if it is no plain file.
    """
    with opened_private(tree, os.path.dirname(path)) as folder:
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        try:
            opened = open_plain(os.path.basename(path), folder)
        except OSError as error:
            error.filename = path
            raise
        with opened as stream, name_os_errors(path):
            yield stream


def require_no_link(tree: Tree, path: str) -> None:
    """Raise BaseUnusable if a folder below the private one, or one on its path, is a link or no folder; it may be missing."""
    with opened_private(tree, path):
        pass


def read_private(tree: Tree, path: str, most: int) -> bytes:
    """Return the content of a file below the private folder, at most `most` bytes.

    Raise ValueError for a longer one, and what opened_private_file raises.
    """
    with opened_private_file(tree, path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    return content
