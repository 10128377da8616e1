"""A source's knowledge of its targets."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, marked, put
from helpers.trees import written

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import is_relpath, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner, identify
from ansible_collections.altbackup.core.plugins.module_utils.tree.pairs import (
    Pair,
    count_purged,
    differences,
    keep_pairs,
    known_pair,
    known_pairs,
    pair_now,
    pair_path,
    parse_pair,
    purged_number,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.quarantine import note_healed, set_apart
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")
ONE, OTHER = "1" * 32, "2" * 32
WAS = Pair(ONE, 10, 100, "2013/05/10/104701", "2013/05/10/104701")


@pytest.mark.parametrize(
    ("now", "why"),
    [
        pytest.param({}, "", id="the same"),
        pytest.param({"copies": 12, "newest": "2013/05/11/104701"}, "", id="more"),
        pytest.param({"copies": 7, "purged": 103}, "", id="fewer, but purged"),
        pytest.param({"copies": 8, "purged": 103}, "", id="a killed purge counted more than it removed"),
        pytest.param({"id": ""}, "", id="a base of which the id is not known"),
        pytest.param({"copies": 9}, "it holds 9 copies, but held 10", id="one is missing"),
        pytest.param({"copies": 6, "purged": 103}, "held 10, of which 3 were purged since", id="more than purged"),
        pytest.param({"id": OTHER}, "its base is another one than before", id="another base with the same copies"),
        pytest.param(
            {"newest": "2013/05/09/104701"}, "the newest is of 2013/05/09/104701", id="an older state, as many"
        ),
        pytest.param(
            {"purged": 99}, "its own count of what was purged is an older one", id="an older state, nothing else"
        ),
        pytest.param(
            {"copies": 0, "newest": "", "purged": 0, "id": OTHER}, "the newest is of no run", id="an empty disk"
        ),
    ],
)
def test_a_tree_that_is_not_what_it_was_is_doubted(now: dict[str, Any], why: str) -> None:
    doubts = "; ".join(differences(WAS, replace(WAS, **now)))
    assert why in doubts and bool(why) == bool(doubts)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A source's tree on a target, with three copies of two items."""
    base = marked(tmp_path / "copies") / "dayabay"
    put(base, f"svn/a/{STAMP}/a-1.tar")
    put(base, "svn/a/2013/05/08/104701/a-1.tar")
    put(base, "svn/b/2013/05/09/104701/b-1.tar")
    return base


def test_a_tree_is_counted_with_the_items_that_were_not_seen(base: Path) -> None:
    tree, target = open_tree(str(base)), open_tree(str(base.parent))
    known = identify(target, Owner("target", "cms01"), claim=True)
    (base / "svn" / "b" / "2013" / "05" / "09" / "104701" / "b-2.tar").write_text("no dna")
    put(base, "svn/a/2199/05/08/104701/a-1.tar")
    put(base, "svn/b/2013/05/09/104701/other.tar")
    for keys in (set(), {"svn/a"}, {"svn/a", "svn/b"}):
        found = scan(tree, keys=keys).verified()
        seen = [tarball.stamp for tarball in found if is_relpath(tarball.relpath)]
        assert pair_now(tree, seen, keys, NOW) == Pair(known["id"], 3, 0, STAMP, NOW.stamp)
    count_purged(tree, 2)
    count_purged(tree, 0)
    count_purged(tree, 3)
    assert pair_now(tree, [], set(), NOW).purged == 5


def test_what_rotted_is_there_until_it_is_healed_and_is_not_lost(base: Path) -> None:
    tree = open_tree(str(base))
    before = pair_now(tree, [], set(), NOW)
    (rotten,) = scan(tree, keys={"svn/b"}).tarballs
    entry = set_apart(tree, rotten, Dna("0" * 64, 9), "it rotted", NOW)
    assert pair_now(tree, [], set(), NOW) == before
    put(base, rotten.relpath)
    assert pair_now(tree, [], set(), NOW) == before, "a good copy stands in its place again"
    note_healed(entry, NOW)
    assert pair_now(tree, [], set(), NOW) == before


def test_what_is_purged_from_a_sources_own_base_is_not_counted(tmp_path: Path) -> None:
    tree = open_tree(str(marked(tmp_path / "own")))
    count_purged(tree, 5)
    assert purged_number(tree) == 0


def test_what_is_known_of_targets_is_kept_for_each(tmp_path: Path) -> None:
    tree = open_tree(str(marked(tmp_path / "own")))
    assert known_pairs(tree) == ({}, [])
    keep_pairs(tree, {"cms01": asdict(WAS), "sdu": {}})
    before = written(pair_path(tree, "cms01"))
    keep_pairs(tree, {"cms01": asdict(WAS)})
    assert written(pair_path(tree, "cms01")) == before
    assert known_pairs(tree) == ({"cms01": WAS}, [])
    keep_pairs(tree, {"cms01": asdict(replace(WAS, copies=11)), "sdu": asdict(WAS)})
    assert known_pairs(tree) == ({"cms01": replace(WAS, copies=11), "sdu": WAS}, [])


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[]", "7", '{"id": "x"}', "\0" * 200, '"a"', "{" * 9000, "[" * 20000]
)
def test_a_damaged_record_is_no_missing_one(tmp_path: Path, text: str) -> None:
    tree = open_tree(str(marked(tmp_path / "own")))
    keep_pairs(tree, {"cms01": asdict(WAS), "sdu": asdict(WAS)})
    path = Path(pair_path(tree, "cms01"))
    path.write_text(text)
    found, (error,) = known_pairs(tree)
    assert found == {"sdu": WAS} and str(path) in str(error)
    newer = replace(WAS, copies=11)
    (error,) = keep_pairs(tree, {"cms01": asdict(newer), "sdu": asdict(newer)})
    assert isinstance(error, AltbackupError) and "is damaged" in str(error)
    assert path.read_text() == text
    assert known_pair(tree, "sdu") == newer, "one that is damaged keeps no other from being kept"
    path.unlink()
    assert known_pair(tree, "cms01") is None


def test_a_damaged_count_is_no_empty_one(base: Path) -> None:
    tree = open_tree(str(base))
    count_purged(tree, 1)
    path = Path(tree.private_path("state", "purged"))
    for text in ("", "-1\n", "1.5", "true", "{}"):
        path.write_text(text)
        for function in (purged_number, lambda tree: count_purged(tree, 1)):
            with pytest.raises(AltbackupError, match="is damaged"):
                function(tree)
        assert path.read_text() == text
    shutil.rmtree(path.parent)
    assert purged_number(tree) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"copies": -1},
        {"copies": True},
        {"copies": 1 << 60},
        {"purged": "1"},
        {"newest": "now"},
        {"run": 7},
        {"id": None},
    ],
)
def test_what_is_no_pair_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        parse_pair({**asdict(WAS), **change})
    with pytest.raises(InvalidInput):
        parse_pair({"id": ONE})
    assert parse_pair({}) is None and parse_pair(None) is None


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\0b"])
def test_a_target_is_a_name(tmp_path: Path, name: str) -> None:
    tree = open_tree(str(marked(tmp_path / "own")))
    (error,) = keep_pairs(tree, {name: asdict(WAS), "sdu": asdict(WAS)})
    assert isinstance(error, InvalidInput) and "is no target" in str(error)
    assert known_pairs(tree) == ({"sdu": WAS}, [])
