"""Targets that may be away."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.absence import readable_time, without_absent

PLAN: dict[str, Any] = {
    "stamp": "2013/05/10/104701",
    "targets": {"cms01": {"absent_for": 172800.0}, "sdu": {"absent_for": 0.0}},
}
LOST = {"node": "dayabay", "delegate": "cms01", "reason": "unreachable: no route\nmore"}
TOOL = {"node": "dayabay", "delegate": "cms01", "reason": "rsync is not installed"}


def seen(run: str) -> dict[str, dict[str, Any]]:
    """Return a source's knowledge of its targets, which were present in a run."""
    return {name: {"id": "", "copies": 1, "purged": 0, "newest": run, "run": run} for name in ("cms01", "sdu")}


@pytest.mark.parametrize(
    ("run", "excuse"),
    [
        ("2013/05/10/104701", True),
        ("2013/05/08/104701", True),
        ("2013/05/08/104700", False),
        ("2013/05/10/104702", False),
        ("", False),
    ],
)
def test_a_target_may_be_away_for_so_long_and_no_longer(run: str, excuse: bool) -> None:
    failures, notes = without_absent(PLAN, seen(run) if run else {}, [LOST, TOOL], {"cms01": LOST["reason"]})
    assert failures == ([TOOL] if excuse else [LOST, TOOL])
    assert len(notes) == excuse
    if excuse:
        assert notes[0].startswith("cms01 is absent, as it may be for 2d from the run of") and "\n" not in notes[0]


def test_an_empty_reason_is_any_and_each_target_has_a_limit_of_its_own() -> None:
    other = {**LOST, "delegate": "sdu"}
    own = {**LOST, "node": "cms01", "delegate": ""}
    failures, notes = without_absent(
        PLAN, seen(PLAN["stamp"]), [LOST, other, own], {"cms01": "", "sdu": "", "nobody": ""}
    )
    assert (failures, len(notes)) == ([other], 1)


def test_a_renamed_target_may_be_away_as_it_might_before() -> None:
    plan = {**PLAN, "targets": {"cms01": {"absent_for": 172800.0, "former_names": ["sdu"]}}}
    known = {"sdu": seen(PLAN["stamp"])["sdu"]}
    failures, notes = without_absent(plan, known, [LOST], {"cms01": ""})
    assert (failures, len(notes)) == ([], 1)
    assert without_absent(PLAN, known, [LOST], {"cms01": ""}) == ([LOST], [])


@pytest.mark.parametrize(("seconds", "text"), [(1209600, "14d"), (7200, "2h"), (90, "90s"), (120, "2m"), (0, "0s")])
def test_times_are_read_as_they_are_written(seconds: float, text: str) -> None:
    assert readable_time(seconds) == text
