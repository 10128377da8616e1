"""What one call about a store notes while it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.original_trees import marked

from ansible_collections.altbackup.core.plugins.module_utils.stores.known import Copy, Memory, recall
from ansible_collections.altbackup.core.plugins.module_utils.stores.remote import Remote
from ansible_collections.altbackup.core.plugins.module_utils.stores.settings import Secrets, Store
from ansible_collections.altbackup.core.plugins.module_utils.stores.work import Work
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

STAMP = "2013/05/11/104701"
ONE, TWO = f"svn/x/{STAMP}/x-1.tar", f"svn/y/{STAMP}/y-1.tar"
COPY = Copy(Dna("aa", 7, "sha256"))
ID = "1" * 32


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Return a call about a disk."""
    store = Store("vault", str(tmp_path / "drawer"))
    tree, remote = open_tree(str(marked(tmp_path / "dayabay"))), Remote(store, Secrets(), Deadline(60, "store step"))
    return Work(store, "dayabay", tree, remote, None, Moment(STAMP, STAMP), Memory(ID), {}, check_mode=False)


@pytest.mark.parametrize("reason", ["it is full", "vault: it is full"])
def test_a_failure_names_the_store_once_and_its_item_is_bad(work: Work, reason: str) -> None:
    work.fail(reason, ONE)
    work.fail(OSError(28, "No space left on device"))
    first, second = work.failures
    assert (first["stage"], first["reason"], first["relpath"]) == ("store", "vault: it is full", ONE)
    assert second["reason"].startswith("vault: ") and "No space left on device" in second["reason"]
    assert work.bad == {"svn/x"}


@pytest.mark.parametrize("check_mode", [False, True])
def test_copies_are_remembered_with_those_that_are_another_ones_now_but_not_in_check_mode(
    work: Work, check_mode: bool
) -> None:
    work = replace(work, check_mode=check_mode, disowned={TWO: COPY})
    work.save({ONE: COPY})
    assert set(work.memory.copies) == {ONE, TWO}
    assert set(recall(work.tree, "vault", ID).copies) == (set() if check_mode else {ONE, TWO})
