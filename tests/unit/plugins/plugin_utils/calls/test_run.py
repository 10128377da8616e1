"""A run from its first call to its last, without nodes: parameters of each call, loops, and notes on results."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.told_runs import APART, EVERY, SEEN, STAMP, SVN, Told, drilled, offered

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import options_of
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.run import Run
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
    assert delivery["label"] == "cms01: 1 tarball"
    told.call(
        "tarball_accept", "synchronize", {"wrong": [{"relpath": SVN, "wrong": "sha256 bb"}]}, delivery, retry=True
    )
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
    assert failure["reason"] == "no good copy was fetched in this run: the next one tries again; it rotted"
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
    assert failure["reason"] == "healed from dayabay: a good copy was read and stands in its place again; it rotted"
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
