"""Restores into a server, as the plan has them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.restores import ENTRY, HOSTS, SVN, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import plan_restores

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
        (
            {"into": {"database": "x"}, "kind": "sqlite", "name": "gone"},
            "the inventory names no databases/gone, so that",
        ),
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
