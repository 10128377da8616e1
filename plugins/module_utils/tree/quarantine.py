"""Quarantine: tarballs whose bytes no longer match their sidecars, out of the way of all that counts, sends and restores.

`.altbackup/quarantine/[<source>/]<category>/<name>/YYYY/MM/DD/HHMMSS` has the tarball, its sidecar and its proof, a copy of its dump's
record, and `why.json`: since when it lies there, what was read, the run in which it had come, and when a good copy came back. A second
tarball set apart under one stamp lies beside the first, as `HHMMSS-2`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ..system.digest import DIGEST_LENGTHS, open_plain
from ..system.errors import AltbackupError, BaseUnusable, SidecarMalformed, name_os_errors
from ..system.visible import one_line
from . import sidecar
from .layout import EXTENSIONS, PROOF, Tarball, Tree, base_in, item_key, stamp_in
from .publish import flush_folder, make_folders, prune_empty, record_path, write_text
from .sidecar import SUFFIX, Dna
from .stamps import Moment, is_stamp, parse_stamp

_WHY = "why.json"
_RECORD = "record.json"
_LONGEST = 1 << 16
"""Most bytes of why.json"""
_SHOWN = 1000
_CLOCK = re.compile(r"(\d{6})(?:-\d+)?", re.ASCII)
_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class Quarantined:
    """A tarball that was set apart."""

    relpath: str
    """Its former path below the base"""
    folder: str
    """Its absolute folder now"""
    dna: Dna | None
    """The dna in its sidecar, None if that cannot be read"""
    read: Dna | None
    """The dna of the bytes that were read, None if unknown"""
    since: str
    """The stamp of the controller's clock when it was set apart, empty if not yet known"""
    healed: str = ""
    """The same for when a good copy came back, empty for never"""
    came: str = ""
    """The stamp of the run in which it had come to a target, if known"""
    reason: str = ""

    @property
    def key(self) -> str:
        """The item, `<category>/<name>`."""
        return item_key(self.relpath)

    @property
    def stamp(self) -> str:
        """Its former stamp."""
        return stamp_in(self.relpath)

    def is_same(self, dna: Dna) -> bool:
        """Return whether a dna is of its content: that of its sidecar, or of the bytes read, since the sidecar itself may have rotted."""
        return any(known is not None and known.same_content(dna) for known in (self.dna, self.read))

    def is_due(self, moment: Moment) -> bool:
        """Return whether it was kept for 30 days, after which, beside a good copy, it may go."""
        return bool(self.since) and parse_stamp(moment.latest) - parse_stamp(self.since) > _KEPT


def set_apart(
    tree: Tree, tarball: Tarball, read: Dna | None, reason: str, moment: Moment, came: str = ""
) -> Quarantined:
    """Move a tarball with sidecar and proof to the quarantine; return its entry. The tree's lock must be held; the record stays in place.

    `read` is the dna of the bytes read, `came` the run in which it had come. Raise AltbackupError or OSError: then it stands where it
    stood, or is half moved as after a kill, which the next call completes.
    """
    path = tree.path(tarball.relpath)
    folder = os.path.dirname(path)
    place = _free_place(tree, tarball.relpath)
    make_folders(os.path.dirname(place), tree.private)
    if set(os.listdir(folder)) - {tarball.filename + suffix for suffix in ("", SUFFIX, PROOF)}:
        os.mkdir(place, 0o700)
        try:
            os.rename(path, os.path.join(place, tarball.filename))
        except OSError:
            os.rmdir(place)
            raise
        _move_beside(path, place)
        flush_folder(folder)
    else:
        os.rename(folder, place)
        flush_folder(os.path.dirname(folder))
    flush_folder(os.path.dirname(place))
    known = Quarantined(tarball.relpath, place, tarball.dna, read, moment.latest, "", came, one_line(reason)[:_SHOWN])
    _write(known)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(record_path(tree, tarball.key, tarball.stamp), os.path.join(place, _RECORD))
    prune_empty(folder, tree.path(tarball.key))
    return known


def complete_moves(tree: Tree, orphans: Sequence[str]) -> list[str]:
    """Move sidecars after their tarballs if a killed call had moved only the tarball; return them.

    `orphans` are the sidecars without tarball; the tree's lock must be held.
    """
    moved = []
    for relpath in orphans:
        tarball = relpath[: -len(SUFFIX)]
        for place in reversed(_places(tree, tarball)):
            if os.path.exists(f"{place}/{os.path.basename(tarball)}") and not os.path.lexists(
                f"{place}/{os.path.basename(relpath)}"
            ):
                _move_beside(tree.path(tarball), place)
                prune_empty(os.path.dirname(tree.path(tarball)), tree.path(item_key(relpath)))
                moved.append(relpath)
                break
    return moved


def quarantined(tree: Tree, keys: Collection[str] | None = None) -> tuple[list[Quarantined], list[tuple[str, str]]]:
    """Return the entries of a tree's quarantine, of some items only if given, and (relpath, problem) of those that are damaged.

    Raise BaseUnusable if a link is in its place.
    """
    top = tree.private_path("quarantine")
    if os.path.islink(top):
        raise BaseUnusable(f"{top} is a link: nothing in it was touched; look at it, and remove it")
    found, problems = [], []
    for folder, folders, names in os.walk(top):
        folders.sort()
        parts = os.path.relpath(folder, top).split("/")
        if len(parts) < 6:
            continue
        folders.clear()
        clock = _CLOCK.fullmatch(parts[5])
        stamp = f"{'/'.join(parts[2:5])}/{clock.group(1)}" if clock else ""
        key = "/".join(parts[:2])
        if keys is not None and key not in keys:
            continue
        for name in sorted(name for name in names if name.endswith(EXTENSIONS)):
            relpath = f"{key}/{stamp}/{name}"
            if not is_stamp(stamp):
                problems.append((relpath, f"{folder} is no folder of a stamp: look at it, and remove it"))
                continue
            known, problem = _read(folder, relpath)
            found.append(known)
            problems += [(relpath, problem)] if problem else []
    return found, problems


def awaited(tree: Tree, relpath: str, dna: Dna) -> Quarantined | None:
    """Return the entry, not yet healed, with relpath and content of a tarball that is about to be published; None if there is none.

    Raise BaseUnusable if a link is in the quarantine's place.
    """
    found = quarantined(tree, [item_key(relpath)])[0]
    same = [entry for entry in found if entry.relpath == relpath and not entry.healed and entry.is_same(dna)]
    return same[-1] if same else None


def note_since(entry: Quarantined, moment: Moment) -> Quarantined:
    """Write that a tarball lies in the quarantine from now on, if a killed call had not written since when. Raise OSError."""
    known = replace(entry, since=moment.latest)
    _write(known)
    return known


def note_healed(entry: Quarantined, moment: Moment) -> Quarantined:
    """Write that a good copy stands again in a quarantined tarball's former place. Raise OSError."""
    known = replace(entry, since=entry.since or moment.latest, healed=moment.latest)
    _write(known)
    return known


def put_record_back(tree: Tree, entry: Quarantined) -> None:
    """Restore the record of a quarantined tarball, if it is gone, before a good copy gets its former place. Raise OSError."""
    _copy(os.path.join(entry.folder, _RECORD), record_path(tree, entry.key, entry.stamp), tree.private)


def put_proof_back(tree: Tree, entry: Quarantined) -> None:
    """Restore the proof of a quarantined tarball beside the good copy in its former place. Raise OSError."""
    name = os.path.basename(entry.relpath) + PROOF
    _copy(os.path.join(entry.folder, name), tree.path(entry.relpath) + PROOF, tree.base)


def _copy(old: str, new: str, above: str) -> None:
    """Copy a small private file to a free path below a folder."""
    with contextlib.suppress(FileNotFoundError):
        if not os.path.lexists(new):
            with open_plain(old) as stream:
                text = stream.read().decode("utf-8")
            make_folders(os.path.dirname(new), above)
            write_text(new, text)


def remove(tree: Tree, entry: Quarantined) -> None:
    """Remove a tarball from the quarantine. Raise OSError."""
    shutil.rmtree(entry.folder)
    prune_empty(os.path.dirname(entry.folder), tree.private)


def healing_folder(tree: Tree) -> str:
    """Return the folder into which good copies come from other nodes."""
    return tree.private_path("healing")


def _places(tree: Tree, relpath: str) -> list[str]:
    """Return the existing quarantine folders of a relpath, the oldest first."""
    *above, clock, _ = relpath.split("/")
    folder = tree.private_path("quarantine", *above)
    with contextlib.suppress(FileNotFoundError):
        numbers = [(len(name), name) for name in os.listdir(folder) if name == clock or name.startswith(f"{clock}-")]
        return [os.path.join(folder, name) for _, name in sorted(numbers)]
    return []


def _free_place(tree: Tree, relpath: str) -> str:
    *above, clock, _ = relpath.split("/")
    place = first = tree.private_path("quarantine", *above, clock)
    number = 1
    while os.path.lexists(place):
        number += 1
        place = f"{first}-{number}"
    return place


def _move_beside(path: str, place: str) -> None:
    """Move proof and sidecar after their tarball, which is moved already."""
    for suffix in (PROOF, SUFFIX):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, os.path.join(place, os.path.basename(path) + suffix))


def _write(entry: Quarantined) -> None:
    values = {
        "since": entry.since,
        "healed": entry.healed,
        "came": entry.came,
        "reason": entry.reason,
        **{name: _shown(dna) for name, dna in (("dna", entry.dna), ("read", entry.read)) if dna is not None},
    }
    write_text(os.path.join(entry.folder, _WHY), json.dumps(values, sort_keys=True) + "\n")


def _shown(dna: Dna) -> dict[str, Any]:
    return {"dig": dna.dig, "size": dna.size, "alg": dna.alg, **base_in(dna)}


def _read(folder: str, relpath: str) -> tuple[Quarantined, str]:
    """Return the entry of a tarball in the quarantine, and what is wrong with its why.json, else empty."""
    path = os.path.join(folder, _WHY)
    values: Mapping[str, Any] = {}
    problem = ""
    try:
        with name_os_errors(path), open_plain(path) as stream:
            values = json.loads(stream.read(_LONGEST).decode("utf-8"))
        stamps = [values["since"], values["healed"], values["came"]]
        if not all(isinstance(stamp, str) and (not stamp or is_stamp(stamp)) for stamp in stamps):
            raise ValueError("its times are no stamps")
        known = [_dna(values[name]) if name in values else None for name in ("dna", "read")]
        reason = one_line(str(values.get("reason", "")))[:_SHOWN]
    except FileNotFoundError:
        stamps, known, reason = ["", "", ""], [None, None], ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        stamps, known, reason = ["", "", ""], [None, None], ""
        problem = (
            f"{path}, which tells since when {os.path.basename(relpath)} lies there, is damaged: look at that folder; without that file it "
            "counts as set apart now"
        )
    own = None
    with contextlib.suppress(OSError, AltbackupError, SidecarMalformed):
        own = sidecar.read(os.path.join(folder, os.path.basename(relpath)) + SUFFIX)
    since, healed, came = stamps
    return Quarantined(relpath, folder, known[0] or own, known[1], since, healed, came, reason), problem


def _dna(value: Any) -> Dna:
    dig, size, alg = value["dig"], value["size"], value["alg"]
    if not (isinstance(dig, str) and isinstance(size, int) and not isinstance(size, bool) and alg in DIGEST_LENGTHS):
        raise ValueError("it has no digest")
    base, base_dig = value.get("base"), value.get("base_dig")
    if base is not None and not (isinstance(base, str) and isinstance(base_dig, str)):
        raise ValueError("it has no full tarball")
    return Dna(dig, size, alg, base, base_dig)
