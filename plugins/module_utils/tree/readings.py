"""Readings: when each tarball of a tree was last read and matched its dna, so that all of them are read in turn.

`.altbackup/state/[<source>/]readings` maps relpaths to the stamps of the runs that read them, or to an empty text for tarballs whose bytes
were found to have changed. Links are one file: a reading under one name counts for all.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from ..system.errors import AltbackupError
from .layout import Tarball, Tree
from .private import read_private
from .publish import make_folders, write_text
from .stamps import STAMP_FORMAT, Moment, parse_stamp

Name = TypeVar("Name", bound=Hashable)
_MOST = 1 << 26
"""Most bytes of the file"""
_STAMP = re.compile(r"(?:\d{4}/\d{2}/\d{2}/\d{6})?", re.ASCII)
_NIGHT = timedelta(hours=18)
"""Runs closer together than this belong to one night, which reads one share"""


@dataclass(frozen=True)
class Kept:
    """A stored file, under one name or more."""

    size: int
    """Bytes"""
    made: str
    """The newest of its stamps: when it was made, or its content was found unchanged, it was read"""
    read: str = ""
    """The stamp of the run that read it since then, empty if unknown"""
    doubted: bool = False
    """Whether its bytes were found to have changed"""

    @property
    def last(self) -> str:
        """The stamp of its last reading; empty for never."""
        return "" if self.doubted else max(self.made, self.read)


def readings(tree: Tree) -> dict[str, str]:
    """Return {relpath: stamp of its last reading}. Raise AltbackupError if the file is damaged."""
    path = _path(tree)
    try:
        known = json.loads(read_private(tree, path, _MOST).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        known = None
    if isinstance(known, dict) and all(isinstance(stamp, str) and _STAMP.fullmatch(stamp) for stamp in known.values()):
        return known
    raise AltbackupError(
        f"{path}, which tells when tarballs were last read, is damaged: all count as not read lately, and are read in turn. It is written "
        "anew, and nothing is to be done about it, but see whether its disk is sound"
    )


def keep_readings(tree: Tree, known: Mapping[str, str]) -> None:
    """Write {relpath: stamp of its last reading}; the tree's lock must be held. Raise OSError."""
    path = _path(tree)
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, json.dumps(known, sort_keys=True, separators=(",", ":")) + "\n")


def read_first(tree: Tree, relpaths: Collection[str]) -> None:
    """Let the next check read tarballs first whose bytes were found to have changed; the tree's lock must be held. Raise OSError."""
    try:
        known = readings(tree)
    except AltbackupError:
        known = {}
    keep_readings(tree, {**known, **dict.fromkeys(relpaths, "")})


def files_of(tarballs: Iterable[Tarball], known: Mapping[str, str], moment: Moment) -> dict[tuple[int, int], Kept]:
    """Return {inode: file} of verified tarballs; `known` is {relpath: stamp of its last reading}. Stamps of the future do not count."""
    files: dict[tuple[int, int], Kept] = {}
    for tarball in tarballs:
        made = "" if moment.is_ahead(tarball.stamp) else tarball.stamp
        read = known.get(tarball.relpath)
        one = Kept(tarball.size, made, "" if not read or moment.is_ahead(read) else read, read == "")
        other = files.get(tarball.inode, one)
        files[tarball.inode] = Kept(
            one.size, max(one.made, other.made), max(one.read, other.read), one.doubted or other.doubted
        )
    return files


def due_share(files: Mapping[Name, Kept], days: int, moment: Moment) -> list[Name]:
    """Return the files to read tonight, in order; `files` are those that the night does not read anyway, to be read within `days`.

    They are those not read for the longest time, up to a night's share of the bytes, and all that would be overdue the next night; a file
    whose readings are unknown waits for its turn. What this night has already read counts towards its share.
    """
    now = parse_stamp(moment.stamp)
    lately = (now - _NIGHT).strftime(STAMP_FORMAT)
    overdue = (now - timedelta(days=days - 0.5)).strftime(STAMP_FORMAT)
    room = sum(file.size for file in files.values()) / days
    room -= sum(file.size for file in files.values() if file.read > lately > file.made)
    due = []
    for name, file in sorted(files.items(), key=lambda entry: entry[1].last):
        if file.last > lately:
            break
        if room > 0 or file.doubted or (file.read and file.last <= overdue):
            due.append(name)
            room -= file.size
    return due


def is_fresh(file: Kept, days: int, moment: Moment) -> bool:
    """Return whether a file was read within so many days before the moment."""
    since = parse_stamp(moment.stamp) - timedelta(days=days)
    return file.last > since.strftime(STAMP_FORMAT)


def _path(tree: Tree) -> str:
    return tree.private_path("state", "readings")
