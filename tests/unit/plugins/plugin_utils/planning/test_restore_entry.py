"""An entry of altbackup_restore: what is filled in, and every error."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.restores import (
    ENTRY,
    HOSTS,
    OLD,
    order_of,
    plan_of,
)

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import plan_restores
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore_entry import parse_entry, path_of


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


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        ({"kind": "mysql", "name": "main", "user": "mysql"}, "give the server that takes it, as into, or the path"),
        ({"kind": "command", "name": "main", "user": "scm", "argv": ["/bin/x"]}, "give the path"),
    ],
)
def test_an_item_without_a_path_is_not_said_to_be_none(item: dict[str, Any], hint: str) -> None:
    (failure,) = plan_with(item, entry={"kind": item["kind"], "name": "main"})["failures"]
    assert f"main of dayabay has no path of its own: {hint} where it is to stand, as to" in failure["reason"]


def test_a_question_needs_no_full_stop() -> None:
    (failure,) = plan_with(PRES, entry={"name": "press"})["failures"]
    assert "did you mean 'pres'? For one that" in failure["reason"]
    (failure,) = plan_with(PRES, entry={"name": "x"})["failures"]
    assert "known are pres. For one that" in failure["reason"]


def test_a_member_may_have_any_name() -> None:
    for member in ("dybsvn-3/a\nb", "dybsvn-3/a%FFb", "dybsvn-3/conf/"):
        assert order_of(member=member, to="/x")["member"] == member


@pytest.mark.parametrize(
    ("kind", "key", "path"),
    [
        ("svn", "svn/dybsvn", "/home/scm/svn/dybsvn"),
        ("git", "git/a%2Fb", "/home/scm/git/a/b"),
        ("git", "git/x", "/home/scm/git/x"),
        ("svn", "svn/other", ""),
        ("sqlite", "databases/x", ""),
        ("folder", "folders/svnsetup", "/etc/apache2/svnsetup"),
    ],
)
def test_the_place_of_an_item_is_that_of_the_inventory(kind: str, key: str, path: str) -> None:
    assert path_of("dayabay", kind, key, plan_of()) == path


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"to": "/"}, "is a path at which nothing can be restored"),
        ({"to": "///"}, "is a path at which nothing can be restored"),
        ({"to": "/x/.."}, "is a path at which nothing can be restored"),
        ({"to": "/x.altbackup-restored"}, "is a path at which nothing can be restored"),
        ({"to": "x"}, "is not an absolute path"),
        ({"to": " /x"}, "is not an absolute path"),
        ({"to": "/x\0y"}, "is not a text"),
        ({"to": "/x\ny"}, "is not a text"),
        ({"to": ["/x"]}, "is not a text"),
        ({"to": 7}, "is not a text"),
        ({"to": "/backup"}, "would lie in each other"),
        ({"to": "/backup/svn/x"}, "would lie in each other"),
        ({"to": "/backup/../backup/x"}, "would lie in each other"),
        ({"to": "//backup/x"}, "would lie in each other"),
        ({"to_host": "cms01", "to": "/copies/x"}, "would lie in each other"),
        ({"name": "../x"}, "a slash"),
        ({"name": "x" * 300, "to": "/x"}, "bytes"),
        ({"at": "yesterday"}, "is neither a stamp"),
        ({"at": "-99999999"}, "is neither a stamp"),
        ({"mode": 493}, "mode 493 is not a text, with quotes"),
        ({"owner": True}, "owner True is not a text"),
        ({"owner": 1.5}, "owner 1.5 is not a text"),
        ({"consent": "yes"}, "consent 'yes' is neither true nor false"),
        ({"replace": "overwrite"}, "is not one of refuse, move_aside"),
        ({7: "x"}, "unknown key '7'"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_an_entry_cannot_ask_for_is_refused(more: dict[Any, Any], reason: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_entry({**ENTRY, **more}, plan_of(), HOSTS)
    assert reason in str(error.value)


def test_a_path_with_a_base_in_it_is_refused() -> None:
    plan = plan_of(base="/srv/scm/backup")
    for path in ("/srv", "/srv/scm", "/srv/scm/backup"):
        with pytest.raises(InvalidInput, match="would lie in each other"):
            parse_entry({**ENTRY, "to": path}, plan, HOSTS)
    assert parse_entry({**ENTRY, "to": "/srv/sc"}, plan, HOSTS)["destination"] == "/srv/sc"


def test_a_path_beside_a_base_is_none_in_it() -> None:
    assert parse_entry({**ENTRY, "to": "/backup2"}, plan_of(), HOSTS)["destination"] == "/backup2"
    assert parse_entry({**ENTRY, "owner": 0, "group": 7, "to": "/x"}, plan_of(), HOSTS)["owner"] == "0"
