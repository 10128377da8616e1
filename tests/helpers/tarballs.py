"""Tarballs as a look at a tree shows them, without a tree."""

from __future__ import annotations

from typing import Any

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna


def stamp_of(day: str) -> str:
    """Given a day of May 2013, return the stamp of its run."""
    return f"2013/05/{day}/104701"


def seen(word: str, **more: Any) -> Tarball:
    """Return a verified tarball: two digits are its day of May 2013, and a letter is its content."""
    values = {
        "category": "svn",
        "name": "x",
        "stamp": stamp_of(word[:2]),
        "filename": "x.tar",
        "size": 5,
        "inode": (1, 1),
        "links": 1,
        "dna": Dna(word[2:], 5, "sha256"),
        "problem": "",
        "state": "verified",
        **more,
    }
    return Tarball(**values)


def copies(words: str) -> list[Tarball]:
    """Return verified tarballs, as `seen` has each word."""
    return [seen(word) for word in words.split()]


def paths(days: str) -> list[str]:
    """Return the relpaths of those of some days."""
    return [f"svn/x/{stamp_of(day)}/x.tar" for day in days.split()]
