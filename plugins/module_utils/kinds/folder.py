"""Kind `folder`: the tree with owners, modes, links, xattrs, ACLs and sparse files, as it stood at one moment."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..archive.manifest import manifest_line
from ..archive.write import Part
from ..system.digest import CHUNK, add_zeros, limited, new_hash, open_plain
from ..system.errors import InvalidInput
from ..system.holes import parts_of
from ..system.mounts import identity_of
from ..system.processes import Deadline
from ..system.view import Place
from ..system.visible import printable
from ..tree.layout import Tree
from ..tree.publish import make_folders, write_text
from .base import (
    LONGEST_PATH,
    Arrangement,
    Asked,
    Context,
    Kind,
    Look,
    Snapshot,
    Verdict,
    compare,
    look_at,
    opened,
    parts_of_path,
    require_folder,
    settle,
    too_long,
    walk,
)
from .items import Item
from .patterns import Patterns
from .stillness import Stillness

if TYPE_CHECKING:
    from .proofs import Proof

_LISTS = ("exclude", "changing")
"""Keys of an item that hold patterns"""
_CACHE_TAG = "CACHEDIR.TAG"
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"
"""How that file begins; see https://bford.info/cachedir/"""
_LONGEST = 1 << 20


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput if the folder, or what it is required to hold, is not there, or nothing is left of it to dump."""
    require_folder(item)
    if item.require and not os.path.lexists(os.path.join(item.path, item.require)):
        raise InvalidInput(
            f"item folder {item.name!r}: {item.require} is required in {item.path} but not there: is its disk mounted?"
        )
    selection = Selection(item)
    with os.scandir(item.path) as entries:
        if all(selection.excluded(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries):
            raise _empty(item)
    if selection.mark_of(""):
        raise InvalidInput(
            f"item folder {item.name!r}: {item.path} itself is marked by its {selection.mark_of('')}, so all of it is excluded: "
            "remove that, or the item"
        )


def _empty(item: Item) -> InvalidInput:
    return InvalidInput(
        f"item folder {item.name!r}: {item.path} is empty, or all of it is excluded: is its disk mounted?"
    )


class Selection:
    """What of a folder is left out: what its patterns say, and what is in a folder that is marked, but for the mark."""

    def __init__(self, item: Item, *, watched: bool = False) -> None:
        self._item = item
        self._patterns = Patterns(item.exclude, watched=watched)
        self._folder: tuple[str, str] = ("/", "")
        """The folder that was asked for last, and its mark"""

    def excluded(self, path: str, folder: bool) -> bool:
        """Return whether a path below the folder is left out, if the one above is not; `folder` tells whether it is a folder."""
        if self._patterns.match(path, folder):
            return True
        above, _, name = path.rpartition("/")
        return self.mark_of(above) not in ("", name)

    def mark_of(self, folder: str) -> str:
        """Return the name of what marks a folder as left out, empty if nothing does."""
        if self._folder[0] != folder:
            self._folder = (folder, self._find_mark(os.path.join(self._item.path, folder)))
        return self._folder[1]

    def _find_mark(self, folder: str) -> str:
        for name in self._item.exclude_if_present:
            if os.path.lexists(os.path.join(folder, name)):
                return name
        return _CACHE_TAG if self._item.exclude_caches and _is_cache_tag(os.path.join(folder, _CACHE_TAG)) else ""

    def unmatched(self) -> list[str]:
        """Return the patterns that matched nothing so far."""
        return self._patterns.unmatched()


def _is_cache_tag(path: str) -> bool:
    with contextlib.suppress(OSError), open_plain(path) as stream:
        return stream.read(len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    return False


def _look(item: Item, context: Context, selection: Selection) -> Look:
    """Return what is in the folder. Its paths fit below the top folder of its archive, too."""
    top = max(len(os.fsencode(item.name)), 1)
    return look_at(item.path, selection.excluded, context.deadline, LONGEST_PATH - 1 - top)


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Yield the live tree itself; what changed of it while it was archived is judged."""
    known: Mapping[str, Sequence[str]] = context.known.get("patterns", {})
    new = {key: [text for text in getattr(item, key) if text not in known.get(key, ())] for key in _LISTS}
    selection = Selection(item, watched=bool(new["exclude"]))
    look = _look(item, context, selection)
    if len(look.found) == 1 and not look.too_long:
        raise _empty(item)
    verdict = _first_verdict(item, look, selection, new)
    verdict.noted = {"patterns": {key: list(getattr(item, key)) for key in _LISTS}}
    left_out = _to_leave_out(context.left_out, look)
    names = [name for name in look.found if name not in left_out]
    stillness = Stillness(item, context, look.found, left_out)

    def again() -> dict[bytes, tuple[int, ...]]:
        return _look(item, context, Selection(item)).found

    def judge(asked: Asked) -> Verdict:
        notes, failures = stillness.judge(again(), asked)
        return Verdict([*verdict.notes, *notes], [*verdict.failures, *failures], verdict.noted)

    settle()
    yield Snapshot(
        [Part(item.path, names)],
        dict(context.known.get("found", {})),
        sparse=True,
        listed=True,
        confirm=lambda: compare(look.found, again()),
        judge=judge,
    )


def _to_leave_out(paths: Sequence[str], look: Look) -> set[bytes]:
    """Return which of the paths that changed whenever they were read are left out: what is in a folder is not left out with its folder."""
    names = (os.fsencode(f"./{path}") for path in paths)
    return {name for name in names if name in look.found and not stat.S_ISDIR(look.found[name][0])}


def foresee(item: Item, context: Context) -> Verdict:
    """Return what a dump would say of the folder as it is. Raise InvalidInput where something cannot be read."""
    selection = Selection(item, watched=True)
    look = _look(item, context, selection)
    if len(look.found) == 1 and not look.too_long:
        raise _empty(item)
    return _first_verdict(item, look, selection, {key: getattr(item, key) for key in _LISTS})


def _first_verdict(item: Item, look: Look, selection: Selection, asked: Mapping[str, Sequence[str]]) -> Verdict:
    """Return what is said of a folder before it is archived; of its patterns those that are `asked` for."""
    notes = list(look.notes)
    if os.geteuid() != 0:
        notes.append(f"read as uid {os.geteuid()}, not root: trusted.* attributes are not visible and not kept")
    unmatched = {"exclude": selection.unmatched(), "changing": _unmatched(asked["changing"], look)}
    for key in _LISTS:
        notes += [_on_nothing(item, key, text) for text in asked[key] if text in unmatched[key]]
    failures = []
    if look.too_long:
        failures.append(
            f"{too_long(item.path, look.too_long)}, and is not stored; the rest is. Shorten names of folders on the way, move it up, or "
            "exclude it"
        )
    return Verdict(notes, failures)


def _unmatched(texts: Sequence[str], look: Look) -> list[str]:
    patterns = Patterns(texts, watched=True)
    for name, (mode, *_) in look.found.items() if texts else ():
        if name != b".":
            patterns.match(os.fsdecode(name[2:]), stat.S_ISDIR(mode))
    return patterns.unmatched()


def _on_nothing(item: Item, key: str, text: str) -> str:
    """Return what is said of a pattern that matches nothing, and why that may be."""
    if text.startswith("!"):
        why = "; nothing in a folder that is excluded as a whole can be kept: exclude what is in it (FOLDER/*) instead"
    elif text.startswith("/"):
        why = "; its first slash stands for the folder itself"
    elif "/" in text.rstrip("/") and not text.startswith("**/"):
        why = "; a pattern with a slash begins at the folder itself, **/ before it matches at any depth"
    else:
        why = ""
    return f"{key} {text!r} matches nothing in {item.path} that is not left out already{why}"


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the folder sees: the folder. It is read by root, and nothing interprets it."""
    with opened(item.path) as descriptor:  # it is there, and no link of another user's leads to it
        mount = identity_of(descriptor)
        found = {
            "place": printable(os.readlink(f"/proc/self/fd/{descriptor}")),
            "identity": {"mount": mount} if mount else {},
            "selection": _selection(item),
        }
    known = {"patterns": _read_patterns(context.tree, item), "found": found}
    return Arrangement(os.geteuid(), [Place(item.path)], known=known)


def _selection(item: Item) -> str:
    """Return what differs once something else of a folder is left out."""
    digest = new_hash("sha256")
    digest.update(json.dumps([item.exclude, item.exclude_caches, item.exclude_if_present]).encode())
    return str(digest.hexdigest())[:16]


def keep(item: Item, context: Context, noted: Mapping[str, Any]) -> None:
    """Keep which patterns the operator was told of."""
    told = _read_patterns(context.tree, item) or {key: [] for key in _LISTS}
    if noted and noted["patterns"] != told:
        path = _state_path(context.tree, item)
        make_folders(os.path.dirname(path), context.tree.private)
        write_text(path, json.dumps(noted) + "\n")


def _read_patterns(tree: Tree, item: Item) -> dict[str, list[str]]:
    """Return the patterns of which the operator was told, empty where that is not known."""
    try:
        with open_plain(_state_path(tree, item)) as stream:
            patterns = json.loads(stream.read(_LONGEST))["patterns"]
        return {key: [str(text) for text in patterns[key]] for key in _LISTS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _state_path(tree: Tree, item: Item) -> str:
    return tree.private_path("state", item.category, f"{item.name}.json")


def prove(proof: Proof) -> None:
    """Paths, sizes and digests as in the manifest of its dump, which may have told that it is not whole."""
    recorded = proof.record.get("incomplete")
    proof.notes += [f"its dump told: {reason}" for reason in recorded] if isinstance(recorded, list) else []
    manifest = tree_manifest(proof.path, proof.deadline, absent=proof.absent)
    proof.compare("entries", manifest["entries"], "its number of entries")
    proof.compare("bytes", manifest["bytes"], "its size in bytes")
    digest = manifest["manifest"]
    if proof.record.get("manifest", digest) != digest:
        older = tree_manifest(proof.path, proof.deadline, by_whole_paths=True, absent=proof.absent)["manifest"]
        digest = older if older == proof.record["manifest"] else digest
    proof.compare("manifest", digest, "the digest over its paths and contents")


def tree_manifest(
    path: str,
    deadline: Deadline,
    *,
    by_whole_paths: bool = False,
    absent: Mapping[str, tuple[bytes, str]] | None = None,
) -> dict[str, Any]:
    """Return `entries`, `bytes` and `manifest` of an unpacked folder as its archive's manifest has them.

    Of what was left `absent`, {name in the archive: (type, what a hard link leads to)}, it has what the archive says.
    With `by_whole_paths` in the order of older archives, in which siblings may stand between a folder and its content.
    """
    total = new_hash("sha256")
    size = 0
    seen: dict[int, bytes] = {}
    top = os.fsencode(os.path.basename(path))
    members = walk(path)[0]
    lines = _lines_of(absent or {}, top)
    names = sorted({*members, *lines}, key=None if by_whole_paths else parts_of_path)
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY)  # a path from there may be longer than it could be from the root
    try:
        for name in names:
            if name not in members:
                total.update(lines[name])
                continue
            mode, inode = members[name][0], members[name][-1]
            below = name[2:]
            digest, target, kind = "", b"", _TYPES.get(stat.S_IFMT(mode), b"?")
            if inode in seen and not stat.S_ISDIR(mode):
                kind, target = b"1", top + b"/" + seen[inode]
            elif stat.S_ISLNK(mode):
                target = os.readlink(name, dir_fd=folder)
            elif stat.S_ISREG(mode):
                digest, count = _digest(name, folder, deadline)
                size += count
            seen.setdefault(inode, below)
            total.update(manifest_line(kind, below, digest, target))
    finally:
        os.close(folder)
    return {"entries": len(names), "bytes": size, "manifest": total.hexdigest()}


def _lines_of(absent: Mapping[str, tuple[bytes, str]], top: bytes) -> dict[bytes, bytes]:
    """Return {path as walk has it: line of the manifest} of members of an archive."""
    lines = {}
    for name, (kind, link) in absent.items():
        below = os.fsencode(name)[len(top) + 1 :]
        lines[b"./" + below] = manifest_line(kind, below, "", os.fsencode(link))
    return lines


_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


def _digest(path: bytes, folder: int, deadline: Deadline) -> tuple[str, int]:
    digest, seen = new_hash("sha256"), 0
    with open_plain(os.fsdecode(path), folder) as stream, limited(deadline):
        size = os.fstat(stream.fileno()).st_size
        for start, length in parts_of(stream.fileno(), size):
            add_zeros(digest, start - seen)
            stream.seek(start)
            seen = start
            while block := stream.read(min(CHUNK, start + length - seen)):
                deadline.remaining()
                digest.update(block)
                seen += len(block)
        add_zeros(digest, size - seen)
    return str(digest.hexdigest()), size


KIND = Kind(check, copy, arrange, prove, foresee=foresee, keep=keep, is_tree=True, differs=True)
