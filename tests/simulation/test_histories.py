"""Histories of a year, with everything that goes wrong in one: what the rules demand is there in each night, or a failure was reported."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from simulation.conftest import TRIED

from .live import KINDS
from .world import World

pytestmark = pytest.mark.full
NUMBER = int(os.environ.get("ALTBACKUP_HISTORIES", "100"))
"""Number of histories that are tried"""
PARTS = min(16, NUMBER)
"""Number of tests among which they are divided, for several workers"""
GOOD_NIGHTS = 4
"""Nights of a history before anything happens"""


@dataclass(frozen=True)
class Event:
    """An event before a night, and the time since the night before."""

    what: str
    hours: int
    chance: float


@dataclass(frozen=True)
class History:
    """A site, and the events that happen to it."""

    events: Sequence[Event]
    kind: str = "folder"
    min_copies: int = 1
    full_every: int = 1


def _fewer(world: World, event: Event) -> None:
    node = world.nodes[int(event.chance * len(world.nodes))]
    node.rules = replace(node.rules, keep=1, daily=0)


def _more(world: World, event: Event) -> None:
    node = world.nodes[int(event.chance * len(world.nodes))]
    node.rules = replace(node.rules, keep=4, daily=max(7, node.rules.daily))


def _forge(world: World, event: Event) -> None:
    for part in range(5):
        world.forge((event.chance + part / 5) % 1)


def _targets(world: World, event: Event) -> int:
    """Return the target that an event concerns, by default the last one."""
    return -1 - int((1 - event.chance) * len(world.nodes[1:])) % len(world.nodes[1:])


def _set(name: str, *, target: bool = False) -> Callable[[World, Event], None]:
    """Return a function that sets an attribute of the world, or of one of its targets, for tonight."""
    return lambda world, event: setattr(world.nodes[_targets(world, event)] if target else world, name, True)


ODD: dict[str, Callable[[World, Event], object]] = {
    "accept": lambda world, event: world.accept(),
    "adopt": _set("adopting"),
    "ahead": lambda world, event: world.forge(event.chance / 10, ahead=True),
    "away": _set("away", target=True),
    "confirm": _set("confirming"),
    "declare": lambda world, event: world.declare(),
    "fewer": _fewer,
    "forge": _forge,
    "gone": _set("gone"),
    "hold": lambda world, event: world.hold(event.chance),
    "killed": lambda world, event: setattr(world, "kill_after", 1 + int(event.chance * 13)),
    "more": _more,
    "release": lambda world, event: world.release(),
    "replaced": lambda world, event: world.replace_disk(world.nodes[_targets(world, event)]),
    "replaced_source": lambda world, event: world.replace_disk(world.source),
    "restored": lambda world, event: world.restore_snapshot(world.nodes[_targets(world, event)]),
    "retire": lambda world, event: world.retire(),
    "rot": lambda world, event: world.rot(world.nodes[int(event.chance * len(world.nodes))], event.chance),
    "snapshot": lambda world, event: world.take_snapshot(world.nodes[_targets(world, event)]),
    "undeclare": lambda world, event: world.undeclare(),
    "undo": lambda world, event: world.undo(),
    "unplugged": _set("unplugged", target=True),
    "unplugged_source": lambda world, event: setattr(world.source, "unplugged", True),
}
NIGHTS: dict[str, Callable[[Event], dict[str, object]]] = {
    "clock_ahead": lambda event: {"jump": timedelta(hours=2 + int(event.chance * 24 * 300))},
    "clock_behind": lambda event: {"jump": -timedelta(hours=2 + int(event.chance * 24 * 40))},
    "back_dated": lambda event: {"back": timedelta(hours=1 + int(event.chance * 50))},
    "rerun": lambda event: {"rerun": True},
}
"""Oddities of a night itself"""
WAYS = sorted({way for kind in KINDS.values() for way in kind.ways})
"""Possible damage to live data"""
GOOD = ["changed"] * 10 + ["unchanged"] * 5
events = st.builds(
    Event,
    st.sampled_from(GOOD + ["bad"] * 5 + ["mended"] * 2 + [*ODD, *NIGHTS]),
    st.sampled_from([6, 23, 24, 24, 24, 25, 24 * 3, 24 * 8, 24 * 31, 24 * 100]),
    st.floats(0, 0.999),
)
histories = st.builds(
    History,
    st.lists(events, max_size=14),
    st.sampled_from(["folder"] * 5 + ["sqlite", "git", "svn"]),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([1, 1, 1, 4, 40]),
)


def happen(world: World, event: Event, number: int) -> list[str]:
    """Run an event and its night; return what the model finds wrong."""
    said: object = None
    if event.what in ("changed", "mended"):
        world.change(number)
    elif event.what == "bad":
        ways = world.live.ways
        world.spoil(ways[int(event.chance * len(ways))], number)
    elif event.what in WAYS:
        world.spoil(event.what, number)
    elif event.what in ODD:
        said = ODD[event.what](world, event)
    given = NIGHTS[event.what](event) if event.what in NIGHTS else {}
    return [*(said if isinstance(said, list) else []), *world.night(timedelta(hours=event.hours), **given)]  # type: ignore[arg-type]


def play(folder: Path, history: Sequence[Event] | History) -> list[str]:
    """Return what is wrong with the first night with an error."""
    history = history if isinstance(history, History) else History(history)
    world = World(folder / "world", history.kind, min_copies=history.min_copies, full_every=history.full_every)
    for number in range(GOOD_NIGHTS):
        world.change(number)
        if said := world.night(timedelta(days=1)):
            return [f"night {number}", *said, *world.told]
    for number, event in enumerate(history.events, GOOD_NIGHTS):
        if said := happen(world, event, number):
            return [f"night {number} of {world.now}, {event.what}", *said, *world.told]
    return []


@pytest.mark.parametrize("part", range(PARTS))
def test_what_the_rules_owe_is_there_or_somebody_was_told(
    part: int, place: Path, record_property: Callable[[str, object], None]
) -> None:
    tried: Counter[str] = Counter()
    begin = time.monotonic()

    @settings(
        max_examples=NUMBER // PARTS + (part < NUMBER % PARTS),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        print_blob=True,
    )
    @given(histories)
    def try_all(history: History) -> None:
        tried.update(histories=1, nights=GOOD_NIGHTS + len(history.events))
        tried.update(event.what for event in history.events)
        tried.update({"with differentials": history.full_every > 1})
        assert play(place, history) == []

    try:
        try_all()
    finally:
        record_property(TRIED, {**tried, "seconds": time.monotonic() - begin})
