"""Messages of a dump: incomplete, suspect and damaged tarballs, and full disks."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..kinds.items import Item
from ..system.errors import FULL, AltbackupError, DigestMismatch, NoRoom
from ..system.units import readable
from ..system.visible import command_of
from ..tree import doubt
from ..tree.failures import explain, failure
from ..tree.layout import Tarball, Tree
from ..tree.owner import source_of
from ..tree.readings import read_first
from ..tree.scan import scan
from ..tree.suspects import doubts_of
from .dump_record import past_of
from .dump_state import STAGE, ItemDump, Outcome, Past


def report_incomplete(item: Item, reasons: Iterable[str], outcome: Outcome) -> None:
    outcome.failures += [
        failure(STAGE, f"item {item.kind} {item.name!r}: {reason}", key=item.key) for reason in reasons
    ]


def report_suspect(dump: ItemDump, record: Mapping[str, Any]) -> None:
    """Report a suspect dump, unless it was accepted."""
    item, reasons = dump.item, doubts_of(record)
    if reasons and not dump.marks.accepts(item.key, doubt.stamp_of(record)):
        source = source_of(dump.context.tree) or "SOURCE"
        if dump.past == Past():  # its tarball existed before this call
            dump.past = past_of(dump, scan(dump.context.tree, keys={item.key}).verified())
        reason = _suspect_reason(item, source, record, reasons, doubt.stamp_of(dump.past.last))
        dump.outcome.failures.append(failure(STAGE, reason, relpath=str(record["relpath"])))


def _suspect_reason(item: Item, source: str, record: Mapping[str, Any], reasons: Sequence[str], good_stamp: str) -> str:
    """Return the message on a suspect: reasons, consequences and what to do; `good_stamp` is the stamp of the last good dump, or empty."""
    whole, title = f"{source}/{item.key}", f"item {item.kind} {item.name!r}"

    def restore(stamp: str) -> str:
        return command_of("restore", whole, "--at", stamp, "--to", "/NEW/PATH")

    safe = f"Until that is decided no good copy of {item.key} is removed on any node."
    lines = [
        f"{title}: the new copy is suspect: {'; '.join(reasons)}",
        f"Something may have happened to {item.place}, or somebody meant it. {safe} This one is stored and sent, but counts as none: {record['relpath']}",
        f"To look at this copy: {restore(doubt.stamp_of(record))}",
        f"If it is as it should be, accept it: {command_of('accept', whole)}",
        f"If not, put {item.place} right: the next night is compared with the last good one again"
        + (f", of {good_stamp}. To have that beside it: {restore(good_stamp)}" if good_stamp else ""),
    ]
    return "\n".join(lines)


def with_space(error: AltbackupError | OSError, tree: Tree) -> AltbackupError | OSError:
    """Return the error; if the disk is full, also according to a tool's message, a NoRoom that says how much is free."""
    full = error.errno in FULL if isinstance(error, OSError) else os.strerror(errno.ENOSPC) in str(error)
    if not full:
        return error
    where = "" if isinstance(error, AltbackupError) or error.filename else f"{tree.base}: "
    free = shutil.disk_usage(tree.private).free
    return NoRoom(
        f"{where}{explain(error)}: {readable(free)} are free below {tree.base}; nothing was kept of this attempt"
    )


def report_unusable(tree: Tree, old: Tarball, error: DigestMismatch | OSError, outcome: Outcome) -> None:
    if isinstance(error, DigestMismatch):
        read_first(tree, [old.relpath])
    how = "is damaged" if isinstance(error, DigestMismatch) else "cannot be used"
    reason = f"an older copy {how}: {explain(error)}; the new one was stored by itself"
    outcome.failures.append(failure(STAGE, reason, relpath=old.relpath))
