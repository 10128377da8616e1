"""Module tarball_mark, in process on real files: it stores marks, and does nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, marked, put, reasons, run_module, tree_hash
from helpers.trees import RUN

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held, parse_run
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks, marks_of, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.origin import bind, parse_origin
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner, identify
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record

KEY = "svn/dybsvn"
NIGHTS = [f"2013/05/{day}/104701" for day in ("09", "10", "11")]
FIRST, SECOND, THIRD = (f"{KEY}/{night}" for night in NIGHTS)
FOUND = {"name": "dayabay", "base": "/home/scm/backup", "id": "1" * 32}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The copies of a source on a target: three nights of an item, the last two suspect."""
    base = marked(tmp_path / "copies") / "dayabay"
    for night in NIGHTS:
        put(base, f"{KEY}/{night}/dybsvn.tar", night.encode())
    for night in NIGHTS[1:]:
        write_record(open_tree(str(base)), KEY, night, {"suspect": ["entries fell from 1,204 to 3"]})
    return base


def mark(base: Path, **options: Any) -> dict[str, Any]:
    """Run the module."""
    result = run_module("tarball_mark", base=str(base), **options)
    assert is_as_documented("tarball_mark", result)
    return result


def known(base: Path) -> Marks:
    return marks_of(open_tree(str(base)))


def test_what_is_said_is_kept_once_and_told(base: Path) -> None:
    marks = {"accepted": {KEY: NIGHTS[1]}, "holds": {FIRST: "before the move", "git/x/" + NIGHTS[0]: "y"}}
    result = mark(base, marks=marks)
    assert (result["changed"], result["marks_kept"], result["held"]) == (True, True, [FIRST])
    assert result["notes"] == [
        f"accepts {KEY} up to {NIGHTS[1]}: {SECOND}/dybsvn.tar",
        f"holds git/x/{NIGHTS[0]}: y (it is not here; it is held once it is)",
        f"holds {FIRST}: before the move",
    ]
    assert known(base) == Marks(**marks)
    before = tree_hash(base.parent)
    again = mark(base, marks=marks)
    assert (again["changed"], again["held"], again["notes"]) == (False, [FIRST], ["nothing is new here"])
    assert tree_hash(base.parent) == before


def test_a_release_and_an_acceptance_of_nothing_are_told(base: Path) -> None:
    mark(base, marks={"holds": {FIRST: "x"}, "retired": {"svn/old": "2013/05/09"}})
    result = mark(
        base,
        marks={
            "accepted": {"git/x": NIGHTS[0]},
            "holds": {FIRST: ""},
            "retired": {"svn/old": "", "svn/y": "2013/05/10"},
        },
    )
    assert result["notes"] == [
        f"accepts git/x up to {NIGHTS[0]}: no suspect of it is here",
        f"released {FIRST}",
        "retired svn/y, on 2013/05/10",
        "svn/old is no longer retired",
    ]
    assert (result["held"], known(base).holds) == ([], {})


def test_check_mode_says_what_would_be_new_and_writes_nothing(base: Path) -> None:
    before = tree_hash(base.parent)
    result = mark(base, marks={"holds": {FIRST: "x"}}, check=True)
    assert (result["changed"], result["held"], result["notes"]) == (True, [FIRST], [f"holds {FIRST}: x"])
    assert tree_hash(base.parent) == before


def test_nothing_but_marks_is_written(base: Path) -> None:
    before = tree_hash(base)
    mark(base, marks={"accepted": {KEY: NIGHTS[2]}})
    assert tree_hash(base) == before


def test_a_base_that_is_not_there_gets_them_later(base: Path, tmp_path: Path) -> None:
    result = mark(tmp_path / "elsewhere" / "dayabay", marks={"holds": {FIRST: "x"}})
    assert (result["changed"], result["marks_kept"], result["failures"]) == (False, False, [])
    (note,) = result["notes"]
    assert note.endswith("it gets the marks in the next run that reaches it")


def test_a_tree_that_is_not_there_yet_gets_them_later_and_its_place_stays_free(base: Path) -> None:
    new = base.parent / "newbay"
    result = mark(new, marks={"holds": {FIRST: "x"}}, source="newbay", origin=FOUND | {"name": "newbay"})
    assert (result["changed"], result["marks_kept"], result["failures"]) == (False, False, [])
    assert result["notes"] == [f"{new} is not there yet: it gets the marks in the next run that reaches it"]
    taken = [path for path in base.parent.rglob("newbay*") if "locks" not in path.parts]
    assert taken == [], "what is kept under a former name can take it"


def test_a_base_that_another_run_has_gets_them_later(base: Path) -> None:
    with held(open_tree(str(base)), parse_run(RUN)):
        pass
    result = mark(base, marks={"holds": {FIRST: "x"}})
    assert (result["marks_kept"], result["failures"]) == (False, [])
    assert "is in use by another run" in result["notes"][0]
    assert known(base) == Marks()


@pytest.mark.parametrize("fail", [False, True])
def test_damaged_marks_and_what_is_no_mark_are_failures(base: Path, fail: bool) -> None:
    result = mark(base, marks={"holds": {KEY: "x"}}, fail=fail)
    assert (result.get("failed", False), result["marks_kept"]) == (fail, False)
    assert "is not <category>/<name>/YYYY/MM/DD/HHMMSS" in reasons(result)[0]
    path = Path(marks_path(open_tree(str(base))))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    result = mark(base, marks={"holds": {FIRST: "x"}}, fail=fail)
    assert "is damaged" in reasons(result)[0]
    assert path.read_text() == "{"


def test_copies_of_another_source_of_that_name_are_left_alone(base: Path) -> None:
    bind(open_tree(str(base)), parse_origin(FOUND))
    result = mark(base, marks={"holds": {FIRST: "x"}}, origin={**FOUND, "id": "2" * 32}, fail=False)
    assert "holds the copies of another source" in reasons(result)[0]
    assert known(base) == Marks()
    assert mark(base, marks={"holds": {FIRST: "x"}}, origin=FOUND)["marks_kept"]


def test_a_sources_own_base_tells_its_id(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    own = identify(open_tree(str(base)), Owner("source", "dayabay"), claim=True)
    (told,) = mark(base, source="dayabay", marks={})["identities"]
    assert (told["role"], told["name"], told["id"]) == ("source", "dayabay", own["id"])
    result = mark(base, source="juno", marks={"holds": {FIRST: "x"}}, fail=False)
    assert (result["marks_kept"], len(result["failures"])) == (False, 1)


def test_a_damaged_record_does_not_keep_an_item_from_being_accepted(base: Path) -> None:
    tree = open_tree(str(base))
    Path(tree.private_path("records", *SECOND.split("/"))).with_suffix(".json").write_text("{")
    result = mark(base, marks={"accepted": {KEY: NIGHTS[2]}})
    assert result["notes"] == [f"accepts {KEY} up to {NIGHTS[2]}: which suspects of it are here cannot be read"]
    assert known(base).accepts(KEY, NIGHTS[2])
