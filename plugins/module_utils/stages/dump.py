"""Dump: the tarballs of one run for a list of items, each published by itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..archive.write import ArchiveFormat, compressor
from ..kinds.base import Context, listed
from ..kinds.hooks import NO_HOOKS, Hooks
from ..kinds.items import Item, check_outside, find_problems, readable
from ..kinds.patterns import Patterns
from ..kinds.registry import CATEGORIES, kind_of
from ..kinds.sets import of_one_set
from ..system import mounts
from ..system.errors import AltbackupError, InvalidInput
from ..system.twins import set_mode
from ..tree import doubt
from ..tree.failures import explain, failure
from ..tree.layout import Tree, require_there
from ..tree.marks import Marks, marks_of
from ..tree.publish import require_writable
from ..tree.stamps import parse_stamp
from .bases import nights_of
from .controller import CONTROLLER_KEY, controller_item, unpack_controller
from .dump_ahead import ReadAhead
from .dump_encrypted import format_of, prepare_encryption
from .dump_order import MAX_AGE, Dumper, skipped_of
from .dump_state import STAGE
from .hooks import Report


def dump(
    base: str,
    items: Sequence[Mapping[str, Any]],
    stamp: str,
    form: ArchiveFormat,
    context_options: Mapping[str, Any],
    *,
    received: Sequence[str] = (),
    controller: str = "",
    signing_key: str = "",
    limits: doubt.Limits | None = None,
    hooks: Hooks = NO_HOOKS,
    max_age: float = MAX_AGE,
    check_mode: bool = False,
    ahead: ReadAhead | None = None,
) -> dict[str, Any]:
    """Make the tarballs of items, as declared, under a stamp; return `tarballs`, `failures`, `notes`, `not_now` and `changed`.

    A tarball that deviates from earlier ones by more than `limits`, or the item's own, is suspect: it is kept, and is a failure until it is accepted.
    `received` are folders in which this node keeps copies that it receives; no item may contain them. `controller` is the text of `pack_controller`, one more
    item. `hooks` are those of the source, around all items. An item whose `before` hook says that it is not the time for a dump is in `not_now`
    (category/name), and a failure if its newest copy is older than `max_age` seconds. `signing_key` is the public key by which other nodes verify this
    source's signatures. `ahead` reads the full tarballs of differentials meanwhile.

    In check mode nothing is written, and the result has the tarballs that would be made, with empty values for what is not known yet. Raise AltbackupError if
    nothing can be dumped at all.
    """
    parse_stamp(stamp)
    compressor(form)
    tree = require_writable(base)
    require_there(tree)
    context = Context(tree, stamp, **context_options)
    failures: list[dict[str, Any]] = []
    marks = _marks(tree, failures)
    controller_items = _controller_items(tree, controller, check_mode, failures)
    limit = mounts.answer_timeout(context.deadline)
    hung = mounts.find_hung(received, limit)
    good, bad = find_problems(
        [*items, *controller_items],
        base,
        [folder for folder in received if folder not in hung],
        lambda asked: _hung_items(asked, limit),
    )
    failures += [_bad_input(value, reason) for value, reason in bad]
    declared = [*readable([value for value, _ in bad]), *good]
    if not items:
        failures.append(failure(STAGE, f"there are no items to dump to {base}: nothing was backed up"))
    notes: list[str] = []
    good, secret = _encryptable(tree, good, form, signing_key, context, failures, notes, check_mode)
    dumper = Dumper(
        good,
        context,
        form,
        limits,
        marks,
        hooks,
        max_age,
        lambda item: _require_fit(item, base, received, limit),
        Report(failures, notes),
        declared,
        secret,
        check_mode,
        ahead,
    )
    with _restoring_modes(tree):
        dumper.dump_all()
    outcomes = dumper.outcomes
    notes += sorted({outcome.refused for outcome in outcomes if outcome.refused})
    full = [item.key for item in good if (item.full_every or 1) > 1 and nights_of(item, context, form) == 1]
    if full:
        notes.append(
            f"{listed(full)}: full every night, though full_every asks for more: differentials do not pay for what they are"
        )
    if check_mode:
        unforeseen = {name: kind_of(name).unforeseen for name in dict.fromkeys(item.kind for item in good)}
        notes += [
            f"{listed([item.key for item in good if item.kind == name])}: {text}"
            for name, text in unforeseen.items()
            if text
        ]
    return {
        "changed": any(outcome.changed for outcome in outcomes),
        "tarballs": [outcome.tarball for outcome in outcomes if outcome.tarball],
        "failures": failures,
        "notes": notes,
        "not_now": skipped_of(outcomes),
    }


def _encryptable(
    tree: Tree,
    items: list[Item],
    form: ArchiveFormat,
    signing_key: str,
    context: Context,
    failures: list[dict[str, Any]],
    notes: list[str],
    check_mode: bool,
) -> tuple[list[Item], bytes]:
    """Return the items that can be dumped, and the secret of the source if any is encrypted; what prevents encryption is one failure."""
    encrypted = [item for item in items if format_of(item, form).recipients]
    if not encrypted:
        return items, b""
    try:
        secret, public = prepare_encryption(tree, signing_key, context.deadline, check_mode=check_mode)
        if public and not signing_key:
            notes.append(
                f"this source signs what it encrypts with {public}: enter that as altbackup_signing_key, and on the recovery sheet"
            )
        return items, secret
    except (AltbackupError, OSError) as error:
        lost = of_one_set(items, [item.key for item in encrypted])
        keys = listed([item.key for item in items if item.key in lost])
        failures.append(failure(STAGE, f"{keys}: not dumped, as nothing can be encrypted here: {explain(error)}"))
        return [item for item in items if item.key not in lost], b""


def _marks(tree: Tree, failures: list[dict[str, Any]]) -> Marks:
    """Return the marks of the tree; if they cannot be read, that is a failure, and there are none."""
    try:
        return marks_of(tree)
    except (AltbackupError, OSError) as error:
        failures.append(failure(STAGE, error))
        return Marks()


@contextlib.contextmanager
def _restoring_modes(tree: Tree) -> Iterator[None]:
    """Restore the modes of a base and its private folders after the block: readers without a view need access to their scratch folders."""
    modes = {folder: os.stat(folder).st_mode & 0o7777 for folder in (tree.private, tree.base)}
    try:
        yield
    finally:
        for kind in ("tmp", "scratch", "building"):
            folders = [tree.private_path(kind), *_folders_in(tree.private_path(kind))]
            modes = {**dict.fromkeys(filter(os.path.isdir, folders), 0o700), **modes}
        for path, mode in modes.items():
            with contextlib.suppress(OSError):  # if the base is gone, each item has failed already
                if os.stat(path).st_mode & 0o7777 != mode:
                    set_mode(path, mode)


def _folders_in(path: str) -> list[str]:
    return (
        [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)] if os.path.isdir(path) else []
    )


def _controller_items(
    tree: Tree, packed: str, check_mode: bool, failures: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the controller's own item, if it was passed, and make its folder; an error is added to `failures`."""
    if not packed:
        return []
    try:
        if not check_mode:
            unpack_controller(tree, packed)
        return [controller_item(tree)]
    except (AltbackupError, OSError) as error:
        failures.append(failure(STAGE, error, key=CONTROLLER_KEY))
        return []


def _require_fit(item: Item, base: str, received: Sequence[str], limit: float) -> None:
    """Raise InvalidInput if an item cannot be dumped from its path as it is now, for instance after a hook mounted something there."""
    hung = _hung_items([item], limit)
    if item in hung:
        raise InvalidInput(hung[item])
    folders = [
        (folder, os.path.realpath(folder)) for folder in (base, *received) if not mounts.find_hung([folder], limit)
    ]
    check_outside(item, *folders)


def _hung_items(items: Sequence[Item], limit: float) -> dict[Item, str]:
    """Return {item: reason} of items whose path, or a mount in it that is not excluded, does not answer within `limit` seconds."""
    hung = mounts.find_hung_within({item: item.path for item in items if item.path}, limit, _enters)
    return {item: mounts.hung_message(path, limit) for item, path in hung.items()}


def _enters(item: Item, inside: str) -> bool:
    """Return whether the dump of an item enters a path, relative to its own."""
    patterns = Patterns(item.exclude)
    parts = inside.split("/")
    return not any(patterns.match("/".join(parts[:count]), True) for count in range(1, len(parts) + 1))


def _bad_input(value: Mapping[str, Any], reason: str) -> dict[str, Any]:
    entry = failure(STAGE, reason)
    if isinstance(value, Mapping):
        entry["category"] = CATEGORIES.get(str(value.get("kind")), "")
        entry["name"] = str(value.get("name") or "")
    return entry
