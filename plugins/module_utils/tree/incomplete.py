"""Incomplete copies: what dumps recorded that they could not store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .layout import Tarball, Tree
from .publish import read_record


def missing_of(record: Mapping[str, Any]) -> list[str]:
    """Return what a record says is missing in the tarball; empty for a complete one."""
    recorded = record.get("incomplete")
    return [str(reason) for reason in recorded] if isinstance(recorded, list) else []


def is_incomplete(tree: Tree, tarball: Tarball) -> bool:
    """Return whether a tarball's record says that it is incomplete."""
    return bool(missing_of(read_record(tree, tarball.key, tarball.stamp)))


def incomplete_ones(tree: Tree, tarballs: Iterable[Tarball]) -> list[str]:
    """Return the relpaths of the incomplete tarballs."""
    return sorted(tarball.relpath for tarball in tarballs if is_incomplete(tree, tarball))
