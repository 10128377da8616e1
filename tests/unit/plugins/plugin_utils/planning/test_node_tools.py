"""The programs that nodes need: to dump, and to prove what others dumped; and their packages."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.findings import planned
from helpers.told_runs import EVERY, Told

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.node_tools import node_tools, package_of
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.setup import node_setup

AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SVN, GIT = ["svnadmin", "svnlook"], ["git"]
SEALED = {"altbackup_encrypt_to": [AGE], "altbackup_single_recipient": True}
ITEMS = [
    {"kind": "svn", "name": "a", "path": "/a"},
    {"kind": "postgresql", "name": "b", "user": "postgres"},
    {"kind": "mysql", "name": "c", "user": "root"},
    {"kind": "ldap", "name": "d", "path": "/etc/ldap/slapd.d"},
]


def plan_of(source: dict[str, Any] | None = None, **of_hosts: dict[str, Any]) -> dict[str, Any]:
    """Return the plan of a source that sends to cms01, beside the variables of other hosts."""
    own = {"altbackup_base": "/backup", "altbackup_targets": ["cms01"], "altbackup_discover": {"git": "/git"}}
    own.update({"altbackup_items": ITEMS[:1], **(source or {})})
    hosts = {"dayabay": own, "cms01": {"altbackup_target_base": "/copies", "altbackup_drill_folder": "/scratch"}}
    given = {name: {**hosts.get(name, {}), **of_hosts.get(name, {})} for name in {**hosts, **of_hosts}}
    groups = {"all": list(given), "sources": ["dayabay"], "targets": ["cms01", *of_hosts.get("groups", ())]}
    groups["stores"] = [name for name in given if name == "vault"]
    plan = planned(given, groups)
    assert plan["errors"] == []
    return plan


@pytest.mark.parametrize(
    ("source", "of_hosts", "on_source", "on_target"),
    [
        ({}, {}, [*GIT, *SVN, "zstd"], [*GIT, *SVN, "zstd"]),
        ({"altbackup_ext": ".tar.gz"}, {}, [*GIT, *SVN, "gzip"], [*GIT, *SVN, "gzip"]),
        ({}, {"cms01": {"altbackup_drill_host": "dayabay"}}, [*GIT, *SVN, "zstd"], []),
        ({}, {"cms01": {"altbackup_drill_host": "other"}, "other": {}}, [*GIT, *SVN, "zstd"], []),
        (SEALED, {}, [*GIT, *SVN, "age", "zstd", "ssh-keygen"], []),
        (
            {"altbackup_items": [{**ITEMS[0], "encrypt_to": [AGE]}], "altbackup_single_recipient": True},
            {},
            [*GIT, *SVN, "age", "zstd", "ssh-keygen"],
            [*GIT, "zstd"],
        ),
        (
            {"altbackup_items": ITEMS[1:], "altbackup_discover": {}},
            {},
            ["slapcat", "mariadb-dump", "pg_dump", "pg_restore", "zstd"],
            ["pg_restore", "zstd"],
        ),
        (
            {"altbackup_items": [{"kind": "folder", "name": "x", "path": "/x"}], "altbackup_discover": {}},
            {},
            ["zstd"],
            ["zstd"],
        ),
    ],
)
def test_a_node_needs_what_it_dumps_and_what_it_proves(
    source: dict[str, Any], of_hosts: dict[str, Any], on_source: list[str], on_target: list[str]
) -> None:
    plan = plan_of(source, **of_hosts)
    assert node_tools(plan, "dayabay") == on_source
    assert node_tools(plan, "cms01") == on_target


def test_who_drills_for_another_needs_what_that_ones_sources_have() -> None:
    plan = plan_of(cms01={"altbackup_drill_host": "scratch01"}, scratch01={})
    assert node_tools(plan, "scratch01") == [*GIT, *SVN, "zstd"]
    plan = plan_of(SEALED, cms01={"altbackup_drill_host": "scratch01"}, scratch01={})
    assert node_tools(plan, "scratch01") == [*GIT, *SVN, "age", "zstd"], "what opens it is there"


def test_who_fills_a_store_needs_its_program_and_what_is_drilled_of_it() -> None:
    filled = {"altbackup_stores": ["vault"], "altbackup_drill_host": "scratch01"}
    plan = plan_of(cms01=filled, scratch01={}, vault={"altbackup_store_remote": "/disk", "altbackup_store_drill": 1})
    assert node_tools(plan, "cms01") == [*GIT, *SVN, "zstd", "rclone"]
    plan["stores"]["vault"]["drill"] = 0
    assert node_tools(plan, "cms01") == ["rclone"]


def test_set_up_installs_and_doctor_looks_for_the_same_and_a_backup_asks_no_target_for_them() -> None:
    told = Told(EVERY, "cms01")
    (needed,) = (node_tools(told.run.plan, "cms01"),)
    assert needed, "the plan has items"
    setup = node_setup(told.run.plan, "cms01")["tools"]
    doctor = told.call("node_examine", "doctor", {})["tools"]
    assert set(needed) <= {*setup} & {*doctor}
    night = Told()
    for entry in night.over("targets"):
        assert not {*needed} & {*night.call("preflight", "preflight", {}, entry, tools=["tar", "rsync"])["programs"]}


@pytest.mark.parametrize(
    ("tool", "family", "package"),
    [
        ("pg_dump", "Debian", "postgresql-client"),
        ("pg_dump", "RedHat", "postgresql"),
        ("mariadb-dump", "RedHat", "mariadb"),
        ("slapcat", "", "slapd"),
        ("ssh", "RedHat", "openssh-clients"),
        ("svnlook", "RedHat", "subversion"),
        ("something", "RedHat", "something"),
    ],
)
def test_a_program_has_a_package_in_each_family(tool: str, family: str, package: str) -> None:
    assert package_of(tool, family) == package
