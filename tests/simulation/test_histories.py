"""Histories of a year, with all that goes wrong in one: what the rules owe is there in each night, or somebody was told."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .world import World

pytestmark = pytest.mark.full
NUMBER = int(os.environ.get("ALTBACKUP_HISTORIES", "100"))
"""Histories that are tried"""


@dataclass(frozen=True)
class Event:
    """What happens before a night, and how long after the one before that is."""

    what: str
    hours: int
    chance: float


GOOD = ["changed"] * 6 + ["unchanged"] * 3
ODD = ["unmounted", "ransom", "mended", "accept", "hold", "release", "rot", "forge", "away", "fewer", "confirm", "more"]
events = st.builds(
    Event,
    st.sampled_from(GOOD + ODD),
    st.sampled_from([6, 23, 24, 24, 24, 25, 24 * 3, 24 * 8, 24 * 31, 24 * 100]),
    st.floats(0, 0.999),
)


def happen(world: World, event: Event, number: int) -> None:
    """Let an event happen."""
    node = world.nodes[int(event.chance * len(world.nodes))]
    target = world.nodes[-1]
    world.confirming = event.what == "confirm"
    target.away = event.what == "away"
    if event.what in ("changed", "mended"):
        world.live_on(number)
    elif event.what in ("unmounted", "ransom"):
        world.live_on(number, event.what)
    elif event.what == "accept":
        world.accept()
    elif event.what == "hold":
        world.hold(event.chance)
    elif event.what == "release":
        world.holds.clear()
    elif event.what == "rot":
        world.rot(node, event.chance)
    elif event.what == "forge":
        for part in range(5):
            world.forge((event.chance + part / 5) % 1)
    elif event.what == "fewer":
        node.rules = replace(node.rules, keep=1, daily=0)
    elif event.what == "more":
        node.rules = replace(node.rules, keep=4, daily=max(7, node.rules.daily))


def play(folder: Path, history: list[Event]) -> list[str]:
    """Return what is wrong with the first night that something is wrong with."""
    world = World(folder / "world")
    for number in range(4):
        world.live_on(number)
        if said := world.night(timedelta(days=1)):
            return [f"night {number}", *said, *world.told]
    for number, event in enumerate(history, 4):
        happen(world, event, number)
        if said := world.night(timedelta(hours=event.hours)):
            return [f"night {number} of {world.now}", *said, *world.told]
    return []


@settings(
    max_examples=NUMBER,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    derandomize=False,
    print_blob=True,
)
@given(st.lists(events, max_size=14))
def test_what_the_rules_owe_is_there_or_somebody_was_told(tmp_path: Path, history: list[Event]) -> None:
    assert play(tmp_path, history) == []
