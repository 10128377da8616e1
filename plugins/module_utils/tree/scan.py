"""The search of a tree: which tarballs it holds and in what state, and what does not belong there."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..system.errors import BaseUnusable
from ..system.seeing import as_whom
from ..system.visible import printable
from .layout import (
    ALONE,
    EXTENSIONS,
    LAST,
    PROOF,
    TEMPORARY,
    Tarball,
    Tree,
    is_category,
    item_key,
    parse_filename,
    plain_status,
    read_state,
)
from .sidecar import SUFFIX, Dna
from .stamps import is_stamp

_COLLAPSED = "it should be a link to the newest stamp, but is a real folder or file"


@dataclass
class Scan:
    """The contents of a tree: tarballs, sidecars without one, leftovers of killed runs, and what does not belong there."""

    tarballs: list[Tarball] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    temporaries: list[str] = field(default_factory=list)
    strange: list[tuple[str, str]] = field(default_factory=list)
    """(relpath, why)"""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """(relpath of a folder, why); what is below it is unknown"""

    def verified(self) -> list[Tarball]:
        """Return the tarballs that a sidecar vouches for."""
        return [tarball for tarball in self.tarballs if tarball.verified]


def scan(
    tree: Tree,
    day: str = "",
    keys: Collection[str] | None = None,
    *,
    tolerate_unreadable: bool = False,
    after: str = "",
) -> Scan:
    """Return what a tree holds, of one day only if given, of some items (category/name) only if given. No link is followed.

    With `after` only later stamps are looked at, and no other folder is entered. A differential whose full tarball is missing here,
    whatever day is scanned, is not verified: nothing can be restored from it. What cannot be seen must not pass for empty: raise
    BaseUnusable if a folder cannot be read, or with `tolerate_unreadable` list it in `unreadable` for the caller to report, unless it is
    the base itself.
    """
    found = Scan()
    for category in _folders(tree, "", found):
        if not is_category(category):
            continue
        for name in _folders(tree, category, found, None if keys is None else _names(keys, category)):
            key = f"{category}/{name}"
            if printable(key) != key:
                found.strange.append((printable(key), "its name is not UTF-8 text"))
                continue
            for stamp in _stamps(tree, key, day, after, found):
                _scan_stamp(tree, category, name, stamp, found)
    found.tarballs[:] = _paired(tree, found.tarballs)
    for relpath, why in found.unreadable:
        if not tolerate_unreadable or not relpath:
            raise BaseUnusable(f"folder {tree.path(relpath)} cannot be read{why}")
    return found


def of_items(found: Scan, keys: Collection[str] | None) -> Scan:
    """Return the part of a whole tree's scan that a scan of some items (category/name) alone would be; all of it if `keys` is None."""
    if keys is None:
        return found

    def is_seen(relpath: str) -> bool:
        return item_key(relpath) in keys

    return Scan(
        [tarball for tarball in found.tarballs if tarball.key in keys],
        [relpath for relpath in found.orphans if is_seen(relpath)],
        [relpath for relpath in found.temporaries if is_seen(relpath)],
        [entry for entry in found.strange if entry[0].count("/") == 0 or is_seen(entry[0])],
        [entry for entry in found.unreadable if entry[0].count("/") == 0 or is_seen(entry[0])],
    )


def _names(keys: Collection[str], category: str) -> list[str]:
    """Return the names of a category's items among `keys` (category/name)."""
    names = [key[len(category) + 1 :] for key in keys if key.startswith(f"{category}/")]
    return sorted(name for name in names if name and not name.startswith(".") and "/" not in name and "\0" not in name)


def _entries(tree: Tree, relpath: str, found: Scan) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(tree.path(relpath)) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # purged meanwhile
        return []
    except OSError as error:
        found.unreadable.append((printable(relpath), as_whom(error)))
        return []


def _folders(tree: Tree, relpath: str, found: Scan, names: Collection[str] | None = None) -> Iterator[str]:
    """Yield the names of the folders in a folder, or of those among `names`; links and files are noted as strange."""
    if names is None:
        modes = [(entry.name, _mode_of(entry)) for entry in _entries(tree, relpath, found)]
    else:
        modes = list(_modes(tree, relpath, names, found))
    for name, mode in modes:
        if stat.S_ISDIR(mode):
            yield name
        elif name.startswith(TEMPORARY):
            found.temporaries.append(os.path.join(relpath, name))
        else:
            why = "it is a symbolic link, which is not followed" if stat.S_ISLNK(mode) else "it is no folder"
            found.strange.append((printable(os.path.join(relpath, name)), why))


def _mode_of(entry: os.DirEntry[str]) -> int:
    """Return the type of an entry, without reading its inode if the folder tells the type."""
    if entry.is_symlink():
        return stat.S_IFLNK
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else stat.S_IFREG


def _modes(tree: Tree, relpath: str, names: Collection[str], found: Scan) -> Iterator[tuple[str, int]]:
    """Yield (name, mode) of those names that exist."""
    for name in names:
        try:
            yield name, os.lstat(tree.path(f"{relpath}/{name}")).st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            found.unreadable.append((printable(relpath), as_whom(error)))
            return


def _stamps(tree: Tree, key: str, day: str, after: str, found: Scan) -> Iterator[str]:
    """Yield the stamps for which an item has a folder."""
    if day:
        last = tree.path(f"{key}/{LAST}")
        if os.path.lexists(last) and not os.path.islink(last):
            found.strange.append((f"{key}/{LAST}", _COLLAPSED))
        path = key
        for part in day.split("/"):
            path = f"{path}/{part}"
            if os.path.islink(tree.path(path)):
                found.strange.append((path, "it is a symbolic link, which is not followed"))
                return
        for time in _folders(tree, path, found):
            if is_stamp(f"{day}/{time}"):
                yield f"{day}/{time}"
            else:
                found.strange.append((printable(f"{key}/{day}/{time}"), "its name is no time HHMMSS"))
        return
    for entry in _entries(tree, key, found):
        if entry.name == LAST:
            if not entry.is_symlink():
                found.strange.append((f"{key}/{LAST}", _COLLAPSED))
        elif entry.name.startswith(TEMPORARY):
            found.temporaries.append(f"{key}/{entry.name}")
        elif not entry.is_dir(follow_symlinks=False):
            found.strange.append((printable(f"{key}/{entry.name}"), "it does not belong there"))
        else:
            yield from _stamps_below(tree, key, entry.name, 1, after, found)


def _stamps_below(tree: Tree, key: str, relative: str, depth: int, after: str, found: Scan) -> Iterator[str]:
    pattern = r"\d{4}" if depth == 1 else r"\d{6}" if depth == 4 else r"\d\d"
    if not re.fullmatch(pattern, relative.rsplit("/", 1)[-1], re.ASCII) or (depth == 4 and not is_stamp(relative)):
        found.strange.append((printable(f"{key}/{relative}"), "its name is no part of a stamp YYYY/MM/DD/HHMMSS"))
    elif relative < after[: len(relative)] or relative == after:
        return
    elif depth == 4:
        yield relative
    else:
        for name in _folders(tree, f"{key}/{relative}", found):
            yield from _stamps_below(tree, key, f"{relative}/{name}", depth + 1, after, found)


def newest_verified(
    tree: Tree,
    key: str,
    latest: str = "",
    without: Collection[tuple[int, int]] = (),
    counts: Callable[[Tarball], bool] = lambda _: True,
) -> str:
    """Return the stamp of an item's newest good tarball, empty if there is none.

    Sidecars and sizes tell which are good; no tarball is read, nor any folder older than the answer. Stamps later than `latest` do not
    count, nor tarballs in `without` (device and inode), nor those that `counts` refuses, nor differentials without their full tarball.
    Raise BaseUnusable if a folder cannot be read.
    """
    category, name = key.split("/")
    found = Scan()
    if os.path.islink(tree.path(category)) or os.path.islink(tree.path(key)):
        return ""
    for stamp in _stamps_backwards(tree, key, "", found):
        if latest and stamp > latest:
            continue
        seen = Scan(unreadable=found.unreadable)
        _scan_stamp(tree, category, name, stamp, seen)
        good = [tarball for tarball in seen.tarballs if _is_good(tree, tarball) and tarball.inode not in without]
        if any(map(counts, good)):
            break
    else:
        stamp = ""
    for relpath, why in found.unreadable:
        raise BaseUnusable(f"folder {tree.path(relpath)} cannot be read{why}")
    return stamp


def _is_good(tree: Tree, tarball: Tarball) -> bool:
    """Return whether a tarball is verified and belongs to its item, and so is the full one, if it needs one."""
    proper = tarball.verified and parse_filename(tarball.filename, tarball.name)
    return bool(proper) and _paired(tree, [tarball])[0].verified


def _paired(tree: Tree, tarballs: Sequence[Tarball]) -> list[Tarball]:
    """Return a tree's tarballs, with differentials whose full tarball is missing as not verified."""
    fulls = {(one.key, one.dna.dig) for one in tarballs if one.verified and one.dna and one.dna.base is None}
    alone = {
        id(one)
        for one in tarballs
        if one.verified
        and one.dna
        and one.dna.base
        and (one.key, one.dna.base_dig) not in fulls
        and not _has_full(tree, one, one.dna)
    }
    return [replace(one, state=ALONE, problem=_alone(one)) if id(one) in alone else one for one in tarballs]


def _alone(tarball: Tarball) -> str:
    base = tarball.dna.base if tarball.dna else ""
    return (
        f"is a differential, and its full tarball {base} is not here, or not verified: nothing can be restored from it"
    )


def _has_full(tree: Tree, tarball: Tarball, dna: Dna) -> bool:
    """Return whether a tree has the full tarball that a differential needs."""
    path = tree.path(f"{tarball.key}/{dna.base}")
    status = plain_status(path)
    full, _, state = read_state(path, status.st_size) if status else (None, "", "missing")
    if state == "verified" and full is not None and full.dig == dna.base_dig and full.base is None:
        return True
    found = Scan()
    for stamp in _stamps(tree, tarball.key, "", "", found):
        _scan_stamp(tree, tarball.category, tarball.name, stamp, found)
    return full_of(tarball, found.tarballs) is not None


def full_of(differential: Tarball, tarballs: Iterable[Tarball]) -> Tarball | None:
    """Return the verified full tarball that a verified differential needs, from `tarballs`; None if it is not among them.

    It has the digest that the differential's dna names; the path named there is preferred, then the newest stamp.
    """
    dna = differential.dna
    same = [
        one
        for one in tarballs
        if dna is not None
        and one.key == differential.key
        and one.verified
        and one.dna is not None
        and one.dna.base is None
        and one.dna.dig == dna.base_dig
        and parse_filename(one.filename, one.name)
    ]
    named = f"{differential.key}/{dna.base if dna else None}"
    return max(same, key=lambda one: (one.relpath == named, one.stamp), default=None)


def _stamps_backwards(tree: Tree, key: str, relative: str, found: Scan) -> Iterator[str]:
    """Yield the stamps for which an item has a folder, the newest first; each folder is read only when it is reached."""
    depth = relative.count("/") + 1 if relative else 0
    for entry in reversed(_entries(tree, f"{key}/{relative}" if relative else key, found)):
        below = f"{relative}/{entry.name}" if relative else entry.name
        if not entry.is_dir(follow_symlinks=False):
            continue
        if depth == 3 and is_stamp(below):
            yield below
        elif depth < 3 and re.fullmatch(r"\d\d|\d{4}", entry.name, re.ASCII):
            yield from _stamps_backwards(tree, key, below, found)


def _scan_stamp(tree: Tree, category: str, name: str, stamp: str, found: Scan) -> None:
    """Sort the files of one stamp's folder into the scan."""
    folder = f"{category}/{name}/{stamp}"
    entries = _entries(tree, folder, found)
    plain = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    for entry in entries:
        relpath = f"{folder}/{entry.name}"
        if entry.name.startswith(TEMPORARY):
            found.temporaries.append(relpath)
        elif entry.name not in plain or printable(entry.name) != entry.name:
            found.strange.append((printable(relpath), "it is no plain file"))
        elif entry.name.endswith(SUFFIX):
            if entry.name[: -len(SUFFIX)] not in plain:
                found.orphans.append(relpath)
        elif entry.name.endswith(PROOF):
            if entry.name[: -len(PROOF)] not in plain:
                found.strange.append((relpath, "it is a proof without its tarball"))
        elif entry.name.endswith(EXTENSIONS):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                found.unreadable.append((folder, as_whom(error)))
                return
            found.tarballs.append(_tarball(tree, category, name, stamp, entry.name, status))
        else:
            found.strange.append((relpath, "it is neither a tarball nor a sidecar"))


def _tarball(tree: Tree, category: str, name: str, stamp: str, filename: str, status: os.stat_result) -> Tarball:
    path = tree.path(f"{category}/{name}/{stamp}/{filename}")
    dna, problem, state = read_state(path, status.st_size)
    inode = (status.st_dev, status.st_ino)
    return Tarball(category, name, stamp, filename, status.st_size, inode, status.st_nlink, dna, problem, state)
