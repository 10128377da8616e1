"""Paths as text, without access to a file system."""

from __future__ import annotations


def is_within(path: str, above: str) -> bool:
    """Return whether `path` is `above` or lies below it; both are normalized, and both absolute or both relative."""
    return f"{path}/".startswith(f"{above.rstrip('/')}/")
