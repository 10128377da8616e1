"""Former items that a tree still holds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import DAY, STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.stages.count import count
from ansible_collections.altbackup.core.plugins.module_utils.stages.memory import (
    Declarations,
    FormerItems,
    compare_items,
    parse_declarations,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.known import known_path, remember_held
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")
RETIRED = Declarations(retired={"svn/old": "2013/05/12"})


@pytest.mark.parametrize(
    ("known", "held", "items", "given", "gone", "kept", "again"),
    [
        pytest.param("svn/a", "svn/a", "svn/a", Declarations(), "", "", "", id="an item"),
        pytest.param("svn/old", "", "svn/a", Declarations(), "svn/old", "", "", id="known, and no copy is left"),
        pytest.param("", "svn/old", "svn/a", Declarations(), "svn/old", "", "", id="held, and never known"),
        pytest.param("svn/old", "svn/old", "svn/a", RETIRED, "", "svn/old", "", id="retired"),
        pytest.param("svn/old", "svn/old", "svn/old", RETIRED, "", "", "svn/old", id="retired, and an item again"),
        pytest.param("svn/old", "", "", Declarations(former={"svn/old": "svn/new"}), "", "svn/old", "", id="renamed"),
        pytest.param(
            "svn/a git/b", "", "", Declarations(undiscovered=["svn"]), "git/b", "", "", id="discovery saw not all"
        ),
        pytest.param("", "", "svn/a", RETIRED, "", "", "", id="what this tree never held"),
    ],
)
def test_what_is_no_item_is_gone_unless_it_was_given_up(
    known: str, held: str, items: str, given: Declarations, gone: str, kept: str, again: str
) -> None:
    memory = compare_items(known.split(), held.split(), items.split(), given)
    assert (list(memory.gone), list(memory.kept), list(memory.redeclared)) == (
        gone.split(),
        kept.split(),
        again.split(),
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base with an item, and another one that was backed up two days before."""
    base = marked(tmp_path / "dayabay")
    put(base, f"svn/a/{STAMP}/a-1.tar")
    put(base, "svn/old/2013/05/08/104701/old-1.tar")
    put(base, "svn/old/2013/05/07/104701/old-1.tar")
    return base


def reasons(base: Path, given: Declarations | None, items: Sequence[str] = ("svn/a",)) -> list[str]:
    """Return what is wrong with the day's items."""
    expect = {item.partition("/")[2]: 1 for item in items}
    return [
        entry["reason"]
        for entry in count(str(base), DAY, expect, items=items, moment=NOW, declarations=given)["failures"]
    ]


def test_an_item_that_is_none_any_more_is_one_failure_with_what_to_do(base: Path) -> None:
    put(base, "git/older/2013/05/01/104701/older.tar")
    (reason,) = reasons(base, Declarations())
    assert reason.startswith(
        "2 items were backed up, but declared or found no more: git/older (newest copy 2013/05/01/104701), svn/old ("
    )
    assert "newest copy 2013/05/08/104701" in reason and "former_names" in reason
    assert reason.endswith('altbackup_retired: {"git/older": "2013/05/31", "svn/old": "2013/05/31"}')
    assert reasons(base, None) == [], "without a source's word nothing is compared"


def test_what_is_gone_stays_a_failure_when_no_copy_is_left(base: Path) -> None:
    remember_held(open_tree(str(base)))
    shutil.rmtree(base / "svn" / "old")
    (reason,) = reasons(base, Declarations())
    assert "svn/old (no copy left)" in reason


def test_a_retired_item_must_keep_a_verified_copy(base: Path) -> None:
    given = Declarations(retired={"svn/old": "2013/05/09"})
    assert reasons(base, given) == []
    remember_held(open_tree(str(base)))
    for dna in (base / "svn" / "old").rglob("*.dna"):
        dna.unlink()
    (reason,) = reasons(base, given)
    assert reason.startswith("svn/old is retired since 2013/05/09, but no verified copy")
    shutil.rmtree(base / "svn" / "old")
    assert reasons(base, given) == [reason]


def test_what_a_mark_retired_is_retired(base: Path) -> None:
    tree = open_tree(str(base))
    keep_marks(tree, {"retired": {"svn/old": "2013/05/09"}})
    assert reasons(base, Declarations()) == []
    put(base, f"svn/old/{STAMP}/old-2.tar")
    (reason,) = reasons(base, Declarations(), ["svn/a", "svn/old"])
    assert reason.startswith("svn/old is retired since 2013/05/09")


def test_a_former_name_is_no_item_that_is_gone(base: Path) -> None:
    assert reasons(base, Declarations(former={"svn/old": "svn/a"})) == []


def test_a_retired_item_that_is_found_again_is_a_failure(base: Path) -> None:
    put(base, f"svn/old/{STAMP}/old-2.tar")
    (reason,) = reasons(base, Declarations(retired={"svn/old": "2013/05/09"}), ["svn/a", "svn/old"])
    assert reason.startswith("svn/old is retired since 2013/05/09 (altbackup_retired), but is declared or found again")


def test_one_cause_is_told_once(base: Path) -> None:
    put(base, f"svn/old/{STAMP}/old-2.tar")
    (reason,) = reasons(base, Declarations())
    assert reason.startswith(f"unexpected in dayabay on {DAY}: svn/old/"), "a stranger, of which nothing was known"
    remember_held(open_tree(str(base)))
    (reason,) = reasons(base, Declarations())
    assert reason.startswith("an item was backed up, but declared or found no more: svn/old (")
    assert reasons(base, Declarations(retired={"svn/old": DAY})) == []


def test_a_damaged_memory_is_a_failure_and_tarballs_are_counted_all_the_same(base: Path) -> None:
    tree = open_tree(str(base))
    remember_held(tree)
    Path(known_path(tree)).write_text("")
    counted = count(str(base), DAY, {"a": 1}, items=["svn/a"], moment=NOW, declarations=Declarations())
    (entry,) = counted["failures"]
    assert known_path(tree) in entry["reason"]
    assert counted["counts"] == {"a": 1}


@pytest.mark.parametrize("value", [{"retired": ["svn/a"]}, {"former": "x"}, {"undiscovered": "svn"}])
def test_what_is_no_memory_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        parse_declarations(value)
    assert parse_declarations(None) is None
    assert parse_declarations({}) == Declarations(undiscovered=frozenset())
    assert FormerItems().gone == ()
