"""The tables and the picture of the benchmarks, and the rows in them."""

from __future__ import annotations

import json
from collections import Counter
from xml.etree import ElementTree

import pytest
from benchmarks.contest import Row
from benchmarks.figures import Figures, Limit, Result
from benchmarks.report import as_json, judge_curve, markdown, picture, shown
from benchmarks.rows import CURVES, SIZES, rows

MACHINE = {"processor": "2 cores", "data": "SIZE=small"}


def turn(seconds: float, **more: float) -> Figures:
    return {"seconds": seconds, "cpu": 1.0, "read": 1e6, "written": 2e6, "wire": 3e6, "memory": 4e6, **more}


def night(at: float, ours: float, theirs: float, **more: float) -> Result:
    row = Result(
        f"night-{at:g}", f"a night of {at:g} GB", (Limit("seconds", 1.0, ("borg", "restic")), Limit("calls", 9))
    )
    row.curve, row.at = "night of svn", at
    row.turns = {
        "altbackup": [turn(ours, calls=8, **more), turn(ours + 2, calls=8)],
        "borg": [turn(theirs), turn(theirs)],
    }
    row.parts = {"borg": [{"create": 1.0, "check": 2.0}]}
    row.first = {"borg": turn(7)}
    row.absent = {"restic": "restic is not installed"}
    return row


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_table_tells_limits_figures_with_spread_what_is_absent_and_where_seconds_went() -> None:
    failed = Result("dump", "a dump", failure="StepFailed: no room\nmore")
    found = lines(markdown([night(1, 20, 10), failed], MACHINE))
    assert "| processor | 2 cores |" in found
    assert "| a night of 1 GB | seconds: 1 x borg or restic | 2.1 x borg | **no** |" in found
    assert "| a night of 1 GB | calls: 9 | 8 | yes |" in found
    assert "| night-1 | altbackup | | 21.00 (20.00 - 22.00) | 1.00 | 1.0 | 2.0 | 3.0 | 4.0 | calls 8 |" in found
    assert (
        "| night-1 | borg | 2.1 x | 10.00 (10.00 - 10.00) | 1.00 | 1.0 | 2.0 | 3.0 | 4.0 | first night 7.00 s |"
        in found
    )
    assert "- night-1: restic: restic is not installed" in found
    assert "- dump failed: StepFailed: no room" in found
    assert "| night-1 | borg | create 1.00, check 2.00 |" in found


def test_fixed_cost_and_slope_are_told_apart_and_held_against_what_is_asked() -> None:
    results = [night(1, 10, 4), night(3, 14, 8)]
    found = lines(markdown(results, MACHINE))
    assert "| night of svn, by GB of repository | altbackup | 1: 11.00, 3: 15.00 | 9.00 | 2.00 | |" in found
    assert "| night of svn, by GB of repository | borg | 1: 4.00, 3: 8.00 | 2.00 | 2.00 | |" in found
    assert judge_curve(CURVES["night of svn"], results) == [
        ("fixed: 0.4 s a call", "1.12 s", "**no**"),
        ("slope: 0.25 x borg or restic", "1 x", "**no**"),
    ]
    assert judge_curve(CURVES["night of svn"], results[:1]) == []


def test_what_was_not_measured_is_told_so() -> None:
    row = Result("row", "work", (Limit("wire", 0.05, ("borg",)),), turns={"altbackup": [{"seconds": 1}]})
    found = lines(markdown([row], MACHINE))
    assert "| work | wire: 0.05 x borg | - | not measured |" in found
    assert "| row | altbackup | | 1.00 (1.00 - 1.00) | - | - | - | - | - | |" in found


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("wire", 9.9e6, "9.9"),
        ("seconds", 1.234, "1.23"),
        ("calls", 7.5, "7.5"),
        ("stored", None, "-"),
        ("added", 0, "0.0"),
    ],
)
def test_figures_are_shown_in_the_units_of_the_table(metric: str, value: float | None, text: str) -> None:
    assert shown(metric, value) == text


def test_all_turns_are_in_the_json() -> None:
    found = json.loads(as_json([night(1, 10, 4), night(3, 14, 8)], MACHINE))
    assert found["machine"] == MACHINE
    assert [turn["seconds"] for turn in found["rows"][0]["turns"]["altbackup"]] == [10, 12]
    assert found["rows"][0]["limits"][0]["met"] is False
    assert found["curves"]["night of svn"]["borg"] == pytest.approx([2, 2])


def test_the_picture_has_a_bar_for_each_ratio_and_a_line_for_each_contender_of_a_curve() -> None:
    for results in ([night(1, 10, 4), night(3, 14, 8)], []):
        root = ElementTree.fromstring(picture(results, MACHINE))
        shapes = [element.tag.rpartition("}")[2] for element in root.iter()]
        assert shapes.count("rect") == 1 + len(results)
        assert shapes.count("polyline") == len(results)


@pytest.mark.parametrize("size", SIZES)
def test_rows_have_keys_of_their_own_and_known_curves(size: str) -> None:
    found: list[Row] = rows(SIZES[size])
    assert len({row.key for row in found}) == len(found)
    assert {row.curve for row in found} - {""} == set(CURVES)


def test_all_sizes_have_the_same_rows() -> None:
    works = [{row.key.partition("-")[0] for row in rows(size)} for size in SIZES.values()]
    assert works[0] == works[1]


def test_small_data_have_each_row_of_a_curve_once_but_for_digests_which_take_no_run() -> None:
    small = SIZES["small"]
    found = Counter(row.curve for row in rows(small) if row.curve)
    assert found == {curve: 2 if curve.startswith("digests") else 1 for curve in CURVES}
    assert (small.pairs, small.nights, small.firsts) == (1, 1, False)
