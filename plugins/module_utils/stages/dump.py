"""Dumping: one run's tarballs of a list of items, each published by itself."""

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
from .dump_encrypted import form_of, prepare
from .dump_order import MAX_AGE, Order, skipped_of
from .dump_state import STAGE
from .hooks import Said


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
) -> dict[str, Any]:
    """Given a base, items as written and a stamp, make the tarballs; return `tarballs`, `failures`, `notes`, `not_now` and `changed`.

    One that is not what an item should hold, within `limits` and those of the item, is suspect: kept, and a failure until it is accepted.

    `received` are folders where the node keeps copies that it receives: no item may hold them. What a `controller` packed
    is one more item. `hooks` are those of the source, around all items. An item of which they, or its own, say that this is no time for it is
    in `not_now` (category/name), and a failure where its newest copy is older than `max_age` seconds.
    A `signing_key` is the public one by which others know what this source has signed.
    In check mode nothing is written and the tarballs are those that would be made; what cannot be known yet is empty.
    Raise AltbackupError where nothing can be done at all.
    """
    parse_stamp(stamp)
    compressor(form)
    tree = require_writable(base)
    require_there(tree)
    context = Context(tree, stamp, **context_options)
    failures: list[dict[str, Any]] = []
    marks = _marks(tree, failures)
    own = _controller_items(tree, controller, check_mode, failures)
    limit = mounts.answer_timeout(context.deadline)
    silent = mounts.find_hung(received, limit)
    good, bad = find_problems(
        [*items, *own],
        base,
        [folder for folder in received if folder not in silent],
        lambda asked: _silent_items(asked, limit),
    )
    failures += [_bad_input(value, reason) for value, reason in bad]
    declared = [*readable([value for value, _ in bad]), *good]
    if not items:
        failures.append(failure(STAGE, f"there are no items to dump to {base}: nothing was backed up"))
    notes: list[str] = []
    good, secret = _ready_to_encrypt(tree, good, form, signing_key, context, failures, notes, check_mode)
    order = Order(
        good,
        context,
        form,
        limits,
        marks,
        hooks,
        max_age,
        lambda item: _require_fit(item, base, received, limit),
        Said(failures, notes),
        declared,
        secret,
        check_mode,
    )
    with _modes_kept(tree):
        order.work()
    outcomes = order.outcomes
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


def _ready_to_encrypt(
    tree: Tree,
    items: list[Item],
    form: ArchiveFormat,
    signing_key: str,
    context: Context,
    failures: list[dict[str, Any]],
    notes: list[str],
    check_mode: bool,
) -> tuple[list[Item], bytes]:
    """Return the items that can be dumped, and the secret of the source if one of them is encrypted; what keeps it from that is one failure."""
    encrypted = [item for item in items if form_of(item, form).recipients]
    if not encrypted:
        return items, b""
    try:
        secret, public = prepare(tree, signing_key, context.deadline, check_mode=check_mode)
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
    """Return what is accepted; where that cannot be known it is a failure, and nothing is."""
    try:
        return marks_of(tree)
    except (AltbackupError, OSError) as error:
        failures.append(failure(STAGE, error))
        return Marks()


@contextlib.contextmanager
def _modes_kept(tree: Tree) -> Iterator[None]:
    """Give a base and its private folders their modes back after the block: readers without a view have to come to their scratch folders."""
    modes = {folder: os.stat(folder).st_mode & 0o7777 for folder in (tree.private, tree.base)}
    try:
        yield
    finally:
        for kind in ("tmp", "scratch", "building"):
            folders = [tree.private_path(kind), *_folders_in(tree.private_path(kind))]
            modes = {**dict.fromkeys(filter(os.path.isdir, folders), 0o700), **modes}
        for path, mode in modes.items():
            with contextlib.suppress(OSError):  # of a base that is gone each item has failed
                if os.stat(path).st_mode & 0o7777 != mode:
                    set_mode(path, mode)


def _folders_in(path: str) -> list[str]:
    return (
        [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)] if os.path.isdir(path) else []
    )


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
        failures.append(failure(STAGE, error, key=CONTROLLER_KEY))
        return []


def _require_fit(item: Item, base: str, received: Sequence[str], limit: float) -> None:
    """Raise InvalidInput for an item that cannot be dumped by what lies at its path, perhaps only since a hook mounted it there."""
    silent = _silent_items([item], limit)
    if item in silent:
        raise InvalidInput(silent[item])
    folders = [
        (folder, os.path.realpath(folder)) for folder in (base, *received) if not mounts.find_hung([folder], limit)
    ]
    check_outside(item, *folders)


def _silent_items(items: Sequence[Item], limit: float) -> dict[Item, str]:
    """Given items, return why those do not answer whose path, or a mount in it that is not excluded, does not within a limit."""
    silent = mounts.find_hung_within({item: item.path for item in items if item.path}, limit, _enters)
    return {item: mounts.hung_message(path, limit) for item, path in silent.items()}


def _enters(item: Item, inside: str) -> bool:
    """Given an item and a path from its own, return whether its dump goes there."""
    patterns = Patterns(item.exclude)
    parts = inside.split("/")
    return not any(patterns.match("/".join(parts[:count]), True) for count in range(1, len(parts) + 1))


def _bad_input(value: Mapping[str, Any], reason: str) -> dict[str, Any]:
    entry = failure(STAGE, reason)
    if isinstance(value, Mapping):
        entry["category"] = CATEGORIES.get(str(value.get("kind")), "")
        entry["name"] = str(value.get("name") or "")
    return entry
