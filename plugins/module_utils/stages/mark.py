"""Marking: a node stores the marks that its controller has of a source's copies, and reports what that changed."""

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
"""Maximum number of tarballs that a note names"""
EMPTY: dict[str, Any] = {"marks_kept": False, "held": [], "identities": [], "notes": []}


def mark(
    base: str,
    given: Mapping[str, Any],
    *,
    hold: Hold | None = None,
    source: str = "",
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Store marks, as a controller passes them; return the tarballs that are held here, and notes on what is new.

    `source` is the name of the source whose own base it is, which then returns its identity. Without a `hold`, in check mode, nothing is written. Raise
    AltbackupError, also if the tree has the copies of another source than `origin`, or OSError.
    """
    tree = hold.tree if hold else open_tree(base)
    if tree.source and not is_there(tree.base):  # its first backup may rename a tree with a former name to it
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
    """Call the function that marks a base; return its result, or a note if the base does not exist or another run has its lock."""
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
    """Yield a note on each difference between the former marks and the new ones."""
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
    """Return the suspects of an item that are ordinary backups now, as text."""
    with contextlib.suppress(AltbackupError):
        there = scan(tree, keys={key}, tolerate_unreadable=True).verified()
        left = reasons_of(tree, there, marks)
        new = [relpath for relpath in reasons_of(tree, there, known) if relpath not in left]
        return first_of(sorted(new), _NAMED) if new else "no suspect of it is here"
    return "which suspects of it are here cannot be read"
