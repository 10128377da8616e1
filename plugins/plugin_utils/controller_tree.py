"""What the controller's own item holds: this collection and the inventory of the run, as they are on disk, never decrypted."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..module_utils.errors import InvalidInput

COLLECTION = Path(__file__).resolve().parents[2]
PLACE = "ansible_collections/altbackup/core"
"""Where the collection is in the item, so that Ansible finds it there"""
_EXCLUDED = ("__pycache__", "*.py[co]", "*.retry", ".git", ".venv", ".venv-*", ".ansible", ".*_cache", ".hypothesis")
_EXCLUDED_AT_TOP = ("var",)
_BESIDE = ("group_vars", "host_vars")
_MOST = 32 << 20
"""Bytes; an inventory and this collection are a few MiB, and travel within the call of a module"""

Entries = dict[str, dict[str, Any]]


def controller_tree(inventories: Sequence[str], collection: Path = COLLECTION) -> Entries:
    """Given the inventory's sources, return {path in the item: {mode, content} or {link}}. Raise InvalidInput or OSError."""
    entries = _below(collection, PLACE)
    entries["collection"] = {"link": PLACE}
    kept = {way for path in entries for way in _ways(path)}
    places: list[str] = []
    for source in [Path(os.path.abspath(source)) for source in inventories if os.path.exists(source)]:
        inside = f"{PLACE}/{_inside(source, collection)}"
        if inside in kept:
            places.append(inside)
            continue
        places.append(_free(f"inventory/{source.name}", places))
        if source.is_dir():
            entries |= _below(source, places[-1])
        else:
            entries |= [_entry(source, places[-1])]
            for name in _BESIDE:
                if (source.parent / name).is_dir():
                    entries |= _below(source.parent / name, f"inventory/{name}")
    if not places:
        raise InvalidInput(
            f"the inventory ({', '.join(inventories) or 'none'}) is no file or folder that could be kept"
        )
    size = sum(len(entry.get("content", b"")) for entry in entries.values())
    if size > _MOST:
        largest = sorted(entries, key=lambda path: len(entries[path].get("content", b"")))[-3:]
        raise InvalidInput(
            f"inventory and collection have {size} bytes, more than {_MOST}: what is not theirs belongs elsewhere, such as {', '.join(largest)}"
        )
    entries["README.txt"] = {"mode": 0o600, "content": _readme(places).encode()}
    return entries


def _inside(path: Path, folder: Path) -> str:
    real = Path(os.path.realpath(path))
    return str(real.relative_to(folder)) if real.is_relative_to(folder) else ""


def _ways(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _free(place: str, taken: Iterable[str]) -> str:
    number, found = 2, place
    while found in taken:
        number, found = number + 1, f"{place}-{number}"
    return found


def _below(folder: Path, place: str) -> Entries:
    """Return what is in a folder, but for what can be made again; folders themselves are not kept, links are not followed."""
    found: Entries = {}
    for parent, folders, files in os.walk(folder, onerror=_raise):
        above = Path(parent)
        top = above == folder
        folders[:] = sorted(name for name in folders if not _excluded(name, top))
        links = [name for name in folders if (above / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = above / name
            mode = path.lstat().st_mode
            if not _excluded(name, top) and (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                found |= [_entry(path, f"{place}/{path.relative_to(folder)}")]
    return found


def _raise(error: OSError) -> None:
    raise error


def _excluded(name: str, top: bool) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in (*_EXCLUDED, *(_EXCLUDED_AT_TOP if top else ())))


def _entry(path: Path, place: str) -> tuple[str, dict[str, Any]]:
    if path.is_symlink():
        return place, {"link": os.readlink(path)}
    return place, {"mode": path.stat().st_mode & 0o777, "content": path.read_bytes()}


def _readme(places: Sequence[str]) -> str:
    inventories = " ".join(f"-i {os.path.relpath(place, PLACE)}" for place in places)
    return (
        "What made these backups: the collection altbackup.core, and the inventory of the machine that ran it.\n"
        "Values and files that were encrypted with ansible-vault still are; their passwords and the ssh keys are not here.\n"
        "What to do with it stands in collection/docs/worst-day.md. For a first look, in the folder collection:\n\n"
        "    tools/bootstrap demo\n"
        '    export ANSIBLE_COLLECTIONS_PATH="$(cd -P ../../.. && pwd)"\n'
        f"    .venv/bin/ansible-inventory {inventories} --graph\n"
        f"    .venv/bin/ansible-playbook {inventories} playbooks/list.yml\n"
    )
