"""Ten histories that once lost data in silence, night by night: when the alarm comes, and what every node still has after thirty nights.

In each the first three nights are good, and from the fourth on something is wrong that nobody mends; digests match all the while. All nodes
keep three days and contents, and nothing else: so nothing good would be left after the sixth night.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from .live import Folder
from .model import Rules
from .world import World

pytestmark = pytest.mark.full
NIGHTS, GOOD = 30, 3
BEFORE = 10
"""Good nights of histories in which more than three are kept"""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Wrong:
    """A fault, and its report in the first night."""

    kind: str
    happens: Callable[[World, int], object]
    """Called before each night from the fourth on, with the number of the night"""
    alarm: str
    again: str = "is suspect"
    """Its report in all later nights"""
    keep: int = 3
    """Number that all nodes keep"""
    good: int = GOOD
    """Number of good nights before"""

    def stays(self, node: int, night: int) -> set[int]:
        """Return the contents that must be there: all good ones, and tonight's; node 0 is the source."""
        return {*range(self.good), night}


class Replaced(Wrong):
    """An empty disk in place of the first target's."""

    def stays(self, node: int, night: int) -> set[int]:
        """Return the contents: there is no reason to remove anything there, and none to keep more elsewhere."""
        return set(range(self.good, night + 1)) if node == 1 else {night, night - 1, night - 2}


def spoiled(way: str) -> Callable[[World, int], object]:
    """Return a function that damages the live data, with another content each night, as if they were used on."""
    return lambda world, night: world.spoil(way, night)


def _keep_one(world: World, night: int) -> None:
    for node in world.nodes:
        node.rules = replace(node.rules, keep=1)
    world.change(night)


def _replace_target(world: World, night: int) -> None:
    world.change(night)
    if night == GOOD:
        world.replace_disk(world.nodes[1])


HISTORIES = {
    "a service writes into a path that is not mounted": Wrong("folder", spoiled("unmounted"), "entries fell from"),
    "a folder in it was emptied": Wrong("folder", spoiled("emptied"), "entries fell from"),
    "all of it was encrypted": Wrong("folder", spoiled("ransom"), "it looks encrypted: of"),
    "its path leads elsewhere": Wrong("folder", spoiled("repointed"), "its path leads to"),
    "a repository of Git was made anew": Wrong("git", spoiled("recreated"), "root of its history"),
    "a repository of Git was pushed over": Wrong("git", spoiled("rewritten"), "is suspect"),
    "a repository of Subversion was made anew": Wrong("svn", spoiled("recreated"), "its UUID is"),
    "a database lost its rows": Wrong("sqlite", spoiled("rowless"), "rows fell from"),
    "keep is mistyped": Wrong("folder", _keep_one, "keep from 10 to 1", "keep from 10 to 1", BEFORE, BEFORE),
    "an empty disk took the place of one": Replaced(
        "folder", _replace_target, "is not what it was after the run of", "is not what it was after the run of"
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_alarm_comes_in_the_first_night_and_the_good_copies_stay(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = HISTORIES[name]
    monkeypatch.setattr(Folder, "files", 120)
    world = World(place / "world", wrong.kind)
    for node in world.nodes:
        node.rules = node.confirmed = Rules(wrong.keep)
    for number in range(wrong.good):
        world.change(number)
        assert world.night(DAY) == []
        assert world.told == []
    assert [contents_on(world, node) for node in range(3)] == [set(range(wrong.good))] * 3
    for number in range(wrong.good, NIGHTS):
        wrong.happens(world, number)
        assert world.night(DAY) == []
        words = wrong.alarm if number == wrong.good else wrong.again
        assert [text for text in world.told if words in text], (number, world.told)
        for node in range(3):
            assert wrong.stays(node, number) <= contents_on(world, node), (number, node)


def contents_on(world: World, node: int) -> set[int]:
    """Return the contents that a node has, by their bytes."""
    return {copy.content for copy in world.seen(world.nodes[node]).values()}
