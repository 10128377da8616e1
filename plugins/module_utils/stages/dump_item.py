"""Dump of one item: read, archive, compare with earlier dumps, record and store; or predict that."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..archive.differential import fill_manifest, restored_members
from ..archive.digests import Digests
from ..archive.dumpdirs import DumpdirInserter, list_folders
from ..archive.manifest import Manifest
from ..archive.owners import Owners
from ..archive.snapshot import Members, renew_snapshot, write_snapshot
from ..archive.states import State, Unproven
from ..archive.write import store_archive
from ..kinds.base import Context
from ..kinds.registry import kind_of
from ..system.errors import AltbackupError, Hostile, NoRoom, SourceChanged
from ..tree import doubt
from ..tree.contents import CONTENT
from ..tree.encryption import PLAIN, keyed
from ..tree.incomplete import missing_of
from ..tree.layout import TEMPORARY, Tarball, describe, describe_as, tarball_filename
from ..tree.noted import noted_by
from ..tree.owner import source_of
from ..tree.publish import read_record, remove_if_there
from ..tree.restored import require_adopted
from ..tree.scan import scan
from ..tree.sidecar import Dna
from ..tree.suspects import doubts_of
from ..tree.trash import make_room
from .bases import Base, about_full, find_base, keep_snapshot
from .contents import content_among, content_of_equal
from .controller import CONTROLLER_KEY
from .dump_encrypted import comparable, equal_to, require_still_encrypted, with_keyed, with_seal
from .dump_reader import checker_of
from .dump_reading import ReaderSession, whole_number
from .dump_record import forget_unrecorded, judged, note_files, past_of, record_for
from .dump_report import report_incomplete, report_suspect, with_space
from .dump_state import ItemDump
from .dump_store import complete_leftovers, describe_stored, move_last, store, stored_under, tarballs_before

_PAUSES = (0.1, 0.3, 0.9, 2.7)
"""Seconds between attempts at an item that changes while it is read"""
_MORE_TRIES = 3
"""Further attempts at a folder, each without the paths that changed in the one before"""
_MOST_TRIED = 512
"""Approximate maximum number of files whose content is classified, see archive.digests; more would add no precision"""


def predict_item(dump: ItemDump, *, is_there: bool = True) -> None:
    """Predict the dump of an item, in its outcome; if the item `is_there`, its reader tests that it can be read."""
    item, context, form, outcome = dump.item, dump.context, dump.form, dump.outcome
    outcome.notes += require_adopted(item.path, item.key, source_of(context.tree)) if item.path else []
    revision = None
    if is_there and item.key != CONTROLLER_KEY:  # its folder is made by the dump
        with ReaderSession(dump, predicted=True) as session:
            answer = session.answer
            revision = whole_number(answer["revision"])
            outcome.notes += [f"{item.key}: {note}" for note in answer.pop("notes")]
            report_incomplete(item, map(str, answer.pop("failures")), outcome)
            del answer["noted"]
    verified = scan(context.tree, keys={item.key}).verified()
    stored = stored_under(context, item, verified)
    if stored:
        outcome.tarball = describe_stored(context.tree, stored, 0.0)
        report_suspect(dump, outcome.tarball["record"])
        return
    before = tarballs_before(context, item, verified)
    require_still_encrypted(dump, before, check_mode=True)
    differs = find_base(item, context, form, before, dump.marks) is not None
    relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, revision, form.ending, differs=differs)}"
    outcome.tarball = describe_as(context.tree, relpath, Dna("", 0, form.algorithm), 0.0)
    outcome.changed = True


def dump_item(dump: ItemDump) -> None:
    """Make the item's tarball under this stamp, or find that it exists already or is unchanged."""
    item, context, outcome = dump.item, dump.context, dump.outcome
    start = time.monotonic()
    outcome.notes += require_adopted(item.path, item.key, source_of(context.tree)) if item.path else []
    dump.verified = complete_leftovers(context.tree, item, outcome)
    stored = stored_under(context, item, dump.verified)
    if stored:
        outcome.tarball = describe_stored(context.tree, stored, time.monotonic() - start)
        report_incomplete(item, missing_of(outcome.tarball["record"]), outcome)
        report_suspect(dump, outcome.tarball["record"])
        move_last(context, item, context.stamp, outcome)
        return
    require_still_encrypted(dump, tarballs_before(context, item, dump.verified))
    dump.past = past_of(dump, dump.verified)
    dump.context = replace(context, good=dump.past.last)
    more = _MORE_TRIES if kind_of(item.kind).is_tree else 0
    pauses = (*_PAUSES, *((0.0,) * more), None)
    for tries, pause in enumerate(pauses, 1):
        try:
            _archive_with_room(dump, start)
            return
        except SourceChanged as error:
            if pause is None:
                raise AltbackupError(f"item {item.kind} {item.name!r}: {error} (tried {tries} times)") from error
            if tries > len(_PAUSES):
                dump.context = _with_left_out(dump.context, error.paths, last=tries + 1 == len(pauses))
            context.deadline.remaining()
            time.sleep(pause)


def _with_left_out(context: Context, paths: Sequence[str], *, last: bool) -> Context:
    """Return the context in which a folder is read without paths that changed during every attempt."""
    return replace(context, lenient=True, last=last, left_out=sorted({*context.left_out, *paths}))


def _archive_with_room(dump: ItemDump, start: float) -> None:
    """Archive and publish an item; if the disk is full, empty the trash and try once more."""
    try:
        _archive_and_publish(dump, start)
    except NoRoom:
        freed, notes = make_room(dump.context.tree, sys.maxsize)
        if not freed:
            raise
        dump.outcome.notes += notes
        _archive_and_publish(dump, start)


def _archive_and_publish(dump: ItemDump, start: float) -> None:
    """Archive and publish an item, as a differential if possible, else as a full tarball."""
    before = tarballs_before(dump.context, dump.item, dump.verified)
    dump.base = find_base(dump.item, dump.context, dump.form, before, dump.marks)
    if dump.base is not None:
        if dump.ahead:
            dump.ahead.begin(dump.base.full)
        try:
            _archive(dump, start)
            return
        except (Unproven, Hostile) as error:
            dump.outcome.notes.append(f"{dump.item.key}: no differential was made, but a full tarball: {error}")
            dump.base = None
    _archive(dump, start)


@dataclass(frozen=True)
class _Packed:
    """The archive of an item in a temporary file, with what is known about it."""

    dna: Dna
    revision: int | None
    base: Base | None
    """The full tarball against which it is a differential, None for a full one"""
    manifest: Manifest | None
    owners: Owners
    known: Mapping[str, Any]
    """What its reader returned for the record of the dump"""
    churn: doubt.Churn | None
    notes: Sequence[str]
    plain: str
    """Keyed digest of the archive before encryption, empty without that"""

    @property
    def full(self) -> Tarball | None:
        """The full tarball if a differential would restore exactly its content, else None."""
        same = self.base and self.manifest and self.base.is_same(self.manifest.content, self.revision)
        return self.base.full if self.base and same and self.base.full.dna else None


def _archive(dump: ItemDump, start: float) -> None:
    """Archive and publish an item. Raise Unproven if a differential would not restore what was read, AltbackupError or OSError."""
    item, context, outcome = dump.item, dump.context, dump.outcome
    tree = context.tree
    temporary = tree.private_path("tmp", f"{TEMPORARY}{os.getpid()}-{item.category}-{item.name}")
    snapshot = f"{temporary}.snapshot"
    try:
        packed = _pack(dump, temporary, snapshot)
        outcome.notes += packed.notes
        report_incomplete(item, missing_of(packed.known), outcome)
        tarball, record = _store(dump, packed, temporary)
        keep_snapshot(tree, item, snapshot, known=dump.is_known)
    except (AltbackupError, OSError) as error:
        forget_unrecorded(dump, ())
        raise with_space(error, tree) from error
    finally:
        remove_if_there(temporary)
        remove_if_there(snapshot)
    outcome.tarball = describe(tree, tarball, time.monotonic() - start)
    if tarball.stamp != context.stamp:  # the day has an equal one already, with its own record
        kept = read_record(tree, item.key, tarball.stamp) or record
        doubts = doubts_of(kept) or doubts_of(record)
        record = {**kept, "relpath": tarball.relpath, **({"suspect": doubts} if doubts else {})}
    outcome.tarball["record"] = record
    forget_unrecorded(dump, noted_by(record).values())
    report_suspect(dump, record)
    move_last(context, item, tarball.stamp, outcome)


def _store(dump: ItemDump, packed: _Packed, temporary: str) -> tuple[Tarball, dict[str, Any]]:
    """Store the packed file, or keep an equal tarball; return the stored one with its record. Raise as _archive does."""
    before = tarballs_before(dump.context, dump.item, dump.verified)
    dna = packed.full.dna if packed.full else None
    if dna is not None:
        same = [tarball for tarball in before if tarball.dna and tarball.dna.same_content(dna)]
        return _store_as(dump, packed, before, same, dna, "", temporary)
    equal = equal_to(dump, before, packed.dna, packed.plain)
    if equal and equal[-1].dna and dump.form.recipients:
        dna = replace(equal[-1].dna, base=packed.dna.base, base_dig=packed.dna.base_dig)
        try:
            return _store_as(dump, packed, before, equal, dna, "", temporary)
        except Unproven:  # the new file is another ciphertext, with a record of its own
            equal = []
    return _store_as(dump, packed, before, equal, packed.dna, temporary, temporary)


def _store_as(
    dump: ItemDump, packed: _Packed, before: Sequence[Tarball], equal: Sequence[Tarball], dna: Dna, new: str, made: str
) -> tuple[Tarball, dict[str, Any]]:
    """Store the file `new`, or if that is empty a link to a tarball in `equal`, with this dna and the record of what was `made`."""
    item, context = dump.item, dump.context
    name = tarball_filename(item.name, packed.revision, dump.form.ending, differs=packed.base is not None)
    relpath = f"{item.key}/{context.stamp}/{packed.full.filename if packed.full else name}"
    record = _record(dump, packed, dna, relpath, before, equal, made)
    return store(item, context, new, relpath, dna, record, equal, dump.outcome), record


def _pack(dump: ItemDump, temporary: str, snapshot: str) -> _Packed:
    """Read an item and write its archive to `temporary`; for a full one write the snapshot for later differentials, too.

    Raise as _archive does.
    """
    item, context = dump.item, dump.context
    with contextlib.ExitStack() as stack:
        members = stack.enter_context(Members()) if dump.is_known else None
        digests = stack.enter_context(Digests())
        session = stack.enter_context(ReaderSession(dump, predicted=False))
        answer = session.answer
        base = dump.base if answer["differs"] is True else None
        digests.every = max(1, (whole_number(answer["count"]) or 0) // _MOST_TRIED)
        revision = whole_number(answer["revision"])
        manifest = Manifest(files=digests, members=members) if answer["listed"] else None
        top = base.top if base else item.name if revision is None else f"{item.name}-{revision}"
        lists = list_folders(session.states()) if base else {}
        plain = keyed(dump.secret) if dump.form.recipients else None
        dna = store_archive(
            temporary,
            DumpdirInserter(session.stream, lists, top) if base else session.stream,  # type: ignore[arg-type]
            session,
            item.place,
            top=top,
            form=dump.form,
            deadline=context.deadline,
            manifest=manifest,
            checker=checker_of(item, top, context, base.links if base else ()),
            plain=plain,
        )
        if base and members is not None:
            every, digests = digests.every, stack.enter_context(Digests())
            digests.every = every
            manifest = Manifest(owners=session.owners)
            moved: dict[bytes, State] = {}
            found = restored_members(base.snapshot.entries(), members, session.states(), lists, moved)
            fill_manifest(manifest, found, digests)
            if moved:
                renew_snapshot(snapshot, base.snapshot, moved)
            dna = replace(dna, base=base.path, base_dig=base.dig)
        verdict = session.confirm(digests)
        noted, churn = note_files(dump, digests) if kind_of(item.kind).is_tree else ({}, None)
        if members is not None and manifest is not None and not base:
            about = about_full(dna, top, revision, manifest.content, answer["way"], context.stamp, dump.form.recipients)
            _note_full(dump, snapshot, about, members, session)
    known = {**answer["record"], **({"incomplete": verdict.failures} if verdict.failures else {})}
    known["doubts"] = [*map(str, known.get("doubts", ())), *verdict.doubts]
    known["noted"] = {**session.noted, **noted}
    notes = [f"{item.key}: {note}" for note in verdict.notes]
    return _Packed(
        dna,
        revision,
        base,
        manifest,
        (manifest or session).owners,
        known,
        churn,
        notes,
        plain.hexdigest() if plain else "",
    )


def _record(
    dump: ItemDump,
    packed: _Packed,
    dna: Dna,
    relpath: str,
    before: Sequence[Tarball],
    equal: Sequence[Tarball],
    temporary: str,
) -> dict[str, Any]:
    """Return the record of a dump; `before` are the item's verified tarballs, `equal` those of the same bytes."""
    item, context = dump.item, dump.context
    record = record_for(item, packed.known, packed.manifest, packed.owners, dna, relpath)
    content = str(record.get(CONTENT, ""))
    plain = packed.plain
    if packed.full:
        plain = str(read_record(context.tree, item.key, packed.full.stamp).get(PLAIN, plain))
    record = with_keyed(dump, record, plain)
    if equal:
        record.update(content_of_equal(context.tree, equal[-1], record, dna))
    else:
        record.update(content_among(context.tree, comparable(dump, before), temporary, record, dna, context.deadline))
    return with_seal(dump, judged(dump, record, packed.churn), content, equal)


def _note_full(dump: ItemDump, path: str, about: Mapping[str, Any], members: Members, session: ReaderSession) -> None:
    """Write the snapshot of a full archive; a failure to do so is a note, and the next tarball is a full one, too."""
    try:
        write_snapshot(path, about, members, session.states())
    except Unproven as error:
        remove_if_there(path)
        dump.outcome.notes.append(f"{dump.item.key}: the next tarball will be a full one, too: {error}")
