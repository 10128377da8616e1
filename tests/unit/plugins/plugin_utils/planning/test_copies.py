"""The number of targets with a verified newest tarball of an item, as a run knows it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import copies
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY

STAMP = "2013/05/10/104701"
PLAN: dict[str, Any] = {"stamp": STAMP, "sources": {"dayabay": {"targets": ["cms01", "sdu"]}}}


def path(day: str, key: str = "svn/x") -> str:
    return f"{key}/2013/05/{day}/104701/{key[4:]}.tar"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param({}, 0, id="nothing arrived"),
        pytest.param({"delivered": {"cms01": [path("10")]}}, 1, id="one has it"),
        pytest.param({"delivered": {"cms01": [path("09")]}}, 0, id="an older one"),
        pytest.param({"delivered": {"cms01": [path("10")], "sdu": [path("10")]}}, 2, id="both have it"),
        pytest.param(
            {"delivered": {"cms01": [path("10")]}, "passed": {"cms01/dayabay/target": []}},
            0,
            id="its check found it bad",
        ),
        pytest.param(
            {"delivered": {"cms01": [path("10")]}, "passed": {"cms01/dayabay/target": ["svn/x"]}},
            1,
            id="its check passed",
        ),
        pytest.param({"delivered": {"other": [path("10")]}}, 0, id="no target of this source"),
        pytest.param({"offer": None, "delivered": {"cms01": [path("10")]}}, None, id="nothing was listed"),
        pytest.param(
            {"offer": [{"relpath": path("10")}, {"relpath": path("31")}], "delivered": {"sdu": [path("10")]}},
            1,
            id="one of a time to come",
        ),
        pytest.param(
            {"offer": [], "predicted": [path("10")], "delivered": {"sdu": [path("10")]}}, 1, id="in check mode"
        ),
    ],
)
def test_targets_count_that_have_the_newest_one_verified(known: dict[str, Any], expected: int | None) -> None:
    state = {**EMPTY, "offer": [{"relpath": path("09")}, {"relpath": path("10")}], **known}
    assert copies.delivered(PLAN, "dayabay", state).get("svn/x") == expected


def listed(day: str, dig: str, state: str = "verified") -> dict[str, Any]:
    return {
        "category": "svn",
        "name": "x",
        "stamp": f"2013/05/{day}/104701",
        "dig": dig,
        "alg": "sha256",
        "size": 5,
        "state": state,
    }


@pytest.mark.parametrize(
    ("source", "targets", "expected"),
    [
        pytest.param([listed("10", "b")], [[listed("10", "b")], [listed("09", "a")]], 1, id="one is behind"),
        pytest.param([listed("10", "b")], [[], []], 0, id="nothing on targets"),
        pytest.param(
            [listed("10", "b")], [[listed("10", "b", "missing")], [listed("10", "b")]], 1, id="one is not verified"
        ),
        pytest.param(
            [listed("10", "a")], [[listed("09", "a")], [listed("08", "a")]], 2, id="the same content of earlier days"
        ),
        pytest.param([], [[listed("09", "a")], [listed("10", "b")]], 1, id="the source has none"),
        pytest.param([listed("31", "z"), listed("10", "b")], [[listed("10", "b")], []], 1, id="one of a time to come"),
    ],
)
def test_listings_tell_the_same_by_equal_content(source: Any, targets: Any, expected: int) -> None:
    shelves = {
        "dayabay/dayabay/source": copies.newest_listed(source, STAMP),
        "cms01/ihep/target": copies.newest_listed([listed("10", "c")], STAMP),
    }
    states = [
        {"shelves": shelves},
        {
            "shelves": {
                f"{node}/dayabay/target": copies.newest_listed(one, STAMP)
                for node, one in zip(("cms01", "sdu"), targets, strict=True)
            }
        },
    ]
    assert copies.delivered_by_listings(PLAN, "dayabay", states)["svn/x"] == expected
