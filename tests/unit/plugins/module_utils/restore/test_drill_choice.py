"""Choice of what a drill proves: the newest of each item, the oldest proofs first, and the full tarball of a differential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.drills import add_differential
from helpers.original_trees import link, marked, put
from helpers.trees import FIRST, SECOND

from ansible_collections.altbackup.core.plugins.module_utils.restore.drill_choice import (
    chain_of,
    choose,
    failure_of,
    names_of,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput, ProofFailed
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment(SECOND, SECOND)
SVN, FOLDER = f"svn/thing/{FIRST}/thing-12.tar", f"folders/thing/{FIRST}/thing.tar"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base with a tarball of each of two items, one of which stands under a later stamp, too."""
    base = marked(tmp_path / "dayabay")
    put(base, SVN, b"svn")
    put(base, FOLDER, b"folder")
    link(base, FOLDER, FOLDER.replace(FIRST, SECOND))
    return base


def chosen(base: Path, names: list[str] | None = None, share: float = 1.0, now: Moment = NOW) -> dict[str, Any]:
    """Choose, and return what was entered in the result, with the relpaths as `chosen`."""
    result: dict[str, Any] = {"left": [], "failures": []}
    tarballs = choose(open_tree(str(base)), names, share, now, result)
    return {**result, "chosen": [tarball.relpath for tarball in tarballs]}


def test_the_newest_of_each_item_is_chosen_that_is_not_later_than_the_run(base: Path) -> None:
    assert chosen(base)["chosen"] == [FOLDER.replace(FIRST, SECOND), SVN]
    assert chosen(base, now=Moment(FIRST, SECOND))["chosen"] == [FOLDER, SVN]


def test_what_a_share_leaves_is_named(base: Path) -> None:
    result = chosen(base, share=0.5)
    assert (result["chosen"], result["left"]) == ([FOLDER.replace(FIRST, SECOND)], [SVN])


def test_an_item_without_a_tarball_is_a_failure(base: Path) -> None:
    result = chosen(base, ["svn/thing", "svn/other"])
    assert result["chosen"] == [SVN]
    (failure,) = result["failures"]
    assert (failure["category"], failure["name"], failure["absent"]) == ("svn", "other", True)


@pytest.mark.parametrize("share", [0, 1.01, float("nan")])
def test_a_share_is_above_0_and_up_to_1(base: Path, share: float) -> None:
    with pytest.raises(InvalidInput, match="is not a part of the items above 0 and up to 1"):
        chosen(base, share=share)


def test_a_differential_is_proved_after_its_full_tarball_and_not_without(base: Path, tmp_path: Path) -> None:
    full, differential = add_differential(base, tmp_path)
    tree = open_tree(str(base))
    (tarball,) = [entry for entry in scan(tree).verified() if entry.relpath == differential]
    assert [entry.relpath for entry in chain_of(tree, tarball)] == [full, differential]
    (base / full).unlink()
    with pytest.raises(ProofFailed, match="is missing or not verified"):
        chain_of(tree, tarball)


def test_a_failure_names_its_tarball() -> None:
    failure = failure_of(SVN, "it is bad")
    assert (failure["stage"], failure["relpath"], failure["reason"]) == ("drill", SVN, f"{SVN}: it is bad")


@pytest.mark.parametrize("names", [None, ["svn/thing"]])
def test_items_are_those_of_the_call_where_remembered_ones_are_not_asked_for(names: list[str] | None) -> None:
    assert names_of({"base": "/none", "names": names, "remembered": False}) == names
