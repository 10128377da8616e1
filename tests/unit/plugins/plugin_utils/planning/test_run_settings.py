"""What holds for a whole run: its stamp and day, and what is said for it alone."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inventories import STAMP, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.checks import Scope


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
