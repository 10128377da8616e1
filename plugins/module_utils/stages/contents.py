"""Content digests: whether a new tarball has the content of an older one though their bytes differ, by compression or names of owners."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..archive.examine import read_content
from ..system.errors import ToolFailed
from ..system.processes import Deadline
from ..tree.contents import CONTENT, FORMERLY, dna_in, is_digest
from ..tree.encryption import PLAIN, SEALED, SIGNATURE, SIGNED, TO
from ..tree.layout import Tarball, Tree, parse_filename
from ..tree.publish import read_record, write_record
from ..tree.sidecar import Dna

_OF_THE_TARBALL = frozenset(
    {
        "relpath",
        "path",
        "base",
        "base_dig",
        "dig",
        "size",
        "alg",
        "owners",
        CONTENT,
        FORMERLY,
        "doubts",
        "suspect",
        "incomplete",
        "measures",
        "counted",
        PLAIN,
        TO,
        SEALED,
        SIGNED,
        SIGNATURE,
    }
)
"""Keys of records that may differ between two tarballs of one content"""
_MOST = 8
"""Maximum number of older tarballs that are read for one new one"""


def content_of_equal(tree: Tree, equal: Tarball, record: Mapping[str, Any], dna: Dna) -> dict[str, Any]:
    """Return the content fields for the record of a new tarball that has the same bytes as an older one.

    They are those of the older one's record. If that has none, the dna of the bytes identifies the content on other nodes.
    """
    known = _content_in(read_record(tree, equal.key, equal.stamp), dna)
    if known or CONTENT not in record:
        return known
    return {CONTENT: record[CONTENT], FORMERLY: _dna(dna)}


def content_among(
    tree: Tree, others: Sequence[Tarball], made: str, record: Mapping[str, Any], dna: Dna, deadline: Deadline
) -> dict[str, Any]:
    """Return the content fields for the record of a new tarball at path `made`, compared with older tarballs of other bytes.

    Older ones whose records do not contradict are read, each once: the result is added to its record. Raise DeadlineExceeded, and what reading the new one
    raises.
    """
    found = {CONTENT: record[CONTENT]} if CONTENT in record else {}
    seen = set()
    for other in sorted(others, key=lambda tarball: tarball.stamp, reverse=True):
        known = read_record(tree, other.key, other.stamp)
        if other.dna is None or other.dna.dig in seen or not _agree(known, record, other.dna):
            continue
        if other.dna.base and not _content_in(known, other.dna):  # a differential alone has no content digest
            continue
        seen.add(other.dna.dig)
        if len(seen) > _MOST:
            break
        if not found:
            found = {CONTENT: _read(made, record["relpath"], deadline)}
        theirs = _content_in(known, other.dna) or _read_and_keep(tree, other, known, deadline)
        if theirs.get(CONTENT) == found[CONTENT]:
            return theirs
    return found


def _agree(known: Mapping[str, Any], record: Mapping[str, Any], dna: Dna) -> bool:
    """Return whether a known record is that of these bytes, and has no value that contradicts the other record."""
    both = (set(known) & set(record)) - _OF_THE_TARBALL
    return dna_in(known) == dna_in(_dna(dna)) and all(known[key] == record[key] for key in both)


def _content_in(record: Mapping[str, Any], dna: Dna) -> dict[str, Any]:
    """Return the content fields of a record, empty if it has none or is of other bytes."""
    content, former = record.get(CONTENT), record.get(FORMERLY)
    if dna_in(record) != dna_in(_dna(dna)) or not is_digest(content):
        return {}
    return {CONTENT: content, **({FORMERLY: former} if isinstance(former, Mapping) and dna_in(former) else {})}


def _read_and_keep(tree: Tree, tarball: Tarball, record: Mapping[str, Any], deadline: Deadline) -> dict[str, Any]:
    """Read an older tarball, add the content fields to its record, and return them; empty if it cannot be read, which a check reports."""
    if tarball.dna is None:
        return {}
    with contextlib.suppress(ToolFailed, OSError):
        content = _read(tree.path(tarball.relpath), tarball.relpath, deadline)
        found = {CONTENT: content, FORMERLY: _dna(tarball.dna)}
        write_record(tree, tarball.key, tarball.stamp, {**record, **found})
        return found
    return {}


def _read(path: str, relpath: str, deadline: Deadline) -> str:
    """Return the content digest of the tarball at a path that is to be stored as `relpath`."""
    _, name, *_, filename = relpath.split("/")
    _, extension = parse_filename(filename, name) or (None, "")
    return read_content(path, filename, filename[: len(filename) - len(extension)], deadline)


def _dna(dna: Dna) -> dict[str, Any]:
    return {"dig": dna.dig, "size": dna.size, "alg": dna.alg}
