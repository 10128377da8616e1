"""The options of calls that carry tarballs to a target that is filled again."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.told_runs import SEEN, SVN, Told

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of


def refilling() -> tuple[Told, dict[str, Any]]:
    """Return a run in which a target is refilled, and the state of that refill from another target."""
    told = Told(altbackup_adopt=["cms01"])
    told.call("preflight", "preflight", {"pairs": {"cms01": {**SEEN, "copies": 9}}})
    cms01, sdu = told.over("targets")
    assert told.over("refills") == []
    told.call("tarball_prepare", "synchronize", {"refilled": True}, cms01)
    told.call("tarball_prepare", "synchronize", {}, sdu)
    (refill,) = told.over("refills")
    assert (refill["node"], refill["from"], refill["label"]) == ("cms01", "sdu", "cms01 from sdu")
    return told, refill


def test_a_target_that_is_filled_again_gets_what_another_one_has() -> None:
    told, refill = refilling()
    other = SVN.replace("dybsvn", "other")
    tarballs = [
        {"relpath": path, "size": 7, "dig": "aa", "alg": "sha256", "state": "verified"} for path in (SVN, other)
    ]
    options = told.call("tarball_list", "synchronize", {"listed": True, "tarballs": tarballs}, refill)
    assert (options, told.run.state["listed"], told.run.state["offer"]) == (
        {"base": "/copies/dayabay", "records": True},
        [],
        None,
    )
    options = told.call("tarball_prepare", "synchronize", {"send": [SVN, "svn/x"]}, refill)
    assert ([entry["relpath"] for entry in options["tarballs"]], options["carried"]) == ([SVN, other], True)
    assert (options["pair"], options["items"], options["keep"]) == ({}, [], 3), "its own rules hold, too"
    options = told.call("tarball_carry", "synchronize", {"changed": True}, refill)
    assert (options["relpaths"], options["size"], options["tree"]) == ([SVN], 7, True)
    assert (options["origin"]["node"], options["origin"]["folder"]) == ("sdu", "/copies/dayabay")
    assert options["destination"]["folder"] == "/copies/.altbackup/incoming/dayabay/carried"
    options = told.call("tarball_accept", "synchronize", {}, refill)
    assert ([entry["relpath"] for entry in options["tarballs"]], options["carried"]) == ([SVN], True)
    assert told.nodes("deliveries") == []
    told.call("tarball_purge", "purge", {"pair": SEEN}, told.over("purge")[0])
    assert any("cms01: holds 2 copies of the 9 that it held" in note for note in told.run.state["notes"])


@pytest.mark.parametrize("step", ["listed", "asked", "carried"])
def test_where_nothing_comes_from_another_target_nothing_is_accepted(step: str) -> None:
    told, refill = refilling()
    bad = {"failures": [{"reason": "x", "stage": "drill"}]}
    entry = {"relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256", "state": "verified"}
    told.call("tarball_list", "synchronize", bad if step == "listed" else {"listed": True, "tarballs": [entry]}, refill)
    if step != "listed":
        told.call("tarball_prepare", "synchronize", bad if step == "asked" else {"send": [SVN]}, refill)
    if step == "carried":
        told.call("tarball_carry", "synchronize", bad, refill)
    left = {"listed": "tarball_prepare", "asked": "tarball_carry", "carried": "tarball_accept"}[step]
    assert options_of(left, told.run, refill, {}) is None
    assert options_of("tarball_accept", told.run, refill, {}) is None
    (failure,) = told.run.state["failures"]
    assert (failure["stage"], failure["delegate"]) == ("synchronize", "sdu" if step == "listed" else "cms01")
