"""Private folders and files, opened so that nothing in their place leads elsewhere, blocks, or fills the memory."""

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
    """Yield a folder of the private one as an open file, None without one. Raise BaseUnusable where a link, or no folder, is in the way."""
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
    """Yield a plain file of the private folder, open for reading.

    Raise FileNotFoundError without one, BaseUnusable where a link, or no folder, is in the way, OSError where no plain file stands there.
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
    """Given a folder of the private one, which need not be there, raise BaseUnusable if a link, or no folder, is in its place or on the way."""
    with opened_private(tree, path):
        pass


def read_private(tree: Tree, path: str, most: int) -> bytes:
    """Given a file of the private folder and the most bytes that it may have, return what is in it.

    Raise ValueError for a longer one, and else what opened_private_file raises.
    """
    with opened_private_file(tree, path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    return content
