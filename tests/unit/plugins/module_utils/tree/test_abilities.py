"""Abilities of a base's file system, and that probing them leaves nothing behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bare_disk import bare_disk
from helpers.trees import marked, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.tree import abilities
from ansible_collections.altbackup.core.plugins.module_utils.tree.abilities import (
    Abilities,
    describe_base,
    keeps_owners,
    probe,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A base on a file system that has everything."""
    return open_tree(str(marked(tmp_path / "base")))


@pytest.fixture(params=[False, True], ids=["modes ignored", "modes refused"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    """A base on a disk without links of either kind, and without modes."""
    with bare_disk(tmp_path, refuse_modes=request.param) as top:
        yield open_tree(str(marked(top / "base")))


def private(tree: Tree) -> list[str]:
    """Return the contents of a base's private folder."""
    return sorted(os.listdir(tree.private))


def test_a_file_system_is_tried(tree: Tree) -> None:
    assert probe(tree) == Abilities()
    assert private(tree) == ["lock"]


@pytest.mark.parametrize("name", ["link", "symlink"])
def test_links_that_are_refused_are_not_there(tree: Tree, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(abilities.os, name, refuse)
    assert probe(tree) == Abilities(hard_links=name != "link", symbolic_links=name != "symlink")
    assert private(tree) == ["lock"]


@pytest.mark.parametrize(("number", "known"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_full_disk_says_nothing_and_a_broken_one_is_an_error(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int, known: bool
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(abilities.os, "mkdir", fail)
    if known:
        assert probe(tree) is None
    else:
        with pytest.raises(OSError, match="Input/output error"):
            probe(tree)


def test_what_killed_probes_left_is_removed_once_it_is_old(tree: Tree) -> None:
    for name in ("old", "new"):
        os.mkdir(os.path.join(tree.private, f".altbackup-tmp-probe-{name}"))
    os.utime(os.path.join(tree.private, ".altbackup-tmp-probe-old"), (0, 0))
    probe(tree)
    assert private(tree) == [".altbackup-tmp-probe-new", "lock"]


def test_a_disk_that_has_nothing_says_all_that_it_lacks(bare: Tree) -> None:
    note = describe_base(bare, trying=True)
    for words in (bare.base, "fuse.bare", "no hard links", "no symbolic links", "0755"):
        assert words in note
    assert private(bare) == ["lock"]


def test_without_trying_only_what_the_type_tells_is_said(bare: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is found out by a run that may write" in describe_base(bare, trying=False)
    monkeypatch.setattr(abilities, "file_system", lambda path: "exfat")
    assert "no hard links" in describe_base(bare, trying=False)
    assert private(bare) == ["lock"]


@pytest.mark.parametrize("trying", [False, True])
def test_nothing_is_said_of_a_base_that_has_all(tree: Tree, trying: bool) -> None:
    assert describe_base(tree, trying=trying) == ""
    assert private(tree) == ["lock"]


@needs_root
def test_whether_owners_are_kept_is_tried(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keeps_owners(tree.private)
    monkeypatch.setattr(abilities.os, "chown", lambda *_: None)
    assert not keeps_owners(tree.private)
    assert private(tree) == ["lock"]
