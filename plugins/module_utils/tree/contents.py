"""Contents: which tarballs of an item hold the same, however they were written."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from ..system.digest import DIGEST_LENGTHS
from .sidecar import Dna

CONTENT, FORMERLY = "content", "formerly"
"""What a dump records: the digest of what it archived, whatever archive it is in; and, where a tarball that was recorded without such a
digest holds the same, the dna of that"""
_DIGEST = re.compile("[0-9a-f]{64}")
_HEX = re.compile("[0-9a-f]+")


def content_of(record: Mapping[str, Any], dna: Dna) -> Hashable:
    """Given what its dump recorded of a tarball, which may be nothing, and the tarball's dna, return what stands for its content.

    Equal values are one content: by the digest that its dump recorded, which neither compression nor names of owners change, else by the
    dna. A record of other bytes, or with what is no digest, counts for nothing.
    """
    if dna_in(record) != _bytes_of(dna):
        return _bytes_of(dna)
    former, content = record.get(FORMERLY), record.get(CONTENT)
    if isinstance(former, Mapping) and (known := dna_in(former)):
        return known
    return content if is_digest(content) else _bytes_of(dna)


def dna_in(values: Mapping[str, Any]) -> tuple[str, int, str] | None:
    """Given a record, or a dna as it stands in one, return (algorithm, bytes, digest), None where that is not there or is no dna."""
    alg, size, dig = values.get("alg"), values.get("size"), values.get("dig")
    if not isinstance(alg, str) or not isinstance(dig, str) or not isinstance(size, int) or isinstance(size, bool):
        return None
    return (alg, size, dig) if size >= 0 and len(dig) == DIGEST_LENGTHS.get(alg) and _HEX.fullmatch(dig) else None


def is_digest(value: object) -> bool:
    """Return whether a value is the digest of a content."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _bytes_of(dna: Dna) -> tuple[str, int, str]:
    return dna.alg, dna.size, dna.dig
