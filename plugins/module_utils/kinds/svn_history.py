"""What the files of a Subversion repository's revisions held at a dump, in a few digests: a revision never changes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..system.digest import new_hash
from ..system.units import first_of
from .base import Asked

_FILE = re.compile(r"\./(db/revs(?:/\d+)?)/(\d+)", re.ASCII)
_PACK = re.compile(r"\./(db/revs/\d+\.pack/.+)", re.ASCII | re.DOTALL)
_AT_ONCE = 20_000
"""Of how many files is asked at once, so that no message is too long"""
_SHOWN = 5
_DIGEST = 1
"""Where what is told of a file has its digest"""


def revision_files(names: Iterable[bytes], youngest: int) -> tuple[dict[str, list[int]], list[str]]:
    """Return ({folder: its revisions, up to the youngest, sorted}, paths of what packed revisions are in) of the names archived of a repository.

    A folder of revisions has the name of a revision of the oldest layout; of folders nothing is told.
    """
    folders: dict[str, list[int]] = {}
    packs = []
    for name in map(os.fsdecode, names):
        file, pack = _FILE.fullmatch(name), _PACK.fullmatch(name)
        if file and int(file[2]) <= youngest:
            folders.setdefault(file[1], []).append(int(file[2]))
        elif pack:
            packs.append(pack[1])
    return {folder: sorted(numbers) for folder, numbers in folders.items()}, sorted(packs)


class Contents:
    """Tells what the files of revisions hold, by what was archived."""

    def __init__(self, asked: Asked, names: Iterable[bytes], youngest: int) -> None:
        """`names` are those of what was archived, as tar has them."""
        folders, packs = revision_files(names, youngest)
        self._packs, self._youngest = packs, youngest
        self._found: dict[str, str] = {}
        paths = [*(f"{folder}/{number}" for folder, numbers in folders.items() for number in numbers), *packs]
        for start in range(0, len(paths), _AT_ONCE):
            told = asked(paths[start : start + _AT_ONCE])
            self._found.update((path, str(values[_DIGEST])) for path, values in told.items())
        kept = {
            folder: [number for number in numbers if f"{folder}/{number}" in self._found]
            for folder, numbers in folders.items()
        }
        self._folders = {folder: numbers for folder, numbers in kept.items() if numbers}

    def compare(self, known: Mapping[str, Any]) -> dict[str, str]:
        """Return {name in messages: digest now} of all that an earlier dump noted and that holds something else now.

        Of a folder the revisions of then are compared; those that were packed since are not, nor those that a repository which went
        back no longer has all of.
        """
        packed = {pack.partition(".pack/")[0] for pack in self._packs}
        back = self._youngest < known["youngest"]
        changed: dict[str, str] = {}
        for folder, first, last, digest in known["folders"]:
            numbers = [number for number in self._folders.get(folder, ()) if first <= number <= last]
            gone = folder in packed or (back and last > self._youngest)
            now = self._digest(folder, numbers)
            if not gone and now != digest:
                changed[f"{folder} (revisions {first} to {last})" if last > first else f"{folder}/{first}"] = now
        others = {path: digest for path, digest in known["packs"].items() if not back or path in self._found}
        changed.update(
            (path, self._found.get(path, ""))
            for path, digest in sorted(others.items())
            if self._found.get(path) != digest
        )
        return changed

    def note(self) -> dict[str, Any]:
        """Return what a later dump is to know: `folders`, [folder, first and last revision, digest], `packs`, {path: digest}, `youngest`."""
        folders = [
            [folder, numbers[0], numbers[-1], self._digest(folder, numbers)]
            for folder, numbers in sorted(self._folders.items())
        ]
        packs = {path: self._found[path] for path in self._packs if path in self._found}
        return {"folders": folders, "packs": packs, "youngest": self._youngest}

    def _digest(self, folder: str, numbers: Sequence[int]) -> str:
        """Return the digest over what the files of some revisions in a folder hold."""
        total = new_hash("sha256")
        for number in numbers:
            total.update(f"{number} {self._found.get(f'{folder}/{number}', '')}\n".encode())
        return str(total.hexdigest())


def digest_of(changed: Mapping[str, str]) -> str:
    """Return one digest of all changes, {name: digest of its content now}."""
    total = new_hash("sha256")
    total.update(json.dumps(sorted(changed.items())).encode())
    return str(total.hexdigest())


def doubt_of(changed: Iterable[str], when: str, *, confirmed: bool) -> str:
    """Return the text of a doubt about what holds something else than at the dump of `when`; `confirmed` tells that a copy that was built anew since
    holds just that, too."""
    why = (
        "the repository itself holds something else, though its UUID is the same"
        if confirmed
        else "the scratch copy rotted, or the repository was rewritten; the next dump copies all of it anew, which tells"
    )
    return f"revisions never change, but these are not what they were at the dump of {when}: {first_of([*changed], _SHOWN)}: {why}"
