"""Which tarballs are looked into on which node, and the messages about the findings."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.contents import (
    answer,
    choose,
    facts,
    lines,
    plan_contents,
    searches,
    store_searches,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan

NOW = 1368355621.0
MONDAY, TUESDAY, WEDNESDAY = (f"2013/05/{day}/104701" for day in (10, 11, 12))
ITEM = "dayabay/svn/dybsvn"
VARIABLES: dict[str, dict[str, Any]] = {
    "dayabay": {
        "altbackup_base": "/backup",
        "altbackup_items": [{"kind": "svn", "name": "dybsvn", "path": "/svn/dybsvn"}],
        "altbackup_targets": ["cms01", "sdu"],
    },
    "cms01": {"altbackup_target_base": "/copies"},
    "sdu": {"altbackup_target_base": "/copies"},
}


def plan_of(**wanted: Any) -> dict[str, Any]:
    """Return the plan of a run that looks into these."""
    variables = {host: {**values, "altbackup_contents": wanted} for host, values in VARIABLES.items()}
    groups = {"all": list(VARIABLES), "sources": ["dayabay"], "targets": ["cms01", "sdu"]}
    plan = build_plan(variables, groups, {}, NOW)
    assert plan["errors"] == []
    return plan


def tarball(stamp: str, dig: str = "aa", **more: Any) -> dict[str, Any]:
    """Return a tarball as tarball_find returns it."""
    entry = {"relpath": f"svn/dybsvn/{stamp}/dybsvn-1.tar.zst", "stamp": stamp, "size": 7, "dig": dig, "alg": "sha256"}
    return {**entry, "base": "", "base_dig": "", "state": "verified", "problem": "", "record": {}, **more}


def node(*tarballs: dict[str, Any], problem: str = "") -> dict[str, Any]:
    """Return a node's result of tarball_find."""
    return {"trees": [{"source": "dayabay", "base": "/x", "problem": problem, "keys": [], "tarballs": list(tarballs)}]}


def reasons(choice: dict[str, Any]) -> list[str]:
    return [entry["reason"] for entry in choice["failures"]]


def read(choice: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the (node, stamps) of each reading call."""
    return [(call["node"], [entry["stamp"] for entry in call["told"]]) for call in choice["chosen"]]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"step": "lst", "item": ITEM}, "step 'lst' is not one of list, find, diff"),
        ({"item": "dayabay/svm/dybsvn"}, "is not source/category/name, did you mean 'dayabay/svn/dybsvn'?"),
        ({"item": "daybay/svn/dybsvn"}, "'daybay' is no source of the inventory, did you mean 'dayabay'?"),
        ({"item": "dayabay/svn/../x"}, "contains a slash"),
        ({"itm": ITEM}, "unknown key 'itm', did you mean 'item'?"),
        ({"step": "find"}, "needs a name"),
        ({"step": "diff"}, "needs an item"),
        ({"item": ITEM, "at": "tue"}, "at 'tue' is neither a stamp"),
        ({"item": ITEM, "most": True}, "most True is not a number"),
        ({"item": ITEM, "path": 7}, "path 7 is not a text"),
        ({"item": ITEM, "recursive": "yes"}, "recursive 'yes' is neither true nor false"),
        (
            {"item": ITEM, "from": "cms1"},
            "from 'cms1' is neither a source nor a target, nor a store, did you mean 'cms01'?",
        ),
    ],
)
def test_what_cannot_be_looked_for_is_one_failure(wanted: dict[str, Any], why: str) -> None:
    plan = plan_of(**wanted)
    with pytest.raises(InvalidInput) as caught:
        plan_contents(plan)
    assert why in str(caught.value)
    choice = choose(plan, {})
    assert choice["chosen"] == [] and why in reasons(choice)[0]
    assert searches(plan, "cms01") == []


def test_nodes_are_asked_for_the_item_or_for_all() -> None:
    own = {"source": "dayabay", "base": "/backup", "own": True}
    copy = {"source": "dayabay", "base": "/copies/dayabay"}
    plan = plan_of(item=ITEM)
    assert searches(plan, "dayabay") == [{**own, "keys": ["svn/dybsvn"]}]
    assert searches(plan, "sdu") == [{**copy, "keys": ["svn/dybsvn"]}]
    assert searches(plan_of(step="find", name="x"), "sdu") == [{**copy, "keys": [], "every": True}]
    plan = plan_of(item=ITEM, **{"from": "cms01"})
    assert [bool(searches(plan, name)) for name in VARIABLES] == [False, True, False]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("", ("sdu", [WEDNESDAY])),
        (TUESDAY, ("cms01", [TUESDAY])),
        ("2013/05/10", ("cms01", [MONDAY])),
        ("-2", ("cms01", [MONDAY])),
    ],
)
def test_the_newest_of_the_night_is_read_on_the_first_node_that_has_it(at: str, expected: Any) -> None:
    found = {
        "dayabay": node(*map(tarball, (MONDAY, TUESDAY, WEDNESDAY))),
        "cms01": node(tarball(MONDAY), tarball(TUESDAY), tarball(WEDNESDAY, state="mismatch")),
        "sdu": node(tarball(WEDNESDAY)),
    }
    choice = choose(plan_of(item=ITEM, at=at, path="conf"), found)
    assert read(choice) == [expected]
    options = choice["chosen"][0]["options"]
    assert (options["step"], options["path"], options["base"]) == ("list", "conf", "/copies/dayabay")


def test_a_node_that_cannot_be_asked_is_passed_over_with_a_note() -> None:
    found = {
        "cms01": {"unreachable": True, "msg": "no route"},
        "sdu": node(problem="is in use by another run"),
        "dayabay": node(tarball(MONDAY)),
    }
    choice = choose(plan_of(item=ITEM), found)
    assert read(choice) == [("dayabay", [MONDAY])]
    assert choice["notes"] == {
        "dayabay": ["passed over cms01: unreachable: no route", "passed over sdu: is in use by another run"]
    }
    choice = choose(plan_of(item=ITEM, at=TUESDAY), found)
    (reason,) = reasons(choice)
    assert reason.startswith(
        f"no node has a verified tarball of svn/dybsvn of dayabay of {TUESDAY}; the newest are of {MONDAY}; "
    )
    assert reason.endswith("; cms01: unreachable: no route; sdu: is in use by another run")


def test_each_content_is_searched_once_with_all_its_nights() -> None:
    found = {
        "cms01": node(tarball(MONDAY, "aa"), tarball(TUESDAY, "aa")),
        "sdu": node(tarball(TUESDAY, "aa"), tarball(WEDNESDAY, "bb")),
        "dayabay": node(tarball(WEDNESDAY, "bb")),
    }
    choice = choose(plan_of(step="find", name="x"), found)
    assert sorted(read(choice)) == [("cms01", [TUESDAY]), ("sdu", [WEDNESDAY])]
    assert sorted(entry["stamps"] for entry in choice["answers"]) == [[MONDAY, TUESDAY], [WEDNESDAY]]


def test_where_nothing_is_that_could_be_searched_is_a_failure() -> None:
    choice = choose(plan_of(step="find", name="x"), {"cms01": node(), "sdu": node(), "dayabay": node()})
    assert reasons(choice) == ["no node has a verified tarball of anything of dayabay"]


ALL = node(tarball(MONDAY, "aa"), tarball(TUESDAY, "bb"), tarball(WEDNESDAY, "bb"))


@pytest.mark.parametrize(
    ("days", "stamps"),
    [
        ({"at": "2013/05/10"}, [MONDAY, WEDNESDAY]),
        ({"at": TUESDAY, "other": MONDAY}, [MONDAY, TUESDAY]),
    ],
)
def test_two_nights_are_compared_the_older_one_first(days: dict[str, str], stamps: list[str]) -> None:
    choice = choose(plan_of(step="diff", item=ITEM, **days), {"cms01": ALL, "sdu": node(), "dayabay": node()})
    assert read(choice) == [("cms01", stamps)]
    assert [choice["answers"][0][end]["stamp"] for end in ("old", "new")] == stamps


def test_equal_contents_need_not_be_read() -> None:
    choice = choose(plan_of(step="diff", item=ITEM), {"cms01": ALL, "sdu": node(), "dayabay": node()})
    assert choice["chosen"] == choice["failures"] == []
    assert choice["answers"][0]["same"] is True
    assert lines(answer(choice, []))[0].endswith("are the same")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"cms01": node(tarball(MONDAY))}, f"svn/dybsvn of dayabay has one night alone, {MONDAY}"),
        ({"cms01": node(tarball(MONDAY)), "sdu": node(tarball(TUESDAY))}, f"no node has both {MONDAY} and {TUESDAY}"),
        ({}, "no node has a verified tarball of svn/dybsvn"),
    ],
)
def test_what_cannot_be_compared_says_why(found: dict[str, Any], why: str) -> None:
    choice = choose(plan_of(step="diff", item=ITEM), {**{name: node() for name in VARIABLES}, **found})
    assert choice["chosen"] == [] and why in reasons(choice)[0]


def test_what_dumps_recorded_is_compared_as_numbers() -> None:
    old = {
        "revision": 3,
        "rows": {"ticket": 5, "wiki": 1, "gone": 2},
        "measures": {"revisions": 3, "objects": 7},
        "uuid": "a",
    }
    new = {"revision": 5, "rows": {"ticket": 6, "wiki": 1}, "measures": {"revisions": 5, "objects": 9}, "uuid": "b"}
    assert facts(old, new) == [
        {"what": "revision", "of": "", "old": 3, "new": 5},
        {"what": "rows", "of": "gone", "old": 2, "new": None},
        {"what": "rows", "of": "ticket", "old": 5, "new": 6},
        {"what": "objects", "of": "", "old": 7, "new": 9},
    ]
    assert facts({"revision": "3", "rows": [1]}, {"revision": {"a": 1}, "rows": {}}) == []


def test_answers_of_several_nodes_are_one() -> None:
    choice = {"wanted": {"step": "find", "name": "x"}, "chosen": [], "answers": []}
    entry = {"relpath": f"svn/dybsvn/{MONDAY}/dybsvn-1.tar.zst", "path": "a/x\n", "type": "file", "size": 1000}
    totals = {"found": 1, "read": 2}
    told = [{"source": "dayabay", "node": name, "contents": [entry], "totals": totals} for name in ("cms01", "sdu")]
    found = answer(choice, told)
    assert found["totals"] == {"found": 2, "read": 4}
    assert [each["node"] for each in found["entries"]] == ["cms01", "sdu"]
    assert lines(found) == [f"file  1,000  svn/dybsvn/{MONDAY}  a/x\\n"] * 2 + ["2 found, 4 read"]


def test_a_differential_is_read_with_its_full_tarball_where_both_are() -> None:
    base = f"{MONDAY}/dybsvn-1.tar.zst"
    differs = tarball(TUESDAY, "bb", base=base, base_dig="aa")
    found = {
        "cms01": node(differs),
        "sdu": node(tarball(MONDAY, "cc"), differs),
        "dayabay": node(tarball(MONDAY), differs),
    }
    choice = choose(plan_of(item=ITEM), found)
    assert read(choice) == [("dayabay", [TUESDAY])]
    assert choice["chosen"][0]["options"]["tarballs"] == [{"relpath": differs["relpath"], "base": base}]
    choice = choose(plan_of(step="diff", item=ITEM), found)
    assert read(choice) == [("dayabay", [MONDAY, TUESDAY])]


def test_a_full_tarball_serves_wherever_it_lies_now() -> None:
    differs = tarball(TUESDAY, "bb", base=f"{MONDAY}/dybsvn-1.tar.zst", base_dig="aa")
    choice = choose(plan_of(item=ITEM), {"cms01": node(tarball(WEDNESDAY), differs)})
    assert read(choice) == [("cms01", [WEDNESDAY])]
    choice = choose(plan_of(item=ITEM, at=TUESDAY), {"cms01": node(tarball(WEDNESDAY), differs)})
    expected = {"relpath": differs["relpath"], "base": f"{WEDNESDAY}/dybsvn-1.tar.zst"}
    assert [call["options"]["tarballs"] for call in choice["chosen"]] == [[expected]]
    broken = tarball(WEDNESDAY, state="mismatch")
    assert read(choose(plan_of(item=ITEM, at=TUESDAY), {"cms01": node(broken, differs)})) == []


@pytest.mark.parametrize("wanted", [{"item": ITEM}, {"step": "find", "name": "x"}, {"step": "diff", "item": ITEM}])
def test_what_is_encrypted_is_looked_into_on_its_source_where_that_has_it(wanted: dict[str, Any]) -> None:
    def sealed(stamp: str, dig: str) -> dict[str, Any]:
        return tarball(stamp, dig, relpath=f"svn/dybsvn/{stamp}/dybsvn-1.tar.zst.age")

    both = (sealed(MONDAY, "aa"), sealed(TUESDAY, "bb"))
    all_of_them = {"dayabay": node(*both), "cms01": node(*both), "sdu": node(*both)}
    assert {name for name, _ in read(choose(plan_of(**wanted), all_of_them))} == {"dayabay"}
    without = {**all_of_them, "dayabay": node()}
    assert {name for name, _ in read(choose(plan_of(**wanted), without))} == {"cms01"}


def stored(**wanted: Any) -> dict[str, Any]:
    """Return the plan of a run with a store that a target fills."""
    plan = plan_of(**wanted)
    tree = {"role": "store", "node": "vault", "server": "cms01", "source": "dayabay", "base": "/copies/dayabay"}
    return {**plan, "stores": {"vault": {"trees": [tree]}}}


def test_what_a_store_alone_has_is_brought_by_the_node_that_fills_it() -> None:
    full, differs = tarball(MONDAY), tarball(TUESDAY, "bb", base=f"{MONDAY}/dybsvn-1.tar.zst", base_dig="aa")
    differs["relpath"] = differs["relpath"].replace(".tar", ".diff.tar")
    choice = choose(stored(item=ITEM), {"cms01": node(), "sdu": node(full), "vault": node(full, differs)})
    (call,) = choice["chosen"]
    assert (call["node"], call["server"], call["store"]) == ("vault", "cms01", "vault")
    assert [entry["relpath"] for entry in call["fetch"]] == [full["relpath"], differs["relpath"]]
    assert call["options"]["base"] == "/copies/.altbackup/fetched/vault/dayabay"
    (near,) = choose(stored(item=ITEM, at=MONDAY), {"sdu": node(full), "vault": node(full)})["chosen"]
    assert (near["node"], near["server"], near["store"], near["fetch"]) == ("sdu", "sdu", "", [])


def test_a_search_through_all_nights_asks_a_store_that_is_meant_alone() -> None:
    (asked,) = store_searches(stored(item=ITEM), "cms01")
    assert (asked["node"], asked["keys"]) == ("vault", ["svn/dybsvn"])
    assert store_searches(stored(item=ITEM), "sdu") == []
    assert store_searches(stored(step="find", name="x"), "cms01") == []
    (meant,) = store_searches(stored(step="find", name="x", **{"from": "vault"}), "cms01")
    assert meant["keys"] == []
    assert searches(stored(item=ITEM, **{"from": "vault"}), "cms01") == []
    assert store_searches(stored(item="x"), "cms01") == []
