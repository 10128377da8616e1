"""Contents: which tarballs of an item hold the same data, however they were written."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from ..system.digest import DIGEST_LENGTHS
from .sidecar import Dna

CONTENT, FORMERLY = "content", "formerly"
"""Keys of a record: the digest of the archived data, whatever the archive format; and the dna of an equal tarball recorded without that"""
_DIGEST = re.compile("[0-9a-f]{64}")
_HEX = re.compile("[0-9a-f]+")


def content_of(record: Mapping[str, Any], dna: Dna) -> Hashable:
    """Return a key for the content of a tarball, from its dump's record (may be empty) and its dna.

    Equal keys are equal contents. It is the digest that the dump recorded, which depends neither on compression nor on names of owners, or
    else the dna. A record that is of other bytes, or has no valid digest, is ignored.
    """
    if dna_in(record) != _bytes_of(dna):
        return _bytes_of(dna)
    former, content = record.get(FORMERLY), record.get(CONTENT)
    if isinstance(former, Mapping) and (known := dna_in(former)):
        return known
    return content if is_digest(content) else _bytes_of(dna)


def dna_in(values: Mapping[str, Any]) -> tuple[str, int, str] | None:
    """Return (algorithm, bytes, digest) from a record, or from a dna in one; None if they are missing or invalid."""
    alg, size, dig = values.get("alg"), values.get("size"), values.get("dig")
    if not isinstance(alg, str) or not isinstance(dig, str) or not isinstance(size, int) or isinstance(size, bool):
        return None
    return (alg, size, dig) if size >= 0 and len(dig) == DIGEST_LENGTHS.get(alg) and _HEX.fullmatch(dig) else None


def is_digest(value: object) -> bool:
    """Return whether a value is a content digest: 64 hex digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _bytes_of(dna: Dna) -> tuple[str, int, str]:
    return dna.alg, dna.size, dna.dig
