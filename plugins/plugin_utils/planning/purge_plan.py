"""The plan of a purge: a file on the controller, written by a first call in check mode, of which a second call removes what is to go.

A JSON mapping: `stamp` of the first call, and `tarballs`, a list of mappings with the keys of a judged tarball (report.retention_table).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.values import quoted
from ...module_utils.tree.layout import is_relpath
from ..report.retention_table import FATES, GOES, KEYS

_TREE = ("node", "source", "role")
_SEEN = ("relpath", "size", "dig", "alg")
_LARGEST = 256 << 20
"""Most bytes of the file"""


def as_file(stamp: str, judged: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the file, one line a tarball, for the stamp of a run and the tarballs that its calls judged."""
    tarballs = [json.dumps({key: entry[key] for key in KEYS}) for entry in judged]
    return f'{{"stamp": {json.dumps(stamp)}, "tarballs": [\n  ' + ",\n  ".join(tarballs) + "\n]}\n"


def read(path: Path, trees: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the tarballs of a file that are to go; `trees` are all of the inventory. Raise InvalidInput."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST + 1)
    except OSError as error:
        raise InvalidInput(f"cannot be read ({error.strerror}): make it with --check first") from error
    if len(text) > _LARGEST:
        raise InvalidInput(f"has more than {_LARGEST} bytes, so it is no plan of a purge")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("is no JSON: make it anew, with --check") from error
    entries = value.get("tarballs") if isinstance(value, Mapping) else None
    if not isinstance(entries, list):
        raise InvalidInput("has no list `tarballs`: make it anew, with --check")
    known = {tuple(tree[key] for key in _TREE) for tree in trees}
    for number, entry in enumerate(entries, 1):
        _require(entry, known, f"entry {number} of `tarballs`")
    return [{key: entry[key] for key in (*_TREE, *_SEEN)} for entry in entries if entry["fate"] == GOES]


def of_tree(going: Sequence[Mapping[str, Any]], tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tarballs of one tree, as the module takes them."""
    return [
        {key: entry[key] for key in _SEEN} for entry in going if all(str(entry[key]) == str(tree[key]) for key in _TREE)
    ]


def _require(entry: Any, known: set[tuple[Any, ...]], where: str) -> None:
    """Raise InvalidInput unless an entry is valid and of a tree of this inventory."""
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{where} is no mapping")
    if missing := [key for key in (*_TREE, *_SEEN, "fate") if key not in entry]:
        raise InvalidInput(f"{where} has no {missing[0]}")
    wrong = [key for key in (*_TREE, "relpath", "dig", "alg") if not isinstance(entry[key], str)]
    if wrong or not isinstance(entry["size"], int) or isinstance(entry["size"], bool):
        key = wrong[0] if wrong else "size"
        raise InvalidInput(f"{where} has {quoted(entry[key])} for its {key}")
    if entry["fate"] not in FATES:
        raise InvalidInput(f"{where} has {quoted(entry['fate'])} for its fate, which is one of {', '.join(FATES)}")
    if entry["fate"] == GOES and not is_relpath(entry["relpath"]):
        raise InvalidInput(f"{where} names {quoted(entry['relpath'])}, which is no path of a tarball")
    if tuple(entry[key] for key in _TREE) not in known:
        raise InvalidInput(
            f"{where} is of {entry['source']} as a {entry['role']} on {entry['node']}, which this inventory does not have: it was made for another one"
        )
