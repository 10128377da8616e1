"""Which tarball a restore takes from which node."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.restores import (
    DIG,
    ENTRY,
    NEW,
    OLD,
    OTHER_DIG,
    PEERS,
    UNREACHABLE,
    choose_one,
    found,
    order_of,
    plan_entry,
    plan_of,
    tarball,
)

from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import choose
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore_source import (
    find_full,
    is_same_machine,
    offers_for,
    title_of,
)


def test_item_of_another_kind_is_no_hint_where_a_node_has_none() -> None:
    tree = {**found()["trees"][0], "keys": ["git/dybsvn", "svn/dybsvm", "svn/dybsvn"]}
    nodes = {node: {"trees": [tree]} for node in ("dayabay", "cms01", "sdu")}
    (failure,) = choose_one(order_of(), nodes)["failures"]
    assert "has no tarball of svn/dybsvn, did you mean 'svn/dybsvm'?" in failure["reason"]
    tree["keys"] = ["git/dybsvn"]
    (failure,) = choose_one(order_of(), nodes)["failures"]
    assert "has no tarball of svn/dybsvn, no other one is known" in failure["reason"]


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


def held(relpath: str, dig: str = DIG, state: str = "verified", base: str = "") -> dict[str, Any]:
    return {"relpath": relpath, "dig": dig, "state": state, "base": base}


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ([], None),
        ([held("a")], "a"),
        ([held("b")], "b"),
        ([held("b"), held("c")], "c"),
        ([held("a"), held("b")], "a"),
        ([held("a", OTHER_DIG)], "a"),
        ([held("a", OTHER_DIG), held("b")], "b"),
        ([held("a", state="suspect"), held("b")], "b"),
        ([held("a", state="malformed")], "a"),
        ([held("b", OTHER_DIG)], None),
        ([held("b", state="malformed")], None),
        ([held("b", base="x")], None),
        ([held("a", base="x"), held("b")], "b"),
    ],
)
def test_a_differential_has_the_full_one_that_serves(own: list[dict[str, Any]], found: str | None) -> None:
    full = find_full(own, "a", DIG)
    assert (full["relpath"] if full else None) == found


@pytest.mark.parametrize(
    ("peers", "same"),
    [
        ({"a": {"host": "x"}, "b": {"host": "y"}}, False),
        ({"a": {"host": "x"}, "b": {"host": "x"}}, False),
        ({"a": {"host": ""}, "b": {"host": "y"}}, False),
        ({"a": {"host": ""}, "b": {"host": ""}}, True),
        ({"a": {}, "b": {}}, True),
        ({"a": {}, "b": {"problem": "is reached by winrm"}}, False),
    ],
)
def test_two_nodes_are_one_machine_where_neither_is_reached_by_ssh(peers: dict[str, Any], same: bool) -> None:
    assert is_same_machine("a", "b", peers) is same
    assert is_same_machine("a", "a", peers) is True


@pytest.mark.parametrize(
    ("registered", "why"),
    [
        (None, "is not among the hosts of this run: is it left out by --limit?"),
        ({}, "is not among the hosts of this run: is it left out by --limit?"),
        ({"failed": True, "msg": "no\n python"}, "no python"),
        ({"failed": True}, "it did not answer"),
        ({"failures": [{"reason": "a"}, {"reason": "b\nc"}]}, "a b c"),
        ({"trees": []}, "did not tell what it holds"),
        ({"trees": None}, "did not tell what it holds"),
        ({"trees": [{"source": "juno", "tarballs": []}]}, "did not tell what it holds"),
        ({"trees": [{"source": "dayabay", "base": "/x", "tarballs": [], "problem": "no marker"}]}, "no marker"),
        ({"trees": [{"source": "dayabay", "base": "/x", "tarballs": None, "keys": None}]}, "/x has no tarball of svn/dybsvn, no other one is known"),
    ],
    ids=str,
)  # fmt: skip
def test_why_a_node_has_nothing_to_offer_is_told(registered: Any, why: str) -> None:
    order = {**order_of(), "candidates": ["cms01"]}
    offers, passed = offers_for(plan_of(), order, {"cms01": registered}, Moment(NEW, NEW))
    assert (offers, passed) == ([], [f"cms01: {why}"])


@pytest.mark.parametrize(
    ("relpath", "is_found"),
    [
        (f"svn/dybsvn/{NEW}/dybsvn-3.tar.zst", True),
        (f"svn/dybsvn/{NEW}/dybsvn.tar", True),
        (f"svn/dybsvn/{NEW}/other-3.tar.zst", False),
        (f"svn/dybsvn2/{NEW}/dybsvn-3.tar.zst", False),
        (f"git/dybsvn/{NEW}/dybsvn-3.tar.zst", False),
        (f"svn/dybsvn/{NEW}/dybsvn-3.tar.zst.dna", False),
        ("svn/dybsvn/", False),
    ],
)
def test_only_tarballs_of_the_item_are_offered(relpath: str, is_found: bool) -> None:
    order = {**order_of(), "candidates": ["cms01"]}
    offers, _ = offers_for(plan_of(), order, {"cms01": found(tarball(NEW, relpath=relpath))}, Moment(NEW, NEW))
    assert bool(offers) is is_found


def test_a_restore_is_titled_with_its_night_where_one_is_meant() -> None:
    assert title_of(order_of()) == "the restore of svn/dybsvn of dayabay"
    assert title_of(order_of(at="-1")) == "the restore of svn/dybsvn of dayabay at 2013/05/09"


AGE = "age1g4g5qfujfqphvnxk2esljtk7hwvczk9hj7lnmng2h5qjhtadvgyskyeuaw"


def test_of_what_is_encrypted_nothing_readable_is_taken_unasked() -> None:
    settings = {"encrypt_to": [AGE], "single_recipient": True}
    sealed = {**tarball(OLD), "relpath": f"svn/dybsvn/{OLD}/dybsvn-3.tar.zst.age", "record": {"sealed": "x", "rows": 5}}

    def stamps(*entries: dict[str, Any], **more: Any) -> Any:
        planned = plan_entry({**ENTRY, **more}, **settings)
        choice = choose_one(
            planned["orders"][0], {"dayabay": UNREACHABLE, "cms01": found(*entries), "sdu": found()}, **settings
        )
        return [order["restore"]["tarballs"] for order in choice["chosen"]] or choice["failures"][0]["reason"]

    ((newest,),) = stamps(sealed, tarball(NEW))
    assert newest["relpath"] == sealed["relpath"], "the newer one may be anybody's"
    assert newest["record"] == {"sealed": "x"}
    assert "has none that is encrypted, as svn/dybsvn is to be" in stamps(tarball(NEW))
    ((named,),) = stamps(sealed, tarball(NEW), at=NEW)
    assert "record" not in named
