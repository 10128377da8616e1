"""What holds for a whole run: its stamp and day, and what is said for it alone."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import NOW, STAMP, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.checks import Scope
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.inventory_errors import Errors
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.run_settings import (
    moment_of_run,
    of_one_run,
    retiring,
    run_settings,
)
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("altbackup_purge_confirm", True),
        ("altbackup_accept", ["dayabay/svn/dybsvn"]),
        ("altbackup_release", [f"dayabay/svn/dybsvn/{STAMP}"]),
    ],
)
def test_what_somebody_says_of_one_run_cannot_stand_in_the_inventory(name: str, value: Any) -> None:
    for where, changes in (("all hosts", {"every": {name: value}}), ("sdu", {"changes": {"sdu": {name: value}}})):
        (error,) = plan_of(**changes, extra=["altbackup_stamp"])["errors"]
        told = "is set in the inventory, where it would hold for all runs to come: take it out, and give it to one run, with -e"
        assert error == f"{where}: {name} {told}"
    for extra in (None, [name]):
        assert plan_of(every={name: value}, extra=extra)["errors"] == []
    assert plan_of(every={name: type(value)()}, extra=[])["errors"] == []


@pytest.mark.parametrize(
    ("every", "options", "stamp", "day"),
    [
        ({}, {}, STAMP, "2013/05/10"),
        ({"altbackup_timezone": "Asia/Taipei"}, {}, "2013/05/10/184701", "2013/05/10"),
        ({"altbackup_stamp": "2013/05/09/000000"}, {}, "2013/05/09/000000", "2013/05/09"),
        ({"altbackup_stamp": "2013/05/10/104801"}, {}, "2013/05/10/104801", "2013/05/10"),
        ({"altbackup_stamp": "2013/03/01/000000", "altbackup_day": -1}, {}, "2013/03/01/000000", "2013/02/28"),
        ({"altbackup_day": "-2"}, {}, STAMP, "2013/05/08"),
        ({"altbackup_day": "2012/02/29"}, {}, STAMP, "2012/02/29"),
        ({"altbackup_day": "2012/02/29"}, {"chain": True}, STAMP, "2013/05/10"),
        ({}, {"stamp": "2013/05/09/235959"}, "2013/05/09/235959", "2013/05/09"),
        ({"altbackup_stamp": STAMP}, {"stamp": "2013/05/09/235959"}, STAMP, "2013/05/10"),
    ],
)
def test_stamp_and_day(every: dict[str, Any], options: dict[str, Any], stamp: str, day: str) -> None:
    plan = plan_of(every=every, **options)
    assert plan["errors"] == []
    assert (plan["stamp"], plan["day"]) == (stamp, day)


def test_what_is_retired_with_extra_variables_is_retired_at_the_sources_of_the_play() -> None:
    given = {"altbackup_retired": {"svn/dybsvn": ""}}
    hosts = {source: dict(given) for source in ("dayabay", "juno")}
    for here, there in (("dayabay", "juno"), ("juno", "dayabay")):
        scope = Scope(["sources", "targets"], [here, "cms01"], here)
        plan = plan_of(hosts, scope=scope, extra=["altbackup_retired"])
        assert (plan["errors"], plan["given"]) == ([], {here: {"retired": {"svn/dybsvn": ""}}}), there
        assert plan["sources"][here]["memory"]["retired"] == {}
    scope = Scope(["sources", "targets"], ["cms01"], "cms01")
    (error,) = plan_of(hosts, scope=scope, extra=["altbackup_retired"])["errors"]
    assert "there is none among cms01" in error and "--limit" in error


@pytest.mark.parametrize(
    ("settings", "stamp", "chain", "moment", "day", "error"),
    [
        ({}, "", False, STAMP, "2013/05/10", ""),
        ({"stamp": "  "}, "", False, STAMP, "2013/05/10", ""),
        ({"stamp": f" {STAMP} "}, "", False, STAMP, "2013/05/10", ""),
        ({}, "2013/05/09/000000", False, "2013/05/09/000000", "2013/05/09", ""),
        ({"stamp": "2013/05/10/104801"}, "", False, "2013/05/10/104801", "2013/05/10", ""),
        ({"stamp": "2013/05/10/104802"}, "", False, "2013/05/10/104802", "2013/05/10", "altbackup_stamp 2013/05/10/104802 is later"),
        ({"stamp": "2013/02/30/000000"}, "", False, STAMP, "2013/05/10", "altbackup_stamp: "),
        ({"stamp": "9999/12/31/235959"}, "", False, "9999/12/31/235959", "9999/12/31", "altbackup_stamp 9999/12/31/235959 is later"),
        ({"stamp": "../../etc/passwd"}, "", False, STAMP, "2013/05/10", "altbackup_stamp: "),
        ({"day": "-1"}, "", False, STAMP, "2013/05/09", ""),
        ({"day": "-1"}, "", True, STAMP, "2013/05/10", ""),
        ({"day": "-1"}, "2013/03/01/000000", False, "2013/03/01/000000", "2013/02/28", ""),
        ({"day": "1"}, "", False, STAMP, "2013/05/10", "altbackup_day: "),
        ({"day": "-99999999"}, "", False, STAMP, "2013/05/10", "altbackup_day: "),
        ({"day": "-1"}, "0001/01/01/000000", False, "0001/01/01/000000", "0001/01/01", "altbackup_day: "),
        ({"timezone": "Mars/Olympus"}, "", False, STAMP, "2013/05/10", "altbackup_timezone: "),
        ({"timezone": "../../etc/passwd"}, "", False, STAMP, "2013/05/10", "altbackup_timezone: "),
        ({"timezone": "Asia/Taipei"}, "", False, "2013/05/10/184701", "2013/05/10", ""),
    ],
)  # fmt: skip
def test_a_run_has_one_moment_and_one_day(
    settings: dict[str, str], stamp: str, chain: bool, moment: str, day: str, error: str
) -> None:
    errors = Errors([])
    run = {"timezone": "UTC", "stamp": "", "day": "", **settings}
    assert moment_of_run(run, NOW, stamp, chain, errors)[:2] == (moment, day)
    assert len(errors.general) == bool(error)
    assert not error or errors.general[0].startswith(error)


@pytest.mark.parametrize(
    ("extra", "value", "is_lasting"),
    [
        (None, True, False),
        ([], True, True),
        (["altbackup_purge_confirm"], True, False),
        (["altbackup_accept"], True, True),
        ([], False, False),
        ([], None, False),
        ([], "", False),
    ],
)
def test_what_is_said_of_one_run_is_given_to_it_alone(extra: list[str] | None, value: Any, is_lasting: bool) -> None:
    read = of_one_run({"a": {"altbackup_purge_confirm": value, "altbackup_keep": 3}, "b": {}}, extra)
    assert isinstance(read["a"]["altbackup_purge_confirm"], Unreadable) is is_lasting
    assert (read["a"]["altbackup_keep"], read["b"]) == (3, {})


@pytest.mark.parametrize(
    ("sources", "play_hosts", "kept", "is_error"),
    [
        (["a", "b"], ["a", "b"], ["a", "b", "t"], False),
        (["a", "b"], ["b", "t"], ["b", "t"], False),
        (["a", "b"], ["t"], ["t"], True),
        (["a"], [], ["t", "b"], True),
        ([], ["t"], ["a", "b", "t"], True),
    ],
)
def test_what_is_retired_is_so_at_the_sources_of_the_play(
    sources: list[str], play_hosts: list[str], kept: list[str], is_error: bool
) -> None:
    given = {name: {"altbackup_retired": {"svn/x": ""}, "altbackup_keep": 1} for name in ("a", "b", "t")}
    variables, errors = retiring(given, sources, play_hosts)
    assert {name for name, own in variables.items() if "altbackup_retired" in own} == set(kept)
    assert all(own["altbackup_keep"] == 1 for own in variables.values())
    assert bool(errors) is is_error


def test_a_setting_of_the_run_is_one_and_those_that_differ_are_named() -> None:
    errors = Errors(["a", "b", "c"])
    variables = {"a": {"altbackup_timezone": "UTC"}, "b": {"altbackup_timezone": "Asia/Taipei"}, "c": {}}
    assert run_settings(variables, ["a", "b", "c"], errors)["timezone"] == "UTC"
    (error,) = errors.general
    assert "'UTC' on a, c; 'Asia/Taipei' on b" in error
    errors = Errors([])
    assert run_settings({}, [], errors)["timezone"] == "UTC" and errors.general == []
