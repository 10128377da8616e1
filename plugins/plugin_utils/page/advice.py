"""What is wrong, most important first, and what to do about it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...module_utils.system.units import first_of
from ..history.standing import Standing, State
from ..planning.quantities import age

_TOLD = 3
"""Most nodes that a title names"""
_NIGHT = "altbackup run backup"
_SAID = {
    "failed": "failed in the last run about it",
    "suspect": "is suspect: not what the nights before let expect",
    "none": "has no good copy",
    "old": "has no new good copy",
}
_WEIGHT = {"none": 0, "suspect": 1, "failed": 2, "old": 3}


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong."""

    what: str
    item: str = ""
    """"" if it concerns no single item"""
    where: str = ""
    why: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    """What to do; a command begins with `altbackup `"""


def troubles(state: State) -> list[Trouble]:
    """Return what is wrong, general troubles first, then those of items, each with what to do."""
    return [*_general(state), *_of_items(state.bad)]


def _general(state: State) -> Iterator[Trouble]:
    if not state.copies:
        yield Trouble("There is no copy of anything", steps=(_NIGHT, "altbackup status --rebuild"))
    for base in state.bases:
        if base.problem:
            step = f"Bring {base.node} and its disk back; the next run does what is missing, or at once:"
            yield Trouble(f"{base.title} could not be used", why=(base.problem,), steps=(step, _NIGHT))
    for run in state.runs:
        if run["state"] != "good":
            steps = ("altbackup last", "altbackup log") if run["folder"] else (_NIGHT,)
            why = (str(run["message"]),) if run["message"] else ()
            yield Trouble(f"The last {run['playbook']} ended with: {run['state']}", why=why, steps=steps)


def _of_items(bad: Iterable[Standing]) -> list[Trouble]:
    """Return the troubles of items; nodes with the same faults for the same reason share one."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Standing]] = {}
    for entry in bad:
        why = entry.suspect or entry.problem
        groups.setdefault((entry.item, tuple(entry.faults), why), []).append(entry)
    found = sorted(groups.items(), key=lambda group: (min(_WEIGHT[word] for word in group[0][1]), group[0][0]))
    return [_trouble(item, faults, why, entries) for (item, faults, why), entries in found]


def _trouble(item: str, faults: Sequence[str], why: str, entries: Sequence[Standing]) -> Trouble:
    nodes = [f"{entry.node} ({_newest(entry)})" for entry in entries]
    return Trouble(
        " and ".join(_SAID[word] for word in faults),
        item,
        first_of(nodes, _TOLD),
        (why,) if why else (),
        tuple(_steps(shlex.quote(item), faults)),
    )


def _newest(entry: Standing) -> str:
    return "no good copy" if entry.age is None else f"newest good copy {age(entry.age)} old"


def _steps(item: str, faults: Sequence[str]) -> Iterator[str]:
    if "suspect" in faults:
        yield f"altbackup diff {item}"
        yield "If that is as it should be:"
        yield f"altbackup accept {item}"
    elif "failed" in faults:
        yield "altbackup log"
        yield "Mend what it names; the next run tries again, or at once:"
        yield _NIGHT
    else:
        yield f"altbackup list {item}"
        yield _NIGHT
