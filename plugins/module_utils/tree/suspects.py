"""Suspects: verified tarballs whose content is doubtful, as their dumps recorded: kept, but no good copies until somebody accepts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .layout import Tarball, Tree
from .marks import Marks
from .publish import record_of


def doubts_of(record: Mapping[str, Any]) -> list[str]:
    """Given the record of a dump, return why it is suspect; nothing for one that is not."""
    said = record.get("suspect")
    if isinstance(said, str):
        return [said] if said else []
    if isinstance(said, (list, tuple)):
        return [str(reason) for reason in said]
    return ["its record does not say why"] if said else []


def suspects_of(tree: Tree, tarballs: Iterable[Tarball], marks: Marks) -> set[str]:
    """Given tarballs of a tree and its marks, return the relpaths of those that are suspect, and that nobody accepted.

    Raise AltbackupError where the record of one is damaged or cannot be read: then that is not known.
    """
    return set(reasons_of(tree, tarballs, marks))


def reasons_of(tree: Tree, tarballs: Iterable[Tarball], marks: Marks) -> dict[str, list[str]]:
    """Given tarballs of a tree and its marks, return {relpath: why it is suspect} of those suspects that nobody accepted.

    Raise AltbackupError where the record of one is damaged or cannot be read.
    """
    found = {}
    for tarball in tarballs:
        if not marks.accepts(tarball.key, tarball.stamp):
            reasons = doubts_of(record_of(tree, tarball.key, tarball.stamp))
            if reasons:
                found[tarball.relpath] = reasons
    return found
