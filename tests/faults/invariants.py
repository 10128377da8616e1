"""Invariants of every tree at any moment, checked on the files alone: no code of the collection is used here.

The promises, as visible in a tree at rest, whatever was killed, cut or full just before:

- beside each sidecar stands its tarball, with the size and digest in it;
- a final name without a sidecar (a killed run was about to write it) holds the whole of what the source has, never a part;
- what was verified before, and was not due to be purged, still is, with the same bytes;
- `last` is a relative link to a stamp that has a verified tarball, and never goes back; without symbolic links it is missing;
- folders are 0700, files 0600 (but public keys), on a disk that keeps modes; nothing around the bases changed.

When the next run has healed the tree there are no temporary files, nothing waits in the private folders, and it equals the tree of an
undisturbed run.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.altbackup.core.plugins.module_utils.archive.snapshot import read_snapshot

MARKER = ".altbackup"
TEMPORARY = ".altbackup-tmp-"
WAITING = ("tmp", "incoming", "outgoing", "trash")
"""Private folders that are empty after a good run"""
_FINAL = re.compile(r".+\.tar(\.zst|\.gz)?(\.age)?(\.dna)?")
_STAMP = re.compile(r"\d{4}/\d\d/\d\d/\d{6}")
_LENGTHS = {32: "md5", 64: "sha256", 128: "sha512"}

Bytes = tuple[int, str]
"""Size and sha256 of a file"""


def content_of(path: Path | str, algorithm: str = "sha256") -> Bytes:
    """Return size and digest of a file."""
    with open(path, "rb") as stream:
        return os.fstat(stream.fileno()).st_size, hashlib.file_digest(stream, algorithm).hexdigest()


def final_files(base: Path) -> Iterator[Path]:
    """Yield the paths with the final name of a tarball or of a sidecar in the dated folders of a base."""
    for path in sorted(base.glob("*/*/*/*/*/*/*")):
        final = _FINAL.fullmatch(path.name) and not path.name.startswith(TEMPORARY)
        if final and path.relative_to(base).parts[0] != MARKER:
            yield path


def verified(base: Path) -> dict[str, Bytes]:
    """Return {path below the base: size and sha256} of the tarballs that have a true sidecar."""
    found = {}
    for path in final_files(base):
        sidecar = Path(f"{path}.dna")
        if path.suffix != ".dna" and sidecar.exists() and not _lie(sidecar, path):
            found[str(path.relative_to(base))] = content_of(path)
    return found


def last_links(base: Path) -> dict[str, str]:
    """Return {item: target of its `last`}, even if that does not exist."""
    links = [path / "last" for path in base.glob("*/*")]
    return {str(link.parent.relative_to(base)): os.readlink(link) for link in links if link.is_symlink()}


@dataclass(frozen=True)
class Tree:
    """A base of tarballs and its marked folder: the base itself on a source, above it on a target."""

    base: Path
    top: Path


def violations(
    tree: Tree,
    *,
    before: Mapping[str, Bytes] = {},
    lasts: Mapping[str, str] = {},
    removable: Collection[str] = (),
    whole: Mapping[str, Bytes] = {},
    marker: int | None = None,
    bare: bool = False,
) -> list[str]:
    """Return what is wrong with a tree; `before` is what was verified there.

    `removable` are paths that a purge was to remove, `lasts` the former links `last`, `whole` the complete contents of tarballs that were
    on their way, `marker` the mode with which the marker was made, if known. A `bare` disk has neither modes nor links.
    """
    return [
        *_false_sidecars(tree.base),
        *_partials(tree.base, {**before, **whole}),
        *_losses(tree.base, before, removable),
        *_false_lasts(tree.base, lasts),
        *(() if bare else _open_modes(tree.top, marker)),
    ]


def _lie(sidecar: Path, tarball: Path) -> str:
    """Return how a sidecar differs from its tarball."""
    text = sidecar.read_text()
    try:
        dna: dict[str, Any] = json.loads(text) if '"' in text else ast.literal_eval(text)
        algorithm = dna.get("alg", _LENGTHS[len(dna["dig"])])
        said = (dna["size"], dna["dig"])
    except (ValueError, SyntaxError, KeyError, AttributeError) as error:
        return f"is no dna: {text!r} ({error!r})"
    found = content_of(tarball, algorithm)
    return "" if said == found else f"says {said}, but the tarball is {found}"


def _false_sidecars(base: Path) -> Iterator[str]:
    for path in final_files(base):
        if path.suffix == ".dna":
            tarball = path.with_suffix("")
            if not tarball.is_file() or tarball.is_symlink():
                yield f"sidecar without its tarball: {path}"
            elif lie := _lie(path, tarball):
                yield f"false sidecar: {path} {lie}"


def _partials(base: Path, whole: Mapping[str, Bytes]) -> Iterator[str]:
    for path in final_files(base):
        relpath = str(path.relative_to(base))
        if path.suffix == ".dna" or Path(f"{path}.dna").exists():
            continue
        if relpath not in whole:
            yield f"final name that nobody knows, without sidecar: {path}"
        elif content_of(path) != whole[relpath]:
            yield f"partial under a final name: {path} is {content_of(path)}, and whole it is {whole[relpath]}"


def _losses(base: Path, before: Mapping[str, Bytes], removable: Collection[str]) -> Iterator[str]:
    now = verified(base)
    for relpath, content in before.items():
        if relpath not in removable and now.get(relpath) != content:
            yield f"lost: {base / relpath} was verified, and now is {now.get(relpath, 'not')}"


def _false_lasts(base: Path, before: Mapping[str, str]) -> Iterator[str]:
    good = {relpath.rpartition("/")[0] for relpath in verified(base)}
    now = last_links(base)
    for item, stamp in now.items():
        if not _STAMP.fullmatch(stamp) or f"{item}/{stamp}" not in good:
            yield f"last of {item} in {base} points to {stamp}, which has no verified tarball"
        elif stamp < before.get(item, ""):
            yield f"last of {item} in {base} went back from {before[item]} to {stamp}"
    for item in before.keys() - now.keys():
        yield f"last of {item} in {base} is gone"
    for path in base.glob("*/*/last"):
        if not path.is_symlink():
            yield f"last is no link: {path}"


def _open_modes(top: Path, marker: int | None) -> Iterator[str]:
    """Yield what others can read below the user's folder.

    Scratch copies keep the modes of their originals, inside a private folder.
    """
    for parent, folders, files in os.walk(top):
        if Path(parent) == top / MARKER and "scratch" in folders:
            folders.remove("scratch")
        for name in [*folders, *(files if Path(parent) != top else [])]:
            status = os.lstat(os.path.join(parent, name))
            wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
            if Path(parent, name) == top / MARKER:
                wanted = stat.S_IMODE(status.st_mode) if marker is None else marker
            own = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and not name.endswith(".pub"))
            if own and stat.S_IMODE(status.st_mode) != wanted:
                yield f"mode {stat.S_IMODE(status.st_mode):o}: {os.path.join(parent, name)}"


def lease_of(tree: Tree) -> str:
    """Return the pid in the lock of a tree, and whether a transfer into it is reserved; empty if nobody owns it."""
    private = tree.top / MARKER
    lock = private / "lock" if tree.base == tree.top else private / "locks" / tree.base.name
    text = lock.read_text().strip() if lock.exists() else ""
    try:
        value = json.loads(text or "null")
        return f"{value['run']['pid']}{' transfer' if value['transfer'] else ''}" if value else ""
    except (ValueError, KeyError, TypeError) as error:
        return f"no lease: {text!r} ({error!r})"


def unhealed(tree: Tree) -> list[str]:
    """Return what is left of a fault after the next run has ended well."""
    left = [str(path) for path in tree.top.rglob(f"{TEMPORARY}*")]
    left += [str(path) for path in final_files(tree.base) if path.suffix != ".dna" and not Path(f"{path}.dna").exists()]
    for folder in WAITING:
        waiting = tree.top / MARKER / folder
        left += [
            str(path)
            for path in waiting.rglob("*")
            if not path.is_dir() and not _is_kept(path.relative_to(waiting.parent))
        ]
    return [f"left: {path}" for path in sorted(set(left))]


def _is_kept(path: Path) -> bool:
    """Return whether a path below the private folders of a source or target is kept in the trash by purges."""
    return path.parts[0] == "trash" and "kept" in path.parts[1:3]


def tree_of(top: Path) -> dict[str, str]:
    """Return the contents of a marked folder by path: for files the digest and the first path of the same file, for links the target.

    Of private folders only files are included; of snapshots what they tell but the inodes and times of live files; texts of locks, scratch
    copies, which differ each time, notes on those of repositories, and
    the count of purges and what a run has read ahead are left out.
    """
    found: dict[str, str] = {}
    first: dict[tuple[int, int], str] = {}
    for parent, folders, files in os.walk(top):
        folders.sort()
        inside = Path(parent).relative_to(top).parts
        if inside == (MARKER, "state"):
            folders[:] = [name for name in folders if name not in ("svn", "git")]
        if inside == (MARKER,):
            folders[:] = [name for name in folders if name not in ("scratch", "locks")]
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted([*files, *links]):
            if (*inside, name) == (MARKER, "lock"):
                continue
            path = Path(parent, name)
            relpath = str(path.relative_to(top))
            status = path.lstat()
            twin = first.setdefault((status.st_dev, status.st_ino), relpath)
            found[relpath] = f"-> {os.readlink(path)}" if path.is_symlink() else f"{content_of(path)} as {twin}"
            if inside[:2] == (MARKER, "snapshots") and not path.is_symlink():
                found[relpath] = f"{_snapshot_of(path)} as {twin}"
            if inside[:2] == (MARKER, "state") and name in ("purged", "read-ahead"):
                del found[relpath]
            if inside[:3] == (MARKER, "state", "pairs"):
                found[relpath] = str({**json.loads(path.read_text()), "purged": 0})
            if inside[:2] == (MARKER, "arrivals"):
                found[relpath] = str(
                    sorted(path.read_text().splitlines())
                )  # a disturbed arrival is noted after the others
        if inside and MARKER not in inside:
            found[f"{'/'.join(inside)}/"] = "folder"
    return found


def _snapshot_of(path: Path) -> Any:
    """Return what a snapshot tells of the members of an archive, beside the states of their files."""
    snapshot = read_snapshot(str(path))
    assert snapshot, path
    entries = [
        replace(entry, state=replace(entry.state, fingerprint=b"", copy_fingerprint=b""))
        for entry in snapshot.entries()
    ]
    return (snapshot.about, entries)


def differences(tree: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return how a tree differs from that of an undisturbed run."""
    paths = sorted(path for path in tree.keys() | other.keys() if tree.get(path) != other.get(path))
    return [f"differs: {path}: {tree.get(path)}, undisturbed {other.get(path)}" for path in paths]


def surroundings(folder: Path, bases: Collection[Path]) -> dict[str, tuple[Any, ...]]:
    """Return everything in a folder beside the bases, for comparison."""
    apart = set(bases)
    found: dict[str, tuple[Any, ...]] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(parent, name) not in apart]
        for name in [*folders, *files]:
            path = Path(parent, name)
            status = path.lstat()
            plain = stat.S_ISREG(status.st_mode)
            holds_base = any(path in base.parents for base in apart)
            times = () if holds_base else (status.st_mtime_ns, status.st_ctime_ns)
            content = content_of(path) if plain else os.readlink(path) if path.is_symlink() else ""
            found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, *times, content)
    return found
