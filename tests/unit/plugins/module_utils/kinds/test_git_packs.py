"""Packs as files: their contents, and which are combined."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from helpers.repositories import git, make_git

from ansible_collections.altbackup.core.plugins.module_utils.kinds.git_packs import (
    are_within,
    indexes_of,
    names_in,
    objects_in_pack,
    to_put_together,
)


@pytest.fixture(params=["sha1", "sha256"])
def live(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a repository with two packs: one of the tags, one of everything else."""
    live = make_git(tmp_path / "live.git", object_format=request.param)
    for names in (git(live, "rev-list", "--objects", "main"), git(live, "rev-parse", "v1")):
        git(live, "pack-objects", "-q", str(live / "objects" / "pack" / "pack"), input=f"{names}\n".encode())
    return live


def test_objects_of_all_packs_are_counted_and_named(live: Path) -> None:
    main = sorted(line.split()[0] for line in git(live, "rev-list", "--objects", "main").splitlines())
    indexes = sorted(indexes_of(str(live)), key=lambda path: len(list(names_in(path))))
    assert [name.hex() for name in names_in(indexes[1])] == main
    assert [name.hex() for name in names_in(indexes[0])] == [git(live, "rev-parse", "v1")]
    assert objects_in_pack(str(live)) == len(main) + 1


def test_what_one_has_another_may_have(live: Path) -> None:
    small, large = sorted(indexes_of(str(live)), key=lambda path: len(list(names_in(path))))
    assert are_within([small, large], [large, small])
    assert are_within([], [small]) and are_within([], [])
    assert not are_within([small, large], [large])
    assert not are_within([small], [])


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([], 3, 0),
        ([5, 5, 5], 3, 0),
        ([5, 5, 5, 5], 3, 4),
        ([5, 5, 5, 1000], 3, 3),
        ([5, 5, 5, 20], 3, 4),
        ([1, 2, 4, 8], 3, 0),
        ([1, 1, 1, 100, 1000], 3, 3),
        ([1, 1, 1, 100, 150, 1000], 3, 5),
        ([1000, 1000], 1, 2),
    ],
)
def test_small_packs_become_one_and_large_ones_stay(sizes: list[int], most: int, expected: int) -> None:
    packs = {f"{number}": size for number, size in enumerate(sizes)}
    taken = to_put_together(packs, most)
    assert len(taken) == expected
    left = sorted([size for name, size in packs.items() if name not in taken] + [sum(packs[name] for name in taken)])
    assert all(larger >= 2 * smaller for smaller, larger in itertools.pairwise(left)) or not taken
