"""Servers that a survey found: items where all of one is known, else comments; what a node tells is taken for data."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from helpers.inventories import plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.inventory_servers import servers_in
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.inventory_text import Answers, Host, files

POSTGRESQL = {"kind": "postgresql", "path": "/run/postgresql/.s.PGSQL.5432", "owner": "postgres"}
SECOND = {**POSTGRESQL, "path": "/srv/pg/.s.PGSQL.5433"}
MYSQL = {"kind": "mysql", "path": "/run/mysqld/mysqld.sock", "owner": "mysql"}
LDAP = {"kind": "ldap", "path": "/etc/ldap/slapd.d", "owner": "openldap"}
ITEM = {"kind": "postgresql", "name": "postgresql", "user": "postgres"}


def written(*servers: dict[str, Any], uid: int = 0, **found: Any) -> str:
    """Return the file of a source on which these servers were found."""
    facts = {"uid": uid, "servers": servers_in({"servers": list(servers)}), **found}
    here = Host("localhost")
    answers = Answers("mine", [here], [here], "/own", "/copies", "none", found={"localhost": facts})
    return files(answers)["host_vars/localhost.yml"]


@pytest.mark.parametrize(
    ("server", "uid", "item"),
    [
        (POSTGRESQL, 0, ITEM),
        ({**POSTGRESQL, "mine": True}, 1000, ITEM),
        (POSTGRESQL, 1000, None),
        ({**POSTGRESQL, "shared": True}, 0, None),
        ({**POSTGRESQL, "owner": ""}, 0, None),
        ({**POSTGRESQL, "owner": "root"}, 0, None),
        (SECOND, 0, {**ITEM, "name": "postgresql-5433", "host": "/srv/pg", "port": 5433}),
        (MYSQL, 0, None),
        (LDAP, 0, {"kind": "ldap", "name": "directory", "path": "/etc/ldap/slapd.d"}),
        (LDAP, 1000, None),
        ({**LDAP, "owner": "root"}, 0, None),
    ],
)
def test_a_server_is_an_item_where_nothing_is_to_be_entered_and_else_a_comment_that_would_be_one(
    server: dict[str, Any], uid: int, item: dict[str, Any] | None
) -> None:
    text = written(server, uid=uid)
    assert yaml.safe_load(text)["altbackup_items"] == ([item] if item else [])
    assert f"docs/{server['kind']}.md" in text
    if not item:
        uncommented = text.replace("altbackup_items: []\n", "").replace("# altbackup_items:", "altbackup_items:")
        (found,) = yaml.safe_load(
            uncommented.replace("#   - {kind: " + server["kind"], "  - {kind: " + server["kind"])
        )["altbackup_items"]
        assert plan_of({"dayabay": {"altbackup_items": [found]}})["sources"]["dayabay"]["item_errors"] == []


def test_items_and_comments_stand_in_one_list() -> None:
    repositories = [{"kind": "hg", "path": f"/srv/hg/{name}"} for name in ("a", "b")]
    text = written(POSTGRESQL, SECOND, MYSQL, LDAP, folders=["/etc"], repositories=repositories)
    items = yaml.safe_load(text)["altbackup_items"]
    names = ["a", "b", "etc", "postgresql", "postgresql-5433", "directory"]
    assert [item["name"] for item in items] == names
    whole = yaml.safe_load(text.replace("  # - {", "  - {"))["altbackup_items"]
    assert [item["name"] for item in whole] == [*names, "mysql"]
    plan = plan_of({"dayabay": {"altbackup_items": whole}})
    assert plan["errors"] == [] and plan["sources"]["dayabay"]["item_errors"] == []


def test_where_all_else_is_discovered_comments_remain() -> None:
    repositories = [{"kind": "svn", "path": f"/srv/svn/{name}"} for name in ("a", "b")]
    said = yaml.safe_load(written(MYSQL, repositories=repositories))
    assert said["altbackup_discover"] == {"svn": "/srv/svn"} and "altbackup_items" not in said


def test_a_server_with_several_sockets_is_one_item() -> None:
    more = {**POSTGRESQL, "path": "/tmp/.s.PGSQL.5432", "shared": True}
    assert yaml.safe_load(written(POSTGRESQL, more))["altbackup_items"] == [ITEM]


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "x",
        [7],
        [{**POSTGRESQL, "kind": "oracle"}],
        [{**POSTGRESQL, "kind": ["postgresql"]}],
        [{**POSTGRESQL, "path": "run/.s.PGSQL.5432"}],
        [{**POSTGRESQL, "path": "/run/postgresql"}],
        [{**MYSQL, "path": "/run/x\naltbackup_base: /"}],
        [{**MYSQL, "path": "/run/x\u2028altbackup_base: /"}],
    ],
    ids=repr,
)
def test_what_is_no_server_is_left_out(odd: Any) -> None:
    assert servers_in({"servers": odd}) == []


@pytest.mark.parametrize("owner", ["{{x}}", "a b", "a\nb", "-x", 7, None])
def test_an_owner_is_read_back_as_told_or_is_none(owner: Any) -> None:
    text = written({**POSTGRESQL, "owner": owner})
    is_name = owner == "{{x}}"
    assert yaml.safe_load(text.replace("!unsafe ", ""))["altbackup_items"] == (
        [{**ITEM, "user": owner}] if is_name else []
    )
    assert ("user: !unsafe" in text) == is_name
