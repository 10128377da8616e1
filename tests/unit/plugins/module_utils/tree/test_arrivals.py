"""Arrivals of tarballs on a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import (
    arrivals,
    forget_arrivals,
    note_arrival,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree

KEY = "svn/dybsvn"
FIRST, SECOND = (f"{KEY}/2013/05/{day}/104701/dybsvn-{day}.tar.zst" for day in ("09", "10"))
RUN, NEXT = "2013/05/10/104701", "2013/05/11/104701"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The tree of a source on a target."""
    (tmp_path / ".altbackup").mkdir()
    (tmp_path / "dayabay").mkdir()
    return open_tree(str(tmp_path / "dayabay"))


@pytest.fixture
def log(tree: Tree) -> Path:
    """The file with the arrivals of the item."""
    return Path(tree.private, "arrivals", "dayabay", KEY)


def test_of_several_arrivals_the_last_counts(tree: Tree) -> None:
    assert arrivals(tree, KEY) == {}
    for relpath, run in ((FIRST, RUN), (SECOND, RUN), (FIRST, NEXT)):
        note_arrival(tree, relpath, run)
    assert arrivals(tree, KEY) == {FIRST: NEXT, SECOND: RUN}


def test_an_arrival_that_is_noted_is_not_noted_again(tree: Tree, log: Path) -> None:
    note_arrival(tree, FIRST, RUN)
    before = log.read_bytes()
    note_arrival(tree, FIRST, RUN)
    assert log.read_bytes() == before


def test_a_line_that_a_killed_run_left_unfinished_is_none(tree: Tree, log: Path) -> None:
    note_arrival(tree, FIRST, RUN)
    with log.open("ab") as stream:
        stream.write(b'["2013/05/11/1047')
    assert arrivals(tree, KEY) == {FIRST: RUN}
    note_arrival(tree, SECOND, NEXT)
    assert arrivals(tree, KEY) == {FIRST: RUN, SECOND: NEXT}


@pytest.mark.parametrize("line", [b"x\n", b"[1, 2]\n", b'["no stamp", "x"]\n', b"{}\n", b"\xff\n"])
def test_what_was_never_written_there_is_an_error(tree: Tree, log: Path, line: bytes) -> None:
    note_arrival(tree, FIRST, RUN)
    with log.open("ab") as stream:
        stream.write(line)
    with pytest.raises(AltbackupError, match="is damaged"):
        arrivals(tree, KEY)


def test_what_is_gone_is_forgotten_and_its_folders_with_the_last(tree: Tree, log: Path) -> None:
    note_arrival(tree, FIRST, RUN)
    note_arrival(tree, SECOND, RUN)
    forget_arrivals(tree, KEY, {SECOND})
    assert arrivals(tree, KEY) == {SECOND: RUN}
    forget_arrivals(tree, KEY, ())
    assert not log.parent.exists()
    assert Path(tree.private).is_dir()
