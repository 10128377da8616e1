"""Which failures of a run follow from which: a tarball that is missing was not made, not sent, or not good where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.system.units import and_more
from ...module_utils.tree.stamps import is_stamp

Entry = Mapping[str, Any]

_CHAIN = ("dump", "check", "synchronize", "drill")
"""Stages without whose success a tarball is missing later"""
_WHOLE = ("dump", "synchronize")
"""Stages of which a failure of no one item stands for all"""

_MOST_LINES = 20


def by_cause(failures: Iterable[Entry]) -> list[tuple[Entry, list[Entry]]]:
    """Given the failures of a run, return those that follow from no other in their order, each with those that follow from it.

    What only says that nothing at all is there is left out where what is missing there is told one by one.
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
    """Failures that follow from no other, found by what may follow from them: many are told at once where a node lies."""

    def __init__(self) -> None:
        self.all: list[tuple[Entry, list[Entry]]] = []
        self._first: dict[tuple[str, ...], int] = {}
        """{what it is of: number of the first of them in all}"""

    def add(self, entry: Entry) -> None:
        """Enter one more."""
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
        """Return the likeliest cause of a tarball's absence, None for none.

        That is what failed of that item, there before elsewhere, and then what failed of all.
        """
        (source, target), (category, name) = _place(entry), _item(entry)
        here, before = (source, target), (source, "")
        whole: list[tuple[str, ...]] = [("whole", *here), ("whole", *before)]
        steps: list[list[tuple[str, ...]]]
        if not name:
            steps = [whole, [("chain", *here), ("chain", *before)]]
        elif category:  # one that counts by name alone is of all that have it
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
    """Return (source, target) of the tree of which a failure tells; the target is empty for the source's own."""
    source, arrow, target = str(entry.get("tree") or "").partition(" -> ")
    if arrow:
        return source, target
    return str(entry.get("node") or ""), str(entry.get("delegate") or "")


def _item(entry: Entry) -> tuple[str, str]:
    return str(entry.get("category") or ""), str(entry.get("name") or "")


def good_copy(entry: Entry) -> str:
    """Given a failure, return when its item last had a good copy on that node, as a person reads it; empty if that is not known."""
    good = entry.get("good")
    if good == "":
        return (
            "" if entry.get("absent") and entry.get("stage") == "drill" else "no good copy there"
        )  # which is what it says
    if not isinstance(good, str) or not is_stamp(good):
        return ""
    day, _, clock = good.rpartition("/")
    return f"last good copy there: {day} {clock[:2]}:{clock[2:4]}:{clock[4:]}"


def good_copies(told: Sequence[tuple[str, str]], most: int = 100) -> list[str]:
    """Given (place, what is told of the good copy there) of one failure, return lines that tell it: one, or one of each place."""
    said = dict.fromkeys(good for _, good in told)
    if len(said) == 1:
        return list(filter(None, said))
    return list(dict.fromkeys(f"{place}: {good}" for place, good in told if good))[:most]


def titled(places: Iterable[str], most: int = 100) -> str:
    """Given whose trees failures are of, as `node` or `source -> target`, return them in one line, the sources of one target together."""
    names = list(dict.fromkeys(places))
    ends: dict[str, list[str]] = {}
    for name in names[:most]:
        source, _, target = name.partition(" -> ")
        ends.setdefault(target, []).append(source)
    parts = [f"{', '.join(sources)}{f' -> {target}' if target else ''}" for target, sources in ends.items()]
    return "; ".join(parts) + and_more(len(names), most)


def following_lines(entries: Iterable[Entry], told: Iterable[str] = ()) -> list[str]:
    """Given failures that follow from others, return a line for each thing that they say, with the nodes where it is so.

    What is `told` of good copies already is not told again.
    """
    told = set(told)
    places: dict[tuple[str, str], dict[str, None]] = {}
    for entry in entries:
        source, target = _place(entry)
        good = good_copy(entry)
        said = (str(entry.get("stage")), f"{entry.get('reason')}{f'; {good}' if good and good not in told else ''}")
        places.setdefault(said, {})[target or source] = None
    lines = [f"so on {', '.join(nodes)}: {stage}: {reason}" for (stage, reason), nodes in places.items()]
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more of that kind"] if more > 0 else [])]
