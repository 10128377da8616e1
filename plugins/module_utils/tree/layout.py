"""Layout on disk: `<base>/<category>/<name>/YYYY/MM/DD/HHMMSS/<name>[-<revision>]<ext>`, and the marker `.altbackup/`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..system.errors import AltbackupError, BaseUnusable, InvalidInput, NotMounted, SidecarMalformed
from ..system.seeing import as_whom, is_folder, is_there, status_of
from ..system.visible import printable
from . import sidecar
from .sidecar import SUFFIX, Dna
from .stamps import is_stamp

MARKER = ".altbackup"
TEMPORARY = ".altbackup-tmp-"
DRILLING = ".altbackup-drill-"
"""Prefix of the folders in which drills work outside of trees"""
RESTORED = ".altbackup-restored"
"""Suffix of the marker beside a restored copy"""
EXTENSIONS = (".tar.zst", ".tar.gz", ".tar", ".tar.zst.age", ".tar.gz.age", ".tar.age")
DIFFERENTIAL = ".diff"
"""Suffix before the extension of a differential"""
ALONE = "alone"
"""State of a differential whose full tarball is missing: nothing can be restored from it"""
PROOF = ".proof"
"""Suffix of the file that says when a tarball was proved to restore"""
LAST = "last"
_NO_CATEGORIES = (MARKER, "lost+found")
_COLLAPSED = "it should be a link to the newest stamp, but is a real folder or file"


@dataclass(frozen=True)
class Tree:
    """A base folder with its private folder; on a target the trees of all sources share the private folder above them."""

    base: str
    private: str
    source: str = ""

    def private_path(self, kind: str, *parts: str) -> str:
        """Return the private path of this tree for a kind of state, like `records` or `incoming`."""
        return os.path.join(self.private, kind, *([self.source] if self.source else []), *parts)

    def path(self, relpath: str) -> str:
        """Return the absolute path of something below the base."""
        return os.path.join(self.base, relpath)


def open_tree(base: str) -> Tree:
    """Return the Tree of a base. Raise BaseUnusable if neither it nor its parent has the marker, or that cannot be seen."""
    if not os.path.isabs(base):
        raise InvalidInput(f"base {base!r} is not an absolute path")
    base = os.path.normpath(base)
    try:
        return _tree_of(base)
    except BaseUnusable:
        raise
    except AltbackupError as error:
        raise BaseUnusable(f"base {base}: {error}") from error


def require_there(tree: Tree) -> None:
    """Raise BaseUnusable if the folder of a source's own tree is missing: a run makes only the trees of targets."""
    if not is_folder(tree.base):
        raise NotMounted(_missing(tree.base))


def _missing(base: str) -> str:
    return f"base {base} does not exist: is its disk mounted? A run never creates a base"


def _tree_of(base: str) -> Tree:
    if is_folder(os.path.join(base, MARKER)):
        return Tree(base, os.path.join(base, MARKER))
    parent, source = os.path.split(base)
    if source not in ("", MARKER) and is_folder(os.path.join(parent, MARKER)):
        if os.path.islink(base) or (is_there(base) and not is_folder(base)):
            raise BaseUnusable(f"base {base} is not a folder")
        return Tree(base, os.path.join(parent, MARKER), source)
    if not is_folder(base) and not is_folder(parent):
        raise NotMounted(_missing(base))
    raise NotMounted(
        f"base {base} has no marker {MARKER}/ in itself or its parent: is its disk mounted? "
        f"If it is a new base, mark it once: mkdir -p {os.path.join(base, MARKER)}"
    )


@dataclass(frozen=True)
class Tarball:
    """A tarball in a tree; `dna` is that of a well-formed sidecar, `problem` says why it is not verified."""

    category: str
    name: str
    stamp: str
    filename: str
    size: int
    inode: tuple[int, int]
    links: int
    dna: Dna | None
    problem: str
    state: str
    """`verified` (well-formed sidecar of equal size), `missing`, `malformed`, `mismatch`, or `alone` (differential without its full one)"""

    @property
    def key(self) -> str:
        """Its item, `<category>/<name>`."""
        return f"{self.category}/{self.name}"

    @property
    def relpath(self) -> str:
        """Its path below the base."""
        return f"{self.key}/{self.stamp}/{self.filename}"

    @property
    def verified(self) -> bool:
        """Whether a sidecar vouches for it."""
        return self.state == "verified"


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


def tarball_filename(stem: str, revision: int | None, extension: str, *, differs: bool = False) -> str:
    """Return the file name of an item's tarball; `stem` is the item's name, and with `differs` it is a differential."""
    return f"{stem}{'' if revision is None else f'-{revision}'}{DIFFERENTIAL if differs else ''}{extension}"


def parse_filename(filename: str, name: str) -> tuple[int | None, str] | None:
    """Return (revision, extension) of a file name; None if it is not one of the item `name`."""
    if not filename.startswith(name):
        return None
    match = re.fullmatch(
        r"(?:-(\d+)(?:-\d+)?)?(\.diff)?(\.tar(?:\.zst|\.gz)?(?:\.age)?)", filename[len(name) :], re.ASCII
    )
    if not match:
        return None
    return (int(match.group(1)) if match.group(1) else None, (match.group(2) or "") + match.group(3))


def is_differential(path: str) -> bool | None:
    """Return whether a tarball is named as a differential, None if not as one of its item; `path` includes the folders of its stamp."""
    parts = path.rsplit("/", 6)
    parsed = parse_filename(parts[-1], parts[-6]) if len(parts) > 5 else None
    return parsed[1].startswith(DIFFERENTIAL) if parsed else None


def is_relpath(relpath: str) -> bool:
    """Return whether a path below the base is that of an item's tarball."""
    parts = relpath.split("/")
    if len(parts) != 7 or "\0" in relpath or "\n" in relpath:
        return False
    category, name, filename = parts[0], parts[1], parts[6]
    plain = not any(part.startswith(".") or not part for part in (category, name, filename))
    return plain and is_stamp("/".join(parts[2:6])) and parse_filename(filename, name) is not None


def is_category(name: str) -> bool:
    """Return whether items may lie below a folder of a base with this name."""
    return name not in _NO_CATEGORIES and not name.endswith("LOCKED")


def split_relpath(relpath: str) -> tuple[str, str, str, str]:
    """Return (category, name, stamp, filename) of a tarball's path below the base. Raise InvalidInput."""
    if is_relpath(relpath):
        category, name, year, month, day, clock, filename = relpath.split("/")
        return category, name, f"{year}/{month}/{day}/{clock}", filename
    raise InvalidInput(
        f"{relpath!r} is not <category>/<name>/YYYY/MM/DD/HHMMSS/<name>[-<revision>].tar[.zst|.gz][.age]"
    )


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
        return "/".join(relpath.split("/")[:2]) in keys

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


def read_state(path: str, size: int) -> tuple[Dna | None, str, str]:
    """Return (dna, problem, state) of a tarball according to its sidecar; `size` is in bytes. The tarball itself is not read."""
    try:
        dna = sidecar.read(path + SUFFIX)
    except FileNotFoundError:
        return None, "has no dna: still arriving, or its transfer failed", "missing"
    except SidecarMalformed as error:
        return None, f"has a malformed dna: {error}", "malformed"
    except OSError as error:
        return None, f"has a dna that cannot be read{as_whom(error)}", "malformed"
    if dna.size != size:
        return dna, f"has {size} bytes, but its dna says {dna.size}", "mismatch"
    if (dna.base is None) is is_differential(path):
        what = (
            "is a differential, but its dna names no full one"
            if dna.base is None
            else "is none, but has the dna of a differential"
        )
        return None, what, "malformed"
    return dna, "", "verified"


def plain_status(path: str) -> os.stat_result | None:
    """Return the status of a path if it is a plain file, no link, else None. Raise AltbackupError if that cannot be known."""
    status = status_of(path, follow=False)
    return status if status is not None and stat.S_ISREG(status.st_mode) else None


def is_plain_file(path: str) -> bool:
    """Return whether a path is a regular file, no link. Raise AltbackupError if that cannot be known."""
    return plain_status(path) is not None


def describe(tree: Tree, tarball: Tarball, seconds: float) -> dict[str, Any]:
    """Return a verified tarball as results show it."""
    if tarball.dna is None:
        raise AssertionError(f"{tarball.relpath} is not verified")
    return describe_as(tree, tarball.relpath, tarball.dna, seconds)


def describe_as(tree: Tree, relpath: str, dna: Dna, seconds: float) -> dict[str, Any]:
    """Return a tarball as results show it, wherever it lies or would lie; `seconds` is how long it took."""
    category, name, year, month, day, clock, _ = relpath.split("/")
    return {
        "path": tree.path(relpath),
        "relpath": relpath,
        "category": category,
        "name": name,
        "stamp": f"{year}/{month}/{day}/{clock}",
        "size": dna.size,
        "dig": dna.dig,
        "alg": dna.alg,
        **base_in(dna),
        "seconds": round(seconds, 3),
    }


def base_in(dna: Dna | None) -> dict[str, str]:
    """Return the keys `base` and `base_dig` of a differential's dna; empty for a full tarball."""
    return {"base": dna.base, "base_dig": dna.base_dig or ""} if dna is not None and dna.base is not None else {}
