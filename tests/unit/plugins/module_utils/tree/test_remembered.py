"""The items that a target remembers of its source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import written

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.remembered import (
    remember_items,
    remembered_items,
    with_remembered,
)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree of a source on a target."""
    (tmp_path / ".altbackup").mkdir()
    (tmp_path / "dayabay").mkdir()
    return open_tree(str(tmp_path / "dayabay"))


def test_items_are_remembered_each_once_and_in_order(tree: Tree) -> None:
    assert remembered_items(tree) == []
    remember_items(tree, ["svn/two", "svn/one", "svn/two"])
    assert remembered_items(tree) == ["svn/one", "svn/two"]
    remember_items(tree, ["git/three"])
    assert remembered_items(tree) == ["git/three"]


def test_the_same_items_are_not_written_again(tree: Tree) -> None:
    remember_items(tree, ["svn/one"])
    path = Path(tree.private_path("records"), "items")
    before = written(path)
    remember_items(tree, ["svn/one"])
    assert written(path) == before


@pytest.mark.parametrize(
    ("expect", "items", "expected", "known"),
    [
        ({}, None, {"one": 1}, None),
        ({"one": 1}, ["svn/one"], {"one": 1}, ["svn/one"]),
        ({"one": 1}, ["git/one"], {"one": 2}, ["git/one", "svn/one"]),
        ({"one": "1", "two": 3}, [], {"one": 2, "two": 3}, ["svn/one"]),
        ({"one": "many"}, [], {"one": "many"}, ["svn/one"]),
    ],
)
def test_what_is_expected_grows_by_what_is_remembered(
    tree: Tree, expect: dict[str, Any], items: list[str] | None, expected: dict[str, Any], known: list[str] | None
) -> None:
    remember_items(tree, ["svn/one"])
    assert with_remembered(tree.base, expect, items) == (expected, known)


@pytest.mark.parametrize("form", ["bytes", "large", "pipe", "link"])
def test_what_is_no_list_of_items_is_named_and_written_anew(tree: Tree, tmp_path: Path, form: str) -> None:
    remember_items(tree, ["svn/one"])
    path = Path(tree.private_path("records"), "items")
    path.rename(tmp_path / "other")
    if form == "bytes":
        path.write_bytes(b"svn/\xff\n")
    elif form == "large":
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    elif form == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "other")
    with pytest.raises((AltbackupError, OSError), match="items"):
        remembered_items(tree)
    if form in ("bytes", "large"):
        remember_items(tree, ["svn/two"])
        assert remembered_items(tree) == ["svn/two"]
    assert (tmp_path / "other").read_text() == "svn/one\n"
