"""Dumping: one run's tarballs of a list of items, each published by itself."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import answering, kind_folder, kind_git, kind_sqlite, kind_svn, kind_trac
from .archive import Form, Manifest, Part, compressor, write_archive
from .controller import CONTROLLER_KEY, controller_item, unpack_controller
from .digest import cores, in_parallel
from .errors import FULL, AltbackupError, DigestMismatch, SourceChanged, ToolFailed
from .failures import explain, failure
from .items import CATEGORIES, Item, find_problems
from .kinds import Context, Kind, Prepared
from .layout import PROOF, TEMPORARY, Tarball, Tree, describe, describe_as, parse_filename, scan, tarball_filename
from .publish import (
    link,
    make_folders,
    point_last,
    prune_empty,
    publish,
    read_record,
    record_path,
    remove_if_there,
    require_writable,
    verify,
    write_record,
    write_sidecar,
)
from .restored import require_adopted
from .sidecar import Dna
from .stamps import day_of, parse_stamp
from .unpack import Judge

KINDS: dict[str, Kind] = {
    "svn": kind_svn.KIND,
    "trac": kind_trac.KIND,
    "git": kind_git.KIND,
    "folder": kind_folder.KIND,
    "sqlite": kind_sqlite.KIND,
}
_PAUSES = (0.1, 0.3, 0.9, 2.7)
"""Seconds between attempts at an item that changes while it is read."""
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
    received: Sequence[str] = (),
    controller: str = "",
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a base, items as written and a stamp, make the tarballs; return `tarballs`, `failures`, `notes` and `changed`.

    `received` are folders where the node keeps copies that it receives: no item may hold them. What a `controller` packed
    is one more item.
    In check mode nothing is written and the tarballs are those that would be made; what cannot be known yet is empty.
    Raise AltbackupError where nothing can be done at all.
    """
    parse_stamp(stamp)
    compressor(form)
    tree = require_writable(base)
    context = Context(tree, stamp, **context_options)
    failures: list[dict[str, Any]] = []
    own = _controller_items(tree, controller, check_mode, failures)
    limit = answering.patience(context.deadline)
    silent = answering.silent(received, limit)
    good, bad = find_problems(
        [*items, *own],
        base,
        [folder for folder in received if folder not in silent],
        lambda asked: _silent_items(asked, limit),
    )
    failures += [_bad_input(value, reason) for value, reason in bad]
    if not items:
        failures.append(failure(_STAGE, f"there are no items to dump to {base}: nothing was backed up"))
    notes: list[str] = []
    groups: dict[str, list[Item]] = {}
    for item in sorted(good, key=lambda item: (item.name, item.kind != "trac")):  # a Trac before its repository
        groups.setdefault(item.name, []).append(item)
    predict_or_make = _predict if check_mode else _dump_item

    def work(group: list[Item]) -> list[Outcome]:
        return [_guarded(predict_or_make, item, context, form) for item in group]

    outcomes = [outcome for done in in_parallel(work, list(groups.values()), max(2, cores())) for outcome in done]
    for outcome in outcomes:
        failures += outcome.failures
        notes += outcome.notes
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "tarballs": [outcome.tarball for outcome in outcomes if outcome.tarball],
        "failures": failures,
        "notes": notes,
    }


def _controller_items(
    tree: Tree, packed: str, check_mode: bool, failures: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the controller's own item, if it handed one over, with its folder made; a failure is reported."""
    if not packed:
        return []
    try:
        if not check_mode:
            unpack_controller(tree, packed)
        return [controller_item(tree)]
    except (AltbackupError, OSError) as error:
        failures.append(failure(_STAGE, error, key=CONTROLLER_KEY))
        return []


def _silent_items(items: Sequence[Item], limit: float) -> dict[Item, str]:
    """Given items, return why those do not answer whose path, or a mount in it that is not excluded, does not within a limit."""
    silent = answering.silent_within({item: item.path for item in items}, limit, _enters)
    return {item: answering.complaint(path, limit) for item, path in silent.items()}


def _enters(item: Item, inside: str) -> bool:
    """Given an item and a path from its own, return whether its dump goes there."""
    excluded = kind_folder.excluding(item.exclude)
    parts = inside.split("/")
    return not any(excluded("/".join(parts[:count]), True) for count in range(1, len(parts) + 1))


def _bad_input(value: Mapping[str, Any], reason: str) -> dict[str, Any]:
    entry = failure(_STAGE, reason)
    if isinstance(value, Mapping):
        entry["category"] = CATEGORIES.get(str(value.get("kind")), "")
        entry["name"] = str(value.get("name") or "")
    return entry


def _guarded(
    function: Callable[[Item, Context, Form, Outcome], None], item: Item, context: Context, form: Form
) -> Outcome:
    """Work on one item so that nothing that goes wrong with it reaches the others; return what became of it."""
    outcome = Outcome()
    try:
        function(item, context, form, outcome)
    except (AltbackupError, OSError) as error:
        outcome.failures.append(failure(_STAGE, error, key=item.key))
    except Exception as error:  # noqa: BLE001 (a bug that one item meets does not stop the others)
        reason = f"item {item.kind} {item.name!r}: unexpected {type(error).__name__}: {error}"
        outcome.failures.append(failure(_STAGE, reason, key=item.key))
    return outcome


def _predict(item: Item, context: Context, form: Form, outcome: Outcome) -> None:
    """Find out what a dump of this item would give now."""
    kind = KINDS[item.kind]
    outcome.notes += require_adopted(item.path, item.key)
    if item.key != CONTROLLER_KEY:  # its folder is made by the dump itself
        kind.check(item)
    stored = _stored_under(context, item)
    if stored:
        outcome.tarball = _describe_stored(context.tree, stored, 0.0)
        return
    revision = kind.revision(item, context.deadline)
    relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, revision, form.extension)}"
    outcome.tarball = describe_as(context.tree, relpath, Dna("", 0, form.algorithm), 0.0)
    outcome.changed = True


def _describe_stored(tree: Tree, tarball: Tarball, seconds: float) -> dict[str, Any]:
    return {**describe(tree, tarball, seconds), "record": read_record(tree, tarball.key, tarball.stamp)}


def _stored_under(context: Context, item: Item) -> Tarball | None:
    """Return the item's verified tarball under this stamp, if it has one."""
    found = scan(context.tree, day_of(context.stamp), {item.key}).verified()
    return next(
        (
            tarball
            for tarball in found
            if tarball.stamp == context.stamp and parse_filename(tarball.filename, item.name)
        ),
        None,
    )


def _dump_item(item: Item, context: Context, form: Form, outcome: Outcome) -> None:
    """Make, or find unchanged, the item's tarball under this stamp."""
    start = time.monotonic()
    outcome.notes += require_adopted(item.path, item.key)
    KINDS[item.kind].check(item)
    _complete_leftovers(context.tree, item, outcome)
    stored = _stored_under(context, item)
    if stored:
        outcome.tarball = _describe_stored(context.tree, stored, time.monotonic() - start)
        _move_last(context.tree, item, context.stamp, outcome)
        return
    for pause in (*_PAUSES, None):
        try:
            _archive_and_publish(item, context, form, outcome, start)
            return
        except SourceChanged as error:
            if pause is None:
                raise AltbackupError(
                    f"item {item.kind} {item.name!r}: {error} (tried {len(_PAUSES) + 1} times)"
                ) from error
            context.deadline.remaining()
            time.sleep(pause)


def _archive_and_publish(item: Item, context: Context, form: Form, outcome: Outcome, start: float) -> None:
    tree = context.tree
    folder = tree.private_path("tmp")
    make_folders(folder, tree.private)
    temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{item.category}-{item.name}")
    try:
        with KINDS[item.kind].copy(item, context) as prepared:
            manifest = Manifest() if prepared.listed else None
            said: list[str] = []
            judge = Judge(f"item {item.kind} {item.name!r}", prepared.top(item.name), context.deadline)
            if manifest is None:
                judge.look_at_names(_entries(prepared.parts, prepared.top(item.name)))
            try:
                dna = write_archive(
                    temporary,
                    prepared.parts,
                    top=prepared.top(item.name),
                    form=form,
                    deadline=context.deadline,
                    owner=prepared.owner,
                    fixed_times=prepared.fixed_times,
                    sparse=prepared.sparse,
                    manifest=manifest,
                    judge=judge,
                    said=said,
                )
            except ToolFailed:
                prepared.confirm()  # tar fails where a file changes or vanishes while it is read: that is worth another try
                raise
            prepared.confirm()
        outcome.notes += [f"{item.key}: {note}" for note in [*prepared.notes, *said]]
        relpath = f"{item.key}/{context.stamp}/{tarball_filename(item.name, prepared.revision, form.extension)}"
        record = _record(item, prepared, manifest, dna, relpath)
        tarball = _store(item, context, temporary, relpath, dna, record, outcome)
    except (AltbackupError, OSError) as error:
        raise _with_space(error, tree) from error
    finally:
        remove_if_there(temporary)
    outcome.tarball = describe(tree, tarball, time.monotonic() - start)
    outcome.tarball["record"] = {**record, "relpath": tarball.relpath}
    _move_last(tree, item, tarball.stamp, outcome)


def _entries(parts: Sequence[Part], top: str) -> Iterator[tuple[bytes, int]]:
    """Yield (path in the archive, mode) of what is to be archived; what vanished meanwhile tar tells."""
    for part in parts:
        for name in part.names:
            with contextlib.suppress(FileNotFoundError):
                yield os.fsencode(top) + name[1:], os.lstat(os.path.join(os.fsencode(part.root), name)).st_mode


def _with_space(error: AltbackupError | OSError, tree: Tree) -> AltbackupError | OSError:
    """Return the error; for a full disk, also one that a tool met, one that says how much is free."""
    full = error.errno in FULL if isinstance(error, OSError) else os.strerror(errno.ENOSPC) in str(error)
    if not full:
        return error
    where = "" if isinstance(error, AltbackupError) or error.filename else f"{tree.base}: "
    free = shutil.disk_usage(tree.private).free
    return AltbackupError(
        f"{where}{explain(error)}: {free} bytes are free below {tree.base}; nothing was kept of this attempt"
    )


def _record(item: Item, prepared: Prepared, manifest: Manifest | None, dna: Dna, relpath: str) -> dict[str, Any]:
    record = {
        "kind": item.kind,
        "name": item.name,
        "path": item.path,
        "relpath": relpath,
        "dig": dna.dig,
        "size": dna.size,
        "alg": dna.alg,
    }
    record.update(prepared.record)
    if manifest is not None:
        record.update(entries=manifest.entries, bytes=manifest.bytes, manifest=manifest.digest)
    return record


def _store(
    item: Item,
    context: Context,
    temporary: str,
    relpath: str,
    dna: Dna,
    record: Mapping[str, Any],
    outcome: Outcome,
) -> Tarball:
    """Keep the archive: not at all if the day has it, as a link if an earlier day has it, else as a file of its own."""
    tree = context.tree
    today, earlier = _same_content(tree, item, dna, context.stamp)
    for old in today:
        if _is_sound(tree, old, dna, outcome):
            return old
    _discard_unverified(tree, item, relpath, outcome)
    try:
        write_record(tree, item.key, context.stamp, record)
        if not any(_link(tree, old, relpath, dna, outcome) for old in earlier):
            publish(tree, temporary, relpath, dna)
    except BaseException:
        path = record_path(tree, item.key, context.stamp)
        remove_if_there(path)
        prune_empty(os.path.dirname(path), tree.private)
        raise
    outcome.changed = True
    return _found(tree, relpath)


def _is_sound(tree: Tree, old: Tarball, dna: Dna, outcome: Outcome) -> bool:
    """Return whether an older tarball, read again, is what its dna says; a failure is reported."""
    try:
        verify(tree.path(old.relpath), dna, from_disk=True)
        return True
    except (DigestMismatch, OSError) as error:
        _report_old(old, error, outcome)
        return False


def _link(tree: Tree, old: Tarball, relpath: str, dna: Dna, outcome: Outcome) -> bool:
    """Store an unchanged item as a link to an older tarball; return whether that could be done, a failure is reported."""
    try:
        link(tree, old, relpath, dna)
        return True
    except (DigestMismatch, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        _report_old(old, error, outcome)
        return False


def _report_old(old: Tarball, error: DigestMismatch | OSError, outcome: Outcome) -> None:
    how = "is damaged" if isinstance(error, DigestMismatch) else "cannot be used"
    reason = f"an older copy {how}: {explain(error)}; the new one was stored by itself"
    outcome.failures.append(failure(_STAGE, reason, relpath=old.relpath))


def _same_content(tree: Tree, item: Item, dna: Dna, stamp: str) -> tuple[list[Tarball], list[Tarball]]:
    """Return the item's verified tarballs of the same content: those of this day, and the newest of each earlier file, newest first."""
    found = [
        tarball
        for tarball in scan(tree, keys={item.key}).verified()
        if tarball.dna and tarball.dna.same_content(dna) and parse_filename(tarball.filename, item.name)
    ]
    found.sort(key=lambda tarball: tarball.stamp)
    today = [tarball for tarball in found if day_of(tarball.stamp) == day_of(stamp)]
    newest_of_each = {tarball.inode: tarball for tarball in found if day_of(tarball.stamp) < day_of(stamp)}
    return today, sorted(newest_of_each.values(), key=lambda tarball: tarball.stamp, reverse=True)


def _discard_unverified(tree: Tree, item: Item, relpath: str, outcome: Outcome) -> None:
    """Make room under this stamp: what stands there without a verified sidecar was left by a killed run."""
    stamp = "/".join(relpath.split("/")[2:6])
    for tarball in scan(tree, day_of(stamp), {item.key}).tarballs:
        if tarball.stamp == stamp and not tarball.verified and parse_filename(tarball.filename, item.name):
            remove_if_there(tree.path(tarball.relpath))
            remove_if_there(tree.path(tarball.relpath) + ".dna")
            remove_if_there(tree.path(tarball.relpath) + PROOF)
            outcome.notes.append(f"replaced {tarball.relpath}, which {tarball.problem}")


def _complete_leftovers(tree: Tree, item: Item, outcome: Outcome) -> None:
    """See to what killed runs left of an item: remove temporary files, and complete what is as it was recorded."""
    found = scan(tree, keys={item.key})
    for relpath in found.temporaries:
        remove_if_there(tree.path(relpath))
        prune_empty(os.path.dirname(tree.path(relpath)), tree.base)
        outcome.notes.append(f"removed {relpath}, which a killed run left")
    for tarball in found.tarballs:
        if tarball.state == "missing" and not _complete(tree, tarball, outcome):
            outcome.notes.append(f"{tarball.relpath} is not verified: it {tarball.problem}")


def _complete(tree: Tree, tarball: Tarball, outcome: Outcome) -> bool:
    """Write the sidecar of a tarball that a killed run had renamed and recorded, if its bytes are what was recorded."""
    path, record = tree.path(tarball.relpath), read_record(tree, tarball.key, tarball.stamp)
    if record.get("relpath") != tarball.relpath:
        return False
    try:
        dna = Dna(str(record["dig"]), int(record["size"]), str(record["alg"]))
        verify(path, dna, from_disk=True)
    except (DigestMismatch, OSError, KeyError, ValueError, TypeError):
        return False
    write_sidecar(path, dna)
    outcome.changed = True
    outcome.notes.append(f"completed {tarball.relpath}, which a killed run had left without its dna")
    return True


def _move_last(tree: Tree, item: Item, stamp: str, outcome: Outcome) -> None:
    try:
        outcome.changed = point_last(tree, item.key, stamp) or outcome.changed
    except (AltbackupError, OSError) as error:
        outcome.failures.append(failure(_STAGE, _with_space(error, tree), key=item.key))


def _found(tree: Tree, relpath: str) -> Tarball:
    """Return the tarball just stored, as a look at the tree shows it. Raise AltbackupError if it is not verified."""
    category, name, year, month, day, clock, _ = relpath.split("/")
    for tarball in scan(tree, f"{year}/{month}/{day}", {f"{category}/{name}"}).verified():
        if tarball.relpath == relpath:
            return tarball
    raise AltbackupError(f"{tree.path(relpath)} vanished while it was stored")
