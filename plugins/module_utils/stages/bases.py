"""The full tarball against which the next dump of an item may be a differential, and its snapshot.

`.altbackup/snapshots/<category>/<name>` is the snapshot of the item's last full tarball; the digest in it says of which.
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
"""Size of a differential, as a fraction of its full tarball's, above which the next tarball is a full one"""


@dataclass
class Base:
    """A full tarball with its snapshot."""

    full: Tarball
    snapshot: Snapshot
    links: Collection[str] = field(default_factory=set)
    """Paths of its symbolic links, below the top folder; filled by `write_for_reader`"""

    @property
    def about(self) -> Mapping[str, Any]:
        """The metadata of its snapshot, see `about_full`."""
        return self.snapshot.about

    @property
    def top(self) -> str:
        """The name of its top folder."""
        return str(self.about["top"])

    @property
    def dig(self) -> str:
        """The hexadecimal digest of its file."""
        return str(self.about["dig"])

    @property
    def path(self) -> str:
        """Its path below the folder of its item, `YYYY/MM/DD/HHMMSS/<file>`."""
        return f"{self.full.stamp}/{self.full.filename}"

    def is_same(self, content: str, revision: int | None) -> bool:
        """Return whether its content digest and revision are these; false for an empty content digest."""
        return bool(content) and (content, revision) == (self.about.get("content"), self.about.get("revision"))

    def write_for_reader(self, path: str, folder: str) -> None:
        """Write the snapshot's entries to a new file for a reader, owned by the owner of the reader's folder. Raise Unproven or OSError."""
        with new_private(path) as output:
            self.links = write_known(self.snapshot, output)
            if os.geteuid() == 0:
                status = os.lstat(folder)
                os.fchown(
                    output.fileno(), status.st_uid, status.st_gid
                )  # by descriptor: the name may be replaced in the meantime


def nights_of(item: Item, context: Context, form: ArchiveFormat) -> int:
    """Return the number of nights from one full tarball of an item to the next; 1 if every tarball is full.

    The controller's own item is always full: on the worst day it is restored first, and by hand.
    """
    if not kind_of(item.kind).differs or form.algorithm == "md5" or item.key == CONTROLLER_KEY:
        return 1
    return item.full_every or context.full_every


def about_full(
    dna: Dna, top: str, revision: int | None, content: str, way: Sequence[Any], stamp: str, to: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the metadata of a full tarball for its snapshot.

    `content` is its content digest, `way` the archive options that a differential must share, `to` its recipients.
    """
    told = {"dig": dna.dig, "size": dna.size, "alg": dna.alg, "top": top, "revision": revision}
    return {**told, "content": content, "way": list(way), "stamp": stamp, **({TO: list(to)} if to else {})}


def find_base(
    item: Item, context: Context, form: ArchiveFormat, before: Sequence[Tarball], marks: Marks
) -> Base | None:
    """Return the full tarball against which tonight's may be a differential, None if it has to be full.

    `before` are the item's verified tarballs. It has to be full if the full period is over, or the last full tarball has other recipients, has no snapshot,
    is not here, is suspect or known to be damaged, or if a differential against it was large.
    """
    nights = nights_of(item, context, form)
    snapshot = read_snapshot(snapshot_path(context.tree, item)) if nights > 1 else None
    if snapshot is None or not _is_recent(str(snapshot.about.get("stamp")), context.stamp, nights):
        return None
    about = snapshot.about
    if list(about.get(TO, ())) != list(form.recipients):  # both need the same keys
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
    """Return whether an earlier reading found that a full tarball no longer matches its digest."""
    known: Mapping[str, str] = {}
    with contextlib.suppress(AltbackupError):  # the check reports it
        known = readings(tree)
    return any(known.get(one.relpath) == "" for one in fulls)


def snapshot_path(tree: Tree, item: Item) -> str:
    """Return the path of the snapshot of an item's last full tarball."""
    return tree.private_path("snapshots", item.category, item.name)


def keep_snapshot(tree: Tree, item: Item, new: str, *, known: bool) -> None:
    """Move a new snapshot, if one was written, to its final path; without `known` remove the old one. Raise OSError."""
    path = snapshot_path(tree, item)
    if not known:
        if os.path.lexists(path):
            remove_if_there(path)
            prune_empty(os.path.dirname(path), tree.private)
    elif os.path.lexists(new):
        make_folders(os.path.dirname(path), tree.private)
        os.replace(new, path)
        flush_folder(os.path.dirname(path))
