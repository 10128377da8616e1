"""The record of hooks that are owed: private, small, and data."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from helpers.trees import FIRST, SECOND, Base

from ansible_collections.altbackup.core.plugins.module_utils.stages.hook_ledger import Ledger, is_anything_left
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import Locked
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import TEMPORARY, Tree, open_tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return open_tree(str(Base(tmp_path / "base").path))


def opened(tree: Tree) -> Ledger:
    ledger = Ledger(tree)
    ledger.open(1)
    return ledger


def test_what_is_owed_and_told_is_there_for_the_next(tree: Tree) -> None:
    ledger = opened(tree)
    ledger.owe("git/forge", FIRST)
    ledger.owe("", FIRST)
    ledger.owe("git/forge", SECOND)
    ledger.add_result("git/forge", "it ended well", bad=False)
    ledger.drop()
    assert stat.S_IMODE(os.stat(ledger.path).st_mode) == 0o600
    again = opened(tree)
    assert [(entry.item, entry.stamp) for entry in again.owed] == [("", FIRST), ("git/forge", SECOND)]
    assert [entry.text for entry in again.results] == ["it ended well"]
    for item in ("", "git/forge"):
        again.pay(item)
    assert is_anything_left(tree)
    again.close(reported=True)
    assert not is_anything_left(tree)


def test_one_process_has_it_at_a_time(tree: Tree) -> None:
    ledger = opened(tree)
    with pytest.raises(Locked, match=f"process {os.getpid()}"):
        opened(tree)
    ledger.drop()
    opened(tree).drop()


def test_what_a_killed_guard_left_half_written_goes(tree: Tree) -> None:
    opened(tree).drop()
    half = Path(tree.private_path("hooks")) / f"{TEMPORARY}7-owed.json"
    half.write_text("{")
    opened(tree).drop()
    assert not half.exists()


def test_a_link_in_its_place_is_not_followed(tree: Tree, tmp_path: Path) -> None:
    opened(tree).drop()
    other = tmp_path / "other"
    other.write_text('{"owed": [], "told": [{"item": "", "text": "evil", "bad": false}]}')
    os.symlink(other, Ledger(tree).path)
    ledger = opened(tree)
    assert ledger.results == [] and "cannot be read" in ledger.damaged
    ledger.owe("git/forge", FIRST)
    assert "evil" in other.read_text() and not os.path.islink(ledger.path)
    ledger.drop()
