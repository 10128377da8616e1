"""A run from its first call to its last, without nodes: parameters of each call, loops, and notes on results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.told_runs import APART, EVERY, SEEN, STAMP, SVN, Told, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.loops import calls
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import Run
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.contents import choose as choose_contents
from ansible_collections.altbackup.core.plugins.plugin_utils.report.outcomes import EMPTY
from ansible_collections.altbackup.core.plugins.plugin_utils.report.results import of_module
from ansible_collections.altbackup.core.plugins.plugin_utils.report.run_failures import all_failures


def test_a_source_is_listed_by_its_check_or_else_by_a_call_of_its_own() -> None:
    told = offered()
    assert options_of("tarball_list", told.run, {}, {}) is None
    assert len(told.over("rounds")) == 1
    told = Told()
    assert told.over("rounds") == []
    assert told.call("tarball_list", "synchronize", {"listed": False})["expected"] == told.run.plan["day"]
    assert told.over("rounds") == []
    told.call("tarball_check", "check", {"failures": [{"reason": "x"}]}, told.over("check")[0])
    assert told.call("tarball_list", "synchronize", {"listed": True, "tarballs": []})["expected"] == ""
    assert len(told.over("rounds")) == 1


def test_only_what_a_target_asks_for_goes_there_and_once_more_what_arrived_otherwise() -> None:
    told = offered()
    (together,) = told.over("rounds")
    assert (together["nodes"], together["slot_wait"]) == (["cms01", "sdu"], 0)
    for entry, asked in zip(told.over("targets", together["nodes"]), ([SVN], []), strict=True):
        options = told.call("tarball_prepare", "synchronize", {"send": asked}, entry)
        assert [tarball["relpath"] for tarball in options["tarballs"]] == [SVN]
        assert set(options["guides"]) == {"RESTORE.txt", "restore.sh"}
    assert [target["peer"]["node"] for target in told.call("tarball_send", "synchronize", {})["targets"]] == ["cms01"]
    (delivery,) = told.over("deliveries")
    assert delivery["label"] == "cms01: 1 tarballs"
    told.call("tarball_accept", "synchronize", {"wrong": [{"relpath": SVN, "wrong": "sha256 bb"}]}, delivery)
    (again,) = told.over("deliveries")
    options = told.call("tarball_accept", "synchronize", {}, again)
    assert options["tarballs"][0]["wrong"] == "sha256 bb"
    assert told.over("deliveries") == []
    assert options_of("tarball_send", told.run, {}, {}) is None
    assert options_of("tarball_accept", told.run, again, {}) is None


ROTTED = {"stage": "check", "category": "svn", "name": "dybsvn", "relpath": SVN, "reason": "it rotted", "good": STAMP}
COPY = {**{name: APART[name] for name in ("relpath", "size", "dig", "alg")}, "stamp": STAMP, "base": "", "base_dig": ""}
COPY.update(state="verified", problem="", record={"kind": "svn"})


def rotten(place: str = "target") -> Told:
    """Return a run that found rot on its first target, or on the source itself."""
    told = offered()
    result = {"quarantined": [{**APART, "told": SVN, "reason": "it rotted"}], "failures": [ROTTED], "mismatch": [SVN]}
    if place == "target":
        assert told.call("tarball_purge", "purge", result, told.over("purge")[0])["quarantine"] is True
    else:
        options = told.call("tarball_check", "check", result, told.over("check")[0])
        assert (options["quarantine"], options["reverify_days"]) == (True, 7)
    return told


def holding(about: dict[str, Any], *tarballs: dict[str, Any], problem: str = "") -> dict[str, Any]:
    """Return a node's report of what it holds."""
    tree = {"source": "dayabay", "base": about["base"], "tarballs": list(tarballs), "keys": [], "problem": problem}
    return {"trees": [tree]}


def test_what_rotted_on_a_target_is_fetched_from_the_source_and_its_failure_says_so() -> None:
    told = rotten()
    assert told.run.state["failures"] == [], "it is told when it is known whether a good copy came"
    (failure,) = all_failures([told.run.state])
    assert failure["reason"] == "it rotted; no good copy was fetched in this run: the next one tries again"
    assert told.nodes("rotten") == ["dayabay", "cms01", "sdu"]
    for entry, has in zip(told.over("rotten"), ([COPY], [], [COPY]), strict=True):
        options = told.call("tarball_find", "heal", holding(entry, *has), entry)
        assert [tree["keys"] for tree in options["trees"]] == [["svn/dybsvn"]]
    assert len(told.over("heal_rounds")) == 2
    assert told.over("heals") == [], "nothing has come yet"
    (errand,) = told.over("heal_carries")
    options = told.call("tarball_carry", "heal", {"changed": True}, errand)
    assert (options["origin"]["folder"], options["origin"]["host"]) == ("/backup", "dayabay")
    assert options["destination"]["folder"] == "/copies/.altbackup/healing/dayabay"
    assert (options["relpaths"], options["size"], options["tree"]) == ([SVN], 7, True)
    options = told.call("tarball_heal", "heal", {"healed": [SVN]}, told.over("heals")[0])
    assert options["base"] == "/copies/dayabay" and options["run"]["seconds"] == 0
    expected = {
        "relpath": SVN,
        "size": 7,
        "dig": "aa",
        "alg": "sha256",
        "record": {"kind": "svn"},
        "held": SVN,
        "here": False,
    }
    assert options["tarballs"] == [expected]
    (failure,) = all_failures([told.run.state])
    assert failure["reason"] == "it rotted; healed from dayabay: a good copy was read and stands in its place again"
    assert (failure["node"], failure["delegate"], failure["good"]) == ("dayabay", "cms01", STAMP)
    assert told.over("heal_carries") == told.over("heals") == told.over("rotten") == []


def test_what_rotted_on_the_source_is_fetched_from_a_target_or_from_the_next_one() -> None:
    told = rotten("source")
    for entry, has in zip(told.over("rotten"), ([], [COPY], [COPY]), strict=True):
        told.call("tarball_find", "heal", holding(entry, *has), entry)
    purge = told.call("tarball_purge", "purge", {}, told.over("purge")[-1])
    assert purge["names"] == [], "of that item the check failed on this node"
    assert COPY["dig"] in [one["dig"] for one in purge["awaited"]["svn/dybsvn"]]
    (errand,) = told.over("heal_carries")
    options = told.call("tarball_carry", "heal", {"changed": True}, errand)
    assert options["destination"]["folder"] == "/backup/.altbackup/healing"
    assert options["origin"]["folder"] == "/copies/dayabay"
    why = {"reason": "what came is not what it was", "relpath": SVN}
    told.call("tarball_heal", "heal", {"failures": [why]}, told.over("heals")[0])
    assert told.over("heals") == []
    (errand,) = told.over("heal_carries")
    assert errand["label"] == "dayabay: source dayabay from target sdu"
    told.call("tarball_carry", "heal", {"failed": True, "msg": "no way"}, errand)
    assert told.over("heal_carries") == []
    (failure,) = all_failures([told.run.state])
    assert "NOT healed" in failure["reason"]
    assert "from cms01: what came is not what it was; from sdu: no way" in failure["reason"]
    assert (failure["node"], failure["delegate"]) == ("dayabay", "")


def test_three_of_three_rotten_is_loud_and_its_content_is_awaited_wherever_it_may_be() -> None:
    told = rotten()
    problem = {"unreachable": True, "msg": "gone"}
    dayabay, cms01, sdu = told.over("rotten")
    told.call("tarball_find", "heal", holding(dayabay, {**COPY, "dig": "cc"}), dayabay)
    told.call("tarball_find", "heal", holding(cms01, {**COPY, "state": "mismatch"}), cms01)
    told.call("tarball_find", "heal", problem, sdu)
    assert told.over("heal_rounds") == told.over("heal_carries") == []
    (failure,) = all_failures([told.run.state])
    assert "NO NODE HAS A GOOD COPY of it (asked: dayabay, cms01)" in failure["reason"]
    assert "Not asked: sdu (unreachable: gone)" in failure["reason"]
    told.call("tarball_check", "check", {"match": [SVN], "relpaths": {"dybsvn": [SVN]}}, told.over("check")[0])
    purge = told.call("tarball_purge", "purge", {}, told.over("purge")[-1])
    assert "svn/dybsvn" in purge["names"] and COPY["dig"] in [one["dig"] for one in purge["awaited"]["svn/dybsvn"]]


def test_a_good_copy_under_another_stamp_here_needs_no_transfer() -> None:
    told = rotten("source")
    other = SVN.replace(STAMP, "2013/05/09/104701")
    for entry, has in zip(told.over("rotten"), ([{**COPY, "relpath": other}], [], []), strict=True):
        told.call("tarball_find", "heal", holding(entry, *has), entry)
    assert told.over("heal_carries") == []
    (entry,) = told.over("heals")
    (tarball,) = told.call("tarball_heal", "heal", {"healed": [SVN]}, entry)["tarballs"]
    assert (tarball["held"], tarball["here"]) == (other, True)


def test_what_waits_since_a_former_run_is_fetched_and_no_failure() -> None:
    told = offered()
    told.call("tarball_check", "check", {"quarantined": [{**APART, "told": "", "reason": ""}]}, told.over("check")[0])
    for entry in told.over("rotten"):
        told.call("tarball_find", "heal", holding(entry, *([COPY] if entry["node"] == "sdu" else [])), entry)
    told.call("tarball_carry", "heal", {"changed": True}, told.over("heal_carries")[0])
    told.call("tarball_heal", "heal", {"healed": [SVN]}, told.over("heals")[0])
    assert all_failures([told.run.state]) == []
    assert told.run.state["notes"] == [f"dayabay: {SVN}, which had rotted before this run, is healed from sdu"]


def test_what_a_source_knows_of_its_targets_goes_there_and_comes_back_after_the_run() -> None:
    told = Told(altbackup_adopt=["sdu"])
    options = told.call("preflight", "preflight", {"pairs": {"cms01": SEEN}})
    assert options["owners"] == [{"base": "/backup", "role": "source", "name": "dayabay", "former_names": []}]
    cms01, sdu = told.over("targets")
    for target, pair, adopt in ((cms01, SEEN, False), (sdu, {}, True)):
        options = told.call("tarball_prepare", "synchronize", {"doubted": target is cms01}, target)
        assert (options["pair"], options["adopt"], options["node"]) == (pair, adopt, target["node"])
    now = {**SEEN, "copies": 3, "run": STAMP}
    for target, names in ((cms01, []), (sdu, ["svn/dybsvn"])):
        assert told.call("tarball_purge", "purge", {"pair": now}, target)["names"] == names
    options = told.call("tarball_purge", "purge", {}, told.over("purge")[-1])
    assert options["pairs"] == {"sdu": now}, "of what is doubted the source keeps what it knew"


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


def test_a_purge_in_check_mode_says_why_each_tarball_stays_or_goes() -> None:
    told = Told(EVERY, "cms01", check_mode=True)
    told.states["dayabay"] = {}
    (tree,) = told.over("purge")
    old, older, odd = (f"svn/dybsvn/2013/05/{day}/104701/dybsvn-1.tar.zst" for day in ("09", "08", "07"))
    seen = [{"relpath": path, "size": 7, "dig": "aa", "alg": "sha256"} for path in (older, old, SVN)]
    result = {"judged": seen, "reasons": {SVN: ["newest"], old: [], older: []}, "removed": [older], "unverified": [odd]}
    options = told.call("tarball_purge", "purge", result, tree)
    assert (options["explain"], "only" in options) == (True, False)
    assert [(entry["relpath"], entry["fate"], entry["reasons"]) for entry in told.run.state["judged"]] == [
        (SVN, "stays", ["newest"]),
        (old, "waits", []),
        (older, "goes", []),
        (odd, "stays", ["not verified, so it does not count"]),
    ]
    assert told.run.state["judged"][0] | {"fate": "", "reasons": []} == {
        "node": "cms01", "source": "dayabay", "role": "target", "relpath": SVN, "size": 7, "dig": "aa", "alg": "sha256", "fate": "", "reasons": []
    }  # fmt: skip


def drilled(result: dict[str, Any], check_mode: bool = False) -> tuple[Told, dict[str, Any]]:
    """Return a run with an errand for which room was made with this result."""
    told = Told(EVERY, check_mode=check_mode)
    assert told.over("drill") == []
    (tree,) = told.over("drill_away")
    chosen = [{"relpath": SVN, "record": {"kind": "svn"}, "tarballs": [{"relpath": SVN, "size": 7}]}]
    told.call("tarball_drill_away", "drill", {"chosen": chosen}, tree, step="choose")
    (errand,) = told.over("errands")
    assert (errand["node"], errand["host"]) == ("dayabay", "scratch")
    told.call("tarball_drill_away", "drill", result, errand, step="make")
    return told, errand


def test_an_errand_is_carried_proved_and_its_proofs_kept() -> None:
    told, errand = drilled({"changed": True})
    assert told.over("errands_with_room") == [errand]
    assert told.call("tarball_carry", "drill", {"changed": True}, errand)["tree"] is True
    proof = {"relpath": SVN, "when": "2013-05-11T04:00:00Z"}
    options = told.call("tarball_drill_away", "drill", {"proved": [proof], "notes": ["old"]}, errand)
    assert options["step"] == "drill"
    assert (told.run.state["proved"], told.run.state["notes"]) == ([], ["dayabay: drilled on scratch: old"])
    (kept,) = told.over("errands_with_proofs")
    assert told.call("tarball_drill_away", "drill", {"proved": [proof]}, kept, step="keep")["proofs"] == [proof]
    assert [(entry["node"], entry["relpath"]) for entry in told.run.state["proved"]] == [("dayabay", SVN)]


@pytest.mark.parametrize(
    "result",
    [
        {"unreachable": True, "msg": "no route"},
        {"failed": True, "msg": "no route"},
        {"failures": [{"reason": "no route"}]},
    ],
)
@pytest.mark.parametrize("step", ["make", "carry", "drill"])
def test_what_goes_wrong_on_the_way_of_a_drill_leaves_the_node_up(result: dict[str, Any], step: str) -> None:
    told, errand = drilled(result if step == "make" else {"changed": True})
    if step != "make":
        told.call("tarball_carry", "drill", result if step == "carry" else {"changed": True}, errand)
        told.call("tarball_drill_away", "drill", result if step == "drill" else {}, errand, step="drill")
    (failure,) = told.run.state["failures"]
    assert failure["reason"].startswith("drilled on scratch: ") and failure["reason"].endswith("no route")
    assert (told.run.state["down"], told.run.state["proved"]) == ([], [])
    assert bool(told.over("errands_with_room")) == (step != "make")
    if step == "carry":
        options = options_of("tarball_drill_away", told.run, errand, {})
        assert options is not None and options["step"] == "abandon"


def test_check_mode_tells_what_would_be_drilled_where_there_is_room() -> None:
    told, _ = drilled({"changed": True}, check_mode=True)
    assert told.run.state["proved"] == [{"relpath": SVN, "when": "", "node": "dayabay"}]
    assert told.run.state["notes"] == ["dayabay: would bring 7 bytes of dayabay to scratch to drill them there"]
    told, _ = drilled({"failures": [{"reason": "full"}]}, check_mode=True)
    assert (told.run.state["proved"], len(told.run.state["failures"])) == ([], 1)


def test_a_scratch_host_that_is_not_reached_by_ssh_is_a_failure_of_the_drill() -> None:
    told = Told(EVERY)
    hostvars = {**told.run.hostvars, "scratch": {"ansible_connection": "docker"}}
    told.run = Run(told.run.plan, "dayabay", EMPTY, hostvars, {})
    (tree,) = told.over("drill_away")
    chosen = [{"relpath": SVN, "record": {}, "tarballs": [{"relpath": SVN, "size": 7}]}]
    told.call("tarball_drill_away", "drill", {"chosen": chosen}, tree, step="choose")
    (failure,) = told.run.state["failures"]
    assert failure["reason"] == "drilled on scratch: scratch is reached by docker, not by ssh"
    assert told.over("errands") == []


def restoring(check_mode: bool = False) -> Told:
    """Return a run with one restore from another machine."""
    restore = {"destination": "/svn/dybsvn", "base": "", "live_items": [], "live_discover": {}}
    order = {
        "host": "dayabay",
        "holder": "cms01",
        "held_in": "/copies/dayabay",
        "label": "svn/dybsvn of dayabay",
        "size": 7,
        "prediction": "would restore it",
        "pair": "cms01 -> dayabay",
        "seconds": 1000,
        "restore": restore,
        "carry": {
            "origin": {"node": "cms01", "folder": "/copies/dayabay"},
            "destination": {"node": "dayabay"},
            "relpaths": [SVN],
        },
    }
    told = Told(EVERY, check_mode=check_mode)
    choice = {"chosen": [order, {**order, "host": "sdu", "label": "of another host"}], "notes": {}, "failures": []}
    told.run = Run(told.run.plan, "dayabay", EMPTY, told.run.hostvars, choice, check_mode)
    return told


def test_an_order_is_prepared_carried_and_restored() -> None:
    told = restoring()
    (order,) = told.over("orders")
    assert told.call("tarball_restore", "restore", {"incoming": "/in"}, order, step="prepare")["step_timeout"] == 240
    options = told.call("tarball_carry", "restore", {"seconds": 2}, told.over("orders_to_carry")[0])
    assert (options["destination"]["folder"], options["step_timeout"]) == ("/in", 1000)
    done = {"destination": "/svn/dybsvn", "changed": True, "seconds": 1}
    assert told.call("tarball_restore", "restore", done, order)["step"] == "restore"
    assert told.run.state["orders"][order["label"]] == {
        "ready": True,
        "incoming": "/in",
        "arrived": True,
        "seconds": 3.0,
        "done": True,
    }
    assert told.run.state["notes"] == ["dayabay: restored svn/dybsvn of dayabay: 7 bytes of tarballs, 1 s"]


def test_an_order_that_did_not_arrive_is_abandoned_and_its_failure_is_the_hosts() -> None:
    told = restoring()
    (order,) = told.over("orders")
    told.call("tarball_restore", "restore", {"incoming": "/in"}, order, step="prepare")
    told.call("tarball_carry", "restore", {"failures": [{"reason": "cut"}]}, order)
    assert told.call("tarball_restore", "restore", {}, order)["step"] == "abandon"
    assert [(entry["node"], entry["delegate"], entry["reason"]) for entry in told.run.state["failures"]] == [
        ("dayabay", "", "cut")
    ]


def test_check_mode_looks_into_the_tarballs_where_they_lie() -> None:
    told = restoring(check_mode=True)
    (order,) = told.over("orders")
    told.call("tarball_restore", "restore", {}, order, step="prepare")
    assert told.call("tarball_restore", "restore", {}, order, step="look")["base"] == "/copies/dayabay"
    assert told.run.state["notes"] == ["dayabay: would restore it"]
    told.call("tarball_restore", "restore", {"failures": [{"reason": "no such member"}]}, order, step="look")
    assert len(told.run.state["notes"]) == 1
    assert told.over("orders_ready") == []


def test_tarballs_are_looked_into_where_they_were_found() -> None:
    told = Told(EVERY, "cms01", altbackup_contents={"item": "dayabay/svn/dybsvn", "path": "conf"})
    (search,) = told.over("searches")
    entry = {"relpath": SVN, "stamp": STAMP, "size": 7, "dig": "aa", "alg": "sha256", "base": "", "base_dig": ""}
    there = {"source": "dayabay", "base": "/copies/dayabay", "problem": ""}
    found = {"trees": [{**there, "tarballs": [{**entry, "state": "verified", "problem": "", "record": {}}]}]}
    options = told.call("tarball_find", "contents", found, search)
    assert options["trees"] == [{"source": "dayabay", "base": "/copies/dayabay", "keys": ["svn/dybsvn"]}]
    told.run = replace(told.run, choice=choose_contents(told.run.plan, {"cms01": told.run.state["found"]}))
    (reading,) = told.over("readings")
    result = {"contents": [{"relpath": SVN, "path": "conf/passwd"}], "totals": {"entries": 1}}
    options = told.call("tarball_contents", "contents", of_module(result), reading)
    assert (options["base"], options["path"], options["user"]) == ("/copies/dayabay", "conf", "nobody")
    assert options["tarballs"] == [{"relpath": SVN, "base": ""}]
    assert told.run.state["readings"] == [{"source": "dayabay", "node": "cms01", **result}]
    assert replace(told.run, host="sdu").choice["chosen"][0]["node"] == "cms01"
    assert calls("readings", replace(told.run, host="sdu")) == []


def test_a_source_is_believed_that_it_is_not_now_only_of_what_has_a_hook() -> None:
    items = [
        {"kind": "svn", "name": "dybsvn", "path": "/svn/dybsvn", "before": [["/bin/true"]]},
        {"kind": "svn", "name": "other", "path": "/svn/other"},
    ]
    told = Told(altbackup_items=items)
    options = told.call("tarball_dump", "dump", of_module({"tarballs": [], "not_now": ["svn/dybsvn", "svn/other"]}))
    assert (options["hooks"], options["max_age"]) == ({}, 129600.0)
    assert [entry["before"] for entry in options["items"] if "before" in entry] == [
        [{"argv": ["/bin/true"], "time_limit": 600.0}]
    ]
    for entry in told.over("check"):
        assert told.call("tarball_check", "check", {}, entry)["not_now"] == ["svn/dybsvn"]
    whole = Told(altbackup_items=[{"kind": "set", "name": "forge", "members": items[1:], "before": [["/bin/true"]]}])
    whole.call("tarball_dump", "dump", of_module({"tarballs": [], "not_now": ["svn/other", "sets/forge"]}))
    for entry in whole.over("check"):
        assert whole.call("tarball_check", "check", {}, entry)["not_now"] == ["svn/other", "sets/forge"]
    all_of_them = Told(altbackup_items=items, altbackup_before=[["/bin/true"]])
    options = all_of_them.call("tarball_dump", "dump", {"tarballs": [], "not_now": ["svn/dybsvn", "svn/other"]})
    assert options["hooks"] == {"before": [{"argv": ["/bin/true"], "time_limit": 600.0}]}
    for entry in all_of_them.over("check"):
        assert len(all_of_them.call("tarball_check", "check", {}, entry)["not_now"]) == 2
