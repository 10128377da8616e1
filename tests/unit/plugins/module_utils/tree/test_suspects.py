"""Verified tarballs with doubtful content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, record_path, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.suspects import doubts_of, reasons_of, suspects_of

KEY = "svn/dybsvn"
NIGHTS = [f"2013/05/{day}/104701" for day in ("10", "11", "12")]
WHY = "entries fell from 1,204 to 3"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with three tarballs of an item, the last two suspect."""
    (tmp_path / ".altbackup").mkdir()
    for stamp in NIGHTS:
        folder = tmp_path / KEY / stamp
        folder.mkdir(parents=True)
        (folder / "dybsvn.tar").touch()
    tree = open_tree(str(tmp_path))
    for stamp in NIGHTS[1:]:
        write_record(tree, KEY, stamp, {"suspect": [WHY]})
    return tree


def tarballs(tree: Tree) -> list[Tarball]:
    return scan(tree).tarballs


def relpaths(*stamps: str) -> set[str]:
    return {f"{KEY}/{stamp}/dybsvn.tar" for stamp in stamps}


@pytest.mark.parametrize(
    ("accepted", "left"),
    [
        ({}, NIGHTS[1:]),
        ({KEY: NIGHTS[0]}, NIGHTS[1:]),
        ({KEY: NIGHTS[1]}, NIGHTS[2:]),
        ({KEY: NIGHTS[2]}, []),
        ({"git/toolbox": NIGHTS[2]}, NIGHTS[1:]),
    ],
)
def test_suspects_are_those_whose_record_says_so_and_that_nobody_accepted(
    tree: Tree, accepted: dict[str, str], left: list[str]
) -> None:
    assert suspects_of(tree, tarballs(tree), Marks(accepted)) == relpaths(*left)
    assert reasons_of(tree, tarballs(tree), Marks(accepted)) == {key: [WHY] for key in relpaths(*left)}


@pytest.mark.parametrize(
    ("said", "doubts"),
    [(None, []), ([], []), ("", []), (False, []), ("shrunk", ["shrunk"]), ([1], ["1"]), (True, 1), ({"a": "b"}, 1)],
)
def test_whatever_a_record_says_as_suspect_makes_it_one(said: Any, doubts: list[str] | int) -> None:
    found = doubts_of({"suspect": said})
    assert found == doubts if isinstance(doubts, list) else len(found) == doubts


@pytest.mark.parametrize("text", ["", "[]", "{", "\0\0"])
def test_a_damaged_record_does_not_make_a_suspect_a_good_copy(tree: Tree, text: str) -> None:
    path = Path(record_path(tree, KEY, NIGHTS[1]))
    path.write_text(text)
    with pytest.raises(AltbackupError) as error:
        suspects_of(tree, tarballs(tree), Marks())
    for word in (str(path), "is damaged", "suspect"):
        assert word in str(error.value)
    assert suspects_of(tree, tarballs(tree), Marks({KEY: NIGHTS[1]})) == relpaths(NIGHTS[2])


@pytest.mark.parametrize("form", ["folder", "link", "pipe", "large"])
def test_a_record_that_cannot_be_read_does_not_make_a_suspect_a_good_copy(tree: Tree, form: str) -> None:
    path = Path(record_path(tree, KEY, NIGHTS[1]))
    path.rename(path.with_name("other"))
    if form == "folder":
        path.mkdir()
    elif form == "link":
        path.symlink_to("other")
    elif form == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as stream:
            stream.truncate(1 << 40)
    with pytest.raises(AltbackupError, match=r"cannot be read|is damaged"):
        suspects_of(tree, tarballs(tree), Marks())
    assert read_record(tree, KEY, NIGHTS[1]) == {}
