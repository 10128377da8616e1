"""What a store holds, for a list or a restore, and bringing tarballs of it to the node that fills it.

What is brought lies in a marked folder of its own, so that it is a tree as any other one. Nothing that the node remembers is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..system.errors import AltbackupError, InvalidInput
from ..system.processes import Deadline
from ..tree.failures import explain
from ..tree.layout import MARKER, Tree, base_in, is_differential, is_relpath, item_key, open_tree, split_relpath
from ..tree.marks import Marks, marks_of
from ..tree.publish import make_folders, remove_folder, verify
from ..tree.sidecar import MAX_BYTES, SUFFIX, Dna
from ..tree.stamps import moment_of
from .known import Copy, ids_of, recall
from .locks import Locker, Seen, locker_of
from .plan import View, private_path, unread_sidecars, view_of
from .presence import require_there
from .reading import parsed, read_sidecars
from .remote import Object, Remote
from .settings import parse_store, read_secrets, require_name

STEPS = ("find", "list", "fetch", "remove")
_FETCHED = "fetched"
_LONGEST_RECORD = 1 << 24
"""Bytes"""
_ALONE = "is a differential, and its full tarball is not there: nothing can be restored from it"


class Shelf:
    """What one store has of one source, as far as it is asked."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.store = parse_store(options["store"])
        deadline = Deadline(options["step_timeout"], "store step")
        secrets = read_secrets(self.store)
        self.remote = Remote(self.store, secrets, deadline)
        self.locker: Locker | None = locker_of(self.store, secrets, deadline)
        self.source = str(options["source"])
        require_name(self.source, "source")

    def view(self, keys: Collection[str] | None) -> tuple[View, Mapping[str, Dna | str], Seen]:
        """Return what it has of some items, or of all, what its sidecars say, and what a bucket hides. Raise AltbackupError."""
        require_there(self.remote)
        seen = self.locker.seen(self.source) if self.locker else Seen()
        places = [self.source] if keys is None else [f"{self.source}/{key}" for key in sorted(keys)]
        listed = [entry for place in places for entry in self.remote.listing(place)]
        objects = [Object(entry.path[len(self.source) + 1 :], entry.size) for entry in listed]
        below = [Object(path, version.size) for path, version in seen.hidden.items() if _is_of(path, keys)]
        objects += below
        unread = unread_sidecars(objects, {})
        hidden = {entry.path for entry in below}
        read = read_sidecars(self.remote, self.source, [path for path in unread if path not in hidden])
        read.update(self._below([path for path in unread if path in hidden], seen))
        return view_of(objects, {}, read), read, seen

    def _below(self, paths: Iterable[str], seen: Seen) -> dict[str, Dna | str]:
        """Return what the sidecars say that delete markers hide."""
        found: dict[str, Dna | str] = {}
        with tempfile.TemporaryDirectory(prefix="altbackup-store-") as folder:
            for number, path in enumerate(paths):
                target = os.path.join(folder, str(number))
                if self.locker:
                    self.locker.read(seen.hidden[path], target)
                    found[path] = sidecar_in(target)
        return found

    def records(self, relpaths: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return {relpath: what its dump recorded}, nothing for one of which that is not there. Raise AltbackupError."""
        paths = {relpath: private_path(self.source, "records", relpath) for relpath in relpaths}
        found: dict[str, dict[str, Any]] = {}
        if not paths:
            return found
        with tempfile.TemporaryDirectory(prefix="altbackup-store-") as folder:
            self.remote.fetch(dict.fromkeys(paths.values()), folder, len(paths) * _LONGEST_RECORD)
            for relpath, path in paths.items():
                found[relpath] = _record(os.path.join(folder, path))
        return found


def sidecar_in(path: str) -> Dna | str:
    """Return what a sidecar says that was brought here, or what is wrong with it."""
    with open(path, "rb") as stream:
        return parsed(stream.read(1 << 13))


def _record(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            value = json.loads(stream.read(_LONGEST_RECORD))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_of(path: str, keys: Collection[str] | None) -> bool:
    return keys is None or item_key(path) in keys


def find(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return in `trees` what the store holds of some items, as tarball_find tells of a tree; `options` are the module's.

    What keeps it from being asked is the `problem` of the tree, no failure: another node may hold the same.
    """
    tree: dict[str, Any] = {
        "source": options["source"],
        "base": folder_of(options),
        "tarballs": [],
        "keys": [],
        "accepted": {},
        "problem": "",
        "origin": {},
    }
    try:
        shelf = Shelf(options)
        tree["tarballs"] = entries_of(shelf, options["keys"] or None, recorded=True)
        tree["keys"] = sorted({item_key(entry["relpath"]) for entry in tree["tarballs"]})
    except (AltbackupError, OSError) as error:
        tree["problem"] = explain(error)
    return {"changed": False, "trees": [tree], "failures": []}


def listed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all `tarballs` of the source in the store, as tarball_list does; `options` are the module's. Raise AltbackupError or OSError."""
    shelf, moment, tree = Shelf(options), moment_of(options), open_tree(options["base"])
    day = options["day"]
    known, marks = _known(tree, shelf.store.name), _marks(tree)
    found = []
    for entry in entries_of(shelf, None, recorded=False):
        category, name, stamp, _ = split_relpath(entry["relpath"])
        if day and day != "all" and not stamp.startswith(day):
            continue
        told = {key: entry[key] for key in ("relpath", "size", "dig", "alg", "state", "stamp")}
        state = "future" if moment.is_ahead(stamp) else entry["state"]
        base = {key: entry[key] for key in ("base", "base_dig") if entry[key]}
        found.append(
            {
                **told,
                **base,
                "category": category,
                "name": name,
                "path": shelf.remote.at(f"{shelf.source}/{entry['relpath']}"),
                "state": state,
                **_said(known.get(entry["relpath"]), entry, marks),
            }
        )
    return {"changed": False, "tarballs": found, "failures": []}


def _known(tree: Tree, store: str) -> dict[str, Copy]:
    """Return {relpath: what the node that fills a store remembers of it there}; of disks that take turns what any of them has."""
    found: dict[str, Copy] = {}
    with contextlib.suppress(AltbackupError, OSError):  # the next night tells
        for id in ids_of(tree, store):
            found.update(recall(tree, store, id).copies)
    return found


def _marks(tree: Tree) -> Marks:
    try:
        return marks_of(tree)
    except (AltbackupError, OSError):  # a check tells
        return Marks()


def _said(copy: Copy | None, entry: Mapping[str, Any], marks: Marks) -> dict[str, Any]:
    """Return what is known of a listed copy: `suspect`, `incomplete` and `hold`, each only where it is so."""
    category, name, stamp, _ = split_relpath(entry["relpath"])
    hold = marks.hold_of(f"{category}/{name}", stamp)
    told: dict[str, Any] = {"hold": hold} if hold else {}
    if copy is None or (copy.dna.dig, copy.dna.size) != (entry["dig"], entry["size"]):
        return told
    if copy.suspect and not marks.accepts(f"{category}/{name}", stamp):
        told["suspect"] = list(copy.suspect)
    return {**told, **({"incomplete": True} if copy.partial else {})}


def entries_of(shelf: Shelf, keys: Collection[str] | None, *, recorded: bool) -> list[dict[str, Any]]:
    """Return what the store has of some items, the newest last."""
    view, read, _ = shelf.view(keys)
    records = shelf.records(list(view.copies)) if recorded else {}
    fulls = {(item_key(path), copy.dna.dig) for path, copy in view.copies.items() if copy.dna.base is None}
    problems: dict[str, tuple[str, str, int]] = {
        **{
            path: ("missing", "has no dna: still arriving, or its transfer failed", size)
            for path, size in view.halves.items()
        },
        **{
            path: ("mismatch" if isinstance(read.get(path + SUFFIX), Dna) else "malformed", what, 0)
            for path, what in view.damaged.items()
        },
    }
    entries = []
    for relpath, copy in view.copies.items():
        alone = copy.dna.base is not None and (item_key(relpath), copy.dna.base_dig) not in fulls
        wrong = (copy.dna.base is None) is bool(is_differential(relpath))
        state, problem = (
            ("malformed", "has the dna of another kind of tarball")
            if wrong
            else ("alone", _ALONE)
            if alone
            else ("verified", "")
        )
        entries.append(_entry(relpath, copy.dna, copy.dna.size, state, problem, records.get(relpath, {})))
    entries += [_entry(path, None, size, state, what, {}) for path, (state, what, size) in problems.items()]
    return sorted(entries, key=lambda entry: (entry["stamp"], entry["relpath"]))


def _entry(
    relpath: str, dna: Dna | None, size: int, state: str, problem: str, record: Mapping[str, Any]
) -> dict[str, Any]:
    told = {"dig": dna.dig, "alg": dna.alg} if dna else {"dig": "", "alg": ""}
    full = {"base": "", "base_dig": "", **base_in(dna)}
    return {
        "relpath": relpath,
        "stamp": split_relpath(relpath)[2],
        "size": size,
        **told,
        **full,
        "state": state,
        "problem": problem,
        "record": dict(record),
    }


def folder_of(options: Mapping[str, Any]) -> str:
    """Return the tree in which lies what was brought from a store; `options` are the module's."""
    tree = open_tree(options["base"])
    return os.path.join(_root(tree, str(options["store"]["name"])), str(options["source"]))


def _root(tree: Tree, store: str) -> str:
    require_name(store, "store")
    return os.path.join(tree.private, _FETCHED, store)


def fetch(options: Mapping[str, Any]) -> dict[str, Any]:
    """Bring tarballs and their sidecars, each read and found as it should be; `options` are the module's. Raise AltbackupError or OSError."""
    relpaths = {str(entry["relpath"]): entry for entry in options["tarballs"]}
    for relpath in relpaths:
        split_relpath(relpath)
    shelf, tree = Shelf(options), open_tree(options["base"])
    bring(shelf, tree, _root(tree, shelf.store.name), relpaths)
    return {"changed": True, "failures": []}


def bring(shelf: Shelf, tree: Tree, root: str, relpaths: Mapping[str, Mapping[str, Any]]) -> None:
    """Bring tarballs, {relpath: its size, dig and alg}, and their sidecars from a store into a marked folder below the private one of a tree of
    this node, each read and found as it should be. Raise AltbackupError or OSError."""
    require_there(shelf.remote)
    make_folders(os.path.join(root, MARKER), tree.private)
    sizes = {f"{shelf.source}/{relpath}": int(entry["size"]) for relpath, entry in relpaths.items()}
    sizes.update({path + SUFFIX: MAX_BYTES for path in sizes})
    shelf.remote.fetch(sizes, root, sum(sizes.values()) + 1)
    lacking = [path for path in sizes if not os.path.lexists(os.path.join(root, path))]
    seen = shelf.locker.seen(shelf.source) if lacking and shelf.locker else Seen()
    for path in lacking:
        version = seen.hidden.get(path[len(shelf.source) + 1 :])
        if version is None or shelf.locker is None:
            raise AltbackupError(f"{shelf.store.name}: {path} is no longer there")
        if version.size > sizes[path]:
            raise AltbackupError(f"{shelf.store.name}: {path} has {version.size} bytes below its delete marker")
        make_folders(os.path.dirname(os.path.join(root, path)), tree.private)
        shelf.locker.read(version, os.path.join(root, path))
    for relpath, entry in relpaths.items():
        verify(os.path.join(root, shelf.source, relpath), Dna(str(entry["dig"]), int(entry["size"]), str(entry["alg"])))


def remove(options: Mapping[str, Any]) -> dict[str, Any]:
    """Remove what was brought; `options` are the module's. Raise AltbackupError or OSError."""
    tree = open_tree(options["base"])
    root = _root(tree, str(options["store"]["name"]))
    there = os.path.isdir(root)
    for relpath in (str(entry["relpath"]) for entry in options["tarballs"]):
        if not is_relpath(relpath):
            raise InvalidInput(f"{relpath!r} is no path of a tarball")
    remove_folder(root)
    return {"changed": there, "failures": []}
