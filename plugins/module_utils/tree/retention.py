"""Retention: which of an item's verified tarballs are to be kept and why, and how many of the others a run removes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from .stamps import day_of, parse_stamp

if TYPE_CHECKING:
    from .layout import Tarball

SUSPECT = "suspect, not accepted"
"""Why a suspect stays"""
FROZEN = "a suspect of the item is not accepted"
"""Why a good one stays that no rule demands"""
BASE_OF = "base of "
"""How the reason of a full tarball begins that stays for a differential"""
SECOND_FULL = "second full"
"""Why a full one stays beside the one on which all differentials rest that stay"""
WITHOUT_FULL = "its full tarball is not here"
"""Why a differential stays from which nothing can be restored now"""
WITHIN = "within "
"""How the reason of one begins that stays for its age"""
_LAST_SUSPECTS = 3
"""How many of the newest suspects stay, beside the first"""
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True)
class Rules:
    """How much of an item's past is kept; of what a rule counts 0 is none. What one of them demands stays."""

    keep: int
    """Days, and distinct contents"""
    daily: int = 0
    weekly: int = 0
    """Weeks begin on Monday, as in ISO 8601"""
    monthly: int = 0
    yearly: int = 0
    within: float = 0.0
    """Seconds; what is younger stays"""


@dataclass(frozen=True)
class _Slots:
    """A rule that keeps the newest tarball of each of the last so many groups that have one."""

    word: str
    number: int
    group: Callable[[Tarball], Hashable]
    """Given a tarball, return which of the rule's groups it is of"""
    calendar: bool = True
    """Whether the oldest stays until so many are there"""
    timely: bool = True
    """Whether of a group one that came on its own day goes before newer ones that came after it"""


def judge(
    tarballs: Sequence[Tarball],
    rules: Rules,
    *,
    now: str = "",
    made_now: Collection[str] = (),
    late: Collection[str] = (),
    behind: Collection[str] = (),
    partial: Collection[str] = (),
    suspects: Collection[str] = (),
    holds: Mapping[str, str] | None = None,
    content: Mapping[str, Hashable] | None = None,
    needed: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Given one item's verified tarballs and the rules, return {relpath: why it stays}, the newest first; one without a reason is to go.

    `now` is the run's stamp, from which `within` counts back; without it that is the newest one's. `made_now` are the stamps made in
    this run, `late` the relpaths of those that came late, `behind` of those that came after the day of their stamp, `partial` of those
    that are not whole, `suspects` of those that nobody accepted, `holds` {category/name/stamp: text} and `content` {relpath: what stands
    for the content}, where more of it is known than the bytes.
    `needed` are {digest of a full tarball: why it is needed by what is not judged here}.

    Of each of the last K days, contents, weeks ... that have one the newest stays, and while there are fewer of a calendar's, the oldest. Of a
    day, a week ... one that came on its own day goes before newer ones that did not: so nobody takes a day of the past by what he adds to it.
    So do the newest, the newest whole one, those made in this run, those within the time, and those that are held. Late ones, and those
    that are not whole, have what of the groups the others leave free. Suspects count for nothing: the first and the last three stay,
    and while there is one, all good ones.

    The full tarball of a differential that stays does, too; and where all of those rest on one file, so does the newest other full one.
    A differential whose full one is not among them counts for nothing, and stays: its full one may come back.
    """
    order = sorted(tarballs, key=lambda tarball: (tarball.stamp, tarball.filename), reverse=True)
    alone = _without_full(order)
    good = [tarball for tarball in order if tarball.relpath not in suspects and tarball.relpath not in alone]
    doubtful = [tarball.relpath for tarball in order if tarball.relpath in suspects]
    after = {*late, *partial}
    first = [tarball for tarball in good if tarball.relpath not in after]
    rest = [tarball for tarball in good if tarball.relpath in after]
    reasons: dict[str, list[str]] = {tarball.relpath: [] for tarball in order}
    for tarball in good[:1]:
        reasons[tarball.relpath].append("newest")
    for tarball in [tarball for tarball in good if tarball.relpath not in partial][:1]:
        if tarball is not good[0]:
            reasons[tarball.relpath].append("newest whole")
    for tarball in order:
        if tarball.stamp in made_now:
            reasons[tarball.relpath].append("made now")
    for relpath, words in _slotted(first, rest, _slots(rules, _contents(order, content or {})), behind):
        reasons[relpath] += words
    since = _since(now or (order[0].stamp if order else ""), rules.within)
    for tarball in good if rules.within else ():
        if tarball.stamp > since:
            reasons[tarball.relpath].append(f"{WITHIN}{shown_span(rules.within)}")
    for tarball in order if holds else ():
        held = (holds or {}).get(f"{tarball.key}/{tarball.stamp}")
        if held is not None:
            reasons[tarball.relpath].append(f"hold: {held}")
    for relpath in {*doubtful[:_LAST_SUSPECTS], *doubtful[-1:]}:
        reasons[relpath].append(SUSPECT)
    for relpath in alone:
        reasons[relpath] = reasons[relpath] or [WITHOUT_FULL]
    _keep_fulls(order, reasons, needed or {})
    for tarball in good if doubtful else ():
        reasons[tarball.relpath] = reasons[tarball.relpath] or [FROZEN]
    return reasons


def _without_full(tarballs: Sequence[Tarball]) -> set[str]:
    """Return the relpaths of the differentials of an item whose full tarball is not among its tarballs."""
    fulls = {tarball.dna.dig for tarball in tarballs if tarball.dna and tarball.dna.base is None}
    return {
        tarball.relpath
        for tarball in tarballs
        if tarball.dna and tarball.dna.base and tarball.dna.base_dig not in fulls
    }


def _keep_fulls(order: Sequence[Tarball], reasons: dict[str, list[str]], needed: Mapping[str, str]) -> None:
    """Given an item's tarballs, the newest first, and why each stays, enter why full ones stay on which others rest."""
    wanted = {dig: f"{BASE_OF}{why}" for dig, why in needed.items()}
    for tarball in reversed(order):
        if tarball.dna and tarball.dna.base_dig and reasons[tarball.relpath]:
            wanted[tarball.dna.base_dig] = f"{BASE_OF}{tarball.stamp}"
    if not wanted:
        return
    fulls = [tarball for tarball in order if tarball.dna and tarball.dna.base is None]
    for dig, why in wanted.items():
        same = [tarball for tarball in fulls if tarball.dna and tarball.dna.dig == dig]
        for full in [tarball for tarball in same if reasons[tarball.relpath]][:1] or same[:1]:
            reasons[full.relpath].append(why)
    kept = {_file_of(tarball) for tarball in fulls if reasons[tarball.relpath]}
    if len(kept) == 1:
        for full in [one for one in fulls if _file_of(one) not in kept][:1]:
            reasons[full.relpath].append(SECOND_FULL)


def _file_of(tarball: Tarball) -> Hashable:
    """Return what stands for the file of a tarball, of one that is still to come what is in it."""
    return tarball.inode if any(tarball.inode) or tarball.dna is None else (tarball.dna.alg, tarball.dna.dig)


def rests_on(tarballs: Sequence[Tarball], staying: Collection[str]) -> dict[str, set[str]]:
    """Given an item's tarballs and the relpaths of those that stay, return {full one that goes: differentials that are to go before it}."""
    kept = {
        tarball.dna.dig
        for tarball in tarballs
        if tarball.dna and tarball.dna.base is None and tarball.relpath in staying
    }
    users: dict[str, set[str]] = {}
    for tarball in tarballs:
        if tarball.dna and tarball.dna.base_dig and tarball.dna.base_dig not in kept:
            users.setdefault(tarball.dna.base_dig, set()).add(tarball.relpath)
    return {
        tarball.relpath: users[tarball.dna.dig]
        for tarball in tarballs
        if tarball.dna and tarball.dna.base is None and tarball.dna.dig in users
    }


def demanded(reasons: Sequence[str]) -> bool:
    """Given why a tarball stays, return whether it would be kept if no suspect kept its item from being purged."""
    return any(reason != FROZEN for reason in reasons)


def _slots(rules: Rules, contents: Mapping[str, Hashable]) -> list[_Slots]:
    """Given the rules and {relpath: which content it has}, return those that count, in the order in which they are told."""
    return [
        _Slots("content", rules.keep, lambda tarball: contents[tarball.relpath], calendar=False, timely=False),
        _Slots("day", rules.keep, lambda tarball: day_of(tarball.stamp), calendar=False),
        _Slots("daily", rules.daily, lambda tarball: day_of(tarball.stamp)),
        _Slots("weekly", rules.weekly, lambda tarball: _week(day_of(tarball.stamp))),
        _Slots("monthly", rules.monthly, lambda tarball: tarball.stamp[:7]),
        _Slots("yearly", rules.yearly, lambda tarball: tarball.stamp[:4]),
    ]


def _slotted(
    first: Sequence[Tarball], rest: Sequence[Tarball], slots: Sequence[_Slots], behind: Collection[str]
) -> list[tuple[str, list[str]]]:
    """Return what the rules demand, (relpath, words): first of those that count before all others, then of the rest what is free.

    Both are given newest first. What the rules demand of the first does not depend on the rest.
    """
    taken: dict[str, set[Hashable]] = {rule.word: set() for rule in slots}
    told: list[tuple[str, list[str]]] = []
    for part in (first, rest):
        words: dict[str, list[str]] = {tarball.relpath: [] for tarball in part}
        unfilled = []
        for rule in slots if part else ():
            seen, oldest = taken[rule.word], part[-1].relpath
            kept = _fill(part, rule, seen, behind if rule.timely else ())
            for relpath, number in kept.items():
                words[relpath].append(f"{rule.word} {number}/{rule.number}")
            if rule.calendar and len(seen) < rule.number and oldest not in kept:
                unfilled.append(f"{rule.word} {len(seen)}/{rule.number}")
        if unfilled and (part is first or not first or part[-1].stamp < first[-1].stamp):
            words[part[-1].relpath].append(f"oldest ({', '.join(unfilled)} not filled)")
        told += words.items()
    return told


def _fill(part: Sequence[Tarball], rule: _Slots, seen: set[Hashable], behind: Collection[str]) -> dict[str, int]:
    """Return {relpath of the newest one of a group: which of the rule's groups that is}, and enter all groups that have one as seen.

    Those of `behind` are a group's newest only where it has no other.
    """
    newest: dict[Hashable, Tarball] = {}
    for tarball in part if rule.number else ():
        group = rule.group(tarball)
        if group in seen:
            continue
        if newest.setdefault(group, tarball).relpath in behind and tarball.relpath not in behind:
            newest[group] = tarball
    kept = {
        tarball.relpath: number
        for number, tarball in enumerate(newest.values(), len(seen) + 1)
        if number <= rule.number
    }
    seen.update(newest)
    return kept


def _contents(tarballs: Sequence[Tarball], content: Mapping[str, Hashable]) -> dict[str, Hashable]:
    """Given tarballs, the newest first, return {relpath: which content it has}: what is known of it, or of one with equal bytes, or else its dna.

    Of equal bytes the oldest one tells: what is said of a new one makes no other content of what was there.
    """
    found: dict[str, Hashable] = {}
    same: dict[Hashable, Hashable] = {}
    for tarball in reversed(tarballs):
        if tarball.dna is None:
            raise AssertionError(f"{tarball.relpath} is not verified")
        found[tarball.relpath] = (tarball.dna.alg, tarball.dna.size, tarball.dna.dig)
        if content.get(tarball.relpath, found[tarball.relpath]) != found[tarball.relpath]:
            same.setdefault(found[tarball.relpath], content[tarball.relpath])
    return {relpath: same.get(bytes_, bytes_) for relpath, bytes_ in found.items()}


@functools.lru_cache(maxsize=4096)
def _week(day: str) -> tuple[int, int]:
    """Given a day, return the ISO year and the number of its ISO week."""
    year, month, number = map(int, day.split("/"))
    week = date(year, month, number).isocalendar()
    return week[0], week[1]


def _since(stamp: str, seconds: float) -> str:
    """Given a stamp and seconds, return the stamp of so much before, an empty text where no such time has a stamp."""
    if not stamp or not seconds:
        return ""
    try:
        before = parse_stamp(stamp) - timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return f"{before:%Y/%m/%d/%H%M%S}".zfill(len(stamp))


def shown_span(seconds: float) -> str:
    """Given seconds, return them as a person writes them: 1d, 36h, 90m, 5s."""
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def removable(added: Sequence[Tarball], late: Collection[str] = ()) -> int:
    """Given the tarballs of an item that a run added to a node, and the relpaths that came late, return how many it may remove: one more.

    Several of one day count once, and late ones, which take nobody's place, not at all: so a source that hands over many in one night
    has no more of the past removed than one that hands over what it should.
    """
    return len({day_of(tarball.stamp) for tarball in added if tarball.relpath not in late}) + 1
