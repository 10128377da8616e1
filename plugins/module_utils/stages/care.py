"""Safeguards of a purge: reduced retention rules, too few verified copies on targets, a clock that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.errors import AltbackupError
from ..system.units import counted, first_of
from ..tree.failures import failure
from ..tree.layout import Tree
from ..tree.retention import shown_span
from ..tree.rules import Numbers, fallen, known_rules, remember_rules
from ..tree.stamps import Moment

_STAGE = "purge"
_NAMED = 10
"""Maximum number of items that a message names"""
_CONFIRM = "-e altbackup_purge_confirm=true"


@dataclass(frozen=True)
class Safeguards:
    """The safeguards that apply to one purge."""

    trash_days: int | None = None
    """Days for which removed tarballs stay in the trash. 0 deletes at once; None does so, too, and leaves the trash as it is"""
    confirmed: bool = False
    """Whether the user confirmed reduced rules"""
    copies: Mapping[str, int] | None = None
    """{item: number of targets on which its newest tarball is verified}, 0 for one that is not listed; None switches this off"""
    min_copies: int = 0
    """Minimum of these numbers for older tarballs of the item to be removed"""
    latest: str = ""
    """The latest stamp that this node's clock allows a run; empty for any"""

    def allows(self, moment: Moment) -> bool:
        """Return whether the moment of a run is not later than `latest`."""
        return not self.latest or moment.latest <= self.latest


@dataclass
class Withheld:
    """Items of which nothing is removed in this purge, with the reasons."""

    items: Mapping[str, str] = field(default_factory=dict)
    """{item: short reason}"""
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    known: Mapping[str, Numbers] | None = None
    """{item: rules} of the last purge, None if that cannot be read"""
    rules: Mapping[str, Numbers] = field(default_factory=dict)
    """{item: rules} of the items whose rules were not withheld"""

    def remember(self, tree: Tree) -> list[dict[str, Any]]:
        """Store the rules by which the items were purged; return failures."""
        if self.known is None or (new := {**self.known, **self.rules}) == self.known:
            return []
        try:
            remember_rules(tree, new)
        except (AltbackupError, OSError) as error:
            return [failure(_STAGE, error)]
        return []


def withhold(
    tree: Tree, due: Mapping[str, int], rules: Mapping[str, Numbers], safeguards: Safeguards, moment: Moment
) -> Withheld:
    """Return the items of which nothing is removed, and why.

    `due` is {item: number of tarballs that no rule keeps}, `rules` is {item: rules}.
    """
    if not safeguards.allows(moment):
        reason = (
            f"the run is of {moment.latest}, more than a day later than the clock of this node allows, {safeguards.latest}, a day from now: nothing "
            "was removed. Set the clock that is wrong, the controller's or this one's, for instance by NTP"
        )
        return Withheld(dict.fromkeys(due, "a clock is wrong"), failures=[failure(_STAGE, reason)])
    try:
        known = known_rules(tree)
    except (AltbackupError, OSError) as error:
        return Withheld(
            dict.fromkeys(due, "the rules of the last purge are not known"), failures=[failure(_STAGE, error)]
        )
    fell = {} if safeguards.confirmed else fallen(known, rules)
    scarce = {key: (safeguards.copies or {}).get(key, 0) for key in due} if safeguards.copies is not None else {}
    scarce = {key: number for key, number in scarce.items() if number < safeguards.min_copies}
    return Withheld(
        {
            **dict.fromkeys(scarce, "its newest copy is on too few targets"),
            **dict.fromkeys(fell, "its rules fell, and nobody confirmed it"),
        },
        _of_scarce({key: number for key, number in scarce.items() if due[key]}, safeguards.min_copies),
        _of_fallen(tree, fell, due),
        known,
        {key: dict(now) for key, now in rules.items() if key not in fell},
    )


def _of_fallen(
    tree: Tree, fell: Mapping[str, list[tuple[str, float, float]]], due: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return one failure for each group of items with the same reduced rules."""
    groups: dict[tuple[tuple[str, float, float], ...], list[str]] = {}
    for key, changes in fell.items():
        groups.setdefault(tuple(changes), []).append(key)
    failures = []
    for what, keys in groups.items():
        changes_text = " and ".join(
            f"{word} from {_shown(word, then)} to {_shown(word, now)}" for word, then, now in what
        )
        number = sum(due.get(key, 0) for key in keys)
        reason = (
            f"since the last purge of {tree.base} what is kept of {first_of(keys, _NAMED)} fell, {changes_text}: {counted(number, 'tarball')} would go, "
            f"and none was removed. If that is meant, confirm it once, with {_CONFIRM}; else set it back"
        )
        failures.append(failure(_STAGE, reason, key=keys[0] if len(keys) == 1 else ""))
    return failures


def _shown(word: str, number: float) -> str:
    return shown_span(number) if word == "within" and number else f"{number:g}"


def _of_scarce(scarce: Mapping[str, int], needed: int) -> list[str]:
    """Return one note for each group of items with the same number of verified copies, from {item: number}."""
    groups: dict[int, list[str]] = {}
    for key, number in sorted(scarce.items()):
        groups.setdefault(number, []).append(key)
    return [
        f"nothing older of {_named(keys)} goes: {'its newest copy is' if len(keys) == 1 else 'their newest copies are'} verified on {number} of "
        f"{counted(needed, 'target')} (altbackup_min_copies)"
        for number, keys in sorted(groups.items())
    ]


def _named(keys: Collection[str]) -> str:
    return first_of(list(keys), _NAMED)
