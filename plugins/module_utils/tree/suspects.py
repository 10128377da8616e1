"""Suspects: verified tarballs whose content their dumps found doubtful: kept, but not good copies until somebody accepts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .layout import Tarball, Tree
from .marks import Marks
from .publish import record_of


def doubts_of(record: Mapping[str, Any]) -> list[str]:
    """Return why a record's dump is suspect; empty if it is not."""
    recorded = record.get("suspect")
    if isinstance(recorded, str):
        return [recorded] if recorded else []
    if isinstance(recorded, (list, tuple)):
        return [str(reason) for reason in recorded]
    return ["its record does not say why"] if recorded else []


def suspects_of(tree: Tree, tarballs: Iterable[Tarball], marks: Marks) -> set[str]:
    """Return the relpaths of tarballs that are suspect and that nobody accepted.

    Raise AltbackupError if a record is damaged or cannot be read, so that this is unknown.
    """
    return set(reasons_of(tree, tarballs, marks))


def reasons_of(tree: Tree, tarballs: Iterable[Tarball], marks: Marks) -> dict[str, list[str]]:
    """Return {relpath: why it is suspect} of the tarballs that nobody accepted.

    Raise AltbackupError if a record is damaged or cannot be read.
    """
    found = {}
    for tarball in tarballs:
        if not marks.accepts(tarball.key, tarball.stamp):
            reasons = doubts_of(record_of(tree, tarball.key, tarball.stamp))
            if reasons:
                found[tarball.relpath] = reasons
    return found
