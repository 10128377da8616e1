"""Doubt: whether the findings of a dump are plausible for the item, judged by those of earlier dumps.

An empty disk under an existing path, a database without its rows, a repository that was created anew and encrypted files are archived,
verified and proved like anything else. They show in the records' `identity`, {word: text}, and `measures`, {word: number}. `counted`,
{word: text}, are the settings that affect a measure: it is compared only with measures taken under the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..system.units import counted, told_apart
from ..system.visible import one_line
from .contents import CONTENT, FORMERLY, dna_in
from .layout import parse_filename, stamp_in
from .stamps import day_of, is_stamp

NIGHTS = 7
"""Days with a good dump, the largest of which a dump is compared with"""
SHRINK, CHURN = 0.3, 0.5
"""Defaults: part that may be missing compared with those days, and part of the files whose content may differ"""
_FEW, _LITTLE = 100, 1 << 20
"""Below this many entries, with fewer bytes than this, parts mean nothing"""
_TENTH = 0.1
_GROWING = ("revisions",)
"""Measures that never decrease"""
_BYTES = "bytes"
_ORDERLY, _FELL = 0.25, 0.25
"""Part of files that must be compressible to tell them from encrypted ones, and the most of it that is left if they are encrypted"""
_FEWEST = 10
"""Smallest number of files from which parts mean anything"""
_MOST_WORDS, _LONGEST = 50, 300
_MOST_TEXTS = 20
_SINCE = "it is what it was on"
_WORDS = {
    "uuid": "its UUID",
    "roots": "the root of its history",
    "mount": "the file system that its path is on",
}
"""Names of an identity's words in messages"""


@dataclass(frozen=True)
class Limits:
    """Tolerance of a dump against earlier ones, as parts from 0 to 1."""

    shrink: float = SHRINK
    churn: float = CHURN


@dataclass(frozen=True)
class Churn:
    """Fate of the files of the last good dump that was not empty."""

    files: int
    gone: int
    """Files of it that are missing or have other content"""
    came: int
    """Files whose content was not in it"""
    before: float | None = None
    """Part of the missing files' tried contents that could be compressed, or was compressed already; None if none was tried"""
    after: float | None = None
    """The same of the new files"""

    @property
    def part(self) -> float:
        """Part of the files that is gone."""
        return self.gone / self.files if self.files else 0.0


@dataclass(frozen=True)
class _Night:
    """Measures of a dump."""

    stamp: str
    measures: dict[str, int]
    counted: dict[str, str]


def stamp_of(record: Mapping[str, Any]) -> str:
    """Return the stamp of a record, empty if it has none."""
    stamp = stamp_in(str(record.get("relpath", "")))
    return stamp if is_stamp(stamp) else ""


def is_suspect(record: Mapping[str, Any]) -> bool:
    """Return whether a record's dump was found doubtful."""
    return bool(record.get("suspect"))


def trusted(records: Iterable[Mapping[str, Any]], accepted: str = "") -> list[Mapping[str, Any]]:
    """Return the records to compare with, of an item's records, oldest first; `accepted` is the stamp up to which suspects are accepted.

    They are those of dumps that are not suspect, or accepted, from the newest accepted suspect on: older ones are no measure any more.
    """
    good = [record for record in records if not is_suspect(record) or stamp_of(record) <= accepted]
    begin = max((stamp_of(record) for record in good if is_suspect(record)), default="")
    return [record for record in good if stamp_of(record) >= begin]


def judge(
    now: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    limits: Limits,
    *,
    churn: Churn | None = None,
    doubtful: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return why a dump is suspect, empty if it is not; `now` is its record, `history` are those to compare with, oldest first.

    `churn` is the fate of the last good dump's files, `doubtful` the record of a later suspect that nobody accepted.
    """
    if history and same_content(now, history[-1]):
        return []
    reasons = []
    if history:
        reasons = [
            *_bounded(now.get("doubts")),
            *_changed_identities(now, history),
            *_fallen(now, history, limits),
            *_churned(now, history[-1], churn, limits),
        ]
        if reasons and history[-1].get("selection", now.get("selection")) != now.get("selection"):
            reasons[-1] += "; what is excluded of it was changed since"
    if not reasons and doubtful and same_content(now, doubtful):
        since = f"{_SINCE} {day_of(stamp_of(doubtful))}: "
        texts = _bounded(doubtful.get("suspect"))
        reasons = [text if text.startswith(_SINCE) else f"{since}{text}" for text in texts]
    return list(dict.fromkeys(reasons))


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two records are of the same content, by anything that both tell; `other` is the earlier one."""
    for keys in ((CONTENT,), ("manifest", "entries", "bytes")):  # a manifest has no modes and times
        if all(key in one and one[key] == other.get(key) for key in keys):
            return True
    former = one.get(FORMERLY)
    dnas = [dna_in(one), dna_in(former) if isinstance(former, Mapping) else None]
    return dna_in(other) is not None and dna_in(other) in dnas


def nights_before(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what a record keeps of those to compare with, for when they are gone: stamp and measures of the last days, oldest first."""
    nights = _nights(history) if _measured(history) else []
    return [
        {"stamp": night.stamp, "measures": night.measures, **({"counted": night.counted} if night.counted else {})}
        for night in nights
    ]


def _measured(history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether any of the records has measures: older records were measured otherwise."""
    return any("measures" in record for record in history)


def _nights(history: Sequence[Mapping[str, Any]]) -> list[_Night]:
    """Return the measures of each of the last days' newest dumps, oldest first."""
    if _measured(history):
        history = [record for record in history if "measures" in record]
    begin = stamp_of(history[0]) if history and is_suspect(history[0]) else ""
    told = [night for record in history for night in _entries(record) if night.stamp >= begin]
    own = [_Night(stamp_of(record), measures_of(record), _counted_of(record)) for record in history]
    found = {day_of(night.stamp): night for night in sorted([*told, *own], key=lambda night: night.stamp)}
    return [found[day] for day in sorted(found)[-NIGHTS:]]


def _entries(record: Mapping[str, Any]) -> list[_Night]:
    recorded = record.get("nights")
    entries = recorded[-NIGHTS:] if isinstance(recorded, list) else []
    nights = [
        _Night(str(entry.get("stamp")), _numbers(entry.get("measures")), _counted_of(entry))
        for entry in entries
        if isinstance(entry, Mapping)
    ]
    return [night for night in nights if is_stamp(night.stamp)]


def _counted_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return {word: settings under which that measure was counted}."""
    recorded = record.get("counted")
    entries = recorded.items() if isinstance(recorded, Mapping) else ()
    return {one_line(str(word))[:_LONGEST]: text for word, text in entries if isinstance(text, str) and text}


def identity_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what distinguishes a record's item from others, {word: text}; older records tell less."""
    recorded = record.get("identity")
    if not isinstance(recorded, Mapping):
        recorded = {word: record.get(word) for word in ("uuid",)}
    entries = [(str(word), text) for word, text in recorded.items() if isinstance(text, str) and text]
    return {one_line(word)[:_LONGEST]: one_line(text)[:_LONGEST] for word, text in entries[:_MOST_WORDS]}


def measures_of(record: Mapping[str, Any]) -> dict[str, int]:
    """Return how much a record's item held, {word: number}; older records tell it otherwise, and less."""
    if isinstance(record.get("measures"), Mapping):
        return _numbers(record["measures"])
    found = {word: record.get(word) for word in ("entries", _BYTES, "attachments")}
    rows = record.get("rows")
    if isinstance(rows, Mapping):
        found["rows"] = sum(_numbers(rows).values())
    revision = parse_filename(str(record.get("relpath", "")).rpartition("/")[2], str(record.get("name", "")))
    if record.get("kind") == "svn" and revision:
        found["revisions"] = revision[0]
    return _numbers(found)


def _numbers(value: object) -> dict[str, int]:
    """Return the entries that are whole numbers."""
    entries = value.items() if isinstance(value, Mapping) else ()
    return {
        one_line(str(word))[:_LONGEST]: number
        for word, number in entries
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 63
    }


def _bounded(value: object) -> list[str]:
    """Return texts as messages show them, at most 20."""
    texts = value if isinstance(value, (list, tuple)) else []
    return [one_line(str(text)) for text in texts[:_MOST_TEXTS]]


def _changed_identities(now: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for word, text in identity_of(now).items():
        record = next((record for record in reversed(history) if word in identity_of(record)), None)
        if record is not None and identity_of(record)[word] != text:
            what = _WORDS.get(word, f"its {word}")
            found.append(
                f"{what} is {text} now, and was {identity_of(record)[word]} in the last good night ({day_of(stamp_of(record))})"
            )
    return found


def _fallen(now: Mapping[str, Any], history: Sequence[Mapping[str, Any]], limits: Limits) -> list[str]:
    """Return a text for each measure that is much smaller than the largest of the last good days that counted it alike."""
    nights, counted = _nights(history), _counted_of(now)
    largest: dict[str, tuple[int, str]] = {}
    alike: dict[str, int] = {}
    for night in nights:
        for word, number in night.measures.items():
            if night.counted.get(word) != counted.get(word):
                continue
            alike[word] = alike.get(word, 0) + 1
            if number >= largest.get(word, (0, ""))[0]:
                largest[word] = (number, day_of(night.stamp))
    known = now if _measured(history) else {key: value for key, value in now.items() if key != "measures"}
    found = []
    for word, number in measures_of(known).items():
        before, day = largest.get(word, (0, ""))
        if number >= before:
            continue
        part = (before - number) / before
        allowed = _allowed(word, number, {other: entry[0] for other, entry in largest.items()}, limits)
        if round(part, 9) > allowed:
            one, other = told_apart(before, number) if word == _BYTES else (f"{before:,}", f"{number:,}")
            figures = f"{_percent(part)}, allowed {_percent(allowed)}" if allowed else "it never falls"
            last = alike[word] == 1
            which = "the last good night" if last else f"the largest of the last {alike[word]} good nights"
            found.append(f"{word} fell from {one} to {other} ({figures}) since {which} ({day})")
    return found


def _allowed(word: str, number: int, largest: Mapping[str, int], limits: Limits) -> float:
    """Return the part of a measure that may be lost."""
    if word in _GROWING:
        return 0.0
    counts = [count for other, count in largest.items() if other != _BYTES]
    few = all(count < _FEW for count in (counts if word == _BYTES else [largest[word]]))
    if not (few and largest.get(_BYTES, 0) < _LITTLE):
        return limits.shrink
    if number == 0:
        return limits.shrink
    return 1.0 if word == _BYTES else max(limits.shrink, 1 - _TENTH)


def _churned(now: Mapping[str, Any], last: Mapping[str, Any], churn: Churn | None, limits: Limits) -> list[str]:
    """Return why the changed files, taken together, are doubtful."""
    if churn is None or round(churn.part, 9) <= limits.churn:
        return []
    day = day_of(stamp_of(last))
    figures = (
        f"of {counted(churn.files, 'file')} of the last good night ({day}) {churn.gone:,} are gone or hold something else "
        f"({_percent(churn.part)}, allowed {_percent(limits.churn)})"
    )
    found = []
    if _looks_encrypted(churn):
        found.append(
            f"it looks encrypted: {figures}, and what came in their place can hardly be compressed "
            f"({_percent(1 - (churn.after or 0.0))} of it looks like chance, of what went {_percent(1 - (churn.before or 0.0))})"
        )
    places = [one_line(str(record.get("place", ""))) for record in (last, now)]
    if all(places) and places[0] != places[1]:
        found.append(f"its path leads to {places[1]} now, and led to {places[0]} then; {figures}")
    return found


def _looks_encrypted(churn: Churn) -> bool:
    """Return whether the missing files could be compressed and those that came in their place cannot."""
    if churn.before is None or churn.after is None or churn.files < _FEWEST or churn.came * 2 < churn.gone:
        return False
    return churn.before >= _ORDERLY and churn.after <= churn.before * _FELL


def _percent(part: float) -> str:
    """Return a part as a percentage: 30 %, 99.8 %, and 99.99 % for one that is not all."""
    for digits in (1, 2, 3, 4):
        text = f"{part * 100:.{digits}f}"
        if part in (0, 1) or float(text) not in (0.0, 100.0):
            break
    return f"{text.rstrip('0').rstrip('.')} %"
