"""People's marks on copies: accepted suspects, held tarballs, retired items."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import (
    Marks,
    keep_marks,
    marks_of,
    marks_path,
    merged,
    parse_given,
    split_hold,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan

KEY, OTHER = "svn/dybsvn", "git/toolbox"
FIRST, SECOND = "2013/05/10/104701", "2013/05/11/104701"
HOLD = f"{KEY}/{FIRST}"


@pytest.fixture(params=["source", "target"])
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Tree:
    """The tree of a source, its own or on a target."""
    (tmp_path / ".altbackup").mkdir()
    (tmp_path / "dayabay").mkdir()
    return open_tree(str(tmp_path if request.param == "source" else tmp_path / "dayabay"))


def test_marks_are_kept_for_this_user_alone_and_written_only_where_something_is_new(tree: Tree) -> None:
    assert marks_of(tree) == Marks()
    assert keep_marks(tree, {}) == Marks()
    assert not os.path.lexists(marks_path(tree))
    given = {"accepted": {KEY: FIRST}, "holds": {HOLD: "before the move"}, "retired": {"svn/old": "2013/05/10"}}
    assert keep_marks(tree, given) == marks_of(tree) == Marks(**given)
    before = os.stat(marks_path(tree))
    assert keep_marks(tree, given) == Marks(**given)
    assert os.stat(marks_path(tree)).st_ino == before.st_ino
    assert oct(before.st_mode & 0o777) == "0o600"


def test_sources_of_one_target_do_not_share_marks(tmp_path: Path) -> None:
    (tmp_path / ".altbackup").mkdir()
    one, other = (open_tree(str(tmp_path / name)) for name in ("dayabay", "juno"))
    keep_marks(one, {"holds": {HOLD: "x"}})
    assert marks_of(other) == Marks()
    assert not os.path.exists(one.base), "nothing of it lies where a source's data goes"


@pytest.mark.parametrize(("known", "given", "expected"), [(FIRST, SECOND, SECOND), (SECOND, FIRST, SECOND)])
def test_what_was_accepted_stays_accepted(tree: Tree, known: str, given: str, expected: str) -> None:
    keep_marks(tree, {"accepted": {KEY: known}})
    assert keep_marks(tree, {"accepted": {KEY: given, OTHER: FIRST}}).accepted == {KEY: expected, OTHER: FIRST}


def test_an_empty_text_releases_a_hold_and_an_empty_day_takes_a_retirement_back(tree: Tree) -> None:
    keep_marks(tree, {"holds": {HOLD: "x", f"{KEY}/{SECOND}": "y"}, "retired": {"svn/old": "2013/05/10"}})
    keep_marks(tree, {"holds": {HOLD: "", f"{OTHER}/{FIRST}": ""}, "retired": {"svn/old": ""}})
    assert marks_of(tree) == Marks(holds={f"{KEY}/{SECOND}": "y"})


def test_a_suspect_is_accepted_up_to_a_stamp_and_a_released_hold_holds_nothing() -> None:
    marks = parse_given({"accepted": {KEY: FIRST}, "holds": {HOLD: ""}})
    assert (marks.accepts(KEY, FIRST), marks.accepts(KEY, SECOND), marks.accepts(OTHER, FIRST)) == (True, False, False)
    assert marks.hold_of(KEY, FIRST) is None
    assert merged(Marks(holds={HOLD: "x"}), marks) == Marks(accepted={KEY: FIRST})


def test_a_hold_is_of_all_tarballs_of_an_item_under_a_stamp(tree: Tree) -> None:
    for stamp in (FIRST, SECOND):
        folder = Path(tree.base, KEY, stamp)
        folder.mkdir(parents=True)
        (folder / "dybsvn-1.tar").touch()
    marks = keep_marks(tree, {"holds": {HOLD: "before the move"}})
    assert marks.held(scan(tree).tarballs) == {f"{HOLD}/dybsvn-1.tar": "before the move"}


@pytest.mark.parametrize(
    "given",
    [
        {"accept": {}},
        {"accepted": []},
        {"accepted": {KEY: ""}},
        {"accepted": {KEY: "2013/05/10"}},
        {"accepted": {HOLD: FIRST}},
        {"accepted": {KEY: 1}},
        {"accepted": {1: FIRST}},
        {"accepted": {"svn/../x": FIRST}},
        {"accepted": {"svn/.x": FIRST}},
        {"holds": {KEY: "x"}},
        {"holds": {f"{KEY}/2013/13/10/104701": "x"}},
        {"holds": {HOLD: "x" * 1001}},
        {"holds": {HOLD: None}},
        {"retired": {KEY: FIRST}},
        {"retired": {KEY: "2013/02/30"}},
    ],
)
def test_what_is_no_mark_is_refused_and_nothing_written(tree: Tree, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        keep_marks(tree, given)
    assert not os.path.lexists(marks_path(tree))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 80,
        b"[]",
        b"{",
        b"\xff",
        b'{"accepted": {"svn/dybsvn": "2013"}}',
        b'{"holds": {"%s": ""}}' % HOLD.encode(),
        b"[" * 100000,
        json.dumps({"x": "x"}).encode(),
    ],
)
def test_damaged_marks_are_never_none(tree: Tree, text: bytes) -> None:
    path = Path(marks_path(tree))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    for function in (marks_of, lambda tree: keep_marks(tree, {"accepted": {KEY: FIRST}})):
        with pytest.raises(BaseUnusable) as error:
            function(tree)
        for word in (f"{path} ", tree.base, "is damaged", f"mv {path} {path}.damaged"):
            assert word in str(error.value), word
    assert path.read_bytes() == text


def test_marks_that_are_no_plain_file_cannot_be_read(tree: Tree) -> None:
    path = Path(marks_path(tree))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/etc/hostname")
    with pytest.raises(BaseUnusable, match="cannot be read"):
        marks_of(tree)
    path.unlink()
    path.mkdir()
    with pytest.raises(BaseUnusable, match="cannot be read"):
        marks_of(tree)


@pytest.mark.parametrize("text", ["", KEY, f"{KEY}/", f"{KEY}/2013/05/10", f"/{HOLD}", f"{HOLD}/x", f"svn/a\n/{FIRST}"])
def test_what_is_no_item_with_a_stamp_cannot_be_split(text: str) -> None:
    assert split_hold(HOLD) == (KEY, FIRST)
    with pytest.raises(InvalidInput):
        split_hold(text)
