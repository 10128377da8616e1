"""What rows of several scenes have in common."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attacks.ground import CATEGORIES, GOOD, Ground, give
from attacks.witness import members

NIGHT = "2026/11/01/010000"
SOURCE, TARGET = "dayabay", "cms01"


_PASSING = {
    "git": ("objects/info", "branches", "gc.", "logs/refs", "info/attributes"),
    "svn": (
        "db/write-lock",
        "db/transactions",
        "db/txn",
        "db/locks",
        "locks",
        "db/rep-cache.db-journal",
        "db/fs-type",
        "README",
    ),
    "trac": ("db/trac.db-shm",),
    "sqlite": ("-shm",),
}
"""Parts that a copy has anew, or not at all"""


def item(kind: str, name: str, path: Path, **more: Any) -> dict[str, Any]:
    """Return an item as a user writes it."""
    return {"kind": kind, "name": name, "path": str(path), **more}


def add_item(ground: Ground, kind: str, name: str, path: Path, source: str = SOURCE, **more: Any) -> None:
    """Add an item to a source."""
    ground.site.hosts[source]["altbackup_items"].append(item(kind, name, path, **more))


def one_source(ground: Ground) -> None:
    """A source with a good folder, and a target."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET])
    ground.site.add_target(TARGET)


def good_went_on(ground: Ground) -> Iterator[str]:
    """Yield what is wrong with the dump of the good item."""
    if not ground.stored("folder", GOOD):
        yield "the good item beside the attacked ones was not backed up"


def link_judge(kind: str, place: str) -> Callable[[Ground, str], Iterator[str]]:
    """Return the judge of a dump of an item with a wrong file at `place`: it is reported, or archived as what it is.

    Without a place, or if a copy of the item does not include it, it may also be stored silently.
    """
    passing = not place or place.startswith(_PASSING.get(kind, "/"))

    def judge(ground: Ground, name: str) -> Iterator[str]:
        tarballs = ground.stored(kind, name)
        if not tarballs and not ground.about(name, "dump", "backup"):
            yield "it was not stored, and nobody was told why"
        archived = members(tarballs[0]) if tarballs else {}
        as_link = any(
            path == place or (place and place.startswith(f"{path}/"))
            for path, entry in archived.items()
            if not (entry.isreg() or entry.isdir())
        )
        if tarballs and not passing and not as_link and not ground.said(name, place.rsplit("/", 1)[-1], "dump"):
            yield f"nobody was told of {place}: it was stored without it"
        yield from drill_agrees(ground, name, kind)

    return judge


def drill_agrees(ground: Ground, name: str, kind: str) -> Iterator[str]:
    """Yield what a drill refuses of an archive that a dump published."""
    if not ground.stored(kind, name):
        return
    for playbook, run, _ in ground.runs:
        if playbook == "drill":
            key = f"{CATEGORIES[kind]}/{name}"
            for _, _, result in run.calls:
                for entry in result.get("failures") or []:
                    if f"{entry.get('category')}/{entry.get('name')}" == key:
                        yield f"a tarball was published that the drill refuses: {entry['reason'][:300]}"


def refused(*words: str, stage: str = "") -> Callable[[Ground, str], Iterator[str]]:
    """Return the judge of a call that must fail with all of some words in one message."""

    def judge(ground: Ground, name: str) -> Iterator[str]:
        texts = [text.replace(name, "") for text in ground.about(name, *([stage] if stage else []))]
        if not any(all(word in text for word in words) for text in texts):
            yield f"nobody was told of it with {' and '.join(map(repr, words)) or 'a word'}"

    return judge


def link(ground: Ground, path: Path, target: Path | str) -> None:
    """Put an attacker's link in place of whatever is there."""
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        give(folder)
    path.symlink_to(target)
    give(path)


def write(path: Path, content: str | bytes) -> Path:
    """Write a file of the attacker's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    os.chown(path, path.parent.stat().st_uid, path.parent.stat().st_gid)
    return path


def git(folder: Path, *arguments: object) -> str:
    """Run git as root on root's repository."""
    argv = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
