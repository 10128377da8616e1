"""Module store_fetch, in process, on a folder that is a store: find, list, fetch and remove."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, put, run_module, tree_hash
from helpers.stores import Place, said, served, sync

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record

OLD, NEW = "svn/x/2013/05/10/104701/x-1.tar", "svn/x/2013/05/11/104701/x-2.tar"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a base with two tarballs."""
    base = marked(tmp_path / "dayabay")
    put(base, OLD, b"one" * 3000)
    put(base, NEW, b"two" * 3000)
    return base


@pytest.fixture
def disk(base: Path, tmp_path: Path) -> Iterator[Place]:
    """Return a store that was filled."""
    with served("disk", tmp_path / "store") as place:
        sync(place, base, expect={}, items=["svn/x"])
        yield place


def ask(place: Place, base: Path, step: str, **options: Any) -> dict[str, Any]:
    """Run the module."""
    given = {"base": str(base), "source": "dayabay", "fail": False, **options}
    return run_module("store_fetch", store=place.options, step=step, **given)


def wanted(base: Path, *relpaths: str) -> list[dict[str, Any]]:
    """Return tarballs as the module takes them."""
    return [{"relpath": path, **json.loads((base / f"{path}.dna").read_text())} for path in relpaths]


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


def test_a_store_that_swapped_two_tarballs_gives_neither(disk: Place, base: Path) -> None:
    for one, other in ((OLD, NEW), (NEW, OLD)):
        disk.write(f"dayabay/{one}", (base / other).read_bytes())
    assert NEW in said(ask(disk, base, "fetch", tarballs=wanted(base, NEW)))


def test_more_bytes_than_were_told_do_not_fill_the_disk_of_the_node(disk: Place, base: Path) -> None:
    assert disk.folder is not None
    os.truncate(disk.folder / "dayabay" / NEW, 1 << 30)
    assert ask(disk, base, "fetch", tarballs=wanted(base, NEW))["failures"]
    brought = base / ".altbackup/fetched/vault/dayabay" / NEW
    assert not brought.exists() or brought.stat().st_size < 1 << 28


def test_a_record_that_is_too_long_is_not_brought(disk: Place, base: Path) -> None:
    assert disk.folder is not None
    disk.write(".altbackup/records/dayabay/svn/x/2013/05/11/104701.json", b"{}")
    os.truncate(disk.folder / ".altbackup/records/dayabay/svn/x/2013/05/11/104701.json", 1 << 30)
    (tree,) = ask(disk, base, "find", keys=["svn/x"])["trees"]
    assert "max transfer limit" in tree["problem"], tree


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "a\nb"])
def test_what_names_no_folder_is_refused(name: str, disk: Place, base: Path) -> None:
    assert "is no name of a folder" in said(ask(disk, base, "list", source=name))
    if name:
        assert "is no name of a folder" in said(sync(disk, base, source=name))
    disk.options["name"] = name
    assert "is no name of a folder" in said(ask(disk, base, "list"))
    assert "is no name of a folder" in said(sync(disk, base))
