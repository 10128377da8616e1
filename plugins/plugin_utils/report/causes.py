"""Which failures of a run follow from which: a missing tarball was not made, not sent, or bad where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.system.units import and_more
from ...module_utils.tree.stamps import is_stamp, readable_stamp

Entry = Mapping[str, Any]

_CHAIN = ("dump", "check", "synchronize", "drill")
"""Stages whose failure leaves a tarball missing later"""
_WHOLE = ("dump", "synchronize")
"""Stages whose failure concerns all items if it names none"""

_MOST_LINES = 20


def by_cause(failures: Iterable[Entry]) -> list[tuple[Entry, list[Entry]]]:
    """Return the failures that follow from no other, in their order, each with those that follow from it.

    A failure that only says that a tree is empty is left out where the items missing there are listed one by one.
    """
    entries = list(failures)
    roots = _Roots()
    for entry in entries:
        if not entry.get("absent"):
            roots.add(entry)
    absent = sorted((entry for entry in entries if entry.get("absent")), key=lambda entry: bool(_place(entry)[1]))
    named = {_place(entry) for entry in absent if _item(entry)[1]}
    for entry in absent:
        if not _item(entry)[1] and _place(entry) in named:
            continue
        cause = roots.cause_of(entry)
        if cause is None:
            roots.add(entry)
        else:
            cause[1].append(entry)
    order = {id(entry): number for number, entry in enumerate(entries)}
    return sorted(roots.all, key=lambda root: order[id(root[0])])


class _Roots:
    """Failures that follow from no other, indexed by what may follow from them: a node that is down brings many failures at once."""

    def __init__(self) -> None:
        self.all: list[tuple[Entry, list[Entry]]] = []
        self._first: dict[tuple[str, ...], int] = {}
        """{key that a consequence looks up: number in `all` of the first failure under it}"""

    def add(self, entry: Entry) -> None:
        """Add a failure that follows from no other."""
        number, place, (category, name) = len(self.all), _place(entry), _item(entry)
        self.all.append((entry, []))
        if entry.get("stage") in _CHAIN and (entry.get("absent") or name):
            self._enter(number, "chain", *place)
            if name:
                self._enter(number, "item", *place, name, category)
                self._enter(number, "name", *place, name)
        if entry.get("stage") in _WHOLE and not name:
            self._enter(number, "whole", *place)

    def cause_of(self, entry: Entry) -> tuple[Entry, list[Entry]] | None:
        """Return the likeliest cause of a missing tarball, None if nothing explains it.

        Candidates, in this order: failures of the same item on that tree, then on its source, then failures of the whole tree or source.
        For an absence without item: failures of the whole, then any of a stage in _CHAIN.
        """
        (source, target), (category, name) = _place(entry), _item(entry)
        here, before = (source, target), (source, "")
        whole: list[tuple[str, ...]] = [("whole", *here), ("whole", *before)]
        steps: list[list[tuple[str, ...]]]
        if not name:
            steps = [whole, [("chain", *here), ("chain", *before)]]
        elif category:  # a failure that has a name but no category concerns every item of that name
            steps = [[("item", *place, name, category), ("item", *place, name, "")] for place in (here, before)]
            steps.append(whole)
        else:
            steps = [[("name", *here, name)], [("name", *before, name)], whole]
        for step in steps:
            numbers = [self._first[key] for key in step if key in self._first]
            if numbers:
                return self.all[min(numbers)]
        return None

    def _enter(self, number: int, *key: str) -> None:
        self._first.setdefault(key, number)


def _place(entry: Entry) -> tuple[str, str]:
    """Return (source, target) of the failure's tree; target is "" for the source's own."""
    source, arrow, target = str(entry.get("tree") or "").partition(" -> ")
    if arrow:
        return source, target
    return str(entry.get("node") or ""), str(entry.get("delegate") or "")


def _item(entry: Entry) -> tuple[str, str]:
    return str(entry.get("category") or ""), str(entry.get("name") or "")


def good_copy(entry: Entry) -> str:
    """Return when the failure's item last had a good copy on that node, as a phrase; "" if that is not known."""
    good = entry.get("good")
    if good == "":
        return (
            "" if entry.get("absent") and entry.get("stage") == "drill" else "no good copy there"
        )  # the failure itself says so
    if not isinstance(good, str) or not is_stamp(good):
        return ""
    return f"last good copy there: {readable_stamp(good)}"


def good_copies(told: Sequence[tuple[str, str]], most: int = 100) -> list[str]:
    """Return lines on good copies from (place, phrase) of one failure: one line if all places agree, else one for each place."""
    phrases = dict.fromkeys(good for _, good in told)
    if len(phrases) == 1:
        return list(filter(None, phrases))
    return list(dict.fromkeys(f"{place}: {good}" for place, good in told if good))[:most]


def titled(places: Iterable[str], most: int = 100) -> str:
    """Return the places, each `node` or `source -> target`, as one line, with the sources of one target together."""
    names = list(dict.fromkeys(places))
    ends: dict[str, list[str]] = {}
    for name in names[:most]:
        source, _, target = name.partition(" -> ")
        ends.setdefault(target, []).append(source)
    parts = [f"{', '.join(sources)}{f' -> {target}' if target else ''}" for target, sources in ends.items()]
    return "; ".join(parts) + and_more(len(names), most)


def following_lines(entries: Iterable[Entry], told: Iterable[str] = ()) -> list[str]:
    """Return a line for each distinct consequence, with the nodes where it holds.

    Phrases about good copies that are in `told` are not repeated.
    """
    told = set(told)
    places: dict[tuple[str, str], dict[str, None]] = {}
    for entry in entries:
        source, target = _place(entry)
        good = good_copy(entry)
        consequence = (
            str(entry.get("stage")),
            f"{entry.get('reason')}{f'; {good}' if good and good not in told else ''}",
        )
        places.setdefault(consequence, {})[target or source] = None
    lines = [f"so on {', '.join(nodes)}: {stage}: {reason}" for (stage, reason), nodes in places.items()]
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more of that kind"] if more > 0 else [])]
