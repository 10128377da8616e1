"""Count: the number of verified tarballs is compared with what is expected."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..kinds.registry import CATEGORIES
from ..kinds.sets import SET
from ..system.errors import AltbackupError, InvalidInput
from ..system.units import first_of
from ..system.values import nearest
from ..tree.failures import failure
from ..tree.incomplete import incomplete_ones
from ..tree.layout import Tarball, Tree, item_key, open_tree, parse_filename, split_relpath
from ..tree.proof_files import unproved
from ..tree.publish import read_record
from ..tree.remembered import with_remembered
from ..tree.scan import Scan, scan
from ..tree.scan_failures import ahead, unreadable
from ..tree.stamps import Moment, day_of, interpret_day, moment_of, today_in
from .memory import (
    Declarations,
    FormerItems,
    add_retired_marks,
    failures_of_former_items,
    former_items_of,
    parse_declarations,
)

COUNTING: dict[str, Any] = {
    "base": {"type": "path", "required": True},
    "day": {"type": "str", "default": ""},
    "expect": {"type": "dict", "required": True},
    "items": {"type": "list", "elements": "str"},
    "source": {"type": "str", "default": ""},
    "remembered": {"type": "bool", "default": False},
    "predicted": {"type": "list", "elements": "str", "default": []},
    "not_now": {"type": "list", "elements": "str", "default": []},
    "proof_age": {"type": "float", "default": 0},
    "node": {"type": "str", "default": ""},
    "memory": {"type": "dict"},
}
"""Options of modules that count: what is expected, and the maximum age of proofs"""
EMPTY: dict[str, Any] = {
    "day": "",
    "counts": {},
    "relpaths": {},
    "dnas": {},
    "incomplete": [],
    "without_dna": [],
    "unexpected": [],
}
"""Result of a count that could not be made, without its failures"""
_STAGE = "check"
_HINTS = 10
SETS = CATEGORIES[SET]
"""The category of the lists of sets"""


def count(
    base: str,
    day: str,
    expect: Mapping[str, Any],
    source: str = "",
    predicted: Sequence[str] = (),
    items: Sequence[str] | None = None,
    *,
    moment: Moment,
    timezone: str = "UTC",
    declarations: Declarations | None = None,
    not_now: Collection[str] = (),
) -> dict[str, Any]:
    """Count the verified tarballs of a base on a day, without reading them.

    `expect` is {name or category/name: expected number}; the number of a name is that of its items that have a tarball that day. `items` (category/name) are
    those that may be there; without it, all that have an expected name. Those in `not_now` (category/name) may be absent. `predicted` are relpaths that a run
    in check mode would have made. With `declarations` items that the tree held earlier and that are not declared any more are failures.

    Stamps of the future do not count. In the result `dnas` is {relpath: algorithm:digest:size}, `incomplete` are the tarballs whose dumps recorded missing
    parts. Raise BaseUnusable or InvalidInput.
    """
    expected = {str(key): _number(key, value) for key, value in expect.items()}
    tree = open_tree(base)
    of_day = interpret_day(day, today_in(timezone))
    found = scan(tree, of_day, tolerate_unreadable=True)
    title = source or os.path.basename(tree.base)
    former_items, declarations, damaged = _former_items(tree, items, declarations)
    newest = newest_of_each_item(found, predicted, of_day, moment)
    expected = _without(expected, {*not_now} - {seen.key for seen in newest})
    tally = take_tally(found, expected, items, newest, former_items.reported)
    former_items = former_items.without({item_key(relpath) for relpath, _ in tally.unexpected})
    failures = [
        *_failures_of_numbers(tally, expected, title, of_day),
        *(
            failure(_STAGE, f"unexpected in {title} on {of_day}: {relpath}: {reason}", relpath=relpath)
            for relpath, reason in tally.unexpected
        ),
        *unreadable(found),
        *ahead(tree, moment),
        *damaged,
        *failures_of_sets(tree, found),
        *(failures_of_former_items(tree, former_items, declarations, moment) if declarations else ()),
    ]
    if not expected:
        failures.append(failure(_STAGE, f"nothing is expected of {title}: no items, so nothing could be checked"))
    counted = [tarball for tarball in found.verified() if tarball.key in tally.items]
    return {
        "day": of_day,
        "counts": {key: len(relpaths) for key, relpaths in tally.relpaths.items()},
        "relpaths": dict(tally.relpaths),
        "dnas": {
            tarball.relpath: f"{tarball.dna.alg}:{tarball.dna.dig}:{tarball.dna.size}"
            for tarball in counted
            if tarball.dna and not moment.is_ahead(tarball.stamp)
        },
        "incomplete": incomplete_ones(tree, counted),
        "without_dna": [tarball.relpath for tarball in tally.unverified],
        "unexpected": [relpath for relpath, _ in tally.unexpected],
        "failures": failures,
    }


def _former_items(
    tree: Tree, items: Sequence[str] | None, declarations: Declarations | None
) -> tuple[FormerItems, Declarations | None, list[dict[str, Any]]]:
    """Return the tree's former items, the declarations with the tree's marks, and a failure if that cannot be read."""
    try:
        merged = add_retired_marks(tree, declarations)
        return former_items_of(tree, items or (), merged), merged, []
    except (AltbackupError, OSError) as error:
        return FormerItems(), None, [failure(_STAGE, error)]


@dataclass(frozen=True)
class Tally:
    """The tarballs of a day: those that count, and the others."""

    relpaths: Mapping[str, list[str]]
    """{name or category/name: relpath of the newest verified tarball of each of its items}"""
    items: Collection[str]
    """The items (category/name) that may be there"""
    unverified: Sequence[Tarball]
    unexpected: Sequence[tuple[str, str]]
    """(relpath, reason)"""


def take_tally(
    found: Scan,
    expected: Mapping[str, int],
    items: Sequence[str] | None,
    newest: Sequence[CountedTarball],
    remembered: Collection[str] = (),
) -> Tally:
    """Return which tarballs of a day's scan count, by the expected numbers, the allowed items and the newest tarball of each item.

    Items in `remembered` are reported elsewhere, so they are not unexpected here.
    """
    allowed = {seen.key for seen in newest} if items is None else set(items)
    counted = _by_key([seen for seen in newest if seen.key in allowed])
    relpaths = {key: sorted(seen.relpath for seen in counted.get(key, ())) for key in sorted(expected)}
    unverified = [tarball for tarball in found.tarballs if not tarball.verified]
    return Tally(relpaths, allowed, unverified, _unexpected(found, expected, items, remembered))


def _failures_of_numbers(tally: Tally, expected: Mapping[str, int], title: str, day: str) -> list[dict[str, Any]]:
    """Return a failure for each wrong number, with the unverified tarballs that would have counted, and for each other unverified tarball."""
    failures = []
    unverified_of = _by_key(tally.unverified)
    explained: set[str] = set()
    for key, relpaths in tally.relpaths.items():
        number = expected[key]
        if len(relpaths) != number:
            without = unverified_of.get(key, ())
            explained.update(tarball.relpath for tarball in without)
            lines = [
                _number_message(key, number, title, day, relpaths),
                *(f"({tarball.relpath} {tarball.problem})" for tarball in without),
            ]
            about = key if "/" in key else f"/{key}"
            failures.append(failure(_STAGE, "\n".join(lines), key=about, absent=len(relpaths) < number))
    return failures + [
        failure(_STAGE, f"{tarball.relpath} {tarball.problem}", relpath=tarball.relpath)
        for tarball in tally.unverified
        if tarball.relpath not in explained
    ]


def count_demanded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Count by the options of a module (COUNTING), and report proofs that are too old or missing. Raise BaseUnusable or InvalidInput."""
    expect, items = options["expect"], options["items"]
    moment = moment_of(options)
    if options["remembered"]:
        expect, items = with_remembered(options["base"], expect, items)
    result = count(
        options["base"],
        options["day"],
        expect,
        options["source"],
        options["predicted"],
        items,
        moment=moment,
        timezone=options["timezone"],
        declarations=parse_declarations(options["memory"]) if items is not None else None,
        not_now=options["not_now"],
    )
    result["failures"] += unproved(
        options["base"], items, options["proof_age"], options["source"], options["node"], moment
    )
    return result


def failures_of_sets(tree: Tree, found: Scan) -> list[dict[str, Any]]:
    """Return a failure for each set whose list names a member that is not there, or not verified, in a day's scan."""
    there = {tarball.relpath for tarball in found.verified()}
    failures = []
    for tarball in found.verified() if SETS in {tarball.category for tarball in found.tarballs} else ():
        members = read_record(tree, tarball.key, tarball.stamp).get("members") if tarball.category == SETS else None
        lacking = [str(path) for path in members if path not in there] if isinstance(members, list) else []
        if lacking:
            reason = f"{tarball.relpath} is the list of a set of which {first_of(lacking, _HINTS)} is not there, or not verified: it is not whole"
            failures.append(failure(_STAGE, reason, relpath=tarball.relpath))
    return failures


def _without(expected: Mapping[str, int], skipped: Collection[str]) -> dict[str, int]:
    """Return {name or category/name: expected number}, reduced by the items that may be absent."""
    less = Counter(name for key in skipped for name in (key, key.partition("/")[2]))
    return {name: max(0, number - less[name]) for name, number in expected.items()}


def _number(key: object, value: object) -> int:
    text = str(value)
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise InvalidInput(f"expect: {key}: {value!r} is not a whole number of tarballs")
    return int(text)


@dataclass(frozen=True)
class CountedTarball:
    """A tarball that counts: on disk, or predicted by a run in check mode."""

    key: str
    name: str
    stamp: str
    relpath: str


def _by_key(tarballs: Iterable[Any]) -> dict[str, list[Any]]:
    """Group Tarballs or CountedTarballs by each key that means them, name or category/name."""
    result: dict[str, list[Any]] = {}
    for tarball in tarballs:
        for key in (tarball.name, tarball.key):
            result.setdefault(key, []).append(tarball)
    return result


def newest_of_each_item(found: Scan, predicted: Sequence[str], day: str, moment: Moment) -> list[CountedTarball]:
    """Return the newest verified tarball of each item on a day, without those whose stamp is in the future."""
    seen = [
        CountedTarball(tarball.key, tarball.name, tarball.stamp, tarball.relpath)
        for tarball in found.verified()
        if parse_filename(tarball.filename, tarball.name) and not moment.is_ahead(tarball.stamp)
    ]
    for relpath in predicted:
        category, name, stamp, _ = split_relpath(relpath)
        seen.append(CountedTarball(f"{category}/{name}", name, stamp, relpath))
    newest: dict[str, CountedTarball] = {}
    for one in seen:
        if day_of(one.stamp) == day and (one.key not in newest or one.stamp >= newest[one.key].stamp):
            newest[one.key] = one
    return list(newest.values())


def _number_message(key: str, number: int, title: str, day: str, relpaths: Sequence[str]) -> str:
    got = f": {', '.join(relpaths)}" if relpaths else ""
    plural = "" if number == 1 else "s"
    return f"expecting {number} tarball{plural} for {key} of {title} on {day} but got {len(relpaths)}{got}"


def _hint(tarball: Tarball, known: Collection[str], there: Collection[str]) -> str:
    """Return a hint which item's name may have been meant by a tarball that belongs to no item.

    Only items of its category are suggested, and none that has a tarball of its own, in `there`.
    """
    category = tarball.key.split("/")[0]
    alike = [key.rpartition("/")[2] for key in sorted(known) if "/" not in key or key.startswith(f"{category}/")]
    right = [key.rpartition("/")[2] for key in there if key.startswith(f"{category}/")]
    return f"; {nearest(tarball.name, alike, right)}" if alike and tarball.name not in alike else ""


def _unexpected(
    found: Scan, expected: Collection[str], items: Collection[str] | None, remembered: Collection[str]
) -> list[tuple[str, str]]:
    """Return (relpath, reason) of all that should not be there."""
    result = list(found.strange)
    stamps: dict[tuple[str, str], list[Tarball]] = {}
    known = sorted(expected)
    allowed = None if items is None else set(items)
    hints: dict[str, str] = {}

    def is_mine(tarball: Tarball) -> bool:
        return tarball.key in allowed if allowed is not None else bool({tarball.key, tarball.name} & set(expected))

    there = {tarball.key for tarball in found.verified() if is_mine(tarball)}
    for tarball in found.tarballs:
        if not parse_filename(tarball.filename, tarball.name):
            result.append((tarball.relpath, f"its name does not belong to {tarball.key}"))
        elif tarball.verified and tarball.key not in there and tarball.key not in remembered:
            if len(hints) < _HINTS and tarball.key not in hints:
                hints[tarball.key] = _hint(tarball, known if items is None else items, there)
            result.append((tarball.relpath, f"{tarball.key} is no item{hints.get(tarball.key, '')}"))
        elif tarball.verified:
            stamps.setdefault((tarball.key, tarball.stamp), []).append(tarball)
    for (key, stamp), several in stamps.items():
        if len(several) > 1:
            names = ", ".join(tarball.filename for tarball in several)
            result.append((several[-1].relpath, f"{len(several)} tarballs of {key} under one stamp {stamp}: {names}"))
    return result
