"""Marking: what is new of what people said, as it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import marked, put
from helpers.tarballs import stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages import mark as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.mark import EMPTY, unless_absent
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, Locked
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import record_path, write_record

KEY = "svn/x"
A, B = stamp_of("01"), stamp_of("02")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with two suspects of an item."""
    tree = open_tree(str(marked(tmp_path / "base")))
    for stamp in (A, B):
        put(Path(tree.base), f"{KEY}/{stamp}/x.tar", stamp.encode())
        write_record(tree, KEY, stamp, {"suspect": ["it shrank"]})
    return tree


@pytest.mark.parametrize(
    ("known", "marks", "told"),
    [
        pytest.param(Marks(), Marks(), [], id="nothing"),
        pytest.param(Marks({KEY: A}), Marks({KEY: A}), [], id="nothing new"),
        pytest.param(Marks(), Marks({KEY: A}), [f"accepts {KEY} up to {A}: {KEY}/{A}/x.tar"], id="one is accepted"),
        pytest.param(
            Marks(), Marks({KEY: B}), [f"accepts {KEY} up to {B}: {KEY}/{A}/x.tar, {KEY}/{B}/x.tar"], id="two are"
        ),
        pytest.param(Marks({KEY: A}), Marks({KEY: B}), [f"accepts {KEY} up to {B}: {KEY}/{B}/x.tar"], id="one more"),
        pytest.param(
            Marks(),
            Marks({"svn/other": A}),
            [f"accepts svn/other up to {A}: no suspect of it is here"],
            id="of an item that is not here",
        ),
        pytest.param(Marks(), Marks(holds={f"{KEY}/{A}": "court"}), [f"holds {KEY}/{A}: court"], id="a hold"),
        pytest.param(
            Marks(),
            Marks(holds={f"svn/z/{A}": "court"}),
            [f"holds svn/z/{A}: court (it is not here; it is held once it is)"],
            id="a hold of what is not here",
        ),
        pytest.param(
            Marks(holds={f"{KEY}/{A}": "court"}),
            Marks(holds={f"{KEY}/{A}": "audit"}),
            [f"holds {KEY}/{A}: audit"],
            id="another text",
        ),
        pytest.param(Marks(holds={f"{KEY}/{A}": "x"}), Marks(), [f"released {KEY}/{A}"], id="released"),
        pytest.param(Marks(), Marks(retired={KEY: "2013/05/01"}), [f"retired {KEY}, on 2013/05/01"], id="retired"),
        pytest.param(Marks(retired={KEY: "2013/05/01"}), Marks(), [f"{KEY} is no longer retired"], id="no longer"),
    ],
)
def test_what_is_new_is_told_and_nothing_else(tree: Tree, known: Marks, marks: Marks, told: list[str]) -> None:
    assert list(room._news(tree, known, marks)) == told


def test_where_a_record_is_damaged_it_is_not_known_which_suspects_were_accepted(tree: Tree) -> None:
    Path(record_path(tree, KEY, A)).write_text("damaged")
    told = list(room._news(tree, Marks(), Marks({KEY: A})))
    assert told[0].startswith(f"accepts {KEY} up to {A}: ")


def test_many_suspects_are_named_in_part(tree: Tree) -> None:
    for hour in range(12):
        stamp = f"2013/05/03/{hour:02}0000"
        put(Path(tree.base), f"{KEY}/{stamp}/x.tar", stamp.encode())
        write_record(tree, KEY, stamp, {"suspect": ["it shrank"]})
    (told,) = room._news(tree, Marks(), Marks({KEY: stamp_of("09")}))
    assert told.endswith(" and 4 more")


def test_a_base_that_is_not_there_or_in_use_gets_its_marks_later(tmp_path: Path) -> None:
    found = unless_absent(str(tmp_path / "none"), lambda: {"changed": True})
    assert {key: found[key] for key in EMPTY if key != "notes"} == {key: EMPTY[key] for key in EMPTY if key != "notes"}
    assert found["notes"][0].endswith(": it gets the marks in the next run that reaches it") and not found["failures"]

    def locked() -> dict[str, object]:
        raise Locked("another run has it")

    base = str(marked(tmp_path / "base"))
    assert unless_absent(base, locked)["notes"] == [
        "another run has it: it gets the marks in the next run that reaches it"
    ]
    assert unless_absent(base, lambda: {"changed": True}) == {"changed": True}

    def broken() -> dict[str, object]:
        raise AltbackupError("its marks are damaged")

    with pytest.raises(AltbackupError, match="damaged"):
        unless_absent(base, broken)
