"""Preflight when the server of a mount does not answer: paths below it are named, and nothing else is delayed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from helpers.dead_mount import dead_mount, run_apart
from helpers.repositories import make_git
from helpers.trees import item

from ansible_collections.altbackup.core.plugins.modules import preflight


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A marked base."""
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    return tmp_path / "base"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("place", ["base", "base below", "marker"])
def test_base_on_a_dead_mount_is_named_and_not_usable(base: Path, tmp_path: Path, place: str) -> None:
    make_git(tmp_path / "shelf" / "good.git")
    dead = {"base": tmp_path / "dead", "base below": tmp_path / "dead", "marker": base / "private"}[place]
    wanted = {"base": dead, "base below": dead / "sub" / "base", "marker": base}[place]
    with dead_mount(dead):
        started = time.monotonic()
        result = run_apart(
            preflight,
            {
                "bases": [str(wanted)],
                "discover": {"git": str(tmp_path / "shelf")},
                "locks": [str(wanted)],
                "fail": False,
            },
        )
        assert time.monotonic() - started < 20
    silent = dead if place == "marker" else wanted
    assert [entry["reason"] for entry in result["failures"]] == [
        f"{silent} does not answer within 3 s: is the server of its mount up?"
    ]
    assert result["usable"] is False
    assert [found["name"] for found in result["items"]] == ["good.git"]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("place", ["folder", "mount in the folder", "mount in a group", "link", "link in a group"])
def test_discovery_names_what_does_not_answer_and_finds_the_rest(base: Path, tmp_path: Path, place: str) -> None:
    shelf = tmp_path / "shelf"
    make_git(shelf / "good.git")
    make_git(shelf / "group" / "fine.git")
    dead, silent = {
        "folder": (tmp_path / "dead", tmp_path / "dead"),
        "mount in the folder": (shelf / "dead", shelf / "dead"),
        "mount in a group": (shelf / "group" / "dead", shelf / "group" / "dead"),
        "link": (tmp_path / "dead", shelf / "link"),
        "link in a group": (tmp_path / "dead", shelf / "group" / "link"),
    }[place]
    if place.startswith("link"):
        silent.symlink_to(dead)
    with dead_mount(dead):
        result = run_apart(
            preflight,
            {"bases": [str(base)], "discover": {"git": str(silent if place == "folder" else shelf)}, "fail": False},
        )
    assert [entry["reason"] for entry in result["failures"]] == [
        f"altbackup_discover: git: {silent} does not answer within 3 s: is the server of its mount up?"
    ]
    assert sorted(found["name"] for found in result["items"]) == (
        [] if place == "folder" else ["good.git", "group%2Ffine.git"]
    )
    assert (result["discovered"], result["usable"]) == (False, True)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("place", ["item", "mount in the item"])
def test_estimate_leaves_out_what_does_not_answer(base: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "live" / "other").mkdir(parents=True)
    dead = tmp_path / "live" / "dead"
    items = [item("folder", dead if place == "item" else tmp_path / "live", "hung")]
    with dead_mount(dead):
        result = run_apart(preflight, {"bases": [str(base)], "items": items})
    assert (result["failures"], result["usable"]) == ([], True)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("place", ["the tree of another source", "a part of the tree", "state"])
def test_of_a_target_only_what_the_run_needs_has_to_answer(base: Path, place: str) -> None:
    dead = (
        base
        / {
            "the tree of another source": "other",
            "a part of the tree": "dayabay/svn",
            "state": ".altbackup/locks",
        }[place]
    )
    options = {
        "bases": [str(base)],
        "trees": [{"base": str(base / "dayabay"), "keys": ["svn/dybsvn"]}],
        "locks": [str(base / "dayabay")],
        "fail": False,
    }
    with dead_mount(dead):
        result = run_apart(preflight, options)
    needed = place != "the tree of another source"
    assert [entry["reason"] for entry in result["failures"]] == (
        [f"{dead} does not answer within 3 s: is the server of its mount up?"] if needed else []
    )
    unusable = {"the tree of another source": [], "a part of the tree": [f"{base}/dayabay"], "state": [str(base)]}[
        place
    ]
    assert (result["usable"], result["unusable"]) == (place != "state", unusable)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("asked", ["own tree", "all trees"])
def test_tree_of_another_source_that_does_not_answer_leaves_the_rest_of_a_target_usable(base: Path, asked: str) -> None:
    (base / "alive").mkdir()
    trees = [{"base": str(base / name), "keys": []} for name in ("alive", "dead")[: 1 if asked == "own tree" else 2]]
    with dead_mount(base / "dead"):
        result = run_apart(preflight, {"bases": [str(base)], "trees": trees, "space": False, "fail": False})
    unusable = [tree["base"] for tree in trees[1:]]
    assert [entry["reason"] for entry in result["failures"]] == [
        f"{path} does not answer within 3 s: is the server of its mount up?" for path in unusable
    ]
    assert (result["usable"], result["unusable"]) == (True, unusable)


@pytest.mark.full
def test_estimate_leaves_out_a_discovered_repository_in_which_a_mount_does_not_answer(
    base: Path, tmp_path: Path
) -> None:
    make_git(tmp_path / "shelf" / "hung.git")
    with dead_mount(tmp_path / "shelf" / "hung.git" / "dead"):
        result = run_apart(preflight, {"bases": [str(base)], "discover": {"git": str(tmp_path / "shelf")}})
    assert ([found["name"] for found in result["items"]], result["failures"]) == (["hung.git"], [])
    assert result["usable"] is True
