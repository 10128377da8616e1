"""What the dump of a run has read of older tarballs while it was at work, so that the check of the same run need not read them again.

`.altbackup/state/[<source>/]read-ahead` has the `run`, and its `files`, {relpath: [inode, bytes, time of change in ns]}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..system.errors import AltbackupError
from .layout import Tarball, Tree
from .locks import Run
from .private import read_private
from .publish import make_folders, remove_if_there, write_text

_MOST = 1 << 24
"""Most bytes of the file"""


def keep_read_ahead(tree: Tree, run: Run, files: Mapping[str, os.stat_result]) -> None:
    """Note which tarballs, {relpath: status before the reading}, a run has found to be what their dna says; the tree's lock must be held. Raise OSError."""
    path = _path(tree)
    if not files:
        remove_if_there(path)
        return
    make_folders(os.path.dirname(path), tree.private)
    found = {relpath: _told(status) for relpath, status in files.items()}
    write_text(path, json.dumps({"run": [*run.identity], "files": found}, sort_keys=True) + "\n")


def read_ahead(tree: Tree, run: Run, tarballs: Iterable[Tarball]) -> list[Tarball]:
    """Return those tarballs that this run has found to be what their dna says, and that did not change since; none if that cannot be known."""
    known: Any = None
    with suppress(AltbackupError, OSError, ValueError, RecursionError):  # then all of them are read
        known = json.loads(read_private(tree, _path(tree), _MOST).decode("utf-8"))
    if not isinstance(known, dict) or known.get("run") != [*run.identity]:
        return []
    files = known.get("files") or {}
    return [one for one in tarballs if one.relpath in files and files[one.relpath] == _now(tree, one)]


def _now(tree: Tree, tarball: Tarball) -> list[int] | None:
    with suppress(OSError):
        return _told(os.lstat(tree.path(tarball.relpath)))
    return None


def _told(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns]


def _path(tree: Tree) -> str:
    return tree.private_path("state", "read-ahead")
