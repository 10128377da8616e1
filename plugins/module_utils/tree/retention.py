"""Retention: which of an item's verified tarballs stay and why, and how many of the others a run removes."""

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
"""Reason of a suspect"""
FROZEN = "a suspect of the item is not accepted"
"""Reason of a good tarball that no rule demands"""
BASE_OF = "base of "
"""Prefix of the reason of a full tarball that stays for a differential"""
SECOND_FULL = "second full"
"""Reason of a full tarball that stays beside the one on which all remaining differentials rest"""
WITHOUT_FULL = "its full tarball is not here"
"""Reason of a differential from which nothing can be restored now"""
WITHIN = "within "
"""Prefix of the reason of a tarball that stays for its age"""
_LAST_SUSPECTS = 3
"""Number of the newest suspects that stay, beside the first"""
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True)
class Rules:
    """How much of an item's past is kept; 0 switches a rule off. What any rule demands stays."""

    keep: int
    """Days, and distinct contents"""
    daily: int = 0
    weekly: int = 0
    """Weeks begin on Monday, as in ISO 8601"""
    monthly: int = 0
    yearly: int = 0
    within: float = 0.0
    """Seconds; younger tarballs stay"""


@dataclass(frozen=True)
class _Slots:
    """A rule that keeps the newest tarball of each of the last `number` groups that have one."""

    word: str
    number: int
    group: Callable[[Tarball], Hashable]
    """Returns the rule's group of a tarball"""
    calendar: bool = True
    """Whether the oldest tarball stays until all slots are filled"""
    timely: bool = True
    """Whether a tarball that came on its own day is preferred to newer ones of its group that came after it"""


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
    """Return {relpath: reasons why it stays}, newest first, of one item's verified tarballs; one without reasons is to go.

    `now` is the run's stamp, from which `within` counts back; by default the newest one's. `made_now` are the stamps made in this run.
    Relpaths are in `late` if they came late, in `behind` if they came after the day of their stamp, in `partial` if they are incomplete, in
    `suspects` if they are suspect and nobody accepted them. `holds` is {category/name/stamp: text}, `content` {relpath: key of its content}
    where more than the bytes is known, `needed` {digest of a full tarball: why something not judged here needs it}.

    Of each of the last K days, contents, weeks ... that have one the newest stays, and while a calendar rule is not filled, the oldest.
    Within a day, a week ... one that came on its own day is preferred to newer ones that did not: so nobody takes a day of the past by
    adding to it. The newest, the newest complete one, those made in this run, those within the time, and held ones stay, too. Late and
    incomplete ones get only slots that the others leave free. Suspects fill no slot: the first and the last three stay, and while there is
    any, so do all good ones.

    The full tarball of a differential that stays does, too; and if all of those rest on one file, so does the newest other full one. A
    differential whose full one is not among them fills no slot, and stays: its full one may come back.
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
    """Return the relpaths of an item's differentials whose full tarball is not among its tarballs."""
    fulls = {tarball.dna.dig for tarball in tarballs if tarball.dna and tarball.dna.base is None}
    return {
        tarball.relpath
        for tarball in tarballs
        if tarball.dna and tarball.dna.base and tarball.dna.base_dig not in fulls
    }


def _keep_fulls(order: Sequence[Tarball], reasons: dict[str, list[str]], needed: Mapping[str, str]) -> None:
    """Add the reasons why full tarballs stay on which others rest; `order` is newest first, `reasons` is updated."""
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
    """Return a key for the file of a tarball; for one still to come, a key for its bytes."""
    return tarball.inode if any(tarball.inode) or tarball.dna is None else (tarball.dna.alg, tarball.dna.dig)


def rests_on(tarballs: Sequence[Tarball], staying: Collection[str]) -> dict[str, set[str]]:
    """Return {full tarball that goes: differentials that must go before it} of an item; `staying` are relpaths."""
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
    """Return whether a tarball would stay if no suspect kept its item from being purged."""
    return any(reason != FROZEN for reason in reasons)


def _slots(rules: Rules, contents: Mapping[str, Hashable]) -> list[_Slots]:
    """Return the rules that fill slots, in the order of their reasons; `contents` is {relpath: key of its content}."""
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
    """Return (relpath, words) of what the rules demand: first of those that count before all others, then of the rest what is free.

    Both are newest first. What the rules demand of the first does not depend on the rest.
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
    """Return {relpath of a group's newest one: number of the group}, and add all groups that have one to `seen`.

    One of `behind` is a group's newest only if the group has no other.
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
    """Return {relpath: key of its content} of tarballs, newest first: what is known of it, or of one with equal bytes, or else its dna.

    Of equal bytes the oldest one decides, so that nothing said of a new one changes the content of what was there.
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
    """Return (ISO year, ISO week) of a day."""
    year, month, number = map(int, day.split("/"))
    week = date(year, month, number).isocalendar()
    return week[0], week[1]


def _since(stamp: str, seconds: float) -> str:
    """Return the stamp so many seconds before a stamp, empty if there is no such stamp."""
    if not stamp or not seconds:
        return ""
    try:
        before = parse_stamp(stamp) - timedelta(seconds=seconds)
    except OverflowError:
        return ""
    return f"{before:%Y/%m/%d/%H%M%S}".zfill(len(stamp))


def shown_span(seconds: float) -> str:
    """Return seconds as people write them: 1d, 36h, 90m, 5s."""
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:g}s"


def removable(added: Sequence[Tarball], late: Collection[str] = ()) -> int:
    """Return how many tarballs a run may remove: one more than it added. `added` are an item's tarballs, `late` relpaths that came late.

    Several of one day count once, and late ones, which take nobody's place, not at all: so a source that hands over many in one night has
    no more of the past removed than one that hands over what it should.
    """
    return len({day_of(tarball.stamp) for tarball in added if tarball.relpath not in late}) + 1
