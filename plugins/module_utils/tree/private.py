"""Private folders, opened so that no link in their place leads elsewhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..system.errors import BaseUnusable
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
