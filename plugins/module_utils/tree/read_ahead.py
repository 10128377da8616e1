"""What the dump of a run has read of older tarballs while it was at work, so that the check of the same run need not read them again.

`.altbackup/state/[<source>/]read-ahead` has the `run`, and its `files`, {relpath: [inode, bytes, time of change in ns, algorithm, digest]}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError
from .layout import Tarball, Tree
from .locks import Run
from .private import read_private
from .publish import make_folders, remove_if_there, write_text

_MOST = 1 << 24
"""Most bytes of the file"""


@dataclass(frozen=True)
class Reading:
    """What reading a file found: its status before, and the digest."""

    status: os.stat_result
    alg: str
    dig: str

    @property
    def told(self) -> list[int | str]:
        """As it is in the file."""
        return [self.status.st_ino, self.status.st_size, self.status.st_mtime_ns, self.alg, self.dig]


def keep_read_ahead(tree: Tree, run: Run, files: Mapping[str, Reading]) -> None:
    """Note which tarballs, {relpath: what reading found}, a run has found to be what their dna says; the tree's lock must be held. Raise OSError."""
    path = _path(tree)
    if not files:
        remove_if_there(path)
        return
    make_folders(os.path.dirname(path), tree.private)
    found = {relpath: reading.told for relpath, reading in files.items()}
    write_text(path, json.dumps({"run": [*run.identity], "files": found}, sort_keys=True) + "\n")


def read_ahead(tree: Tree, run: Run, tarballs: Iterable[Tarball]) -> list[Tarball]:
    """Return those tarballs that this run has found to be what their dna says, and that did not change since; none if that cannot be known."""
    known: Any = None
    with suppress(AltbackupError, OSError, ValueError, RecursionError):  # then all of them are read
        known = json.loads(read_private(tree, _path(tree), _MOST).decode("utf-8"))
    if not isinstance(known, dict) or known.get("run") != [*run.identity]:
        return []
    files = known.get("files")
    if not isinstance(files, dict):
        return []
    return [one for one in tarballs if one.relpath in files and files[one.relpath] == _now(tree, one)]


def _now(tree: Tree, tarball: Tarball) -> list[int | str] | None:
    """Return what is told of a tarball whose reading found what its dna says today."""
    with suppress(OSError):
        if tarball.dna:
            return Reading(os.lstat(tree.path(tarball.relpath)), tarball.dna.alg, tarball.dna.dig).told
    return None


def _path(tree: Tree) -> str:
    return tree.private_path("state", "read-ahead")
