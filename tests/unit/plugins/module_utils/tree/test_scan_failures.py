"""Failures of a tree's contents, before any tarball is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import marked, put

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import Scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan_failures import ahead, by_item, unreadable
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/10/104701", "2013/05/10/120000")


def test_each_folder_that_cannot_be_read_is_a_failure_of_the_stage_that_looked() -> None:
    found = Scan(unreadable=[("svn/x/2013", " by uid 5"), ("git", ": Input/output error")])
    first, second = unreadable(found, "purge")
    assert (first["stage"], first["category"], first["name"]) == ("purge", "svn", "x")
    assert "what folder svn/x/2013 holds is not known: it cannot be read by uid 5" in first["reason"]
    assert second["relpath"] == "git"
    assert unreadable(found)[0]["stage"] == "check"


@pytest.mark.parametrize(
    ("stamps", "told"),
    [
        (["2013/05/10/104701"], []),
        (["2013/05/10/120000"], []),
        (["2013/05/10/120001"], [""]),
        (["2013/05/10/120001", "2013/05/11/104701", "2031/01/01/000000"], [" (2 more of this item are, too)"]),
    ],
)
def test_an_item_with_tarballs_that_nothing_honest_can_have_is_one_failure(
    tmp_path: Path, stamps: list[str], told: list[str]
) -> None:
    base = marked(tmp_path / "base")
    for stamp in stamps:
        put(base, f"svn/x/{stamp}/x-1.tar")
    failures = ahead(open_tree(str(base)), NOW)
    assert [entry["relpath"] for entry in failures] == [f"svn/x/{stamps[0]}/x-1.tar" for _ in told]
    assert all(
        f"and than the controller's clock, {NOW.clock}{more}: " in entry["reason"]
        for entry, more in zip(failures, told, strict=True)
    )
    assert ahead(open_tree(str(base)), NOW, keys=["git/x"]) == []


def test_paths_are_gathered_by_item() -> None:
    paths = ["svn/x/2013/05/10/104701/x-2.tar", "git/x/2013/05/10/104701/x.tar", "svn/x/2013/05/09/104701/x-1.tar"]
    assert by_item(paths) == [[paths[1]], [paths[2], paths[0]]]
