"""Dumping: one run's tarballs of a list of items, each published by itself."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from . import kind_folder, kind_git, kind_sqlite, kind_svn, kind_trac
from .archive import Form, Manifest, compressor, write_archive
from .digest import cores, in_parallel
from .errors import AltbackupError, DigestMismatch, SourceChanged
from .failures import failure
from .items import Item, find_problems
from .kinds import Context, Kind, Prepared
from .layout import TEMPORARY, Tarball, Tree, parse_filename, scan, tarball_filename
from .publish import (
    link,
    make_folders,
    point_last,
    publish,
    read_record,
    remove_if_there,
    require_writable,
    verify,
    write_record,
    write_sidecar,
)
from .sidecar import Dna
from .stamps import day_of, parse_stamp

KINDS: dict[str, Kind] = {
    "svn": kind_svn.KIND,
    "trac": kind_trac.KIND,
    "git": kind_git.KIND,
    "folder": kind_folder.KIND,
    "sqlite": kind_sqlite.KIND,
}
_ATTEMPTS = 5
_STAGE = "dump"


@dataclass
class Outcome:
    """What became of one item."""

    tarball: dict[str, Any] | None = None
    changed: bool = False
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def dump(
    base: str,
    items: Sequence[Mapping[str, Any]],
    stamp: str,
    form: Form,
    context_options: Mapping[str, Any],
    *,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base, items as written and a stamp, make the tarballs; return `tarballs`, `failures`, `notes` and `changed`.

    In check mode nothing is written and the tarballs are those that would be made; what cannot be known yet is empty.
    Raise AltbackupError where nothing can be done at all.
    """
    parse_stamp(stamp)
    compressor(form)
    tree = require_writable(base)
    context = Context(tree, stamp, **context_options)
    good, bad = find_problems(items, base)
    failures = [_bad_input(value, reason) for value, reason in bad]
    notes = [] if check_mode else remove_leftovers(tree)
    groups: dict[str, list[Item]] = {}
    for item in sorted(good, key=lambda item: (item.name, item.kind != "trac")):  # a Trac before its repository
        groups.setdefault(item.name, []).append(item)
    predict_or_make = _predict if check_mode else _dump_item
    outcomes = [
        outcome
        for group in in_parallel(
            lambda group: [_guarded(predict_or_make, item, context, form) for item in group], list(groups.values()), max(2, cores())
        )
        for outcome in group
    ]
    for outcome in outcomes:
        failures += outcome.failures
        notes += outcome.notes
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "tarballs": [outcome.tarball for outcome in outcomes if outcome.tarball],
        "failures": failures,
        "notes": notes,
    }


def _bad_input(value: Mapping[str, Any], reason: str) -> dict[str, Any]:
    entry = failure(_STAGE, reason)
    if isinstance(value, Mapping):
        kind, name = value.get("kind"), value.get("name")
        entry["category"] = {"svn": "svn", "trac": "tracs", "git": "git", "folder": "folders", "sqlite": "databases"}.get(str(kind), "")
        entry["name"] = str(name or "")
    return entry


def _guarded(function: Any, item: Item, context: Context, form: Form) -> Outcome:
    """Dump one item so that nothing that goes wrong with it reaches the others."""
    try:
        outcome: Outcome = function(item, context, form)
        return outcome
    except (AltbackupError, OSError, ValueError) as error:
        return Outcome(failures=[failure(_STAGE, error, key=item.key)])


def remove_leftovers(tree: Tree) -> list[str]:
    """Remove the temporary files that killed runs left in the private folder; return a note on each."""
    folder = tree.private_path("tmp")
    notes = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not _is_alive(name):
            remove_if_there(os.path.join(folder, name))
            notes.append(f"removed {name}, which a killed run left in {folder}")
    return notes


def _is_alive(temporary: str) -> bool:
    pid = temporary[len(TEMPORARY) :].partition("-")[0]
    return pid.isdigit() and int(pid) != os.getpid() and os.path.exists(f"/proc/{pid}/fd")


def _predict(item: Item, context: Context, form: Form) -> Outcome:
    """Return what a dump of this item would give now."""
    kind = KINDS[item.kind]
    kind.check(item)
    stored = _stored_under(context, item)
    if stored:
        return Outcome(describe(context.tree, stored, 0.0))
    revision = kind.revision(item, context.deadline)
    relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, revision, form.extension)}"
    return Outcome(_tarball(context.tree, relpath, Dna("", 0, form.algorithm), 0.0), changed=True)


def _stored_under(context: Context, item: Item) -> Tarball | None:
    """Return the item's verified tarball under this stamp, if it has one."""
    found = scan(context.tree, day_of(context.stamp), {item.key}).verified()
    return next((tarball for tarball in found if tarball.stamp == context.stamp and parse_filename(tarball.filename, item.name)), None)


def _dump_item(item: Item, context: Context, form: Form) -> Outcome:
    """Make, or find unchanged, the item's tarball under this stamp."""
    start = time.monotonic()
    kind, tree = KINDS[item.kind], context.tree
    kind.check(item)
    outcome = Outcome()
    _complete_leftovers(tree, item, outcome)
    stored = _stored_under(context, item)
    if stored:
        outcome.tarball = describe(tree, stored, time.monotonic() - start)
        _move_last(tree, item, context.stamp, outcome)
        return outcome
    for attempt in range(_ATTEMPTS):
        try:
            _archive_and_publish(item, context, form, outcome, start)
            return outcome
        except SourceChanged as error:
            if attempt + 1 == _ATTEMPTS:
                raise AltbackupError(f"item {item.kind} {item.name!r}: {error} (tried {_ATTEMPTS} times)") from error
            context.deadline.remaining()
            time.sleep(0.1 * 3**attempt)
    return outcome


def _archive_and_publish(item: Item, context: Context, form: Form, outcome: Outcome, start: float) -> None:
    tree = context.tree
    folder = tree.private_path("tmp")
    make_folders(folder, tree.private)
    temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{item.category}-{item.name}")
    try:
        with KINDS[item.kind].copy(item, context) as prepared:
            manifest = Manifest() if prepared.listed else None
            dna = write_archive(
                temporary,
                prepared.parts,
                top=prepared.top(item.name),
                form=form,
                deadline=context.deadline,
                owner=prepared.owner,
                fixed_times=prepared.fixed_times,
                manifest=manifest,
            )
            prepared.confirm()
        outcome.notes += [f"{item.key}: {note}" for note in prepared.notes]
        relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, prepared.revision, form.extension)}"
        record = _record(item, prepared, manifest, dna, relpath)
        tarball = _store(item, context, temporary, relpath, dna, record, outcome)
    except OSError as error:
        raise _with_space(error, tree) from error
    finally:
        remove_if_there(temporary)
    outcome.tarball = describe(tree, tarball, time.monotonic() - start)
    outcome.tarball["record"] = record
    _move_last(tree, item, tarball.stamp, outcome)


def _with_space(error: OSError, tree: Tree) -> OSError | AltbackupError:
    """Return the error; for a full disk one that says how much is free."""
    if error.errno not in (28, 122):  # ENOSPC, EDQUOT
        return error
    free = shutil.disk_usage(tree.private).free
    return AltbackupError(f"{error.filename or tree.base}: {error.strerror}: {free} bytes are free below {tree.base}; nothing was kept of this attempt")


def _record(item: Item, prepared: Prepared, manifest: Manifest | None, dna: Dna, relpath: str) -> dict[str, Any]:
    record = {"kind": item.kind, "name": item.name, "path": item.path, "relpath": relpath, "dig": dna.dig, "size": dna.size, "alg": dna.alg}
    record.update(prepared.record)
    if manifest is not None:
        record.update(entries=manifest.entries, bytes=manifest.bytes, manifest=manifest.digest)
    return record


def _store(
    item: Item, context: Context, temporary: str, relpath: str, dna: Dna, record: Mapping[str, Any], outcome: Outcome
) -> Tarball:
    """Keep the archive: not at all if the day has it, as a link if an earlier day has it, else as a file of its own."""
    tree = context.tree
    for old in _same_content(tree, item, dna, context.stamp):
        try:
            if day_of(old.stamp) == day_of(context.stamp):
                verify(tree.path(old.relpath), dna)
                return old
            write_record(tree, item.key, context.stamp, record)
            link(tree, old, relpath, dna)
            outcome.changed = True
            return _found(tree, relpath)
        except DigestMismatch as error:
            outcome.failures.append(failure(_STAGE, f"an older copy is damaged: {error}; the new one was stored by itself", relpath=old.relpath))
    write_record(tree, item.key, context.stamp, record)
    _discard_unverified(tree, item, relpath, outcome)
    publish(tree, temporary, relpath, dna)
    outcome.changed = True
    return _found(tree, relpath)


def _same_content(tree: Tree, item: Item, dna: Dna, stamp: str) -> list[Tarball]:
    """Return the item's verified tarballs of the same content: those of this day first, then the newest of each earlier file."""
    found = [
        tarball
        for tarball in scan(tree, keys={item.key}).verified()
        if tarball.dna and tarball.dna.same_content(dna) and parse_filename(tarball.filename, item.name)
    ]
    today = [tarball for tarball in found if day_of(tarball.stamp) == day_of(stamp)]
    earlier: dict[tuple[int, int], Tarball] = {}
    for tarball in sorted(found, key=lambda tarball: tarball.stamp):
        if tarball.stamp < stamp:
            earlier[tarball.inode] = tarball
    return today + sorted(earlier.values(), key=lambda tarball: tarball.stamp, reverse=True)


def _discard_unverified(tree: Tree, item: Item, relpath: str, outcome: Outcome) -> None:
    """Make room under this stamp: what stands there without a verified sidecar was left by a killed run."""
    stamp = "/".join(relpath.split("/")[2:6])
    for tarball in scan(tree, day_of(stamp), {item.key}).tarballs:
        if tarball.stamp == stamp and not tarball.verified:
            remove_if_there(tree.path(tarball.relpath))
            remove_if_there(tree.path(tarball.relpath) + ".dna")
            outcome.notes.append(f"replaced {tarball.relpath}, which {tarball.problem}")


def _complete_leftovers(tree: Tree, item: Item, outcome: Outcome) -> None:
    """Write the sidecar of a tarball that a killed run had renamed and recorded, if its bytes are what was recorded."""
    for tarball in scan(tree, keys={item.key}).tarballs:
        if tarball.state != "missing":
            continue
        record = read_record(tree, item.key, tarball.stamp)
        if record.get("relpath") == tarball.relpath:
            dna = Dna(str(record["dig"]), int(record["size"]), str(record["alg"]))
            with suppress(DigestMismatch):
                verify(tree.path(tarball.relpath), dna, from_disk=True)
                write_sidecar(tree.path(tarball.relpath), dna)
                outcome.changed = True
                outcome.notes.append(f"completed {tarball.relpath}, which a killed run had left without its dna")
                continue
        outcome.notes.append(f"{tarball.relpath} is not verified: it {tarball.problem}")


def _move_last(tree: Tree, item: Item, stamp: str, outcome: Outcome) -> None:
    try:
        outcome.changed = point_last(tree, item.key, stamp) or outcome.changed
    except AltbackupError as error:
        outcome.failures.append(failure(_STAGE, error, key=item.key))


def _found(tree: Tree, relpath: str) -> Tarball:
    """Return the tarball just stored, as a look at the tree shows it. Raise AltbackupError if it is not verified."""
    category, name, year, month, day, clock, _ = relpath.split("/")
    for tarball in scan(tree, f"{year}/{month}/{day}", {f"{category}/{name}"}).verified():
        if tarball.relpath == relpath:
            return tarball
    raise AltbackupError(f"{tree.path(relpath)} vanished while it was stored")


def describe(tree: Tree, tarball: Tarball, seconds: float) -> dict[str, Any]:
    """Given a verified tarball, return it as results show it."""
    assert tarball.dna is not None
    return _tarball(tree, tarball.relpath, tarball.dna, seconds)


def _tarball(tree: Tree, relpath: str, dna: Dna, seconds: float) -> dict[str, Any]:
    category, name, year, month, day, clock, _ = relpath.split("/")
    return {
        "path": tree.path(relpath),
        "relpath": relpath,
        "category": category,
        "name": name,
        "stamp": f"{year}/{month}/{day}/{clock}",
        "size": dna.size,
        "dig": dna.dig,
        "alg": dna.alg,
        "seconds": round(seconds, 3),
    }
