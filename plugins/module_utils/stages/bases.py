"""Against which full tarball the next dump of an item may be a differential, and what is known of it.

`.altbackup/snapshots/<category>/<name>` is the snapshot of the item's last full tarball, bound to that by its digest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..archive.snapshot import Snapshot, new_private, read_snapshot, write_known
from ..archive.write import ArchiveFormat
from ..kinds.base import Context
from ..kinds.items import Item
from ..kinds.registry import kind_of
from ..system.errors import AltbackupError
from ..tree.encryption import TO
from ..tree.layout import Tarball, Tree
from ..tree.marks import Marks
from ..tree.publish import flush_folder, make_folders, prune_empty, read_record, remove_if_there
from ..tree.readings import readings
from ..tree.sidecar import Dna
from ..tree.stamps import is_stamp, parse_stamp
from ..tree.suspects import doubts_of
from .controller import CONTROLLER_KEY

_LARGE = 0.5
"""The part of its full tarball above which a differential makes the next tarball a full one"""


@dataclass
class Base:
    """A full tarball, and what is known of it."""

    full: Tarball
    snapshot: Snapshot
    links: Collection[str] = field(default_factory=set)
    """The symbolic links that it has, below the top folder, once a reader was told"""

    @property
    def about(self) -> Mapping[str, Any]:
        """What its dump told of it."""
        return self.snapshot.about

    @property
    def top(self) -> str:
        """Its top folder."""
        return str(self.about["top"])

    @property
    def dig(self) -> str:
        """Its digest."""
        return str(self.about["dig"])

    @property
    def path(self) -> str:
        """Where it lies in the folder of its item."""
        return f"{self.full.stamp}/{self.full.filename}"

    def is_same(self, content: str, revision: int | None) -> bool:
        """Return whether that is what it holds."""
        return bool(content) and (content, revision) == (self.about.get("content"), self.about.get("revision"))

    def hand_over(self, path: str, folder: str) -> None:
        """Write what a reader is to know of it to a new file in the reader's folder, which is its own. Raise Unproven or OSError."""
        with new_private(path) as output:
            self.links = write_known(self.snapshot, output)
            if os.geteuid() == 0:
                status = os.lstat(folder)
                os.fchown(output.fileno(), status.st_uid, status.st_gid)  # by its name it may be another file by now


def nights_of(item: Item, context: Context, form: ArchiveFormat) -> int:
    """Given an item, return how many nights there are from one full tarball of it to the next; 1 where all are.

    So they are of what the controller packed: on the worst day it comes first, and by hand.
    """
    if not kind_of(item.kind).differs or form.algorithm == "md5" or item.key == CONTROLLER_KEY:
        return 1
    return item.full_every or context.full_every


def about_full(
    dna: Dna, top: str, revision: int | None, content: str, way: Sequence[Any], stamp: str, to: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what is to be known of a full tarball besides its members."""
    told = {"dig": dna.dig, "size": dna.size, "alg": dna.alg, "top": top, "revision": revision}
    return {**told, "content": content, "way": list(way), "stamp": stamp, **({TO: list(to)} if to else {})}


def find_base(
    item: Item, context: Context, form: ArchiveFormat, before: Sequence[Tarball], marks: Marks
) -> Base | None:
    """Given an item and its verified tarballs, return against which full one tonight's may be a differential; None where it is to be full.

    So it is where so many nights are over, where the last full one is encrypted to others, where nothing is known of it, where it is not here,
    suspect, or found rotten, and where a differential since was large.
    """
    nights = nights_of(item, context, form)
    snapshot = read_snapshot(snapshot_path(context.tree, item)) if nights > 1 else None
    if snapshot is None or not _is_recent(str(snapshot.about.get("stamp")), context.stamp, nights):
        return None
    about = snapshot.about
    if list(about.get(TO, ())) != list(form.recipients):  # who opens the one opens the other
        return None
    fulls = [
        tarball
        for tarball in before
        if tarball.dna
        and tarball.dna.base is None
        and (tarball.dna.dig, tarball.dna.size, tarball.dna.alg)
        == (about.get("dig"), about.get("size"), about.get("alg"))
        and tarball.filename.startswith(f"{about.get('top')}.")
    ]
    if not fulls:
        return None
    full = max(fulls, key=lambda tarball: (tarball.stamp == about["stamp"], tarball.stamp))
    large = [one for one in before if one.dna and one.dna.base_dig == about["dig"] and one.size > full.size * _LARGE]
    doubtful = any(
        doubts_of(read_record(context.tree, one.key, one.stamp)) and not marks.accepts(one.key, one.stamp)
        for one in fulls
    )
    return None if large or doubtful or _is_rotten(context.tree, fulls) else Base(full, snapshot)


def _is_recent(made: str, stamp: str, nights: int) -> bool:
    if not is_stamp(made) or made > stamp:
        return False
    return (parse_stamp(stamp).date() - parse_stamp(made).date()).days < nights


def _is_rotten(tree: Tree, fulls: Sequence[Tarball]) -> bool:
    """Return whether somebody has found that the bytes of a full tarball are no longer what they were."""
    known: Mapping[str, str] = {}
    with contextlib.suppress(AltbackupError):  # a check says so
        known = readings(tree)
    return any(known.get(one.relpath) == "" for one in fulls)


def snapshot_path(tree: Tree, item: Item) -> str:
    """Return where the snapshot of an item's last full tarball is kept."""
    return tree.private_path("snapshots", item.category, item.name)


def keep_snapshot(tree: Tree, item: Item, new: str, *, known: bool) -> None:
    """Keep a new snapshot, if one was written, in the place of the one before; where none are to be known, remove that. Raise OSError."""
    path = snapshot_path(tree, item)
    if not known:
        if os.path.lexists(path):
            remove_if_there(path)
            prune_empty(os.path.dirname(path), tree.private)
    elif os.path.lexists(new):
        make_folders(os.path.dirname(path), tree.private)
        os.replace(new, path)
        flush_folder(os.path.dirname(path))
