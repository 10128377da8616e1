"""The closing table: tarballs made, their sizes and durations, and where they are good."""

from __future__ import annotations

from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.report import outcomes, run_summary, tarball_table
from ansible_collections.altbackup.core.plugins.plugin_utils.report.night_table import (
    aligned,
    night_rows,
    without_covered,
)

PATH = "svn/dybsvn/2013/05/10/104701/dybsvn-4.tar.zst"
DNA = f"sha256:{'0' * 64}:2048"


def state(**more: Any) -> dict[str, Any]:
    """Return a run's knowledge of a node."""
    return {**outcomes.EMPTY, **more}


def test_a_tarball_is_where_its_item_passed() -> None:
    made = {PATH: {"relpath": PATH, "size": 2048, "seconds": 3.14, "dig": "0" * 64}}
    contents = {f"{node}/dayabay/{PATH}": DNA for node in ("dayabay", "cms01", "sdu")}
    passed = {
        "dayabay/dayabay/source": ["svn/dybsvn"],
        "cms01/dayabay/target": ["svn/dybsvn"],
        "sdu/dayabay/target": [],
    }
    rows = night_rows({"dayabay": state(tarballs=made, contents=contents, passed=passed)})
    assert rows == [["dayabay: svn/dybsvn", "2.0 KiB", "3.1", "dayabay, cms01"]]


def test_what_was_counted_alone_has_no_time() -> None:
    states = {"cms01": state(contents={f"cms01/dayabay/{PATH}": DNA}, passed={"cms01/dayabay/target": ["svn/dybsvn"]})}
    assert night_rows(states) == [["dayabay: svn/dybsvn", "2.0 KiB", "", "cms01"]]


def test_what_was_proved_has_its_time() -> None:
    proved = [{"node": "cms01", "relpath": PATH, "seconds": 12.0}]
    states = {"cms01": state(contents={f"cms01/dayabay/{PATH}": DNA}, proved=proved)}
    assert night_rows(states) == [["dayabay: svn/dybsvn", "2.0 KiB", "12.0", "cms01"]]


def test_what_would_be_made_is_said_to_be() -> None:
    rows = night_rows({"dayabay": state(tarballs={PATH: {"relpath": PATH, "size": 0, "seconds": 0, "dig": ""}})})
    assert rows == [["dayabay: svn/dybsvn", "", "0.0", "would be made"]]


def test_the_table_covers_all_lines_but_notes() -> None:
    made = {PATH: {"relpath": PATH, "size": 2048, "seconds": 3.14, "dig": "0" * 64}}
    full = state(
        tarballs=made, sent={"cms01": 5}, checked={"dayabay": {"match": 1, "bytes": 5}}, notes=["x: hooks left out"]
    )
    assert run_summary.summary({}, without_covered({"dayabay": full})) == ["note: x: hooks left out"]


def test_columns_are_aligned() -> None:
    assert aligned([("item", "size", "seconds", "where"), ("a", "2.0 KiB", "3.1", "b")]) == [
        "item     size  seconds  where",
        "a     2.0 KiB      3.1  b",
    ]


def test_what_is_not_whole_is_marked_wherever_it_lies() -> None:
    record = {"incomplete": ["x is too long"]}
    made = {"relpath": PATH, "size": 2048, "seconds": 3.1, "dig": "0" * 64, "alg": "sha256", "record": record}
    known = outcomes.record({}, {"tarballs": [made]}, "dump", "dayabay")
    known["contents"] = {f"{node}/dayabay/{PATH}": DNA for node in ("dayabay", "cms01")}
    known["passed"] = {"dayabay/dayabay/source": ["svn/dybsvn"], "cms01/dayabay/target": ["svn/dybsvn"]}
    assert night_rows({"dayabay": known}) == [["dayabay: svn/dybsvn", "2.0 KiB", "3.1", "incomplete (dayabay, cms01)"]]
    tree = {"node": "cms01", "source": "dayabay", "role": "target", "base": "/copies/dayabay"}
    counted = {"ansible_loop_var": "tree", "tree": tree, "dnas": {PATH: DNA}, "incomplete": [PATH]}
    alone = outcomes.record_check({}, {"results": [counted]}, "cms01")
    assert night_rows({"cms01": alone})[0][3] == "incomplete"
    drilled = {**counted, "dnas": {}, "incomplete": [], "proved": [{**made, "seconds": 2.0, "incomplete": True}]}
    proved = outcomes.record({}, {"results": [drilled]}, "drill", "cms01")
    assert night_rows({"cms01": proved})[0][3] == "incomplete (cms01)"


def test_list_marks_what_is_not_whole() -> None:
    entry = {"relpath": PATH, "size": 1, "dig": "0" * 64, "alg": "sha256", "incomplete": True}
    states = [
        tarball_table.listed({"tarballs": [{**entry, "state": state}]}, "dayabay")[0]["state"]
        for state in ("verified", "mismatch")
    ]
    assert states == ["incomplete", "mismatch"]
