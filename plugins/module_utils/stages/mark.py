"""Marking: a node keeps what its controller was told of the copies of a source, and says what that changed there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..system.errors import AltbackupError, BaseUnusable, Locked
from ..system.seeing import is_there
from ..system.units import first_of
from ..tree.layout import Tree, open_tree
from ..tree.locks import Hold
from ..tree.marks import Marks, held_here, keep_marks, marks_of, merged, parse_given
from ..tree.origin import Origin, require_origin
from ..tree.owner import Owner, identify
from ..tree.scan import scan
from ..tree.suspects import reasons_of

_NAMED = 10
"""Most tarballs that a note names"""
EMPTY: dict[str, Any] = {"marks_kept": False, "held": [], "identities": [], "notes": []}


def mark(
    base: str,
    given: Mapping[str, Any],
    *,
    hold: Hold | None = None,
    source: str = "",
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Given a base and marks as a controller hands them over, keep them; return which tarballs there are held, and notes on what is new.

    `source` is whose own base it is, which then tells its id. A tree that holds the copies of another source than the origin is left alone.
    Without a `hold`, in check mode, nothing is written. Raise AltbackupError or OSError.
    """
    tree = hold.tree if hold else open_tree(base)
    if tree.source and not is_there(tree.base):  # its first backup may take over what is there under a former name
        return _later(f"{tree.base} is not there yet")
    require_origin(tree, origin)
    identities = [identify(tree, Owner("source", source), claim=False)] if source else []
    known = marks_of(tree)
    marks = keep_marks(tree, given) if hold else merged(known, parse_given(given))
    return {
        "changed": marks != known,
        "marks_kept": True,
        "held": held_here(tree, marks),
        "identities": identities,
        "notes": list(_news(tree, known, marks)) or ["nothing is new here"],
        "failures": [],
    }


def unless_absent(base: str, function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Given a base and what marks it, return the result of that, or a note where the base is not there, or another run has it now."""
    try:
        open_tree(base)
    except BaseUnusable as error:
        return _later(error)
    try:
        return function()
    except Locked as error:
        return _later(error)


def _later(error: BaseUnusable | str) -> dict[str, Any]:
    return {**EMPTY, "notes": [f"{error}: it gets the marks in the next run that reaches it"], "failures": []}


def _news(tree: Tree, known: Marks, marks: Marks) -> Iterator[str]:
    """Yield what the marks of a tree say now that they did not say before."""
    for key, stamp in sorted(marks.accepted.items()):
        if known.accepted.get(key) != stamp:
            yield f"accepts {key} up to {stamp}: {_accepted(tree, key, known, marks)}"
    here = held_here(tree, marks)
    for hold, why in sorted(marks.holds.items()):
        if known.holds.get(hold) != why:
            yield f"holds {hold}: {why}{'' if hold in here else ' (it is not here; it is held once it is)'}"
    for hold in sorted({*known.holds} - {*marks.holds}):
        yield f"released {hold}"
    for key, day in sorted(marks.retired.items()):
        if known.retired.get(key) != day:
            yield f"retired {key}, on {day}"
    for key in sorted({*known.retired} - {*marks.retired}):
        yield f"{key} is no longer retired"


def _accepted(tree: Tree, key: str, known: Marks, marks: Marks) -> str:
    """Return which suspects of an item are ordinary backups now that were none before."""
    with contextlib.suppress(AltbackupError):
        there = scan(tree, keys={key}, tolerate_unreadable=True).verified()
        left = reasons_of(tree, there, marks)
        new = [relpath for relpath in reasons_of(tree, there, known) if relpath not in left]
        return first_of(sorted(new), _NAMED) if new else "no suspect of it is here"
    return "which suspects of it are here cannot be read"
