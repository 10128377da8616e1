"""The closing table: tarballs made, their sizes and durations, and where they are good."""

from __future__ import annotations

from collections.abc import Sequence
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


def check(node: str, role: str, match: list[str], mismatch: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """Return what a check of a tree of dayabay returned."""
    tree = {"node": node, "source": "dayabay", "role": role}
    dnas = dict.fromkeys([*match, *mismatch], DNA)
    return {"ansible_loop_var": "tree", "tree": tree, "dnas": dnas, "match": match, "mismatch": mismatch, **more}


def checked(
    *calls: dict[str, Any], known: dict[str, Any] = outcomes.EMPTY, **options: Any
) -> dict[str, dict[str, Any]]:
    """Return the states of a run of dayabay after checks."""
    return {"dayabay": outcomes.record_check(known, {"results": list(calls)}, "dayabay", **options)}


def test_a_tarball_is_where_it_was_read_and_good() -> None:
    made = {PATH: {"relpath": PATH, "size": 2048, "seconds": 3.14, "dig": "0" * 64}}
    known = state(tarballs=made)
    whole = checked(check("dayabay", "source", [PATH]), check("cms01", "target", [PATH]), known=known)
    assert night_rows(whole) == [["dayabay: svn/dybsvn", "2.0 KiB", "3.1", "dayabay, cms01"]]
    part = checked(check("dayabay", "source", [], [PATH]), check("cms01", "target", [PATH]), known=known)
    assert night_rows(part)[0][3] == "cms01"
    none = checked(check("dayabay", "source", [], [PATH]), known=known)
    assert night_rows(none)[0][3] == "no good copy"


def test_each_tarball_of_an_item_is_where_it_is_good_itself() -> None:
    later = PATH.replace("104701", "221500")
    next_day = PATH.replace("05/10", "05/11")
    states = checked(check("dayabay", "source", [PATH, later]), check("cms01", "target", [PATH], [later]))
    assert [(row[0], row[3]) for row in night_rows(states)] == [
        ("dayabay: svn/dybsvn 10:47:01", "dayabay, cms01"),
        ("dayabay: svn/dybsvn 22:15:00", "dayabay"),
    ]
    days = night_rows(checked(check("cms01", "target", [PATH, next_day])))
    assert [row[0] for row in days] == [
        "dayabay: svn/dybsvn 2013/05/10 10:47:01",
        "dayabay: svn/dybsvn 2013/05/11 10:47:01",
    ]


def test_a_tarball_is_not_where_purge_removed_it_and_again_where_it_was_healed() -> None:
    both = checked(check("dayabay", "source", [PATH], removed=[PATH]), check("cms01", "target", [PATH]))
    assert night_rows(both)[0][3] == "cms01"
    predicted = checked(check("dayabay", "source", [PATH], removed=[PATH]), check_mode=True)
    assert night_rows(predicted)[0][3] == "dayabay"
    rotten = {"place": {"node": "cms01", "source": "dayabay", "role": "target"}, "healed": {PATH: "dayabay"}}
    states = checked(check("dayabay", "source", [PATH]), check("cms01", "target", [], [PATH]))
    assert night_rows(states)[0][3] == "dayabay"
    states["dayabay"]["rotten"] = [rotten]
    assert night_rows(states)[0][3] == "dayabay, cms01"


def test_copies_of_a_source_on_its_own_node_are_told_apart() -> None:
    whole = checked(check("dayabay", "source", [PATH]), check("dayabay", "target", [PATH]))
    assert night_rows(whole)[0][3] == "dayabay, dayabay -> dayabay"
    part = checked(check("dayabay", "source", [], [PATH]), check("dayabay", "target", [PATH]))
    assert night_rows(part)[0][3] == "dayabay -> dayabay"


def test_what_was_counted_alone_has_no_time() -> None:
    assert night_rows(checked(check("cms01", "target", [PATH]))) == [["dayabay: svn/dybsvn", "2.0 KiB", "", "cms01"]]


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
    there = checked(check("dayabay", "source", [PATH]), check("cms01", "target", [PATH]), known=known)
    assert night_rows(there) == [["dayabay: svn/dybsvn", "2.0 KiB", "3.1", "incomplete (dayabay, cms01)"]]
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
