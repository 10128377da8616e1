"""`into` of a restore: what users write of a server, and which databases of a dump are meant."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.into import Load, parse_into, place_of
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import UNCHANGED


def test_what_is_given_has_the_forms_of_an_item() -> None:
    given = {"database": "wiki", "port": "5433", "globals": True, "host": "/run//pg/", "login": None}
    assert parse_into(given, "postgresql") == {"database": "wiki", "port": 5433, "globals": True, "host": "/run/pg"}
    assert parse_into({"folder": "/etc/ldap/slapd.d"}, "ldap") == {"folder": "/etc/ldap/slapd.d"}
    assert parse_into({}, "mysql") == {}


@pytest.mark.parametrize(
    ("value", "kind", "reasons"),
    [
        ({"database": "x"}, "svn", ["into is for kinds postgresql, mysql, ldap only"]),
        ("wiki", "mysql", ["into 'wiki' is not a mapping"]),
        ({"owners": False, "port": "x"}, "mysql", ["unknown key 'owners' of kind mysql", "is not a number of a port"]),
        ({}, "ldap", ["into: key 'folder' is missing"]),
        ({"database": "a\nb"}, "mysql", ["is not the name of a database"]),
        ({"original": "x"}, "mysql", ["named as database, which is missing"]),
        ({"host": "a b"}, "postgresql", ["is neither the absolute path of a socket"]),
    ],
)
def test_all_that_is_wrong_is_told(value: Any, kind: str, reasons: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_into(value, kind)
    for reason in reasons:
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "into", "told"),
    [
        ("postgresql", {}, "all databases of the PostgreSQL server of this host"),
        (
            "mysql",
            {"database": "a", "host": "db", "port": 1},
            "database a of the MySQL or MariaDB server at db, port 1",
        ),
        ("ldap", {"folder": "/x"}, "the folder /x of an LDAP server"),
    ],
)
def test_a_place_is_told(kind: str, into: dict[str, Any], told: str) -> None:
    assert place_of(kind, into) == told


def test_the_databases_that_are_wanted_are_those_of_the_dump() -> None:
    def chosen(into: dict[str, Any]) -> dict[str, str]:
        return Load(into, "thing", {}, Deadline(1), UNCHANGED).chosen(["wiki", "shop"])

    assert chosen({}) == {"shop": "shop", "wiki": "wiki"}
    assert chosen({"database": "new", "original": "wiki"}) == {"wiki": "new"}
    with pytest.raises(AltbackupError, match="thing: its dump holds no database new, but shop, wiki"):
        chosen({"database": "new"})
