"""Layout on disk: `<base>/<category>/<name>/YYYY/MM/DD/HHMMSS/<name>[-<revision>]<ext>`, and the marker `.altbackup/`."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import Any

from ..system.errors import AltbackupError, BaseUnusable, InvalidInput, NotMounted, SidecarMalformed
from ..system.seeing import as_whom, is_folder, is_there, status_of
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


def item_key(relpath: str) -> str:
    """Return the item, `<category>/<name>`, of a path below the base that begins with one, such as a tarball's."""
    return "/".join(relpath.split("/")[:2])


def stamp_in(relpath: str) -> str:
    """Return the stamp, `YYYY/MM/DD/HHMMSS`, in a tarball's path below the base; empty where it has none."""
    return "/".join(relpath.split("/")[2:6])


def split_relpath(relpath: str) -> tuple[str, str, str, str]:
    """Return (category, name, stamp, filename) of a tarball's path below the base. Raise InvalidInput."""
    if is_relpath(relpath):
        category, name, year, month, day, clock, filename = relpath.split("/")
        return category, name, f"{year}/{month}/{day}/{clock}", filename
    raise InvalidInput(
        f"{relpath!r} is not <category>/<name>/YYYY/MM/DD/HHMMSS/<name>[-<revision>].tar[.zst|.gz][.age]"
    )


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
