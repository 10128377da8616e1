"""Rot: what a night reads again, what of that rotted, and what a purge would rest on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import link, marked, put
from helpers.tarballs import copies, seen, stamp_of

from ansible_collections.altbackup.core.plugins.module_utils.stages import rot as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.rot import (
    ReadResult,
    RotCheck,
    bad_survivors,
    begin_check,
    due_tarballs,
    other_names,
    quarantine_damaged,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import keep_readings, readings
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import Scan, scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

MOMENT = Moment(stamp_of("20"), stamp_of("20"))
NOWHERE = Tree("/backup", "/backup/.altbackup")


def numbered(words: str, **more: Any) -> list[Tarball]:
    """Return tarballs of files of their own."""
    return [seen(word, inode=(1, number), **more) for number, word in enumerate(words.split())]


def days(tarballs: Any) -> str:
    return " ".join(one.stamp[8:10] for one in tarballs)


def round_of(tarballs: list[Tarball], number: int = 7, known: dict[str, str] | None = None) -> RotCheck:
    """Return what a check goes by that reads all in a number of days."""
    return RotCheck(NOWHERE, Scan(tarballs), MOMENT, number, known or {})


@pytest.mark.parametrize(
    ("words", "number", "tonight", "due"),
    [
        pytest.param("", 7, "", "", id="nothing is there"),
        pytest.param("01a 02b 03c", 0, "", "", id="nothing is to be read in turn"),
        pytest.param("01a 02b 03c", 1, "", "01 02 03", id="all in a day"),
        pytest.param("01a 02b 03c", 3, "", "01", id="a third"),
        pytest.param("01a 02b 03c", 100, "", "01", id="at least one"),
        pytest.param("01a 02b 03c", 1, "01 03", "02", id="not what is read anyway"),
        pytest.param("01a 02b 03c", 1, "01 02 03", "", id="all is read anyway"),
    ],
)
def test_the_share_of_a_night_is_of_what_it_does_not_read_anyway(
    words: str, number: int, tonight: str, due: str
) -> None:
    tarballs = numbered(words)
    read = [one for one in tarballs if one.stamp[8:10] in tonight.split()]
    assert days(due_tarballs(round_of(tarballs, number), read)) == due


def test_one_of_another_size_is_read_at_once_and_one_without_a_dna_never() -> None:
    odd = seen("03c", inode=(1, 3), state="mismatch")
    none = seen("04d", inode=(1, 4), state="missing", dna=None)
    assert days(due_tarballs(round_of([*numbered("01a 02b"), odd, none], 100), [])) == "01 03"


@pytest.mark.parametrize(("read", "others"), [("", ""), ("01", "02 03"), ("02", "01 03"), ("01 02 03", ""), ("04", "")])
def test_other_names_of_a_file_that_is_read_are_known(read: str, others: str) -> None:
    tarballs = [*copies("01a 02a 03a"), seen("04d", inode=(9, 9)), seen("05a", dna=None)]
    chosen = [one for one in tarballs if one.stamp[8:10] in read.split()]
    assert days(other_names(round_of(tarballs), chosen)) == others


@pytest.mark.parametrize(
    ("read", "rotten"),
    [
        pytest.param({}, [], id="nothing was read"),
        pytest.param({"01": ("a", 5), "02": ("b", 5)}, [], id="all is well"),
        pytest.param({"01": ("x", 5)}, ["01"], id="another digest"),
        pytest.param({"01": ("a", 4)}, ["01"], id="another size"),
        pytest.param({"01": OSError(5, "Input/output error")}, [], id="it cannot be read"),
        pytest.param({"01": ("x", 5), "02": ("y", 5)}, ["02", "01"], id="two files"),
        pytest.param({"03": ("x", 5), "04": ("x", 5)}, ["04 03"], id="two names of a file"),
    ],
)
def test_what_rotted_is_what_was_read_and_does_not_match(read: dict[str, ReadResult], rotten: list[str]) -> None:
    tarballs = [*numbered("01a 02b"), *(seen(word, inode=(9, 9)) for word in ("03c", "04c"))]
    outcomes = {one.relpath: read[one.stamp[8:10]] for one in tarballs if one.stamp[8:10] in read}
    assert [days(names) for names in room._damaged_files(tarballs, outcomes)] == rotten


def test_of_a_tarball_without_a_dna_nothing_is_said() -> None:
    tarball = seen("01a", dna=None)
    assert room._damaged_files([tarball], {tarball.relpath: ("x", 5)}) == []
    assert room._as_dna(tarball, ("x", 5)) is None
    assert room._as_dna(seen("01a"), OSError(5, "x")) is None


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with tarballs of three nights."""
    base = marked(tmp_path / "base")
    for day in ("01", "02", "03"):
        put(base, f"svn/x/{stamp_of(day)}/x.tar", day.encode() * 3)
    return open_tree(str(base))


def path_of(tree: Tree, day: str) -> Path:
    return Path(tree.base, f"svn/x/{stamp_of(day)}/x.tar")


@pytest.mark.parametrize(
    ("read", "bad"),
    [
        pytest.param({}, "02 03", id="never read"),
        pytest.param({"02": stamp_of("19"), "03": stamp_of("19")}, "", id="read lately"),
        pytest.param({"02": stamp_of("12"), "03": stamp_of("19")}, "02", id="one was read long ago"),
        pytest.param({"02": "", "03": stamp_of("19")}, "02", id="one is doubted"),
        pytest.param({"02": stamp_of("21"), "03": stamp_of("19")}, "02", id="one was read in the future"),
    ],
)
def test_what_a_purge_would_rest_on_is_read_unless_it_was_lately(tree: Tree, read: dict[str, str], bad: str) -> None:
    keep_readings(tree, {f"svn/x/{stamp_of(day)}/x.tar": stamp for day, stamp in read.items()})
    before = readings(tree)
    path_of(tree, "02").write_bytes(b"??????")
    path_of(tree, "03").write_bytes(b"??????")
    staying = scan(tree).verified()
    found, failures = bad_survivors(tree, staying, MOMENT, 7, noting=False)
    assert days(found) == bad
    assert len(failures) == len(found) and readings(tree) == before
    assert all("Nothing of this item was removed" in entry["reason"] for entry in failures)
    bad_survivors(tree, staying, MOMENT, 7, noting=True)
    after = readings(tree)
    assert after[f"svn/x/{stamp_of('01')}/x.tar"] == MOMENT.stamp
    assert [after[one.relpath] for one in found] == [""] * len(found)


def test_one_that_cannot_be_read_is_no_rot_and_nothing_that_stays_needs_no_look(tree: Tree) -> None:
    staying = scan(tree).verified()
    path_of(tree, "02").unlink()
    path_of(tree, "02").mkdir()
    found, (failure,) = bad_survivors(tree, staying, MOMENT, 7, noting=True)
    assert days(found) == "02" and "cannot be read" in failure["reason"] and room.LEFT in failure["reason"]
    assert f"svn/x/{stamp_of('02')}/x.tar" not in readings(tree)
    assert bad_survivors(tree, [], MOMENT, 7, noting=True) == ([], [])


def test_a_file_that_rotted_is_set_apart_under_all_its_names_and_told_once(tree: Tree) -> None:
    link(Path(tree.base), f"svn/x/{stamp_of('01')}/x.tar", f"svn/x/{stamp_of('04')}/x.tar")
    path_of(tree, "01").write_bytes(b"??????")
    known = begin_check(tree, scan(tree), MOMENT, 7)
    outcome = (hashlib.sha256(b"??????").hexdigest(), 6)
    read: dict[str, ReadResult] = {one.relpath: outcome for one in known.whole.tarballs if one.links == 2}
    result = quarantine_damaged(known, read, {})
    assert sorted(entry["relpath"].split("/")[4] for entry in result["quarantined"]) == ["01", "04"]
    (failure,) = result["failures"]
    assert "; the same file stood under 1 other stamp, and was moved there, too: " in failure["reason"]
    assert not path_of(tree, "01").exists() and days(scan(tree).verified()) == "02 03"
    assert os.path.isdir(os.path.join(tree.private, "healing"))


def test_what_reads_otherwise_the_next_time_stays(tree: Tree) -> None:
    known = begin_check(tree, scan(tree), MOMENT, 7)
    relpath = f"svn/x/{stamp_of('02')}/x.tar"
    result = quarantine_damaged(known, {relpath: ("0" * 64, 6)}, {relpath: "it is odd"})
    (failure,) = result["failures"]
    assert failure["reason"].startswith("it is odd; the next time sha256 is ") and "memory" in failure["reason"]
    assert result["quarantined"] == [] and path_of(tree, "02").exists()


def test_damaged_readings_are_told_and_made_anew(tree: Tree) -> None:
    keep_readings(tree, {})
    Path(tree.private_path("state", "readings")).write_text("damaged")
    known = begin_check(tree, scan(tree), MOMENT, 7)
    assert (known.last_read, len(known.failures)) == ({}, 1)
    (tarball, *_) = known.whole.verified()
    assert tarball.dna is not None
    quarantine_damaged(known, {tarball.relpath: (tarball.dna.dig, tarball.dna.size)}, {})
    assert readings(tree) == {tarball.relpath: MOMENT.stamp}
