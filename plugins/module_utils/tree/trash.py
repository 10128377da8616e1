"""Trash: what purge removes from a tree, until it is deleted.

`.altbackup/trash/[<source>/]kept/<YYYY-MM-DD>/<category>/<name>/<stamp>/` is what runs of that day removed and keep for a while, each
stamp's folder as it was in the tree; `<stamp>.json` beside it has what else was known of it. It counts as free room, and is deleted first
if room is needed. Folders with random names beside `kept` were being removed when their purge was killed: the next holder of the tree's
lock completes that.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Tuple

from ..system.digest import open_plain
from ..system.errors import FULL, AltbackupError, Locked
from ..system.opened import walk_open
from ..system.seeing import is_there
from ..system.units import counted, first_of, readable
from . import sidecar
from .arrivals import note_arrival
from .failures import explain, failure
from .layout import EXTENSIONS, PROOF, Tarball, Tree, is_relpath, split_relpath
from .locks import Run, held
from .private import opened_private
from .publish import (
    flush_folder,
    make_folders,
    prune_empty,
    read_record,
    remove_folder,
    remove_if_there,
    verify,
    write_record,
    write_text,
)
from .scan import scan
from .sidecar import SUFFIX
from .stamps import day_of, is_day, is_stamp, parse_stamp

TRASH = "trash"
KEPT = "kept"
_STAGE = "purge"
_GOING = ".going"
"""The file that says what is removed, in a removal of several steps"""
_ABOUT = ".json"
_PARTS = 7
"""Parts in the path of a kept stamp's folder: day, category, name, and the four of the stamp"""
_LONGEST = 1 << 22
"""Most bytes of the file about a kept folder"""
_NAMED = 5


Links = Tuple[Tuple[int, int], int, int]
"""Of a file: device and inode, the number of its names, and its bytes"""


@dataclass(frozen=True)
class Kept:
    """A stamp's folder that is kept in the trash."""

    day: str
    """Day of the run that removed it, `YYYY/MM/DD`"""
    key: str
    stamp: str
    files: Mapping[str, Links]
    """{file name: its Links}"""

    @property
    def name(self) -> str:
        """Its name in messages, `<category>/<name>/<stamp>`."""
        return f"{self.key}/{self.stamp}"

    @property
    def tarballs(self) -> list[Links]:
        """The Links of the tarballs among its files."""
        return [links for name, links in self.files.items() if name.endswith(EXTENSIONS)]

    @property
    def place(self) -> str:
        """Its path below `kept`."""
        return f"{self.day.replace('/', '-')}/{self.name}"


def take_out(tree: Tree, tarball: Tarball) -> str:
    """Move tarball, sidecar and proof from the tree to a new folder of the trash; return that. Raise AltbackupError or OSError.

    If they have their folder to themselves this is one step, so that a killed run leaves either all in their place or all in the trash.
    Else what is removed is written down first, for the next purge to complete it, and the sidecar is moved first, so that it never stands
    alone. What lies on another file system than the trash is deleted at once.
    """
    folder = os.path.dirname(tree.path(tarball.relpath))
    trash = tree.private_path(TRASH)
    make_folders(trash, tree.private)
    gone = tempfile.mkdtemp(dir=trash)
    try:
        if not set(os.listdir(folder)) - set(_belonging(tarball.filename)) and _is_moved(folder, gone):
            flush_folder(os.path.dirname(folder))
            return gone
        going = {"relpath": tarball.relpath, "inode": tarball.inode[1], "size": tarball.size}
        write_text(os.path.join(gone, _GOING), json.dumps(going) + "\n")
        flush_folder(trash)
        _take_each(folder, tarball.filename, gone)
    except (AltbackupError, OSError):
        if os.path.lexists(os.path.join(folder, f"{tarball.filename}{SUFFIX}")):
            remove_folder(gone)
        raise
    return gone


def _belonging(filename: str) -> list[str]:
    """Return the names of a tarball and its companions, in the order of their removal."""
    return [f"{filename}{SUFFIX}", f"{filename}{PROOF}", filename]


def _is_moved(path: str, to: str) -> bool:
    """Move a file or folder, over an empty one; return whether that was possible: it is not to another file system. Raise OSError."""
    try:
        os.rename(path, to)
        return True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False


def _take_each(folder: str, filename: str, gone: str) -> None:
    """Move a tarball and its companions, one by one, out of a folder with others. Raise OSError, with all moved back if possible."""
    moved: list[str] = []
    try:
        for name in _belonging(filename):
            path = os.path.join(folder, name)
            if not os.path.lexists(path):
                continue
            if name == filename:
                flush_folder(folder)
            if _is_moved(path, os.path.join(gone, name)):
                moved.append(name)
            else:
                os.unlink(path)
    except OSError:
        for name in moved:
            with contextlib.suppress(OSError):
                os.rename(os.path.join(gone, name), os.path.join(folder, name))
        raise


def keep(tree: Tree, tarball: Tarball, gone: str, day: str, came: str = "") -> bool:
    """Keep what was taken out for a while; return whether it is kept: it is not if it was deleted, or the disk is full.

    `day` is that of the run, `came` the stamp of the run in which it came, if known. Raise AltbackupError or OSError.
    """
    if not os.path.lexists(os.path.join(gone, tarball.filename)):
        return False
    place = tree.private_path(TRASH, KEPT, day.replace("/", "-"), *tarball.key.split("/"), *tarball.stamp.split("/"))
    try:
        make_folders(os.path.dirname(place), tree.private)
        about = {"record": read_record(tree, tarball.key, tarball.stamp), "came": came}
        write_text(place + _ABOUT, json.dumps(about, sort_keys=True) + "\n")
    except OSError as error:
        if error.errno not in FULL:
            raise
        return False
    remove_if_there(os.path.join(gone, _GOING))
    if os.path.isdir(place):
        for name in os.listdir(gone):
            os.replace(os.path.join(gone, name), os.path.join(place, name))
        os.rmdir(gone)
    else:
        os.rename(gone, place)
    flush_folder(os.path.dirname(place))
    return True


def complete_removals(tree: Tree, *, check_mode: bool = False) -> tuple[list[str], list[dict[str, Any]]]:
    """Complete, each by itself, the removals that killed purges had begun; return notes and failures. The tree's lock must be held.

    Raise BaseUnusable if a link is in the trash's place.
    """
    trash = tree.private_path(TRASH)
    notes, failures = [], []
    with opened_private(tree, trash) as top:
        for name in sorted(os.listdir(top)) if top is not None else ():
            if name == KEPT:
                continue
            path, inside = f"{trash}/{name}", f"/proc/self/fd/{top}/{name}"
            try:
                left = _left_in_place(tree, path, inside)
                if not check_mode:
                    _remove_rest(tree, left)
                    remove_folder(inside)
                    remove_if_there(inside)
                if left:
                    notes.append(f"removed {left.relpath}, which an earlier purge had begun to remove")
                notes.append(f"removed {path}, which an earlier purge had left")
            except (AltbackupError, OSError) as error:
                reason = f"{path}, left by an earlier purge, cannot be removed: {explain(error)}"
                failures.append(failure(_STAGE, reason))
    return notes, failures


def _left_in_place(tree: Tree, path: str, inside: str) -> Tarball | None:
    """Return the tarball, now without sidecar, that an unfinished removal has left in the tree, if any. Raise AltbackupError or OSError."""
    try:
        with open_plain(f"{inside}/{_GOING}") as stream:
            text = stream.read(_LONGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        going = json.loads(text)
        relpath, inode, size = str(going["relpath"]), going["inode"], going["size"]
        if not is_relpath(relpath):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise AltbackupError(
            f"{path}/{_GOING} does not say what was to be removed: look at what lies there, and remove {path}"
        ) from None
    category, name, stamp, _ = split_relpath(relpath)
    for tarball in scan(tree, day_of(stamp), {f"{category}/{name}"}).tarballs:
        if (
            tarball.relpath == relpath
            and tarball.state == "missing"
            and (tarball.inode[1], tarball.size) == (inode, size)
        ):
            return tarball
    return None


def _remove_rest(tree: Tree, tarball: Tarball | None) -> None:
    if tarball is not None:
        path = tree.path(tarball.relpath)
        remove_if_there(path + PROOF)
        remove_if_there(path)
        prune_empty(os.path.dirname(path), tree.path(tarball.key))


def kept_ones(tree: Tree) -> list[Kept]:
    """Return what is kept in the trash of a tree, the oldest first. Raise BaseUnusable if a link is in its place, or OSError."""
    found = []
    with opened_private(tree, tree.private_path(TRASH, KEPT)) as top:
        for folder, _, names, descriptor in walk_open(".", top) if top is not None else ():
            parts = folder.split("/")[1:]
            if len(parts) == _PARTS and _is_folder_of_day(parts[0]) and _is_of_item(parts):
                files = {name: _links(os.stat(name, dir_fd=descriptor, follow_symlinks=False)) for name in names}
                day, key, stamp = parts[0].replace("-", "/"), "/".join(parts[1:3]), "/".join(parts[3:])
                found.append(Kept(day, key, stamp, files))
    return sorted(found, key=lambda one: (one.day, one.stamp, one.key))


def _is_of_item(parts: Sequence[str]) -> bool:
    """Return whether the path of a stamp's folder below `kept` is one that purge makes: only below an item anything is put back."""
    return is_relpath("/".join([*parts[1:], f"{parts[2]}.tar"]))


def _is_folder_of_day(text: str) -> bool:
    return "/" not in text and is_day(text.replace("-", "/"))


def _links(status: os.stat_result) -> Links:
    return (status.st_dev, status.st_ino), status.st_nlink, status.st_size


def last_links(files: Iterable[Links]) -> int:
    """Return the bytes that deleting these files together frees: those of files of which no other name stays."""
    files = list(files)
    names = Counter(inode for inode, _, _ in files)
    once = {inode: (links, size) for inode, links, size in files}
    return sum(size for inode, (links, size) in once.items() if names[inode] >= links)


def expired(kept: Iterable[Kept], today: str, days: int) -> list[Kept]:
    """Return what is kept longer than `days` before `today`; with 0 days all of it."""
    return [one for one in kept if _is_over(one.day, today, days)]


def _is_over(day: str, today: str, days: int) -> bool:
    return not days or parse_stamp(f"{today}/000000") - parse_stamp(f"{day}/000000") > timedelta(days=days)


def delete_expired(tree: Tree, today: str, days: int) -> int:
    """Delete what is kept too long, and what killed runs left beside it; return the bytes freed. Raise AltbackupError or OSError."""
    freed = delete(tree, expired(kept_ones(tree), today, days))
    with opened_private(tree, tree.private_path(TRASH, KEPT)) as top:
        for name in os.listdir(top) if top is not None else ():
            if _is_folder_of_day(name) and _is_over(name.replace("-", "/"), today, days):
                remove_folder(f"/proc/self/fd/{top}/{name}")
    return freed


def delete(tree: Tree, kept: Iterable[Kept]) -> int:
    """Delete what is kept in the trash; return the bytes freed. Raise AltbackupError or OSError."""
    freed = 0
    top = tree.private_path(TRASH, KEPT)
    for one in kept:
        with opened_private(tree, top) as descriptor:
            if descriptor is None:
                continue
            inside = f"/proc/self/fd/{descriptor}/{one.place}"
            with contextlib.suppress(FileNotFoundError):
                freed += sum(size for _, links, size in _tarballs_in(inside) if links == 1)
            remove_folder(inside)
            remove_if_there(inside + _ABOUT)
        prune_empty(os.path.dirname(f"{top}/{one.place}"), tree.private_path(TRASH))
    return freed


def _tarballs_in(folder: str) -> list[Links]:
    with os.scandir(folder) as entries:
        return [_links(entry.stat(follow_symlinks=False)) for entry in entries if entry.name.endswith(EXTENSIONS)]


def spare_room(tree: Tree) -> int:
    """Return the bytes that emptying the trash of this tree, on a target of all trees, would free. Raise AltbackupError or OSError."""
    kept = [one for beside in _trees(tree) for one in kept_ones(beside)]
    return last_links(links for one in kept for links in one.tarballs)


def make_room(tree: Tree, needed: int, run: Run | None = None, *, is_held: bool = True) -> tuple[int, list[str]]:
    """Delete what is kept in the trash, the oldest first, until `needed` bytes are free on a tree's disk; return bytes freed, and notes.

    `is_held` says whether the caller holds the lock of the tree. On a target the trash of other trees comes next, except those at which
    anybody but this run works. Raise AltbackupError or OSError.
    """
    total, notes = 0, []
    for one in _trees(tree):
        missing = needed - shutil.disk_usage(tree.private).free
        if missing <= 0:
            break
        with contextlib.ExitStack() as stack:
            if one is not tree or not is_held:
                try:
                    stack.enter_context(held(one, replace(run, seconds=0) if run else None, wait=0))
                except (Locked, OSError):
                    continue
            freed, deleted = _delete_oldest(one, missing)
        if deleted:
            total += freed
            notes.append(
                f"deleted {counted(len(deleted), 'tarball')} of the trash of {one.base} before {'its' if len(deleted) == 1 else 'their'} time, "
                f"as room was needed, {readable(freed)}: {first_of(deleted, _NAMED)}"
            )
    return total, notes


def _delete_oldest(tree: Tree, missing: int) -> tuple[int, list[str]]:
    """Delete what is kept in the trash of a tree, the oldest first, until `missing` bytes are freed; return bytes freed and names."""
    freed, deleted = 0, []
    for one in kept_ones(tree):
        if freed >= missing:
            break
        freed += delete(tree, [one])
        deleted.append(one.name)
    return freed, deleted


def _trees(tree: Tree) -> list[Tree]:
    """Return a tree, and on a target those beside it that have trash."""
    if not tree.source:
        return [tree]
    with opened_private(tree, os.path.join(tree.private, TRASH)) as top:
        names = sorted(os.listdir(top)) if top is not None else []
    top_folder = os.path.dirname(tree.private)
    return [tree, *(Tree(os.path.join(top_folder, name), tree.private, name) for name in names if name != tree.source)]


def bring_back(tree: Tree, one: Kept, *, check_mode: bool = False) -> list[str]:
    """Move a kept stamp's folder back to its place, after reading all of it; return the relpaths that stand there now.

    Nothing existing is replaced. Raise AltbackupError or OSError if that cannot be done; what was not yet moved stays in the trash.
    """
    origin = tree.private_path(TRASH, KEPT, *one.place.split("/"))
    folder = tree.path(one.name)
    about = _read_about(origin + _ABOUT)
    filenames = [name[: -len(SUFFIX)] for name in sorted(one.files) if name.endswith(SUFFIX)]
    paths = {}
    for filename in filenames:
        paths[filename] = _verified_path(origin, folder, filename)
    if not one.files:  # a killed undo had put it back
        if not check_mode:
            _forget(tree, origin)
        there = scan(tree, day_of(one.stamp), {one.key}).verified()
        return [tarball.relpath for tarball in there if tarball.stamp == one.stamp]
    if not paths:
        raise AltbackupError(f"{origin} holds no tarball with its dna: look at it, and remove it")
    relpaths = [f"{one.name}/{filename}" for filename in paths]
    if strange := [relpath for relpath in relpaths if not is_relpath(relpath)]:
        raise AltbackupError(f"{strange[0]} is no name of a tarball of {one.key}: look at {origin}, and remove it")
    if check_mode:
        return relpaths
    if about["record"] and not read_record(tree, one.key, one.stamp):
        write_record(tree, one.key, one.stamp, about["record"])
    for relpath in relpaths if about["came"] and tree.source else ():
        note_arrival(tree, relpath, about["came"])
    make_folders(os.path.dirname(folder), tree.base)
    if os.path.lexists(folder):
        for filename in paths:
            for name in reversed(_belonging(filename)):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(os.path.join(origin, name), os.path.join(folder, name))
                flush_folder(folder)
    else:
        os.rename(origin, folder)
    flush_folder(os.path.dirname(folder))
    _forget(tree, origin)
    return relpaths


def _forget(tree: Tree, origin: str) -> None:
    """Remove what is left of a kept folder that was put back. Raise OSError."""
    remove_if_there(origin + _ABOUT)
    prune_empty(origin, tree.private_path(TRASH))


def _verified_path(origin: str, folder: str, filename: str) -> str:
    """Return the verified path of a tarball whose sidecar lies in the trash: there, or in its place, where a killed undo had left it.

    Raise AltbackupError if the bytes do not match, or other files stand in its place, or OSError.
    """
    there, place = os.path.join(origin, filename), os.path.join(folder, filename)
    if is_there(there) and is_there(place):
        raise AltbackupError(f"{place} stands there: nothing was put over it")
    if is_there(place + SUFFIX):
        raise AltbackupError(f"{place + SUFFIX} stands there: nothing was put beside it")
    path = there if is_there(there) else place
    verify(path, sidecar.read(os.path.join(origin, filename + SUFFIX)), from_disk=True)
    return path


def _read_about(path: str) -> dict[str, Any]:
    """Return `record` of what is kept in the trash, and the stamp of the run in which it `came`. Raise AltbackupError or OSError."""
    try:
        with open_plain(path) as stream:
            value = json.loads(stream.read(_LONGEST))
        came = value["came"]
        if isinstance(value["record"], dict) and isinstance(came, str) and (not came or is_stamp(came)):
            return {"record": value["record"], "came": came}
    except FileNotFoundError:
        return {"record": {}, "came": ""}
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise AltbackupError(
        f"{path}, which tells what was known of a removed tarball, is damaged: look at it, and remove it; without it the tarball alone is put back"
    )
