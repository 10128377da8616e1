"""Shared by all kinds: walking a folder, and what changed between two walks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds import base
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import (
    compare,
    look_at,
    require_inside,
    require_plain,
    walk,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.system.conversation import NeedsPlace
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    DeadlineExceeded,
    InvalidInput,
    SourceChanged,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a folder with a file, a link, and a folder whose name sorts before what is in its sibling."""
    folder = tmp_path / "top"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "file").write_text("x")
    (folder / "a-b").write_text("y")
    (folder / "link").symlink_to("a/file")
    return folder


def test_walk_ends_at_its_deadline(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match="the dump took longer than its limit of 0 s"):
        walk(str(tmp_path), deadline=Deadline(0, "dump"))


def test_a_walk_has_what_is_in_a_folder_right_behind_it(top: Path) -> None:
    assert list(walk(str(top))[0]) == [b".", b"./a", b"./a/file", b"./a-b", b"./link"]
    assert list(walk(str(top), lambda path, folder: folder and path == "a")[0]) == [b".", b"./a-b", b"./link"]


def test_paths_too_long_to_be_opened_are_named(top: Path) -> None:
    look = look_at(str(top), longest=3)
    assert look.too_long == ["a/file", "link"] and b"./a-b" in look.found
    assert "a/file (of 6 bytes below the item's folder) and 1 more are longer" in base.too_long("/x", look.too_long)


def change_content(top: Path) -> None:
    (top / "a" / "file").write_text("longer")


def change_mode(top: Path) -> None:
    (top / "a-b").chmod(0o600)


def add(top: Path) -> None:
    (top / "a" / "new").touch()


def remove(top: Path) -> None:
    (top / "link").unlink()


@pytest.mark.parametrize(
    ("change", "named"), [(change_content, "a/file"), (change_mode, "a-b"), (add, "a/new"), (remove, "link")]
)
def test_what_changed_between_two_walks_is_named(top: Path, change: Any, named: str) -> None:
    before = walk(str(top))[0]
    base.settle()
    compare(before, walk(str(top))[0])
    change(top)
    with pytest.raises(SourceChanged, match=f"changed while it was read: .*{named}"):
        compare(before, walk(str(top))[0])


def test_what_a_program_would_wait_for_is_refused_unless_it_is_excepted(top: Path) -> None:
    os.mkfifo(top / "a" / "pipe")
    with pytest.raises(InvalidInput, match=r"item git 'x': .*/a/pipe is a named pipe"):
        require_plain(str(top), lambda path: False, Deadline(), "item git 'x'")
    require_plain(str(top), lambda path: path == "a/pipe", Deadline(), "item git 'x'")


@pytest.mark.parametrize(("folders", "needed"), [(False, "elsewhere/db"), (True, "elsewhere")])
def test_what_leads_out_of_an_item_needs_a_place(top: Path, folders: bool, needed: str) -> None:
    (top.parent / "elsewhere").mkdir()
    (top.parent / "elsewhere" / "db").touch()
    (top / "out").symlink_to("../elsewhere/db")
    item = parse_item({"kind": "trac", "name": "x", "path": str(top)})
    context = base.Context(Tree("", ""), "", Deadline())
    require_inside(item, context, ["a", "link"])
    with pytest.raises(NeedsPlace) as error:
        require_inside(item, context, ["a", "out"], folders)
    assert error.value.path == str(top.parent / needed)
    require_inside(item, replace(context, shown=[str(top.parent / needed)]), ["out"], folders)
