"""What a node remembers of a store that it serves: which copies it has put there, when they were read, and which disks it has seen.

`.altbackup/stores/[<source>/]<store>/<id of the store or disk>.json`. Without it all is read from the store again, and counts as not read yet.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..system.errors import AltbackupError
from ..tree.layout import Tree, is_relpath
from ..tree.private import opened_private, read_private
from ..tree.publish import make_folders, write_text
from ..tree.sidecar import Dna
from ..tree.stamps import is_stamp

_MOST = 1 << 27
"""Most bytes of the file"""
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Copy:
    """A copy in a store for which its sidecar there vouches."""

    dna: Dna
    came: str = ""
    """The stamp of the run that put it there"""
    read: str = ""
    """The stamp of the run in which its bytes were found to be good last"""
    doubted: bool = False
    """Whether they were found to be other ones since"""
    digest: str = ""
    """MD5 of its bytes, by which a store's own digest can be judged"""
    until: float = 0.0
    """Until when it is locked, seconds since 1970"""
    version: str = ""
    suspect: Sequence[str] = ()
    partial: bool = False
    """Whether its dump recorded that it is not whole"""


@dataclass(frozen=True)
class Memory:
    """What is remembered of one store, or one of several disks that take turns."""

    id: str
    seen: str = ""
    """The stamp of the last run that found it there"""
    copies: Mapping[str, Copy] = field(default_factory=dict)
    """{relpath: it}"""
    rules: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """{item: by what it was purged last}"""

    def with_copies(self, copies: Mapping[str, Copy]) -> Memory:
        """Return it with these copies in the place of those that it has."""
        return replace(self, copies=dict(copies))


def folder_of(tree: Tree, store: str) -> str:
    """Return where is remembered what a tree's node knows of a store."""
    return tree.private_path("stores", store)


def recall(tree: Tree, store: str, id: str) -> Memory:
    """Return what is remembered of a store with that id, nothing where it is new. Raise AltbackupError where that is damaged."""
    path = os.path.join(folder_of(tree, store), f"{id}.json")
    try:
        value = json.loads(read_private(tree, path, _MOST).decode("utf-8"))
        copies = {str(relpath): _copy(relpath, entry) for relpath, entry in value["copies"].items()}
        rules = {
            str(key): {str(word): float(number) for word, number in words.items()}
            for key, words in value["rules"].items()
        }
        seen = str(value["seen"])
        if seen and not is_stamp(seen):
            raise ValueError
        return Memory(id, seen, copies, rules)
    except FileNotFoundError:
        return Memory(id)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise AltbackupError(
            f"{path}, which tells what the store {store} has, is damaged: it is made anew by what lies in the store, and all there counts as "
            "not read yet. Nothing is to be done about it, but see whether its disk is sound"
        ) from None


def _copy(relpath: Any, entry: Mapping[str, Any]) -> Copy:
    if not is_relpath(str(relpath)):
        raise ValueError
    dna = Dna(
        str(entry["dna"]["dig"]),
        int(entry["dna"]["size"]),
        str(entry["dna"]["alg"]),
        entry["dna"]["base"],
        entry["dna"]["base_dig"],
    )
    texts = {name: str(entry[name]) for name in ("came", "read", "digest", "version")}
    if any(texts[name] and not is_stamp(texts[name]) for name in ("came", "read")):
        raise ValueError
    return Copy(
        dna,
        doubted=entry["doubted"] is True,
        partial=entry["partial"] is True,
        until=float(entry["until"]),
        suspect=tuple(map(str, entry["suspect"])),
        **texts,
    )


def remember(tree: Tree, store: str, memory: Memory) -> None:
    """Keep what is known of a store in a tree whose lock is held. Raise OSError."""
    folder = folder_of(tree, store)
    make_folders(folder, tree.private)
    text = json.dumps({**asdict(memory), "id": memory.id}, sort_keys=True, separators=(",", ":"))
    write_text(os.path.join(folder, f"{memory.id}.json"), text + "\n")


def ids_of(tree: Tree, store: str) -> list[str]:
    """Return the ids of all that the node has seen under the name of a store. Raise AltbackupError or OSError."""
    with opened_private(tree, folder_of(tree, store)) as folder:
        names = [] if folder is None else os.listdir(folder)
    return sorted(name[:-5] for name in names if name.endswith(".json") and _ID.fullmatch(name[:-5]))


def seen_at(tree: Tree, store: str) -> dict[str, str]:
    """Return {id: when it was there last} of all that was seen under the name of a store; what is damaged tells nothing."""
    found = {}
    for id in ids_of(tree, store):
        with contextlib.suppress(AltbackupError, OSError):
            found[id] = recall(tree, store, id).seen
    return found


def is_id(text: object) -> bool:
    """Return whether a text can be the id of a store."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None
