"""What a purge tells of what it left alone, what waits, and what stays for a suspect."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.tarballs import copies, paths, seen, stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_notes import (
    as_judged,
    left_alone,
    newest_good,
    notes_of_suspects,
    notes_of_waiting,
    nothing_there,
)
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge_plan import Copies, plan_purge
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.retention import Rules
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import Scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

TREE = Tree("/copies/dayabay", "/copies/.altbackup", "dayabay")
MOMENT = Moment(stamp_of("10"), stamp_of("12"))


@pytest.mark.parametrize(
    ("words", "known", "newest"),
    [
        pytest.param("", {}, "", id="nothing"),
        pytest.param("01a 03c 02b", {}, "03", id="whatever the order"),
        pytest.param("01a 02b", {"partial": paths("02")}, "01", id="one is not whole"),
        pytest.param("01a 02b", {"suspects": {paths("02")[0]: ["shrunk"]}}, "01", id="one is suspect"),
        pytest.param("01a", {"partial": paths("01")}, "", id="none is good"),
    ],
)
def test_the_newest_good_copy_of_an_item_is_told(words: str, known: dict[str, Any], newest: str) -> None:
    found = newest_good({"svn/x": Copies(copies(words), Rules(1), **known)})
    assert [entry["relpath"] for entry in found] == paths(newest)


def test_a_tarball_without_a_dna_is_told_by_its_path_alone() -> None:
    assert as_judged(seen("01a", dna=None)) == {"relpath": paths("01")[0]}
    assert as_judged(seen("01a")) == {"relpath": paths("01")[0], "size": 5, "dig": "a", "alg": "sha256"}
    assert newest_good({"svn/x": Copies([seen("01a", dna=None)], Rules(1))}) == []


STRANGE = [("lost", "it is no folder"), ("svn/x/odd", "it is odd"), ("svn/y/odd", "it is odd")]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (None, ["lost", "svn/x/odd", "svn/y/odd"]),
        ([], ["lost"]),
        (["svn/x"], ["lost", "svn/x/odd"]),
        (["svn/xx"], ["lost"]),
    ],
)
def test_what_is_strange_is_told_of_the_items_that_are_purged(names: list[str] | None, told: list[str]) -> None:
    notes = list(left_alone(TREE, Scan(strange=STRANGE), names, MOMENT))
    assert [note.split(": ")[1] for note in notes] == told


@pytest.mark.parametrize(
    ("day", "filename", "is_told"),
    [
        ("09", "x.tar", False),
        ("10", "x.tar", False),
        ("11", "x.tar", True),
        ("12", "x.tar", True),
        ("13", "x.tar", False),  # nothing honest has that: a failure tells it
        ("11", "other.tar", False),
    ],
)
def test_what_is_later_than_the_run_does_not_count_and_is_told(day: str, filename: str, is_told: bool) -> None:
    found = Scan([seen(f"{day}a", filename=filename)])
    notes = list(left_alone(TREE, found, None, MOMENT))
    assert notes == (
        [f"left alone: svn/x/{stamp_of(day)}/x.tar is dated later than {MOMENT.stamp}, so it does not count"]
        if is_told
        else []
    )


def test_a_dna_without_its_tarball_is_told() -> None:
    (note,) = left_alone(TREE, Scan(orphans=["svn/x/a.dna"]), ["svn/y"], MOMENT)
    assert note == "left alone in /copies/dayabay: svn/x/a.dna: it is a dna without its tarball"


@pytest.mark.parametrize(
    ("words", "suspects", "begins", "holds"),
    [
        pytest.param("01a 02b 03c", "", None, "", id="no suspect"),
        pytest.param("01a 02b", "02", None, "", id="nothing stays for it"),
        pytest.param("01a 02b 03c", "03", "1 older copy of svn/x stays: ", f"suspect {paths('03')[0]}", id="one stays"),
        pytest.param("01a 02b 03c 04d", "04", "2 older copies of svn/x stay: ", paths("04")[0], id="two stay"),
        pytest.param(
            "01a 02b 03c 04d", "04 03", "1 older copy of svn/x stays: ", paths("04")[0], id="the newest suspect"
        ),
    ],
)
def test_what_stays_for_a_suspect_is_told_with_what_to_do(
    words: str, suspects: str, begins: str | None, holds: str
) -> None:
    item = Copies(copies(words), Rules(1), suspects={path: ["it shrank"] for path in paths(suspects)})
    notes = list(notes_of_suspects(TREE, {"svn/x": item}, plan_purge({"svn/x": item})))
    assert len(notes) == (begins is not None)
    for note in notes:
        assert note.startswith(str(begins)) and holds in note and "it shrank" in note
        assert note.endswith(": altbackup accept dayabay/svn/x -i INVENTORY")


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ([], ""),
        (
            ["svn/x/1"],
            "1 tarball of /copies/dayabay is no longer to be kept, but waits for the next runs (1 of svn/x): ",
        ),
        (["svn/y/1", "svn/x/1", "svn/x/2"], "3 tarballs of .* (2 of svn/x, 1 of svn/y): "),
        ([f"svn/{n:02}/1" for n in range(10)], "(1 of svn/00, .*, 1 of svn/09): "),
        ([f"svn/{n:02}/{m}" for n in range(12) for m in "ab"], "(2 of svn/00, .*, 2 of svn/09, 4 of 2 more items): "),
    ],
)
def test_what_waits_is_counted_by_items_of_which_ten_are_named(waiting: list[str], said: str) -> None:
    notes = list(notes_of_waiting(TREE, waiting))
    assert len(notes) == bool(said)
    first, _, last = said.partition(".*")
    assert not notes or (first in notes[0] and last in notes[0])


@pytest.mark.parametrize(
    ("names", "there", "said"),
    [
        (None, ["svn/x"], []),
        (None, [], ["no tarballs in /copies/dayabay: there is nothing to purge"]),
        ([], [], []),
        (["svn/x"], ["svn/x"], []),
        (
            ["svn/x", "svn/y"],
            ["svn/x"],
            ["no tarballs of svn/y in /copies/dayabay: there is nothing of it to purge"],
        ),
    ],
)
def test_no_data_is_said(names: list[str] | None, there: list[str], said: list[str]) -> None:
    assert list(nothing_there(TREE, names, there)) == said
