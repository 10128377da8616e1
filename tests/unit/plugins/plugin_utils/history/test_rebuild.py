"""A history that was lost is made again from what nodes hold."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.history.rebuild import LOST, rebuilt

OLD, NEW = "2026/11/27/013000", "2026/11/28/013000"


def listed(stamp: str = NEW, **more: Any) -> dict[str, Any]:
    """Return a tarball as list.yml writes it."""
    place = {"node": "dayabay", "source": "dayabay", "role": "source", "category": "svn", "name": "dybsvn"}
    return {**place, "stamp": stamp, "size": 7, "state": "verified", **more}


@pytest.mark.parametrize(
    ("entries", "known", "stamps"),
    [
        ([], [], []),
        ([listed()], [], [NEW]),
        ([listed(), listed(OLD)], [], [OLD, NEW]),
        ([listed(), listed(OLD)], [NEW], [OLD]),
        ([listed(), listed(OLD)], [OLD, NEW], []),
        ([listed(), listed(node="cms01", role="target")], [], [NEW]),
        ([listed(state="suspect", suspect=["it shrank"])], [], [NEW]),
        ([listed(state="malformed")], [], []),
        ([listed(state="missing"), listed(OLD)], [], [OLD]),
        ([{"node": "dayabay"}, {}, listed()], [], [NEW]),
    ],
    ids=[
        "none",
        "one",
        "two",
        "one is known",
        "all are known",
        "one night",
        "suspect",
        "bad",
        "one is bad",
        "not whole",
    ],
)
def test_each_night_of_which_there_are_copies_has_a_record(
    entries: list[dict[str, Any]], known: list[str], stamps: list[str]
) -> None:
    assert [record.run["stamp"] for record in rebuilt(entries, "UTC", known)] == stamps


def test_a_record_says_that_it_is_rebuilt_and_what_is_lost() -> None:
    (record,) = rebuilt([listed(), listed(node="cms01", role="target", size=9), listed(name="other")], "Asia/Taipei")
    assert (record.run["state"], record.run["rebuilt"], record.run["message"]) == ("rebuilt", 1, LOST)
    assert (record.run["token"], record.run["started"]) == (f"rebuilt {NEW}", 1795800600.0)
    assert [(tree["node"], tree["role"]) for tree in record.trees] == [("dayabay", "source"), ("cms01", "target")]
    assert [(copy["node"], copy["name"], copy["size"]) for copy in record.copies] == [
        ("dayabay", "dybsvn", 7),
        ("cms01", "dybsvn", 9),
        ("dayabay", "other", 7),
    ]


def test_a_suspect_is_no_good_copy_of_its_night() -> None:
    (record,) = rebuilt([listed(state="suspect", suspect=["it shrank"])], "UTC")
    assert (record.copies[0]["stamp"], record.copies[0]["suspect"]) == ("", "it shrank")
    assert "size" not in record.copies[0]


@pytest.mark.parametrize(("stamp", "zone"), [("yesterday", "UTC"), (NEW, "Mars/Olympus"), ("", "UTC")])
def test_a_moment_that_is_not_known_is_the_first_of_all(stamp: str, zone: str) -> None:
    (record,) = rebuilt([listed(stamp)], zone)
    assert record.run["started"] == 0.0
