"""What purge removes from a tree, on its way out.

`.altbackup/trash/[<source>/]kept/<YYYY-MM-DD>/<category>/<name>/<stamp>/` is what runs of that day removed and keep for a while, each stamp's
folder as it was in the tree; `<stamp>.json` beside it is what else was known of it. It counts as free room, and goes first where room is needed.
What stands beside `kept` under random names was being removed when its purge was killed: whoever holds the lock of the tree completes that.
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
from .layout import EXTENSIONS, PROOF, Tarball, Tree, is_relpath, scan, split_relpath
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
from .sidecar import SUFFIX
from .stamps import day_of, is_day, is_stamp, parse_stamp

TRASH = "trash"
KEPT = "kept"
_STAGE = "purge"
_GOING = ".going"
"""The file of a removal that takes several steps: what is removed"""
_ABOUT = ".json"
_PARTS = 7
"""Of the path of a kept stamp's folder: day, category, name, and the four of the stamp"""
_LONGEST = 1 << 22
"""Most bytes of what is known of a kept one"""
_NAMED = 5


Links = Tuple[Tuple[int, int], int, int]
"""Of a file: device and inode, the number of its names, and its bytes"""


@dataclass(frozen=True)
class Kept:
    """A stamp's folder that is kept in the trash."""

    day: str
    """Of the run that removed it, `YYYY/MM/DD`"""
    key: str
    stamp: str
    files: Mapping[str, Links]
    """{file name: what is known of it}"""

    @property
    def name(self) -> str:
        """What it is called in messages, `<category>/<name>/<stamp>`."""
        return f"{self.key}/{self.stamp}"

    @property
    def tarballs(self) -> list[Links]:
        """What is known of the tarballs among its files."""
        return [links for name, links in self.files.items() if name.endswith(EXTENSIONS)]

    @property
    def place(self) -> str:
        """Where it lies below `kept`."""
        return f"{self.day.replace('/', '-')}/{self.name}"


def take_out(tree: Tree, tarball: Tarball) -> str:
    """Take tarball, sidecar and proof out of the tree; return the folder of the trash where they are. Raise AltbackupError or OSError.

    Where they have their folder to themselves that is one step, so that a killed run leaves either all in their place or all in the trash.
    Else what is removed is written down first, for the next purge to complete it, and the sidecar goes first, so that it never stands alone.
    What lies on another file system than the trash is deleted at once.
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
    """Return the names of what goes with a tarball, in the order in which it goes."""
    return [f"{filename}{SUFFIX}", f"{filename}{PROOF}", filename]


def _is_moved(path: str, to: str) -> bool:
    """Move a file or folder, over an empty one; return whether it could be: not to another file system. Raise OSError."""
    try:
        os.rename(path, to)
        return True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False


def _take_each(folder: str, filename: str, gone: str) -> None:
    """Take a tarball and what belongs to it out of a folder with others, one by one. Raise OSError, with all back as far as that can be."""
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
    """Keep what was taken out, for a while; return whether it is kept: not where it is deleted, or there is no room. Raise AltbackupError or OSError.

    `day` is that of the run, `came` the stamp of the run in which it came, if that is known.
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
    """Given a tree whose lock is held, complete what killed purges had begun to remove, each by itself; return notes and failures.

    Raise BaseUnusable where a link is in the place of the trash.
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
    """Return the tarball, by now without a sidecar, that a removal of several steps was to take out, if it still stands. Raise AltbackupError or OSError."""
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
    """Return what is kept in the trash of a tree, the oldest first. Raise BaseUnusable where a link is in its place, or OSError."""
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
    """Given the path of a stamp's folder below `kept`, return whether it is one that purge makes: what is put back goes below an item alone."""
    return is_relpath("/".join([*parts[1:], f"{parts[2]}.tar"]))


def _is_folder_of_day(text: str) -> bool:
    return "/" not in text and is_day(text.replace("-", "/"))


def _links(status: os.stat_result) -> Links:
    return (status.st_dev, status.st_ino), status.st_nlink, status.st_size


def last_links(files: Iterable[Links]) -> int:
    """Given files that are to be deleted together, return the bytes that this frees: of those of which no other name stays."""
    files = list(files)
    names = Counter(inode for inode, _, _ in files)
    once = {inode: (links, size) for inode, links, size in files}
    return sum(size for inode, (links, size) in once.items() if names[inode] >= links)


def expired(kept: Iterable[Kept], today: str, days: int) -> list[Kept]:
    """Given what is kept, the day of a run, and for how many days it is kept, return what is kept no longer; with 0 that is all."""
    return [one for one in kept if _is_over(one.day, today, days)]


def _is_over(day: str, today: str, days: int) -> bool:
    return not days or parse_stamp(f"{today}/000000") - parse_stamp(f"{day}/000000") > timedelta(days=days)


def delete_expired(tree: Tree, today: str, days: int) -> int:
    """Delete what is kept no longer, with what killed runs left beside it; return the bytes that this freed. Raise AltbackupError or OSError."""
    freed = delete(tree, expired(kept_ones(tree), today, days))
    with opened_private(tree, tree.private_path(TRASH, KEPT)) as top:
        for name in os.listdir(top) if top is not None else ():
            if _is_folder_of_day(name) and _is_over(name.replace("-", "/"), today, days):
                remove_folder(f"/proc/self/fd/{top}/{name}")
    return freed


def delete(tree: Tree, kept: Iterable[Kept]) -> int:
    """Delete what is kept in the trash; return the bytes that this freed. Raise AltbackupError or OSError."""
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
    """Return the bytes that emptying the trash would free: that of this tree, and on a target of those beside it. Raise AltbackupError or OSError."""
    kept = [one for beside in _trees(tree) for one in kept_ones(beside)]
    return last_links(links for one in kept for links in one.tarballs)


def make_room(tree: Tree, needed: int, run: Run | None = None, *, is_held: bool = True) -> tuple[int, list[str]]:
    """Given a tree and the bytes that are to be free on its disk, delete what is kept in the trash until they are, the oldest first.

    Whether the caller holds the lock of the tree it says with `is_held`. On a target what other trees keep comes next, but for those at which
    anybody but this run is at work. Return the bytes that were freed, and notes. Raise AltbackupError or OSError.
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
    """Delete what is kept in the trash of a tree, the oldest first, until so many bytes are freed; return these, and what was deleted."""
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
    """Put a stamp's folder that is kept in the trash back where it was, after all in it was read; return the relpaths that stand there now.

    Nothing is put over what stands there. Raise AltbackupError or OSError where that cannot be done; what had not been moved stays in the trash.
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
    """Return where the bytes of a tarball are whose sidecar lies in the trash: there, or in its place, where a killed undo had left it without.

    Raise AltbackupError where they do not match, or others stand in its place, or OSError.
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
    """Return what is known of what is kept in the trash: `record`, and the stamp of the run in which it `came`. Raise AltbackupError or OSError."""
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
