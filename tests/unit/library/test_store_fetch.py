"""Module store_fetch, in process, on a folder that is a store: find, list, fetch and remove."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.original_trees import is_as_documented, run_module, tree_hash
from helpers.store_calls import NEW, OLD, ask, two_tarballs, wanted
from helpers.stores import Place, served, sync

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with two tarballs."""
    return two_tarballs(tmp_path / "dayabay")


@pytest.fixture
def disk(base: Path, tmp_path: Path) -> Iterator[Place]:
    """Return a store that was filled."""
    with served("disk", tmp_path / "store") as place:
        sync(place, base, expect={}, items=["svn/x"])
        yield place


def test_a_store_is_listed_and_what_is_needed_of_it_is_brought_and_removed(disk: Place, base: Path) -> None:
    listed = ask(disk, base, "list")
    assert [(one["relpath"], one["state"]) for one in listed["tarballs"]] == [(OLD, "verified"), (NEW, "verified")]
    assert is_as_documented("store_fetch", listed)
    (tree,) = ask(disk, base, "find", keys=["svn/x"])["trees"]
    assert tree["keys"] == ["svn/x"] and not tree["problem"]
    brought = ask(disk, base, "fetch", tarballs=wanted(base, NEW))
    assert brought["changed"] and not brought["failures"]
    assert (Path(tree["base"]) / NEW).read_bytes() == (base / NEW).read_bytes()
    assert ask(disk, base, "remove", tarballs=wanted(base, NEW))["changed"]
    assert not Path(tree["base"]).exists() and not ask(disk, base, "remove")["changed"]


def test_a_list_says_what_is_suspect_held_or_not_whole_as_that_of_a_node_does(base: Path, tmp_path: Path) -> None:
    tree = open_tree(str(base))
    for relpath, told in ((OLD, {"suspect": ["it fell"]}), (NEW, {"incomplete": ["a file"]})):
        (entry,) = wanted(base, relpath)
        write_record(tree, "svn/x", "/".join(relpath.split("/")[2:6]), {**entry, **told})
    keep_marks(tree, {"holds": {"svn/x/2013/05/10/104701": "before the move"}})
    with served("disk", tmp_path / "store") as place:
        sync(place, base, expect={}, items=["svn/x"], keep=9)
        old, new = ask(place, base, "list")["tarballs"]
    assert (old["suspect"], old["hold"], "incomplete" in old) == (["it fell"], "before the move", False)
    assert (new["incomplete"], "suspect" in new, "hold" in new) == (True, False, False)


def test_check_mode_brings_nothing(disk: Place, base: Path) -> None:
    before = tree_hash(base)
    run_module(
        "store_fetch",
        check=True,
        store=disk.options,
        step="fetch",
        base=str(base),
        source="dayabay",
        tarballs=wanted(base, NEW),
    )
    assert tree_hash(base) == before
