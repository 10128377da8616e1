"""How the controller reaches hosts for a restore, by the meaning of variables in Ansible's own connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from jinja2.exceptions import UndefinedError

from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import unseal
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.reaching import (
    controller_peer,
    controller_ssh_args,
)

PLAN: dict[str, Any] = {
    "stamp": "2013/05/10/104701",
    "clock": "2013/05/10/104701",
    "sources": {},
    "targets": {"cms01": {"connect_timeout": 5, "io_timeout": 6}},
}


class Undefined(Mapping[str, Any]):
    """Variables, one of which cannot be evaluated."""

    def __getitem__(self, name: str) -> Any:
        raise UndefinedError("'site' is undefined")

    def __iter__(self) -> Any:
        return iter(["ansible_host"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"host": "cms01", "port": None, "user": "", "ssh_key": ""}),
        (
            {"ansible_host": "192.0.2.7", "ansible_port": "2222", "ansible_user": "scm"},
            {"host": "192.0.2.7", "port": 2222, "user": "scm"},
        ),
        ({"ansible_ssh_private_key_file": "~/.ssh/key"}, {"ssh_key": "~/.ssh/key"}),
        ({"ansible_become": True, "ansible_become_user": "scm"}, {"sudo": "scm"}),
        ({"ansible_become": "yes"}, {"sudo": "root"}),
        ({"ansible_become": False}, {"sudo": None}),
        ({"ansible_connection": "local"}, {"host": None, "problem": None}),
        (
            {"ansible_connection": "community.docker.docker"},
            {"problem": "is reached by community.docker.docker, not by ssh"},
        ),
    ],
)
def test_variables_of_a_host_become_a_peer(variables: dict[str, Any], expected: dict[str, Any]) -> None:
    peer = controller_peer({"cms01": variables}, PLAN, "cms01")
    assert peer["node"] == "cms01"
    assert {name: peer.get(name) for name in expected} == expected
    if "problem" not in peer:
        assert (peer["connect_timeout"], peer["io_timeout"]) == (5.0, 6.0)


def test_options_of_ssh_are_those_that_ansible_uses() -> None:
    variables = {"ansible_ssh_common_args": "-o 'ProxyJump=gate one'", "ansible_ssh_extra_args": "-v"}
    assert unseal(controller_ssh_args({"cms01": variables}, "cms01"))[-3:] == ("-o", "ProxyJump=gate one", "-v")
    assert "ProxyJump" not in str(controller_peer({"cms01": variables}, PLAN, "cms01"))
    assert controller_ssh_args({"cms01": {**variables, "ansible_connection": "local"}}, "cms01") == ""


def test_a_template_that_cannot_be_evaluated_is_the_hosts_problem() -> None:
    peer = controller_peer({"cms01": Undefined()}, PLAN, "cms01")
    assert peer["problem"] == "is reached by variables of which one is a template with 'site', which is undefined"
