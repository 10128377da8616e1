"""Offers: the tarballs that a source holds, as the controller hands them to a target."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError, InvalidInput
from ..tree.contents import dna_in
from ..tree.encryption import shared
from ..tree.failures import failure
from ..tree.incomplete import missing_of
from ..tree.layout import (
    EXTENSIONS,
    Tarball,
    Tree,
    base_in,
    is_differential,
    is_relpath,
    item_key,
    open_tree,
    read_state,
    split_relpath,
    stamp_in,
)
from ..tree.marks import Marks, marks_of
from ..tree.proof_files import moment_at, proved_at
from ..tree.publish import read_record, write_record
from ..tree.quarantine import quarantined
from ..tree.scan import Scan, scan
from ..tree.scan_failures import ahead, unreadable
from ..tree.sidecar import SUFFIX, Dna
from ..tree.stamps import Moment
from ..tree.suspects import doubts_of

STAGE = "synchronize"
BASIS = "basis"
CARRIED = "carried"
"""Folder of a target for what the controller brings from another target, by relpath"""
FUTURE = "future"
"""State of a listed tarball whose stamp lies in the future"""
NOT_LISTED: dict[str, Any] = {"changed": False, "listed": False, "tarballs": [], "notes": []}
"""Result of a listing that could not be made, without its failures"""
_DIG = re.compile("[0-9a-f]{32,128}")
_SHOWN = 160
"""Most characters of a wrong value in a message"""


@dataclass(frozen=True)
class Offer:
    """A verified tarball of the source, as the controller hands it to a target."""

    relpath: str
    dna: Dna
    record: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The item, `<category>/<name>`."""
        return item_key(self.relpath)

    @property
    def stamp(self) -> str:
        """The stamp, `YYYY/MM/DD/HHMMSS`."""
        return stamp_in(self.relpath)

    @property
    def transit_name(self) -> str:
        """The file's name during a transfer, `<algorithm>-<digest>`."""
        return f"{self.dna.alg}-{self.dna.dig}"


def parse_offers(values: Sequence[Mapping[str, Any]]) -> list[Offer]:
    """Return tarballs, as results show them, as checked offers. Raise InvalidInput."""
    wanted = []
    for value in values:
        relpath = str(value.get("relpath", ""))
        split_relpath(relpath)
        wanted.append(Offer(relpath, _dna(relpath, value), _record(relpath, value)))
    return wanted


def _dna(relpath: str, value: Mapping[str, Any]) -> Dna:
    dig, alg = str(value.get("dig", "")), str(value.get("alg", ""))
    if not (re.fullmatch(r"[0-9a-f]{1,128}", dig) and re.fullmatch(r"[a-z0-9]{1,16}", alg)):
        raise InvalidInput(f"{relpath}: dna {dig[:_SHOWN]!r} {alg[:_SHOWN]!r} is not a digest")
    size = str(value.get("size", 0))
    if not re.fullmatch(r"[0-9]{1,18}", size):
        raise InvalidInput(f"{relpath}: size {size[:_SHOWN]!r} is not a number of bytes")
    return Dna(dig, int(size), alg, *_base(relpath, value))


def _base(relpath: str, value: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return path and digest of the full tarball that a differential needs, None for a full one. Raise InvalidInput if they do not fit."""
    base, dig = str(value.get("base") or ""), str(value.get("base_dig") or "")
    if not base and not dig and not is_differential(relpath):
        return None, None
    if is_differential(relpath) and is_relpath(f"{'/'.join(relpath.split('/')[:2])}/{base}") and _DIG.fullmatch(dig):
        return base, dig
    raise InvalidInput(f"{relpath}: base {base[:_SHOWN]!r} {dig[:_SHOWN]!r} is not the full tarball of a differential")


def _record(relpath: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    record = value.get("record") or {}
    if not isinstance(record, Mapping):
        raise InvalidInput(f"{relpath}: its record is no mapping")
    return record


def listing(
    base: str, day: str = "", *, moment: Moment, records: bool = False, found: Scan | None = None
) -> dict[str, Any]:
    """Return the `tarballs` below a base, verified or not, of one day or (empty) of all, newest last, with `notes` and `failures`.

    `found` is a scan of the base, if there is one already. A stamp ahead of `moment` has state `future` and is a failure. With `records`
    each tarball has the record of its dump, else its marks and when it was proved. `listed` is true: the list is complete but for folders
    that cannot be read, which are failures.
    """
    tree = open_tree(base)
    tarballs = []
    notes = []
    found = scan(tree, day, tolerate_unreadable=True) if found is None else found
    marks, problems = (Marks(), []) if records else _marks(tree)
    for tarball in sorted(found.tarballs, key=lambda tarball: (tarball.stamp, tarball.relpath)):
        entry = {
            "category": tarball.category,
            "name": tarball.name,
            "stamp": tarball.stamp,
            "relpath": tarball.relpath,
            "path": tree.path(tarball.relpath),
            "size": tarball.size,
            "dig": tarball.dna.dig if tarball.dna else "",
            "alg": tarball.dna.alg if tarball.dna else "",
            **base_in(tarball.dna),
            "state": FUTURE if moment.is_ahead(tarball.stamp) else tarball.state,
        }
        record = read_record(tree, tarball.key, tarball.stamp)
        if missing_of(record):
            entry["incomplete"] = True
        if records:
            entry["record"] = shared(record)
        else:
            entry.update(_marked(marks, tarball, record))
            proved = proved_at(tree, tarball)
            entry.update({"proved": moment_at(proved)} if proved else {})
        tarballs.append(entry)
        if tarball.verified and not is_relpath(tarball.relpath):
            notes.append(_misnamed(tarball))
    failures = [*problems, *unreadable(found, "list"), *ahead(tree, moment)]
    return {"changed": False, "listed": True, "tarballs": tarballs, "notes": notes, "failures": failures}


def _marks(tree: Tree) -> tuple[Marks, list[dict[str, Any]]]:
    """Return the marks of a tree, or none and a failure if they cannot be read: tarballs are listed all the same."""
    try:
        return marks_of(tree), []
    except AltbackupError as error:
        return Marks(), [failure("list", error)]


def _marked(marks: Marks, tarball: Tarball, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return `suspect`, the reasons unless they were accepted, and `hold`, the reason; a key that does not apply is absent."""
    doubts = [] if marks.accepts(tarball.key, tarball.stamp) else doubts_of(record)
    hold = marks.hold_of(tarball.key, tarball.stamp)
    return {**({"suspect": doubts} if doubts else {}), **({"hold": hold} if hold else {})}


def _misnamed(tarball: Tarball) -> str:
    """Return a note on a tarball whose file name is not one of its item: what happens to it, and how to rename it."""
    dotted = tarball.category.startswith(".") or tarball.name.startswith(".")
    extension = next(extension for extension in EXTENSIONS if tarball.filename.endswith(extension))
    rename = "" if dotted else f"rename it to {tarball.name}[-<revision>]{extension}, and its dna with it, or "
    return (
        f"{tarball.relpath} is not named as a tarball of {tarball.key}, so it is not counted, not copied to any target "
        f"and not purged: {rename}move it out of the base"
    )


def take_record(tree: Tree, offer: Offer) -> None:
    """Write the source's record of a tarball that is about to be published on a target. Raise AltbackupError or OSError.

    A record under that stamp stays if it is of the same bytes, or if another tarball of the item stands, or lies rotted, under that stamp:
    what a source says now makes no earlier copy suspect, and no incomplete one whole.
    """
    known = dna_in(read_record(tree, offer.key, offer.stamp))
    if known == (offer.dna.alg, offer.dna.size, offer.dna.dig) or _has_other(tree, offer):
        return
    write_record(tree, offer.key, offer.stamp, offer.record)


def _has_other(tree: Tree, offer: Offer) -> bool:
    """Return whether another tarball of the item is verified under an offer's stamp, or waits in the quarantine for a good copy."""
    own = f"{split_relpath(offer.relpath)[3]}{SUFFIX}"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if any(name.endswith(SUFFIX) and name != own for name in os.listdir(tree.path(f"{offer.key}/{offer.stamp}"))):
            return True
    apart = quarantined(tree, [offer.key])[0]
    return any(entry.stamp == offer.stamp and entry.relpath != offer.relpath and not entry.healed for entry in apart)


def tarball_at(tree: Tree, entry: Offer) -> Tarball:
    """Return the tarball of an offer that was just published on a target, as a scan would. Raise OSError."""
    category, name, stamp, filename = split_relpath(entry.relpath)
    status = os.lstat(tree.path(entry.relpath))
    dna, problem, state = read_state(tree.path(entry.relpath), status.st_size)
    inode = (status.st_dev, status.st_ino)
    return Tarball(category, name, stamp, filename, status.st_size, inode, status.st_nlink, dna, problem, state)
