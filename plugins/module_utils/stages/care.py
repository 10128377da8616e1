"""What keeps a purge from removing what its rules no longer keep: rules that fell, too few verified copies, a clock that is wrong."""

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
"""Most items that a message names"""
_CONFIRM = "-e altbackup_purge_confirm=true"


@dataclass(frozen=True)
class Care:
    """How careful a purge is, as its run knows it."""

    trash_days: int | None = None
    """For how many days what is removed is kept in the trash; 0 deletes it at once, and so does None, which leaves what is there alone"""
    confirmed: bool = False
    """Whether rules may have fallen"""
    copies: Mapping[str, int] | None = None
    """{item: number of targets on which its newest tarball is verified}, 0 for one that is not named; None where that is nobody's business"""
    min_copies: int = 0
    """Fewest of these with which anything older of the item goes"""
    latest: str = ""
    """The latest stamp that the clock of this node allows a run; empty for any"""

    def allows(self, moment: Moment) -> bool:
        """Return whether a run may be of that moment."""
        return not self.latest or moment.latest <= self.latest


@dataclass
class Withheld:
    """Items of which nothing goes in this purge, and what is said of them."""

    items: Mapping[str, str] = field(default_factory=dict)
    """{item: why, in a few words}"""
    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    known: Mapping[str, Numbers] | None = None
    """{item: rules} of the last purge, None where that is not known"""
    rules: Mapping[str, Numbers] = field(default_factory=dict)
    """{item: rules} by which it may be purged now"""

    def remember(self, tree: Tree) -> list[dict[str, Any]]:
        """Keep by what rules the items were purged; return failures."""
        if self.known is None or (new := {**self.known, **self.rules}) == self.known:
            return []
        try:
            remember_rules(tree, new)
        except (AltbackupError, OSError) as error:
            return [failure(_STAGE, error)]
        return []


def withhold(tree: Tree, due: Mapping[str, int], rules: Mapping[str, Numbers], care: Care, moment: Moment) -> Withheld:
    """Given {item: number of tarballs that are no longer to be kept} and {item: rules}, return of which items nothing goes, and why."""
    if not care.allows(moment):
        reason = (
            f"the run is of {moment.latest}, more than a day later than the clock of this node allows, {care.latest}, a day from now: nothing "
            "was removed. Set the clock that is wrong, the controller's or this one's, for instance by NTP"
        )
        return Withheld(dict.fromkeys(due, "a clock is wrong"), failures=[failure(_STAGE, reason)])
    try:
        known = known_rules(tree)
    except (AltbackupError, OSError) as error:
        return Withheld(
            dict.fromkeys(due, "the rules of the last purge are not known"), failures=[failure(_STAGE, error)]
        )
    fell = {} if care.confirmed else fallen(known, rules)
    scarce = {key: (care.copies or {}).get(key, 0) for key in due} if care.copies is not None else {}
    scarce = {key: number for key, number in scarce.items() if number < care.min_copies}
    return Withheld(
        {
            **dict.fromkeys(scarce, "its newest copy is on too few targets"),
            **dict.fromkeys(fell, "its rules fell, and nobody confirmed it"),
        },
        _of_scarce({key: number for key, number in scarce.items() if due[key]}, care.min_copies),
        _of_fallen(tree, fell, due),
        known,
        {key: dict(now) for key, now in rules.items() if key not in fell},
    )


def _of_fallen(
    tree: Tree, fell: Mapping[str, list[tuple[str, float, float]]], due: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return a failure for all items of which the same rules fell."""
    groups: dict[tuple[tuple[str, float, float], ...], list[str]] = {}
    for key, changes in fell.items():
        groups.setdefault(tuple(changes), []).append(key)
    failures = []
    for what, keys in groups.items():
        told = " and ".join(f"{word} from {_shown(word, then)} to {_shown(word, now)}" for word, then, now in what)
        number = sum(due.get(key, 0) for key in keys)
        reason = (
            f"since the last purge of {tree.base} what is kept of {first_of(keys, _NAMED)} fell, {told}: {counted(number, 'tarball')} would go, "
            f"and none was removed. If that is meant, confirm it once, with {_CONFIRM}; else set it back"
        )
        failures.append(failure(_STAGE, reason, key=keys[0] if len(keys) == 1 else ""))
    return failures


def _shown(word: str, number: float) -> str:
    return shown_span(number) if word == "within" and number else f"{number:g}"


def _of_scarce(scarce: Mapping[str, int], needed: int) -> list[str]:
    """Given {item: on how many targets its newest tarball is verified}, return a note for all of one number."""
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
