"""Paths as text: nothing here looks at a file system."""

from __future__ import annotations


def is_within(path: str, above: str) -> bool:
    """Given two normalized paths of one kind, both absolute or both relative, return whether the first is the other one, or below it."""
    return f"{path}/".startswith(f"{above.rstrip('/')}/")
