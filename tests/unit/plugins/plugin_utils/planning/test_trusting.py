"""Set-up of a pair's key, step by step: what is due, with which options, and what became of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import trusting

KEY, NEXT, HOST_KEY = ("ssh-ed25519 AAAAold", "ssh-ed25519 AAAAnew", "ssh-ed25519 AAAAhost")
PAIR: dict[str, Any] = {
    "dials": "dayabay",
    "dialled": "cms01",
    "base": "/backup",
    "peer": {"node": "cms01"},
    "called_base": "/copies",
    "owner": {"role": "target", "name": "cms01", "former_names": []},
    "kind": "incoming",
    "named": "dayabay",
    "user": "scm",
    "port": 2222,
    "limit": 5000,
    "sources": "",
    "seen": True,
    "label": "dayabay -> cms01",
}
ANSWER = {"address": "192.0.2.7", "does": "add", "landlock": 4}
LOOKED: dict[str, Any] = {"identities": [{"boot": "1", "device": 2, "inode": 3}]}
MADE: dict[str, Any] = {"public_keys": [KEY]}
LET_IN: dict[str, Any] = {"host_keys": [HOST_KEY], "sources": "192.0.2.7"}
TRIED: dict[str, Any] = {"public_keys": [KEY], "answer": ANSWER}
REFUSED: dict[str, Any] = {"public_keys": [KEY], "refused": "Permission denied"}
LOST: dict[str, Any] = {"failures": ["unreachable: no route"]}


def done_of(**results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what was found in steps by what their modules returned, and why they failed."""
    return {step: trusting.found(result, result.get("failures", ())) for step, result in results.items()}


def play(answers: dict[str, dict[str, Any]], pair: dict[str, Any] = PAIR) -> tuple[list[str], dict[str, Any]]:
    """Go through set-up with these results of its steps; return the steps that were made, and what is known at the end."""
    done: dict[str, Any] = {}
    for step in trusting.STEPS[:8]:
        if trusting.is_due(pair, done, step):
            result = {"look": LOOKED, **answers}[step]
            done[step] = trusting.found(result, result.get("failures", ()))
    return list(done)[1:] if "look" not in answers else list(done), done


@pytest.mark.parametrize(
    ("answers", "steps"),
    [
        pytest.param(
            {"make": MADE, "admit": LET_IN, "try": TRIED, "bind": {}}, ["make", "admit", "try", "bind"], id="as before"
        ),
        pytest.param(
            {"make": MADE, "admit": LET_IN, "try": TRIED, "bind": {"changed": True}, "require": TRIED},
            ["make", "admit", "try", "bind", "require"],
            id="bound anew",
        ),
        pytest.param({"look": LOST}, ["look"], id="the base that is dialled is another's"),
        pytest.param({"make": LOST}, ["make"], id="the side that dials is lost"),
        pytest.param({"make": MADE, "admit": LOST}, ["make", "admit"], id="the dialled side is lost"),
        pytest.param({"make": MADE, "admit": LET_IN, "try": LOST}, ["make", "admit", "try"], id="lost in the trial"),
        pytest.param(
            {"make": MADE, "admit": {}, "try": REFUSED, "require": LOST},
            ["make", "admit", "try", "require"],
            id="refused, though from anywhere",
        ),
        pytest.param(
            {"make": MADE, "admit": LET_IN, "try": REFUSED, "open": {}, "retry": TRIED, "bind": {"changed": True}, "require": TRIED},
            ["make", "admit", "try", "open", "retry", "bind", "require"],
            id="from another address",
        ),
        pytest.param(
            {"make": MADE, "admit": LET_IN, "try": REFUSED, "open": LOST, "retry": REFUSED, "bind": LOST},
            ["make", "admit", "try", "open", "retry", "bind"],
            id="lost when it was opened, which it may be all the same",
        ),
        pytest.param(
            {"make": MADE, "admit": LET_IN, "try": REFUSED, "open": {}, "retry": LOST, "bind": {"changed": True}, "require": LOST},
            ["make", "admit", "try", "open", "retry", "bind", "require"],
            id="lost when it was tried again: it is closed",
        ),
        pytest.param({"make": {}, "admit": {"changed": True}, "try": {}, "require": {}}, ["make", "admit", "try", "require"], id="predicted"),
    ],
)  # fmt: skip
def test_a_step_follows_from_those_before(answers: dict[str, dict[str, Any]], steps: list[str]) -> None:
    assert play(answers)[0] == steps


@pytest.mark.parametrize("retried", [REFUSED, LOST, {}, TRIED, {"answer": {"address": "*"}}])
@pytest.mark.parametrize("opened", [{}, LOST, {"changed": True}])
def test_what_was_opened_is_closed_whatever_came_of_it(opened: dict[str, Any], retried: dict[str, Any]) -> None:
    done = done_of(make=MADE, admit=LET_IN, open=opened, retry=retried, **{"try": REFUSED})
    assert trusting.is_due(PAIR, done, "bind")
    assert trusting.options(PAIR, done, "bind")["sources"] == "192.0.2.7", (
        "where it came from, or what was there before"
    )


def test_nothing_is_opened_where_the_inventory_says_from_where() -> None:
    fixed = {**PAIR, "seen": False, "sources": "192.0.2.0/24"}
    steps, done = play({"make": MADE, "admit": LET_IN, "try": REFUSED, "require": LOST}, fixed)
    assert steps == ["make", "admit", "try", "require"]
    assert trusting.options(fixed, done, "admit")["sources"] == "192.0.2.0/24"
    done = done_of(make=MADE, admit=LET_IN, **{"try": TRIED})
    assert trusting.options(fixed, done, "bind")["sources"] == "192.0.2.0/24"


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("192.0.2.7", True),
        ("2001:db8::7", True),
        ("*", False),
        ("192.0.2.7,*", False),
        ("192.0.2.7\n", False),
        ("!192.0.2.8", False),
        ("fe80::1%eth0", False),
        ("192.0.2.7/0", False),
        ("any", False),
        ("", False),
    ],
)
def test_an_address_is_bound_and_no_pattern(address: str, is_one: bool) -> None:
    done = done_of(make=MADE, admit={}, **{"try": {"answer": {"address": address}}})
    assert trusting.is_due(PAIR, done, "bind") is is_one
    if is_one:
        assert trusting.options(PAIR, done, "bind")["sources"] == address


def test_each_step_has_its_options_on_its_side() -> None:
    done = done_of(make=MADE, admit=LET_IN, open={}, retry={**TRIED, "public_keys": [NEXT]}, **{"try": REFUSED})
    mine, theirs = {"base": "/backup", "peer": {"node": "cms01"}}, {"base": "/copies", "kind": "incoming"}
    theirs |= {"peer": "dayabay", "user": "scm", "owner": PAIR["owner"]}
    entry = {**theirs, "limit": 5000, "port": 2222}
    expected = {
        "look": {**theirs, "state": "asked"},
        "make": {**mine, "rotate": True},
        "admit": {**entry, "public_keys": [KEY], "sources": ""},
        "try": {**mine, "host_keys": [HOST_KEY], "trial": "ask"},
        "open": {**entry, "public_keys": [KEY], "sources": "any"},
        "retry": {**mine, "host_keys": [HOST_KEY], "trial": "ask"},
        "bind": {**entry, "public_keys": [NEXT], "sources": "192.0.2.7"},
        "require": {**mine, "host_keys": [HOST_KEY], "trial": "require"},
        "dismiss": {**theirs, "state": "absent"},
        "forget": {**mine, "state": "absent"},
    }
    assert {step: trusting.options(PAIR, done, step, rotate=True) for step in trusting.STEPS} == expected
    nodes = {step: trusting.node_of(PAIR, step) for step in trusting.STEPS}
    assert nodes == {step: "cms01" if "kind" in given else "dayabay" for step, given in expected.items()}


@pytest.mark.parametrize(
    ("results", "failures", "line"),
    [
        ({}, [], "not tried"),
        ({"make": MADE, "try": REFUSED}, [], "not tried"),
        ({"make": LOST, "try": {"failures": ["unreachable: no route", "no key"]}}, ["unreachable: no route", "no key"], "not tried"),
        ({"try": TRIED}, [], "the key may add to its folder on cms01, coming from 192.0.2.7"),
        ({"try": TRIED, "require": {"answer": {**ANSWER, "does": "read", "address": ""}}}, [], "the key may read in its folder on cms01"),
        ({"try": {"answer": {"does": "add"}}}, [], "the key may add to its folder on cms01, not confined by the kernel, which has no Landlock"),
        ({"try": {"answer": {"address": "192.0.2.7"}}}, [], "not tried"),
    ],
)  # fmt: skip
def test_what_became_of_a_pair_is_one_line_and_each_failure_once(
    results: dict[str, dict[str, Any]], failures: list[str], line: str
) -> None:
    told = trusting.report(PAIR, done_of(**results))
    assert told == {
        "failures": [f"dayabay -> cms01: {text}" for text in failures],
        "line": f"dayabay -> cms01: {line}",
    }


@pytest.mark.parametrize(
    ("identity", "kind", "is_double"),
    [
        ({"boot": "1", "device": 2, "inode": 3}, "incoming", True),
        ({"boot": "1", "device": 2, "inode": 4}, "incoming", False),
        ({"boot": "2", "device": 2, "inode": 3}, "incoming", False),
        ({"boot": "1", "device": 2, "inode": 3}, "outgoing", False),
    ],
)
def test_two_names_of_one_base_are_refused_before_a_key_is_made(
    identity: dict[str, Any], kind: str, is_double: bool
) -> None:
    first, second = (
        {**PAIR, "kind": kind, "dialled": name, "label": f"dayabay -> {name}"} for name in ("cms01", "cms01b")
    )
    known = {first["label"]: done_of(look=LOOKED), second["label"]: done_of(look={"identities": [identity]})}
    known = trusting.without_doubles([first, second], known)
    for pair in (first, second):
        done = known[pair["label"]]
        assert trusting.is_due(pair, done, "make") is not is_double
        failures = trusting.report(pair, done)["failures"]
        assert len(failures) == is_double and all("cms01 and cms01b lead to one machine" in each for each in failures)


def test_what_nobody_knows_of_a_base_is_no_double() -> None:
    pairs = [{**PAIR, "label": label} for label in ("dayabay -> cms01", "dayabay -> cms01b")]
    for looked in ({}, {"identities": [{"boot": "", "device": 0, "inode": 0}]}):
        known = trusting.without_doubles(pairs, {pair["label"]: done_of(look=looked) for pair in pairs})
        assert all(trusting.is_due(pair, known[pair["label"]], "make") for pair in pairs)


CHANGED = {"changed": True}


@pytest.mark.parametrize(
    ("results", "check_mode", "line"),
    [
        (
            {"make": CHANGED, "admit": CHANGED, "try": {}},
            True,
            "a key would be made on dayabay; its line would be written into authorized_keys of cms01",
        ),
        (
            {"make": CHANGED, "admit": {}, "try": TRIED, "bind": CHANGED},
            False,
            "a key was made on dayabay; its line was written into authorized_keys of cms01; the key may add to its folder on cms01, coming from 192.0.2.7",
        ),
        ({"make": {}, "admit": {}, "try": TRIED, "bind": {}}, False, "the key may add to its folder on cms01, coming from 192.0.2.7"),
        ({"make": CHANGED, "admit": {**CHANGED, **LOST}}, False, "a key was made on dayabay"),
        ({"make": LOST}, True, "not tried"),
    ],
)  # fmt: skip
def test_what_is_made_for_a_pair_is_named(results: dict[str, dict[str, Any]], check_mode: bool, line: str) -> None:
    told = trusting.report(PAIR, done_of(**results), check_mode=check_mode)
    assert told["line"] == f"dayabay -> cms01: {line}"
