"""Undo of a purge: removed tarballs that are still in the trash are put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..system.errors import AltbackupError, InvalidInput
from ..system.units import counted
from ..tree.failures import explain, failure
from ..tree.publish import require_writable
from ..tree.stamps import interpret_day, is_stamp
from ..tree.trash import bring_back, kept_ones

_STAGE = "undo"


def undo(base: str, days: Sequence[str], stamps: Sequence[str], *, check_mode: bool = False) -> dict[str, Any]:
    """Put back the tarballs in the trash that were removed on these days, or have these stamps (category/name/stamp).

    Each is verified first; an error with one does not prevent the others. Raise AltbackupError if nothing can be done.
    """
    _require_named(days, stamps)
    tree = require_writable(base)
    kept = kept_ones(tree)
    put_back: list[str] = []
    failures = []
    done: list[str] = []
    found: set[str] = set()
    for one in reversed(kept):
        if one.name in done or not (one.day in days or one.name in stamps):
            continue
        try:
            put_back += bring_back(tree, one, check_mode=check_mode)
            done.append(one.name)
            found.add(one.day)
        except (AltbackupError, OSError) as error:
            reason = f"{one.name}, removed on {one.day}, was not put back: {explain(error)}"
            failures.append(failure(_STAGE, reason, key=one.key))
    put_back.sort()
    would = "would put back" if check_mode else "put back"
    notes = [f"{would} {relpath}" for relpath in put_back]
    if put_back:
        they = "it" if len(put_back) == 1 else "them"
        notes.append(
            f"{counted(len(put_back), 'tarball')} in {tree.base}: the next purge removes {they} again unless the rules, or a hold, keep {they}"
        )
    return {
        "changed": bool(put_back),
        "put_back": put_back,
        "days": sorted(found.intersection(days)),
        "in_trash": [one.name for one in (kept if check_mode else kept_ones(tree))],
        "notes": notes,
        "failures": failures,
    }


def _require_named(days: Sequence[str], stamps: Sequence[str]) -> None:
    """Raise InvalidInput unless there are valid days or stamps."""
    if not days and not stamps:
        raise InvalidInput("undo: neither days nor stamps are named: nothing was put back")
    for day in days:
        if not day or interpret_day(day, "") != day:
            raise InvalidInput(f"undo: day {day!r} is not a date like 2013/05/10")
    for stamp in stamps:
        category, _, rest = stamp.partition("/")
        name, _, when = rest.partition("/")
        if not (category and name and is_stamp(when)):
            raise InvalidInput(
                f"undo: {stamp!r} is not category/name/YYYY/MM/DD/HHMMSS, like svn/dybsvn/2013/05/10/104701"
            )
