"""The plan of a restore: entries and their errors, which node's tarball is taken, predictions of effects and duration."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.restores import (
    DIG,
    ENTRY,
    FOLDER,
    HOSTS,
    NEW,
    OLD,
    OTHER_DIG,
    choose_one,
    found,
    order_of,
    plan_entry,
    plan_of,
    tarball,
)

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import plan_restores


def test_nothing_to_do_is_a_failure() -> None:
    (failure,) = plan_restores(plan_of(), HOSTS)["failures"]
    assert "there is nothing to restore: say what with -e" in failure["reason"]


def test_two_entries_for_one_place_are_both_refused() -> None:
    planned = plan_restores(plan_of(restore=[ENTRY, {**ENTRY, "at": "-1"}, {**ENTRY, "to": "/x"}]), HOSTS)
    assert [order["destination"] for order in planned["orders"]] == ["/x"]
    assert [failure["reason"] for failure in planned["failures"]] == [
        "/home/scm/svn/dybsvn is the destination of 2 entries: give each a path of its own"
    ] * 2


@pytest.mark.parametrize("inner_first", [True, False])
def test_entries_for_places_within_each_other_are_both_refused(inner_first: bool) -> None:
    inner, outer = {**ENTRY, "to": "/data/scm/svn/x"}, {**ENTRY, "to": "/data/scm"}
    entries = [inner, outer] if inner_first else [outer, inner]
    planned = plan_restores(plan_of(restore=[*entries, {**ENTRY, "to": "/data/scm2"}]), HOSTS)
    assert [order["destination"] for order in planned["orders"]] == ["/data/scm2"]
    assert [failure["reason"] for failure in planned["failures"]] == [
        "/data/scm/svn/x lies in /data/scm, the destination of another entry: restore /data/scm first, in a run of its own"
    ] * 2


def test_only_nodes_that_may_hold_what_is_ordered_are_searched() -> None:
    planned = plan_restores(
        plan_of(
            restore=[
                {**ENTRY, "from": "sdu"},
                {**FOLDER, "path": None, "source": "dayabay", "to_host": "fresh", "to": "/x"},
            ]
        ),
        HOSTS,
    )
    assert planned["failures"] == []
    assert planned["searches"] == {
        "sdu": [{"source": "dayabay", "base": "/copies/dayabay", "keys": ["folders/svnsetup", "svn/dybsvn"]}],
        "cms01": [{"source": "dayabay", "base": "/copies/dayabay", "keys": ["folders/svnsetup"]}],
        "dayabay": [{"source": "dayabay", "base": "/backup", "keys": ["folders/svnsetup"], "own": True}],
    }


def test_adoption_names_items() -> None:
    adopt = ["dayabay/svn/dybsvn", "dayabay/git/a%2Fb", "dayabay/svn/dybsnv", "nowhere/svn/x"]
    planned = plan_restores(plan_of(adopt=adopt), HOSTS)
    assert planned["adoptions"] == {"dayabay": ["/home/scm/svn/dybsvn", "/home/scm/git/a/b"]}
    reasons = [failure["reason"] for failure in planned["failures"]]
    assert len(reasons) == 2
    assert (
        "'dayabay/svn/dybsnv' is no item, written as source/category/name, did you mean 'dayabay/svn/dybsvn'?"
        in reasons[0]
    )


def test_hints_are_at_things_of_the_same_kind() -> None:
    def reason(**more: Any) -> str:
        (failure,) = plan_entry({**ENTRY, **more})["failures"]
        return str(failure["reason"])

    assert "'svnsetup' is no svn item of dayabay, known are dybsvn" in reason(name="svnsetup")
    assert "'x' is no sqlite item of dayabay, no other one is known" in reason(kind="sqlite", name="x")
    sources = {"dayabay": plan_of()["sources"]["dayabay"]}
    for name in ("cms01", "dayabay1"):  # a target and a host are no misspelled source
        plan = {**plan_of(restore=[{**ENTRY, "source": name}]), "sources": sources}
        (failure,) = plan_restores(plan, [*HOSTS, "dayabay1"])["failures"]
        assert f"{name!r} is no source of the inventory, known are dayabay" in failure["reason"]
    adopt = ["dayabay/svn/svnsetup", "dayabai/folders/svnsetup", "dayabay/folder/svnsetup"]
    told = [entry["reason"].rpartition("name, ")[2] for entry in plan_restores(plan_of(adopt=adopt), HOSTS)["failures"]]
    assert told == ["known are dayabay/svn/dybsvn", *["did you mean 'dayabay/folders/svnsetup'?"] * 2]


@pytest.mark.parametrize(
    "other", [{"dig": OTHER_DIG}, {"size": 1001}, {"alg": "md5"}, {"base": f"{OLD}/dybsvn-3.tar.zst", "base_dig": DIG}]
)
@pytest.mark.parametrize("at", ["", NEW, "2013/05/10"])
def test_nodes_that_differ_on_a_stamp_are_named_and_from_decides(other: dict[str, Any], at: str) -> None:
    nodes = {
        "dayabay": found(tarball(OLD), tarball(NEW)),
        "cms01": found(tarball(OLD), tarball(NEW, **other)),
        "sdu": found(tarball(OLD, dig=OTHER_DIG)),
    }
    choice = choose_one(order_of(at=at), nodes)
    assert choice["chosen"] == []
    (failure,) = choice["failures"]
    reason = failure["reason"]
    assert f"the restore of svn/dybsvn of dayabay{f' at {at}' if at else ''} is refused" in reason
    assert f"one stamp {NEW}: cms01 has {other.get('alg', 'sha256')}:{other.get('dig', DIG)}" in reason
    assert f"; dayabay has sha256:{DIG}:1000. " in reason
    assert "name the node whose copy is to be taken, as from" in reason
    for node in ("dayabay", "cms01"):
        choice = choose_one(order_of(at=at, **{"from": node}), nodes)
        assert (choice["failures"], choice["chosen"][0]["holder"]) == ([], node)


def test_nodes_that_differ_on_an_older_stamp_hinder_nothing() -> None:
    nodes = {"dayabay": found(tarball(OLD), tarball(NEW)), "cms01": found(tarball(OLD, dig=OTHER_DIG), tarball(NEW))}
    assert choose_one(order_of(), nodes)["failures"] == []
