"""The record of a dump, and its comparison with those of earlier dumps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..archive.churn import compare_lists
from ..archive.digests import Digests
from ..archive.manifest import Manifest
from ..archive.owners import Owners
from ..kinds.items import Item
from ..kinds.registry import kind_of
from ..system.errors import AltbackupError
from ..tree import doubt
from ..tree.contents import CONTENT
from ..tree.failures import failure
from ..tree.layout import Tarball, base_in, parse_filename
from ..tree.noted import NotNoted, forget_noted, keep_noted, noted_by, open_noted
from ..tree.publish import record_of
from ..tree.sidecar import Dna
from .dump_state import STAGE, ItemDump, Past

_FILES = "files"
"""Name under which the digests of a folder's files are kept"""


def past_of(dump: ItemDump, tarballs: Iterable[Tarball]) -> Past:
    """Return what the dumps of the item's verified tarballs recorded; a damaged record is a failure and is left out."""
    item, context = dump.item, dump.context
    records, whole = {}, True
    stamps = sorted({tarball.stamp for tarball in tarballs if parse_filename(tarball.filename, item.name)})
    for stamp in stamps:
        try:
            record = record_of(context.tree, item.key, stamp)
            if doubt.stamp_of(record) == stamp:
                records[stamp] = record
        except AltbackupError as error:
            dump.outcome.failures.append(failure(STAGE, error, key=item.key))
            whole = False
    before = [record for stamp, record in records.items() if stamp < context.stamp]
    if whole and not before and any(stamp < context.stamp for stamp in stamps):
        dump.outcome.notes.append(f"{item.key}: no earlier dump left a record, so this one was compared with nothing")
    good = doubt.trusted(before, dump.marks.accepted.get(item.key, ""))
    doubtful = before[-1] if before and before[-1:] != good[-1:] else None
    noted = frozenset(name for record in records.values() for name in noted_by(record).values())
    return Past(good, doubtful, noted, whole)


def judged(dump: ItemDump, record: Mapping[str, Any], churn: doubt.Churn | None) -> dict[str, Any]:
    """Return the record of a dump with the reasons why it is suspect, if any, and the measures of earlier nights."""
    past = dump.past
    reasons = doubt.judge(record, past.good, dump.limits, churn=churn, doubtful=past.doubtful)
    more = {
        "nights": doubt.nights_before(past.good),
        "suspect": reasons,
        "doubts": record["doubts"],
        "noted": record["noted"],
    }
    return {
        **{key: value for key, value in record.items() if key not in more},
        **{key: value for key, value in more.items() if value},
    }


def note_files(dump: ItemDump, digests: Digests) -> tuple[dict[str, str], doubt.Churn | None]:
    """Keep the digests of an archive's files; return {name: digest of that list}, and the churn since the last good dump, None if unknown."""
    tree, key, last = dump.context.tree, dump.item.key, dump.past.last
    noted = {_FILES: keep_noted(tree, key, digests.compact)}
    if noted_by(last).get(_FILES) in (None, noted[_FILES]):
        return noted, None
    try:
        with open_noted(tree, key, last, _FILES) as stream:
            return noted, compare_lists(stream, digests.compact)
    except NotNoted as error:
        dump.outcome.notes.append(f"{key}: how many files changed is not known: {error}")
    except (AltbackupError, OSError) as error:
        dump.outcome.failures.append(failure(STAGE, error, key=key))
    return noted, None


def forget_unrecorded(dump: ItemDump, noted: Collection[str]) -> None:
    """Remove lists of digests that no record and not this dump (`noted`, digests) refers to; an error is a failure."""
    if dump.past.whole:
        try:
            forget_noted(dump.context.tree, dump.item.key, dump.past.noted.union(noted))
        except OSError as error:
            dump.outcome.failures.append(failure(STAGE, error, key=dump.item.key))


def record_for(
    item: Item, known: Mapping[str, Any], manifest: Manifest | None, owners: Owners, dna: Dna, relpath: str
) -> dict[str, Any]:
    record: dict[str, Any] = {
        **known,
        "kind": item.kind,
        "name": item.name,
        "path": item.path,
        "relpath": relpath,
        "dig": dna.dig,
        "size": dna.size,
        "alg": dna.alg,
        **base_in(dna),
    }
    if owners.digest:
        record["owners"] = owners.digest
    if manifest is not None:
        amounts = {"entries": manifest.entries, "bytes": manifest.bytes}
        record.update(amounts, manifest=manifest.digest)
        record[CONTENT] = manifest.content
        if kind_of(item.kind).is_tree:  # in other kinds they are storage, which repacking changes
            record["measures"] = amounts
    return record
