"""What a restore is to do: entries and their errors, which node's tarball is taken, what would happen and how long it would take."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import choose, plan_restores
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore_progress import (
    done_note,
    follow,
    followed,
    learn_speeds,
    read_speeds,
)

NOW = 1368182821.0
SVN = {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn"}
FOLDER = {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup"}
ENTRY = {"source": "dayabay", "kind": "svn", "name": "dybsvn"}
HOSTS = ["dayabay", "cms01", "sdu", "fresh"]
OLD, NEW = "2013/05/09/104701", "2013/05/10/104701"
DIG, OTHER_DIG = "a" * 64, "b" * 64


def plan_of(**every: Any) -> dict[str, Any]:
    """Return a plan of one source with two targets; extra variables for all hosts."""
    variables: dict[str, dict[str, Any]] = {
        "dayabay": {
            "altbackup_base": "/backup",
            "altbackup_items": [SVN, FOLDER],
            "altbackup_discover": {"git": "/home/scm/git"},
            "altbackup_targets": ["cms01", "sdu"],
        },
        "cms01": {"altbackup_target_base": "/copies"},
        "sdu": {"altbackup_target_base": "/copies"},
    }
    for values in variables.values():
        values.update({f"altbackup_{name}": value for name, value in every.items()})
    groups = {"all": HOSTS, "sources": ["dayabay"], "targets": ["cms01", "sdu"]}
    plan = build_plan(variables, groups, {}, NOW)
    assert plan["errors"] == []
    return plan


def plan_entry(value: Any, **every: Any) -> dict[str, Any]:
    """Return the restores of one entry."""
    return plan_restores(plan_of(restore=[value], **every), HOSTS)


def order_of(**more: Any) -> dict[str, Any]:
    """Return the order of a good entry."""
    planned = plan_entry({**ENTRY, **more})
    assert planned["failures"] == []
    (order,) = planned["orders"]
    return dict(order)


# Entries


def test_an_entry_goes_to_the_item_at_its_source_by_default() -> None:
    order = order_of()
    expected = {
        "key": "svn/dybsvn",
        "to_host": "dayabay",
        "destination": "/home/scm/svn/dybsvn",
        "at": "",
        "replace": "refuse",
        "consent": False,
        "special_modes": False,
        "numeric": False,
        "owner": "",
        "candidates": ["dayabay", "cms01", "sdu"],
    }
    assert {name: order[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"to_host": "fresh"}, {"candidates": ["cms01", "sdu", "dayabay"], "destination": "/home/scm/svn/dybsvn"}),
        ({"to_host": "sdu", "to": "/tmp/x/"}, {"candidates": ["sdu", "cms01", "dayabay"], "destination": "/tmp/x"}),
        ({"from": "sdu"}, {"candidates": ["sdu"]}),
        ({"at": "2013/05/09"}, {"at": "2013/05/09"}),
        ({"at": "-1"}, {"at": "2013/05/09"}),
        ({"at": OLD}, {"at": OLD}),
        ({"kind": "git", "name": "group%2Ftool"}, {"destination": "/home/scm/git/group/tool"}),
        ({"name": "gone", "to": "/x/gone"}, {"key": "svn/gone", "destination": "/x/gone"}),
        ({"member": "dybsvn-3/conf", "to": "/x/conf"}, {"member": "dybsvn-3/conf", "destination": "/x/conf"}),
        ({"owner": 1000, "group": "scm", "mode": "0750"}, {"owner": "1000", "group": "scm", "mode": "0750"}),
        ({"replace": "move_aside", "consent": True}, {"replace": "move_aside", "consent": True}),
        ({"numeric": True}, {"numeric": True}),
    ],
)
def test_further_keys_of_an_entry(more: dict[str, Any], expected: dict[str, Any]) -> None:
    order = order_of(**more)
    assert {name: order[name] for name in expected} == expected


def test_variables_of_the_run_hold_where_an_entry_says_nothing() -> None:
    planned = plan_restores(
        plan_of(restore=[ENTRY, {**ENTRY, "to": "/x", "owner": "root"}], restore_owner="scm", restore_mode="0700"),
        HOSTS,
    )
    assert [(order["owner"], order["mode"]) for order in planned["orders"]] == [("scm", "0700"), ("root", "0700")]


@pytest.mark.parametrize(
    ("value", "reasons"),
    [
        ("dybsvn", ["'dybsvn' is not a mapping of source, kind and name"]),
        ({**ENTRY, "too": "/x"}, ["unknown key 'too', did you mean 'to'?"]),
        ({"source": "dayabay"}, ["key 'kind' is missing", "key 'name' is missing"]),
        ({**ENTRY, "source": "dayaby"}, ["'dayaby' is no source of the inventory, did you mean 'dayabay'?"]),
        (
            {**ENTRY, "kind": "snv", "to_host": "frech"},
            ["unknown kind 'snv', did you mean 'svn'?", "did you mean 'fresh'?"],
        ),
        ({**ENTRY, "name": "dybsnv"}, ["'dybsnv' is no svn item of dayabay, did you mean 'dybsvn'?", "as to"]),
        ({**ENTRY, "name": "a/b", "to": "/x"}, ["contains a slash"]),
        ({**ENTRY, "at": "yesterday", "from": "cms02"}, ["at 'yesterday' is neither", "did you mean 'cms01'?"]),
        ({**ENTRY, "to": "x"}, ["to 'x' is not an absolute path"]),
        ({**ENTRY, "to": "/"}, ["at which nothing can be restored"]),
        ({**ENTRY, "to": "/x.altbackup-restored"}, ["at which nothing can be restored"]),
        ({**ENTRY, "to": "/backup/svn"}, ["/backup/svn on dayabay and its base /backup would lie in each other"]),
        ({**ENTRY, "to_host": "cms01", "to": "/copies"}, ["its base /copies would lie in each other"]),
        ({**ENTRY, "member": "dybsvn-3/db"}, ["needs a path to put it, as to"]),
        ({**ENTRY, "replace": "yes"}, ["replace 'yes' is not one of refuse, move_aside"]),
        ({**ENTRY, "consent": "yes"}, ["consent 'yes' is neither true nor false"]),
        ({**ENTRY, "mode": 488}, ["mode 488 is not a text, with quotes"]),
        ({**ENTRY, "mode": "rwx"}, ["mode 'rwx' is not three or four octal digits"]),
        ({**ENTRY, "to": "/x\ny"}, ["is not a text"]),
    ],
)
def test_a_bad_entry_is_a_failure_that_says_all_that_is_wrong(value: Any, reasons: list[str]) -> None:
    planned = plan_restores(plan_of(restore=[value, {**ENTRY, "to": "/good"}]), HOSTS)
    assert [order["destination"] for order in planned["orders"]] == ["/good"]
    (failure,) = planned["failures"]
    assert failure["reason"].startswith("altbackup_restore, entry 1: ")
    for reason in reasons:
        assert reason in failure["reason"]


PRES = {"kind": "folder", "name": "pres", "path": "/home/pres"}
WRONG = {**PRES, "exclude_if_present": ".nobackup"}


def plan_with(*items: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return the restores of one entry where these are the items."""
    plan = plan_of(restore=[{"source": "dayabay", "kind": "folder", **entry}], items=list(items))
    return plan_restores(plan, HOSTS)


def test_an_item_with_an_error_is_restored_to_its_path() -> None:
    planned = plan_with(WRONG, entry={"name": "pres"})
    assert planned["failures"] == []
    assert [order["destination"] for order in planned["orders"]] == ["/home/pres"]
    planned = plan_with(WRONG, entry={"name": "pres", "to": "/x"})
    assert [order["destination"] for order in planned["orders"]] == ["/x"]
    adopted = plan_restores(plan_of(items=[WRONG], adopt=["dayabay/folders/pres"]), HOSTS)
    assert adopted["failures"] == [] and adopted["adoptions"] == {"dayabay": ["/home/pres"]}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{**PRES, "path": "home/pres"}], "path 'home/pres' is not an absolute path"),
        ([{"kind": "folder", "name": "pres"}], "key 'path' is missing"),
        ([PRES, {**PRES, "path": "/other"}], "folders/pres stands 2 times (/home/pres, /other)"),
    ],
)
def test_where_an_error_hides_the_path_of_an_item_that_is_told(items: list[dict[str, Any]], said: str) -> None:
    (failure,) = plan_with(*items, entry={"name": "pres"})["failures"]
    assert "the inventory does not tell where folders/pres is to stand" in failure["reason"]
    assert said in failure["reason"] and "give the path, as to" in failure["reason"]
    assert "is no folder item" not in failure["reason"]


def test_a_question_needs_no_full_stop() -> None:
    (failure,) = plan_with(PRES, entry={"name": "press"})["failures"]
    assert "did you mean 'pres'? For one that" in failure["reason"]
    (failure,) = plan_with(PRES, entry={"name": "x"})["failures"]
    assert "known are pres. For one that" in failure["reason"]


def test_a_member_may_have_any_name() -> None:
    for member in ("dybsvn-3/a\nb", "dybsvn-3/a%FFb", "dybsvn-3/conf/"):
        assert order_of(member=member, to="/x")["member"] == member


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


def test_item_of_another_kind_is_no_hint_where_a_node_has_none() -> None:
    tree = {**found()["trees"][0], "keys": ["git/dybsvn", "svn/dybsvm", "svn/dybsvn"]}
    nodes = {node: {"trees": [tree]} for node in ("dayabay", "cms01", "sdu")}
    (failure,) = choose_one(order_of(), nodes)["failures"]
    assert "has no tarball of svn/dybsvn, did you mean 'svn/dybsvm'?" in failure["reason"]
    tree["keys"] = ["git/dybsvn"]
    (failure,) = choose_one(order_of(), nodes)["failures"]
    assert "has no tarball of svn/dybsvn, no other one is known" in failure["reason"]


# Choosing


def tarball(stamp: str, *, state: str = "verified", filename: str = "dybsvn-3.tar.zst", **more: Any) -> dict[str, Any]:
    """Return a tarball as tarball_find tells of it."""
    problem = "" if state == "verified" else "has no dna: still arriving, or its transfer failed"
    known = {"relpath": f"svn/dybsvn/{stamp}/{filename}", "stamp": stamp, "size": 1000, "dig": DIG, "alg": "sha256"}
    return {**known, "base": "", "base_dig": "", "state": state, "problem": problem, "record": {"kind": "svn"}, **more}


def found(*tarballs: dict[str, Any], problem: str = "", base: str = "/copies/dayabay") -> dict[str, Any]:
    """Return what tarball_find registered on a node."""
    tree = {"source": "dayabay", "base": base, "tarballs": list(tarballs), "keys": ["svn/dybsvn"], "problem": problem}
    return {"trees": [tree], "changed": False}


UNREACHABLE = {"unreachable": True, "msg": "ssh: connect to host\n timed out"}
PEERS: dict[str, dict[str, Any]] = {host: {"node": host, "host": f"{host}.example.org"} for host in HOSTS}


def choose_one(order: dict[str, Any], nodes: dict[str, Any], speeds: Any = None, peers: Any = None) -> dict[str, Any]:
    """Choose for one order."""
    run = {"when": "2013-05-10 10:47:01 UTC", "by": "scm on controller"}
    return choose(plan_of(), [order], nodes, peers or PEERS, speeds or {}, run)


AHEAD = "2013/05/10/104702"


def test_what_no_run_can_have_made_is_not_chosen_and_a_failure_for_each_node_that_has_it() -> None:
    nodes = {
        "dayabay": found(tarball(OLD), base="/backup"),
        "cms01": found(tarball(OLD), tarball(AHEAD), tarball("2099/01/01/000000")),
        "sdu": found(tarball("2099/01/01/000000", state="missing")),
    }
    order = order_of()
    choice = choose(plan_of(), [order, {**order, "destination": "/x"}], nodes, PEERS, {}, {"when": "", "by": ""})
    assert [(each["holder"], each["restore"]["origin"]["stamp"]) for each in choice["chosen"]] == [("dayabay", OLD)] * 2
    told = [(entry["node"], entry["relpath"], entry["reason"]) for entry in choice["failures"]]
    assert [entry[:2] for entry in told] == [
        ("cms01", f"svn/dybsvn/{AHEAD}/dybsvn-3.tar.zst"),
        ("sdu", "svn/dybsvn/2099/01/01/000000/dybsvn-3.tar.zst"),
    ]
    assert told[0][2].startswith(f"/copies/dayabay/svn/dybsvn/{AHEAD}/dybsvn-3.tar.zst is stamped later than this run")
    assert "(1 more of this item are, too)" in told[0][2]


@pytest.mark.parametrize("at", ["", "2013/05/10", "2099/01/01", AHEAD])
def test_where_nothing_counts_nothing_is_restored(at: str) -> None:
    nodes = {"dayabay": found(tarball(AHEAD), tarball("2099/01/01/000000"))}
    choice = choose_one(order_of(at=at, **{"from": "dayabay"}), nodes)
    assert choice["chosen"] == []
    assert "all are stamped later than 2013/05/10/104701" in choice["failures"][1]["reason"]


def test_what_came_after_the_stamp_of_the_run_neither_counts_nor_fails_but_may_be_named() -> None:
    nodes = {node: found(tarball(OLD), tarball(NEW)) for node in ("dayabay", "cms01", "sdu")}
    run = {"when": "", "by": ""}
    for at, stamp in (("", OLD), (NEW, NEW)):
        choice = choose(plan_of(stamp="2013/05/10/000000"), [order_of(at=at)], nodes, PEERS, {}, run)
        assert choice["failures"] == []
        assert choice["chosen"][0]["restore"]["origin"]["stamp"] == stamp


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


@pytest.mark.parametrize(
    ("more", "nodes", "holder", "stamp", "passed"),
    [
        (
            {},
            {"dayabay": found(tarball(NEW)), "cms01": found(tarball(NEW)), "sdu": found(tarball(NEW))},
            "dayabay",
            NEW,
            [],
        ),
        (
            {},
            {"dayabay": UNREACHABLE, "cms01": found(tarball(NEW)), "sdu": found(tarball(NEW))},
            "cms01",
            NEW,
            ["dayabay: unreachable: ssh: connect to host timed out"],
        ),
        (
            {},
            {
                "dayabay": found(problem="base /backup does not exist"),
                "cms01": found(tarball(OLD)),
                "sdu": found(tarball(OLD), tarball(NEW)),
            },
            "sdu",
            NEW,
            ["dayabay: base /backup does not exist"],
        ),
        (
            {"to_host": "fresh"},
            {"dayabay": found(tarball(NEW)), "cms01": found(tarball(NEW)), "sdu": found(tarball(NEW))},
            "cms01",
            NEW,
            [],
        ),
        (
            {"to_host": "sdu"},
            {"dayabay": found(tarball(NEW)), "cms01": found(tarball(NEW)), "sdu": found(tarball(NEW))},
            "sdu",
            NEW,
            [],
        ),
        (
            {"at": "2013/05/09"},
            {"dayabay": found(tarball(NEW)), "cms01": found(tarball(OLD)), "sdu": found(tarball(OLD))},
            "cms01",
            OLD,
            ["dayabay: has none of svn/dybsvn at 2013/05/09; the newest are of 2013/05/10/104701"],
        ),
        (
            {"at": OLD},
            {"dayabay": found(tarball(OLD), tarball(NEW))},
            "dayabay",
            OLD,
            ["cms01: is not among the hosts of this run", "sdu: is not"],
        ),
        (
            {},
            {
                "dayabay": found(tarball(OLD), tarball(NEW, state="missing")),
                "cms01": found(problem="/copies/dayabay is in use by another run"),
                "sdu": {"failed": True, "msg": "crash"},
            },
            "dayabay",
            OLD,
            ["cms01: /copies/dayabay is in use", "sdu: crash"],
        ),
    ],
)
def test_the_nearest_node_with_the_newest_is_chosen(
    more: dict[str, Any], nodes: dict[str, Any], holder: str, stamp: str, passed: list[str]
) -> None:
    order = order_of(**more)
    choice = choose_one(order, nodes)
    assert choice["failures"] == []
    (chosen,) = choice["chosen"]
    assert (chosen["holder"], chosen["host"]) == (holder, order["to_host"])
    assert chosen["restore"]["origin"]["stamp"] == stamp
    assert [entry["relpath"] for entry in chosen["restore"]["tarballs"]] == [f"svn/dybsvn/{stamp}/dybsvn-3.tar.zst"]
    notes = choice["notes"][order["to_host"]]
    assert len(notes) == len(passed)
    for note, start in zip(notes, passed, strict=True):
        assert note.startswith(f"passed over {start}")


def test_what_no_node_holds_is_a_failure_that_says_why_of_each() -> None:
    nodes = {
        "dayabay": UNREACHABLE,
        "cms01": found(tarball(NEW, state="missing")),
        "sdu": found(),
    }
    choice = choose_one(order_of(), nodes)
    assert choice["chosen"] == []
    (failure,) = choice["failures"]
    for part in (
        "no node holds what the restore of svn/dybsvn of dayabay needs",
        "dayabay: unreachable",
        f"cms01: has no verified one: svn/dybsvn/{NEW}/dybsvn-3.tar.zst has no dna",
        "sdu: /copies/dayabay has no tarball of svn/dybsvn, no other one is known",
    ):
        assert part in failure["reason"]


def test_the_same_machine_carries_nothing() -> None:
    nodes = {node: found(tarball(NEW)) for node in ("dayabay", "cms01", "sdu")}
    chosen = choose_one(order_of(), nodes)["chosen"][0]
    assert (chosen["carry"], chosen["restore"]["base"]) == (None, "/backup")
    local = {host: {"node": host} for host in HOSTS}
    chosen = choose_one(order_of(to_host="fresh"), nodes, peers=local)["chosen"][0]
    assert (chosen["carry"], chosen["restore"]["base"]) == (None, "/copies/dayabay")
    chosen = choose_one(order_of(to_host="fresh"), nodes)["chosen"][0]
    assert chosen["restore"]["base"] == ""
    assert chosen["carry"]["origin"] == {"node": "cms01", "host": "cms01.example.org", "folder": "/copies/dayabay"}
    assert chosen["carry"]["destination"] == {"node": "fresh", "host": "fresh.example.org"}
    assert chosen["carry"]["size"] == 1000


def test_a_host_that_ssh_does_not_reach_gets_nothing_of_others() -> None:
    peers = {**PEERS, "fresh": {"node": "fresh", "problem": "is reached by community.docker.docker, not by ssh"}}
    choice = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))}, peers=peers)
    assert choice["chosen"] == []
    assert "fresh is reached by community.docker.docker" in choice["failures"][0]["reason"]


DIFF = {"filename": "dybsvn-4.diff.tar.zst", "base": f"{OLD}/dybsvn-3.tar.zst", "base_dig": DIG, "dig": OTHER_DIG}


def test_a_differential_comes_with_its_full_one() -> None:
    chosen = choose_one(order_of(), {"cms01": found(tarball(OLD), tarball(NEW, **DIFF))})["chosen"][0]
    assert [entry["relpath"].rsplit("/", 1)[1] for entry in chosen["restore"]["tarballs"]] == [
        "dybsvn-3.tar.zst",
        "dybsvn-4.diff.tar.zst",
    ]
    assert chosen["restore"]["origin"]["dig"] == OTHER_DIG
    assert chosen["size"] == 2000


@pytest.mark.parametrize(
    ("full", "why"),
    [
        ([], "which is not there"),
        ([tarball(OLD, state="missing")], "which has no dna"),
        ([tarball(OLD, dig=OTHER_DIG)], f"with digest {DIG}, but that has {OTHER_DIG}"),
    ],
)
def test_a_differential_without_its_full_one_names_it(full: list[dict[str, Any]], why: str) -> None:
    choice = choose_one(order_of(**{"from": "cms01"}), {"cms01": found(*full, tarball(NEW, **DIFF))})
    assert choice["chosen"] == []
    reason = choice["failures"][0]["reason"]
    assert f"is a differential that needs svn/dybsvn/{OLD}/dybsvn-3.tar.zst" in reason
    assert why in reason


def test_any_tarball_with_the_digest_serves_a_differential() -> None:
    other = "2013/05/02/104701"
    chosen = choose_one(order_of(), {"cms01": found(tarball(other), tarball(NEW, **DIFF))})["chosen"][0]
    assert chosen["restore"]["tarballs"][0]["relpath"] == f"svn/dybsvn/{other}/dybsvn-3.tar.zst"


# Predictions


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({}, "no speed was measured yet from cms01 to fresh"),
        (
            {"cms01 -> fresh": {"bytes": 10_000_000, "seconds": 2}},
            "about 0 s at the speed of the last restore from cms01 to fresh, 4.8 MiB/s",
        ),
        ({"cms01 -> fresh": {"bytes": 100, "seconds": 1}}, "about 10 s"),
        ({"cms01 -> fresh": {"bytes": 100, "seconds": 0}}, "no speed was measured yet"),
        ({"cms01 -> fresh": "fast"}, "no speed was measured yet"),
    ],
)
def test_prediction_says_what_how_many_bytes_and_how_long(speeds: dict[str, Any], expected: str) -> None:
    chosen = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))}, speeds)["chosen"][0]
    assert chosen["prediction"].startswith(
        f"would restore svn/dybsvn/{NEW}/dybsvn-3.tar.zst of dayabay from cms01 to /home/scm/svn/dybsvn on fresh, "
        "by way of the controller: 1.0 KiB, "
    )
    assert expected in chosen["prediction"]


def test_speeds_are_learnt_from_what_was_done() -> None:
    chosen = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))})["chosen"]
    known = {"sdu -> fresh": {"bytes": 1, "seconds": 1}}
    assert learn_speeds(known, chosen, {chosen[0]["label"]: 2.0}) == {
        **known,
        "cms01 -> fresh": {"bytes": 1000, "seconds": 2.0},
    }
    assert learn_speeds(known, chosen, {}) == known


@pytest.mark.parametrize(("text", "expected"), [("", {}), ("[1]", {}), ('{"a -> b": {}}', {"a -> b": {}})])
def test_a_file_of_speeds_that_is_damaged_is_none(text: str, expected: dict[str, Any]) -> None:
    assert read_speeds(text) == expected


# What tasks registered


def loop(order: dict[str, Any], **result: Any) -> dict[str, Any]:
    """Return what a loop over orders registered, of one."""
    return {"results": [{"ansible_loop_var": "__restore_order", "__restore_order": order, **result}]}


GOOD: dict[str, Any] = {"failures": []}
BAD = {"failures": [{"reason": "x"}]}


def progress_of(order: dict[str, Any], *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what is noted of an order after calls, each a step and its result."""
    progress: dict[str, Any] = {}
    for step, result in calls:
        progress = followed(order, step, result, progress)
    return progress


def test_only_what_was_prepared_and_arrived_is_restored() -> None:
    (order,) = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))})["chosen"]
    prepared = ("prepare", {**GOOD, "incoming": "/x/incoming"})
    for bad in (BAD, {"unreachable": True}, {"failed": True}, {**GOOD, "done": True}):
        assert follow(order, progress_of(order, ("prepare", bad)))["ready"] is False
    ready = follow(order, progress_of(order, prepared))
    assert (ready["ready"], ready["arrived"]) == (True, False)
    assert ready["carry"]["destination"]["folder"] == "/x/incoming"
    assert follow(order, progress_of(order, prepared, ("carry", BAD)))["arrived"] is False
    assert follow(order, progress_of(order, prepared, ("carry", GOOD)))["arrived"] is True
    assert follow(order, progress_of(order, prepared, ("look", BAD)))["ready"] is False
    assert follow({**order, "carry": None}, {})["arrived"] is True


def test_time_is_counted_of_what_was_restored_alone() -> None:
    order = {"label": "x"}
    calls = [("prepare", {**GOOD, "seconds": 9}), ("carry", {**GOOD, "seconds": 2.0})]
    done = {**GOOD, "seconds": 1.0, "destination": "/x", "changed": True}
    progress = progress_of(order, *calls, ("restore", done))
    assert (progress["done"], progress["seconds"]) == (True, 3.0)
    for other in ({**done, "changed": False}, {**done, **BAD}):
        assert progress_of(order, *calls, ("restore", other))["done"] is False


def test_what_was_restored_is_told() -> None:
    (order,) = choose_one(order_of(), {"dayabay": found(tarball(NEW)), "cms01": UNREACHABLE, "sdu": UNREACHABLE})[
        "chosen"
    ]
    note = done_note(order, {"changed": True, "destination": "/d", "aside": "/d.old", "seconds": 1.5})
    assert "restored svn/dybsvn of dayabay from dayabay" in note
    assert ": 1.0 KiB of tarballs, 1.5 s; what stood there is now /d.old" in note


@pytest.mark.parametrize(
    ("more", "marked", "told"),
    [
        ({}, "/home/scm/svn/dybsvn", "It is not backed up while /home/scm/svn/dybsvn.altbackup-restored is there"),
        (
            {"to": "/home/scm/svn/dybsvn/db", "member": "dybsvn-3/db"},
            "/home/scm/svn/dybsvn",
            "/home/scm/svn/dybsvn is not backed up while /home/scm/svn/dybsvn.altbackup-restored is there",
        ),
        ({"to": "/home/scm/git/x"}, "/home/scm/git/x", "It is not backed up while /home/scm/git/x.altbackup-restored"),
        ({"to": "/home/scm"}, "/home/scm", "What lies in it is not backed up while /home/scm.altbackup-restored"),
        (
            {"to": "/tmp/look"},
            "/tmp/look",
            "/tmp/look.altbackup-restored says what it is: if it becomes an item, it is not backed up before it is adopted",
        ),
        ({"to": "/etc/apache2/svnsetup/x", "member": "dybsvn-3/x"}, "", ""),
    ],
)
def test_what_a_marker_means_for_backups_is_told_as_it_is(more: dict[str, Any], marked: str, told: str) -> None:
    (order,) = choose_one(order_of(**more), {"dayabay": found(tarball(NEW))})["chosen"]
    assert [item["path"] for item in order["restore"]["live_items"]] == [SVN["path"], FOLDER["path"]]
    assert order["restore"]["live_discover"] == {"git": "/home/scm/git"}
    destination = order["restore"]["destination"]
    note = done_note(order, {"destination": destination, "marked": marked, "aside": "", "seconds": 1.5})
    assert told in note
    assert bool(told) == ("altbackup-restored" in note)


MINE, THEIRS = {"base": "/backup", "id": "1" * 32}, {"base": "/srv/other", "id": "2" * 32}


def held_by(origin: dict[str, str], *tarballs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what a node tells that knows whose tree it is."""
    registered = found(*tarballs, **more)
    registered["trees"][0]["origin"] = origin
    return registered


def test_copies_of_another_source_of_that_name_are_passed_over_and_from_decides() -> None:
    nodes = {
        "dayabay": held_by(MINE, tarball(OLD), base="/backup"),
        "cms01": held_by(THEIRS, tarball(OLD, dig=OTHER_DIG), tarball(NEW)),
        "sdu": held_by(MINE, tarball(OLD)),
    }
    choice = choose_one(order_of(), nodes)
    assert choice["failures"] == []
    assert choice["chosen"][0]["restore"]["origin"]["stamp"] == OLD
    (note,) = choice["notes"]["dayabay"]
    for word in ("passed over cms01", "/srv/other", "1" * 32, "2" * 32, "as from"):
        assert word in note
    alone = {**nodes, "dayabay": held_by(MINE, base="/backup"), "sdu": held_by(THEIRS, tarball(NEW))}
    (failure,) = choose_one(order_of(), alone)["failures"]
    assert "copies of another source dayabay" in failure["reason"]
    named = choose_one(order_of(**{"from": "cms01"}), nodes)
    assert (named["failures"], named["chosen"][0]["holder"]) == ([], "cms01")


@pytest.mark.parametrize(
    "own",
    [{"unreachable": True, "msg": "no route"}, held_by({}, base="/backup"), found(problem="gone", base="/backup")],
    ids=["down", "no id", "no base"],
)
def test_source_that_is_gone_or_new_has_its_copies_restored(own: dict[str, Any]) -> None:
    nodes = {"dayabay": own, "cms01": held_by(THEIRS, tarball(NEW)), "sdu": held_by(MINE, tarball(OLD))}
    choice = choose_one(order_of(), nodes)
    assert (choice["failures"], choice["chosen"][0]["holder"]) == ([], "cms01")


def test_newest_copy_that_is_not_whole_is_taken_with_a_note_of_the_newest_whole_one() -> None:
    record = {"incomplete": ["item git 'x': lacks 1 object", "and another"]}
    nodes = {"dayabay": found(tarball(OLD), base="/backup"), "cms01": found(tarball(NEW, record=record))}
    choice = choose_one(order_of(), nodes)
    assert choice["chosen"][0]["restore"]["origin"]["stamp"] == NEW
    note = choice["notes"]["dayabay"][-1]
    assert "is incomplete: item git 'x': lacks 1 object (and 1 more)" in note
    assert f"the newest whole one is of {OLD}: give that, as at" in note
    del nodes["dayabay"]
    assert "no whole one was found" in choose_one(order_of(), nodes)["notes"]["dayabay"][-1]


# Suspects

WHY = "entries fell from 1,204 to 3"


def suspect(stamp: str) -> dict[str, Any]:
    return tarball(stamp, record={"suspect": [WHY]})


def chosen_with(nodes: dict[str, Any], marks: Any = None, **more: Any) -> dict[str, Any]:
    """Choose for an order where the controller knows these marks."""
    plan = {**plan_of(), "marks": {"dayabay": marks or {}}}
    return choose(plan, [order_of(**more)], nodes, PEERS, {}, {"when": "", "by": ""})


def stamps(choice: dict[str, Any]) -> list[str]:
    return [each["restore"]["origin"]["stamp"] for each in choice["chosen"]]


@pytest.mark.parametrize("at", ["", "2013/05/09"])
def test_the_newest_that_is_not_suspect_is_taken_and_the_others_are_told(at: str) -> None:
    later = "2013/05/09/235959"
    newest = later if at else NEW
    nodes = dict.fromkeys(("dayabay", "cms01", "sdu"), found(tarball(OLD), suspect(later), suspect(NEW)))
    choice = chosen_with(nodes, at=at)
    assert (stamps(choice), choice["failures"]) == ([OLD], [])
    (note,) = choice["notes"]["dayabay"]
    assert note == (
        f"svn/dybsvn/{newest}/dybsvn-3.tar.zst is newer, but suspect: {WHY}; the newest one that is not was taken. To have it all the same, "
        f"give its stamp, as at: {newest}"
    )


def test_a_suspect_is_taken_where_its_stamp_is_given_and_that_is_told() -> None:
    choice = chosen_with({"dayabay": found(tarball(OLD), suspect(NEW))}, at=NEW)
    assert stamps(choice) == [NEW]
    assert (
        f"svn/dybsvn/{NEW}/dybsvn-3.tar.zst is suspect, and was taken as its stamp was given: {WHY}"
        in choice["notes"]["dayabay"]
    )


@pytest.mark.parametrize(
    ("here", "there"),
    [({"svn/dybsvn": NEW}, {}), ({}, {"svn/dybsvn": NEW}), ({"svn/dybsvn": NEW}, {"svn/dybsvn": OLD})],
)
def test_a_suspect_that_somebody_accepted_is_as_good_as_any(here: dict[str, str], there: dict[str, str]) -> None:
    nodes = {"dayabay": {"trees": [{**found(tarball(OLD), suspect(NEW))["trees"][0], "accepted": there}]}}
    choice = chosen_with(nodes, {"accepted": here})
    assert stamps(choice) == [NEW]
    assert [note for note in choice["notes"]["dayabay"] if "suspect" in note] == []


def test_what_one_node_says_is_accepted_is_so_there_alone() -> None:
    doubtful = found(suspect(NEW))["trees"][0]
    nodes = {
        "dayabay": {"trees": [{**doubtful, "tarballs": [], "accepted": {"svn/dybsvn": NEW}}]},
        "cms01": found(tarball(OLD), suspect(NEW)),
    }
    assert stamps(chosen_with(nodes)) == [OLD]


def test_where_there_are_suspects_alone_the_stamp_has_to_be_given() -> None:
    choice = chosen_with({"dayabay": found(suspect(OLD), suspect(NEW))})
    assert choice["chosen"] == []
    reason = choice["failures"][0]["reason"]
    assert (
        f"dayabay: has suspects alone: svn/dybsvn/{NEW}/dybsvn-3.tar.zst: {WHY}. To have it all the same, give its stamp, as at: {NEW}"
        in reason
    )


# Into a server


MAIN = {"kind": "postgresql", "name": "main", "user": "postgres", "host": "/run/pg", "port": 5433, "login": "reader"}
INTO = {"source": "dayabay", "kind": "postgresql", "name": "main"}


def into_order(into: Any, **more: Any) -> dict[str, Any]:
    """Return the order of a good entry that goes into a server."""
    plan = plan_of(restore=[{**INTO, "into": into, **more}], items=[MAIN], restore_owner="scm")
    planned = plan_restores(plan, HOSTS)
    assert planned["failures"] == []
    return dict(planned["orders"][0])


def test_an_entry_into_a_server_knows_of_the_item_where_that_listens_and_never_its_login() -> None:
    order = into_order({"database": "wiki"})
    assert order["into"] == {"database": "wiki", "user": "postgres", "host": "/run/pg", "port": 5433}
    assert order["owner"] == "" and order["destination"].startswith("/var/tmp/altbackup-postgresql-")
    away = into_order({"database": "wiki", "login": "loader", "password_file": "/x", "globals": True}, to_host="fresh")
    assert away["into"] == {
        "database": "wiki",
        "login": "loader",
        "password_file": "/x",
        "globals": True,
        "user": "postgres",
    }
    assert into_order({"database": "wiki"}, to="/data/meanwhile")["destination"] == "/data/meanwhile"
    assert into_order({"database": "wiki2"})["destination"] != order["destination"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"into": "wiki"}, "into 'wiki' is not a mapping"),
        ({"into": {"databse": "x"}}, "into: unknown key 'databse' of kind postgresql, did you mean 'database'?"),
        ({"into": {"database": ""}}, "is not the name of a database"),
        ({"into": {"original": "x"}}, "original says which database of the dump becomes the one named as database"),
        ({"into": {"database": "x", "globals": "yes"}}, "globals 'yes' is neither true nor false"),
        ({"into": {"database": "x", "port": 0}}, "is not a number of a port"),
        (
            {"into": {"database": "x"}, "owner": "root", "member": "y"},
            "member, owner: not for an entry that goes into a",
        ),
        ({"into": {"database": "x"}, "name": "gone"}, "into: key 'user' is missing"),
        ({**ENTRY, "into": {"database": "x"}}, "into is for kinds postgresql, mysql, ldap only"),
    ],
)
def test_a_server_that_cannot_be_meant_is_told(more: dict[str, Any], reason: str) -> None:
    planned = plan_restores(plan_of(restore=[{**INTO, **more}], items=[MAIN, SVN]), HOSTS)
    (failure,) = planned["failures"]
    assert reason in failure["reason"] and planned["orders"] == []


def test_of_entries_into_one_database_none_is_done() -> None:
    entry = {**INTO, "into": {"database": "wiki"}}
    planned = plan_restores(plan_of(restore=[entry, {**entry, "at": "-1"}], items=[MAIN]), HOSTS)
    assert planned["orders"] == [] and len(planned["failures"]) == 2
    assert (
        "database wiki of the PostgreSQL server at /run/pg, port 5433 is the destination of 2 entries"
        in planned["failures"][0]["reason"]
    )
