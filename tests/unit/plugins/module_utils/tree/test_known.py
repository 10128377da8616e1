"""Items that a tree ever held."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.original_trees import STAMP, marked, put
from helpers.trees import written

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.known import (
    held_items,
    known_items,
    known_path,
    remember_held,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree


@pytest.fixture(params=["", "dayabay"], ids=["source", "target"])
def base(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A source's own base, and a source's tree on a target, each with one item."""
    base = marked(tmp_path / "base") / request.param
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-1.tar")
    return base


def test_what_was_held_is_known_after_it_is_gone(base: Path) -> None:
    tree = open_tree(str(base))
    assert known_items(tree) == set()
    remember_held(tree)
    shutil.rmtree(base / "svn")
    put(base, f"git/toolbox/{STAMP}/toolbox.tar")
    assert held_items(tree) == {"git/toolbox"}
    remember_held(tree)
    assert known_items(tree) == {"svn/dybsvn", "git/toolbox"}


def test_what_is_known_already_is_not_written_again(base: Path) -> None:
    tree = open_tree(str(base))
    remember_held(tree)
    before = written(known_path(tree))
    remember_held(tree)
    assert written(known_path(tree)) == before


def test_only_folders_with_a_year_hold_anything(base: Path) -> None:
    for name in ("svn/empty", "svn/odd/notes", ".hidden/x/2013", "lost+found/x/2013", "oldLOCKED/x/2013"):
        (base / name).mkdir(parents=True)
    (base / "svn" / "link").symlink_to("dybsvn")
    assert held_items(open_tree(str(base))) == {"svn/dybsvn"}


@pytest.mark.parametrize(
    "text", [b"", b"svn/a", b"svn\n", b"svn/a\n\n", b"\0\0\0\n", b"svn/a/b\n", b"\xff/x\n", b"/x\n"]
)
def test_a_damaged_memory_is_no_empty_one(base: Path, text: bytes) -> None:
    tree = open_tree(str(base))
    path = Path(known_path(tree))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    for function in (known_items, remember_held):
        with pytest.raises(AltbackupError, match="is damaged") as raised:
            function(tree)
        assert str(path) in str(raised.value)
    assert path.read_bytes() == text
