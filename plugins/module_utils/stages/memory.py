"""Comparison of the items that a tree held with those of its source now, so that none is given up unnoticed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..system.errors import AltbackupError, InvalidInput
from ..system.units import and_more
from ..tree.failures import failure
from ..tree.known import held_items, known_items, known_path, remember_held
from ..tree.layout import Tree, split_relpath
from ..tree.marks import marks_of
from ..tree.pairs import pair_now
from ..tree.scan import newest_verified
from ..tree.stamps import Moment, day_of

_STAGE = "check"
_NAMED = 50
"""Maximum number of items that a failure names"""


@dataclass(frozen=True)
class Declarations:
    """The inventory's declarations about former items."""

    retired: Mapping[str, str] = field(default_factory=dict)
    """{category/name: day from which on it is retired}"""
    former: Mapping[str, str] = field(default_factory=dict)
    """{category/name: item that replaced it}"""
    undiscovered: Collection[str] = ()
    """Categories whose discovery was incomplete, so that their missing items are no failure"""


@dataclass(frozen=True)
class FormerItems:
    """Items that a tree held or holds, and that its source does not have now."""

    gone: Sequence[str] = ()
    """Items that are neither retired nor renamed"""
    kept: Sequence[str] = ()
    """Items that are retired or renamed"""
    redeclared: Sequence[str] = ()
    """Items that are retired and yet declared"""
    reported: Collection[str] = ()
    """Items that are reported here, so that a count does not report their tarballs again"""

    def without(self, keys: Collection[str]) -> FormerItems:
        """Return a copy without these items in `gone`, as they are reported elsewhere."""
        return replace(self, gone=[key for key in self.gone if key not in keys])


def parse_declarations(value: Mapping[str, Any] | None) -> Declarations | None:
    """Parse the option `former_items`, None if nothing is to be compared. Raise InvalidInput."""
    if value is None:
        return None
    retired, former = value.get("retired") or {}, value.get("former") or {}
    undiscovered = value.get("undiscovered") or []
    if not isinstance(retired, Mapping) or not isinstance(former, Mapping) or not isinstance(undiscovered, list):
        raise InvalidInput("memory is not retired and former, mappings, and undiscovered, a list")
    texts = [{str(key): str(text) for key, text in mapping.items()} for mapping in (retired, former)]
    return Declarations(texts[0], texts[1], frozenset(map(str, undiscovered)))


def compare_items(
    known: Collection[str], held: Collection[str], items: Collection[str], declarations: Declarations
) -> FormerItems:
    """Compare the items that a tree held (`known`) and holds with those of its source (category/name)."""
    put_aside = {**declarations.retired, **declarations.former}
    others = sorted({*known, *held} - set(items))
    gone = [key for key in others if key not in put_aside and key.partition("/")[0] not in declarations.undiscovered]
    kept = [key for key in others if key in put_aside]
    return FormerItems(gone, kept, sorted(set(declarations.retired) & set(items)), frozenset(kept).union(known))


def remember(tree: Tree, kept: Sequence[str], moment: Moment) -> dict[str, Any]:
    """Store which items a tree holds, after a purge that kept these relpaths; the lock of the tree is held.

    Return `pair`, the state of a target's tree as its source is to know it, empty for a source's own tree, and `failures`.
    """
    pair: dict[str, Any] = {}
    failures = []
    stamps = [split_relpath(relpath) for relpath in kept]
    try:
        remember_held(tree)
        if tree.source:
            keys = {f"{category}/{name}" for category, name, _, _ in stamps}
            pair = asdict(pair_now(tree, [stamp for _, _, stamp, _ in stamps], keys, moment))
    except (AltbackupError, OSError) as error:
        failures.append(failure("purge", error))
    return {"pair": pair, "failures": failures}


def former_items_of(tree: Tree, items: Collection[str], declarations: Declarations | None) -> FormerItems:
    """Return the former items of a tree, none if `declarations` is None. Raise AltbackupError."""
    return (
        compare_items(known_items(tree), held_items(tree), items, declarations)
        if declarations is not None
        else FormerItems()
    )


def add_retired_marks(tree: Tree, declarations: Declarations | None) -> Declarations | None:
    """Return the inventory's declarations with those of the tree's marks. Raise BaseUnusable."""
    return declarations and replace(declarations, retired={**marks_of(tree).retired, **declarations.retired})


def failures_of_former_items(
    tree: Tree, former_items: FormerItems, declarations: Declarations, moment: Moment
) -> list[dict[str, Any]]:
    """Return the failures of a tree's former items. Raise AltbackupError."""
    failures = []
    if former_items.gone:
        newest = {key: newest_verified(tree, key, moment.latest) for key in former_items.gone[:_NAMED]}
        failures.append(failure(_STAGE, _missing_message(former_items.gone, newest, day_of(moment.stamp))))
    for key in former_items.kept:
        if not newest_verified(tree, key, moment.latest):
            why = (
                f"is retired since {declarations.retired[key]}"
                if key in declarations.retired
                else f"is called {declarations.former[key]} now"
            )
            reason = (
                f"{key} {why}, but no verified copy of what was kept of it is left here: fetch one from another node. If they were removed on "
                f"purpose, take {key} out of {known_path(tree)}, and say no more that it was given up"
            )
            failures.append(failure(_STAGE, reason, key=key))
    for key in former_items.redeclared:
        reason = (
            f"{key} is retired since {declarations.retired[key]} (altbackup_retired), but is declared or found again: take it out of altbackup_retired if "
            "it is to be backed up, else out of altbackup_items or of the folder in which it was discovered"
        )
        failures.append(failure(_STAGE, reason, key=key))
    return failures


def _missing_message(keys: Sequence[str], newest: Mapping[str, str], today: str) -> str:
    """Return the message on missing items with their newest copies and what to do; it is the same for trees with the same copies."""
    shown = [f"{key} ({f'newest copy {newest[key]}' if newest.get(key) else 'no copy left'})" for key in keys[:_NAMED]]
    was, them = ("an item was", "it") if len(keys) == 1 else (f"{len(keys)} items were", "them")
    retire = json.dumps(dict.fromkeys(keys[:_NAMED], today))
    return (
        f"{was} backed up, but declared or found no more: {', '.join(shown)}{and_more(len(keys), _NAMED)}. No copy of {them} is removed. What "
        "should be there is to be restored, or declared in altbackup_items; what has another name is to be named in former_names of that item. "
        f"What was given up is to be declared so, at its source: altbackup_retired: {retire}"
    )
