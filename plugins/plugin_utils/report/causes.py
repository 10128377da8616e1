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
    roots: list[tuple[Entry, list[Entry]]] = [(entry, []) for entry in entries if not entry.get("absent")]
    absent = sorted((entry for entry in entries if entry.get("absent")), key=lambda entry: bool(_place(entry)[1]))
    named = {_place(entry) for entry in absent if _item(entry)[1]}
    found: list[tuple[Entry, list[Entry]]] = list(roots)
    for entry in absent:
        if not _item(entry)[1] and _place(entry) in named:
            continue
        cause = next(iter(_likely(entry, found)), None)
        if cause is None:
            found.append((entry, []))
        else:
            cause[1].append(entry)
    order = {id(entry): number for number, entry in enumerate(entries)}
    return sorted(found, key=lambda root: order[id(root[0])])


def _likely(entry: Entry, roots: Sequence[tuple[Entry, list[Entry]]]) -> list[tuple[Entry, list[Entry]]]:
    """Return what may be the cause of a tarball's absence, the likeliest first.

    That is what failed of that item, there before elsewhere, and then what failed of all.
    """
    source, target = _place(entry)
    ways = [root for root in roots if _place(root[0])[0] == source and _place(root[0])[1] in ("", target)]
    chain = [root for root in ways if root[0].get("stage") in _CHAIN and (root[0].get("absent") or _item(root[0])[1])]
    own = sorted(
        (root for root in chain if _same_item(root[0], entry)), key=lambda root: _place(root[0]) != (source, target)
    )
    whole = [root for root in ways if root[0].get("stage") in _WHOLE and not _item(root[0])[1]]
    return [*own, *whole] if _item(entry)[1] else [*whole, *chain]


def _place(entry: Entry) -> tuple[str, str]:
    """Return (source, target) of the tree of which a failure tells; the target is empty for the source's own."""
    source, arrow, target = str(entry.get("tree") or "").partition(" -> ")
    if arrow:
        return source, target
    return str(entry.get("node") or ""), str(entry.get("delegate") or "")


def _item(entry: Entry) -> tuple[str, str]:
    return str(entry.get("category") or ""), str(entry.get("name") or "")


def _same_item(one: Entry, other: Entry) -> bool:
    """Return whether two failures are of one item; one that counts by name alone is of all that have it."""
    (category, name), (another, also) = _item(one), _item(other)
    return bool(name) and name == also and (category == another or not category or not another)


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
