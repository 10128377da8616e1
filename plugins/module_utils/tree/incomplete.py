"""Copies that are not whole: what a dump recorded of what it could not store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .layout import Tarball, Tree
from .publish import read_record


def missing_of(record: Mapping[str, Any]) -> list[str]:
    """Given the record of a dump, return what it says that is not in the tarball; nothing for a whole one."""
    said = record.get("incomplete")
    return [str(reason) for reason in said] if isinstance(said, list) else []


def is_incomplete(tree: Tree, tarball: Tarball) -> bool:
    """Return whether the dump of a tarball recorded that it is not whole."""
    return bool(missing_of(read_record(tree, tarball.key, tarball.stamp)))


def incomplete_ones(tree: Tree, tarballs: Iterable[Tarball]) -> list[str]:
    """Return the relpaths of those tarballs that are not whole."""
    return sorted(tarball.relpath for tarball in tarballs if is_incomplete(tree, tarball))
