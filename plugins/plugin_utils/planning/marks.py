"""Marks given by variables of a run: suspects that are accepted, tarballs that are held or released, items that are retired."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from ...module_utils.kinds.items import check_name
from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.errors import InvalidInput
from ...module_utils.system.values import nearest, quoted
from ...module_utils.system.visible import extra_vars, one_line
from ...module_utils.tree.failures import failure
from ...module_utils.tree.marks import LONGEST_TEXT, added, parse_given, split_hold
from ...module_utils.tree.stamps import Moment, is_stamp, parse_stamp

ACCEPT, HOLD, RELEASE, RETIRED = (f"altbackup_{word}" for word in ("accept", "hold", "release", "retired"))
_STAGE = "mark"
MarksBySource = dict[str, dict[str, dict[str, str]]]
"""{source: marks, as modules take them}"""


@dataclass
class _Given:
    """The marks given for each source, and errors."""

    marks: MarksBySource = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, source: str, mark: str, key: str, value: str) -> None:
        marks = self.marks.setdefault(source, {}).setdefault(mark, {})
        marks[key] = max(value, marks.get(key, "")) if mark == "accepted" else value


def given_marks(
    settings: Mapping[str, Any],
    sources: Mapping[str, Mapping[str, Any]],
    moment: Moment,
    extra: Collection[str] | None = None,
) -> tuple[MarksBySource, list[str]]:
    """Return ({source: marks given in this run}, errors); `sources` are the plan's, `moment` the run's.

    `extra` are the names of variables given with -e, None if that is not known. An accepted suspect must be older than the run.
    """
    found = _Given()
    for text in settings["accept"]:
        _try(found, ACCEPT, _accept, text, sources, moment)
    for text, why in settings["hold"].items():
        _try(found, HOLD, _hold, (text, why), sources, moment)
    for text in settings["release"]:
        _try(found, RELEASE, _release, text, sources, moment)
    both = sorted({*settings["hold"]} & {*settings["release"]})
    found.errors += [f"{RELEASE}: {quoted(text)} stands in {HOLD}, too: leave it out of one" for text in both]
    for source, entry in sources.items():
        for key, day in (entry.get("retired") or {}).items():
            if extra is None or RETIRED in extra:
                found.add(source, "retired", key, day)
            elif not day:
                text = (
                    f"{key} of {source} has no day from which on it is given up: give it one, or take it back with -e"
                )
                found.errors.append(f"{RETIRED}: {text}")
    return ({} if found.errors else found.marks), found.errors


def _try(found: _Given, variable: str, read: Any, value: Any, sources: Mapping[str, Any], moment: Moment) -> None:
    try:
        found.add(*read(value, sources, moment))
    except InvalidInput as error:
        found.errors.append(f"{variable}: {error}")


def _accept(text: str, sources: Mapping[str, Any], moment: Moment) -> tuple[str, str, str, str]:
    source, key, stamp = _item(text, sources)
    if not stamp:
        return source, "accepted", key, _before(moment.stamp)
    if stamp >= moment.stamp:
        raise InvalidInput(
            f"{quoted(text)} is not before this run, {moment.stamp}: what is accepted is what somebody has looked at"
        )
    return source, "accepted", key, stamp


def _hold(entry: tuple[str, Any], sources: Mapping[str, Any], moment: Moment) -> tuple[str, str, str, str]:
    text, why = entry
    source, hold = _tarball(text, sources, moment)
    if not isinstance(why, (str, int, float)) or isinstance(why, bool) or not 0 < len(str(why).strip()) <= LONGEST_TEXT:
        raise InvalidInput(
            f"{quoted(text)}: write why it is held, in 1 to {LONGEST_TEXT} characters, not {quoted(why)}"
        )
    return source, "holds", hold, one_line(str(why).strip())[:LONGEST_TEXT]


def _release(text: str, sources: Mapping[str, Any], moment: Moment) -> tuple[str, str, str, str]:
    return (*_split(_tarball(text, sources, moment)), "")


def _split(place: tuple[str, str]) -> tuple[str, str, str]:
    return place[0], "holds", place[1]


def _tarball(text: str, sources: Mapping[str, Any], moment: Moment) -> tuple[str, str]:
    """Return (source, category/name/stamp) of source/category/name/stamp. Raise InvalidInput."""
    source, key, stamp = _item(text, sources)
    if not stamp:
        raise InvalidInput(f"{quoted(text)} has no stamp behind it, as list.yml shows them: {text}/2013/05/10/104701")
    if moment.is_ahead(stamp):
        raise InvalidInput(f"{quoted(text)} is later than now, {moment.latest}")
    hold = f"{key}/{stamp}"
    split_hold(hold)
    return source, hold


def _item(text: str, sources: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, str]:
    """Return (source, category/name, stamp or "") of source/category/name, optionally with a stamp. Raise InvalidInput."""
    parts = text.split("/")
    if len(parts) not in (3, 7) or not all(parts):
        raise InvalidInput(f"{quoted(text)} is not source/category/name, optionally with /YYYY/MM/DD/HHMMSS behind it")
    source, key, stamp = parts[0], "/".join(parts[1:3]), "/".join(parts[3:])
    if source not in sources:
        raise InvalidInput(
            f"{quoted(text)}: {source!r} is no source of the inventory, {nearest(source, list(sources))}"
        )
    if not _is_item(key, sources[source]):
        known = [f"{source}/{each}" for each in _known(sources[source])]
        raise InvalidInput(f"{quoted(text)}: {key} is no item of {source}, {nearest(f'{source}/{key}', known)}")
    if stamp and not is_stamp(stamp):
        raise InvalidInput(
            f"{quoted(text)}: {stamp!r} is no stamp of the form YYYY/MM/DD/HHMMSS, like 2013/05/10/104701"
        )
    return source, key, stamp


def _known(entry: Mapping[str, Any]) -> list[str]:
    """Return the items of a source, retired ones included."""
    return list(dict.fromkeys([*entry["item_keys"], *(entry.get("retired") or ())]))


def _is_item(key: str, entry: Mapping[str, Any]) -> bool:
    """Return whether a source has an item, or may discover it."""
    category, name = key.split("/")
    if key in _known(entry):
        return True
    try:
        check_name(name)
    except InvalidInput:
        return False
    return category in {CATEGORIES[kind] for kind in entry["discover"]}


def _before(stamp: str) -> str:
    """Return the stamp one second before."""
    before = parse_stamp(stamp) - timedelta(seconds=1)
    return f"{before.isoformat()[:10].replace('-', '/')}/{before:%H%M%S}"


def all_marks(known: Mapping[str, Mapping[str, Any]], given: MarksBySource, sources: Iterable[str]) -> MarksBySource:
    """Return {source: all its marks} of the sources that have any, from the controller's journal and those given now."""
    found = {
        source: asdict(added(parse_given(known.get(source)), parse_given(given.get(source))))
        for source in sources
        if known.get(source) or given.get(source)
    }
    return {source: marks for source, marks in found.items() if any(marks.values())}


def marked(plan: Mapping[str, Any], states: Mapping[str, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return (failures, notes) on the marks given: which trees have them, and which get them later. `states` is the run's state of each node."""
    here: dict[str, set[str]] = {}
    for state in states.values():
        for tree, holds in (state.get("held") or {}).items():
            here.setdefault(tree, set()).update(holds)
    failures: list[dict[str, Any]] = []
    notes: list[str] = []
    for source, marks in (plan.get("given") or {}).items():
        trees = list(_trees(plan, source))
        later = [tree for tree in trees if tree not in here]
        if later:
            notes.append(f"{', '.join(later)}: gets what was marked of {source} in the next run that reaches it")
        reached = [tree for tree in trees if tree in here]
        for hold, why in marks.get("holds", {}).items() if reached else ():
            if why and not any(hold in here[tree] for tree in reached):
                failures.append(_held_nowhere(source, hold, reached, later))
    return failures, notes


def _trees(plan: Mapping[str, Any], source: str) -> Iterator[str]:
    """Yield the labels of a source's trees as in notes: its own, and those on targets."""
    yield source
    for node, entry in plan["nodes"].items():
        if any(tree["role"] == "target" and tree["source"] == source for tree in entry["trees"]):
            yield f"{source} -> {node}"


def _held_nowhere(source: str, hold: str, reached: list[str], later: list[str]) -> dict[str, Any]:
    key, stamp = split_hold(hold)
    more = f" ({', '.join(later)} was not asked)" if later else ""
    reason = (
        f"{hold} is held, but no such tarball is there: on {', '.join(reached)}{more}. list.yml with -e altbackup_day={stamp[:10]} shows what "
        f"there is; take this back with {extra_vars({'altbackup_release': [f'{source}/{hold}']})}"
    )
    return {**failure(_STAGE, reason, key=key), "node": source}
