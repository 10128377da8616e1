"""The variables of a host, as plain values or with why they cannot be read, and how its inventory is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.errors import AnsibleError
from jinja2.exceptions import UndefinedError

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import host_variables
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.host_variables import read_host
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable


class Variables(Mapping[str, Any]):
    """Variables of a host, of which some cannot be evaluated."""

    def __init__(self, **values: Any) -> None:
        self.values_of = values

    def __getitem__(self, name: str) -> Any:
        value = self.values_of[name]
        if isinstance(value, Exception):
            raise value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command line says."""
    options: dict[str, Any] = {}
    monkeypatch.setattr(context, "CLIARGS", options)
    return options


@pytest.mark.parametrize(
    ("variables", "only", "read"),
    [
        ({}, "", {}),
        ({"other": 1, "ansible_port": 22, "altbackup_keep": 3}, "", {"ansible_port": 22, "altbackup_keep": 3}),
        ({"other": 1, "altbackup_keep": 3}, "altbackup_keep", {"altbackup_keep": 3}),
        ({"other": 1, "altbackup_keep": 3}, "other", {"other": 1}),
        ({"altbackup_keep": 3}, "altbackup_base", {}),
        ({"altbackup_items": ({"kind": "svn"},)}, "", {"altbackup_items": [{"kind": "svn"}]}),
        ({"altbakup_keep": 3}, "", {"altbakup_keep": None}),
        ({"altbakup_keep": UndefinedError("'x' is undefined")}, "", {"altbakup_keep": None}),
        ({"salt_backup_dir": "/x", "__altbackup_plan": 1}, "", {}),
    ],
)
def test_variables_that_matter_are_read(
    variables: dict[str, Any], only: str, read: dict[str, Any], given: dict[str, Any]
) -> None:
    assert read_host(Variables(**variables), only) == read


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UndefinedError("'hunter2' is undefined"), "is a template with 'hunter2', which is undefined"),
        (AnsibleError("Decryption failed (no vault secrets were found)"), "is in a vault and could not be decrypted"),
        (AnsibleError("could not locate file /root/swordfish"), "is a template that could not be evaluated"),
    ],
)
def test_what_cannot_be_evaluated_says_why_and_how_to_see_more(
    error: Exception, why: str, given: dict[str, Any]
) -> None:
    read = read_host(Variables(altbackup_base=error, altbackup_keep=3))
    assert read["altbackup_keep"] == 3
    assert read["altbackup_base"] == Unreadable(
        f"{why}; to see why: ansible HOST -m ansible.builtin.debug -a var=altbackup_base"
    )


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        (["altbackup_undo=[a, b]"], "[a, b]"),
        (["altbackup_undo=[x] altbackup_undo=[a, b] c=d"], "[a, b]"),
        ([], "[a,"),
        (["altbackup_keep=[a, b]"], "[a,"),
        (None, "[a,"),
    ],
)
def test_what_ansible_cut_at_a_blank_is_read_as_it_was_given(extra: Any, value: str, given: dict[str, Any]) -> None:
    given["extra_vars"] = extra
    assert read_host({"altbackup_undo": "[a,"}) == {"altbackup_undo": value}


@pytest.mark.parametrize(
    ("inventory", "first"),
    [
        (None, ""),
        ([], ""),
        (["/sites"], "/sites"),
        (["a,b,", "/sites", "/more"], "/sites"),
        (["localhost,"], ""),
    ],
)
def test_the_first_inventory_that_is_a_file_is_that_of_the_run(
    inventory: Any, first: str, given: dict[str, Any]
) -> None:
    given["inventory"] = inventory
    assert host_variables.given_inventory() == first
    assert host_variables.inventory_label({"a": {}}, "a") == first
    assert host_variables.inventory_label({"a": {"inventory_file": "/own/hosts.yml"}}, "a") == "/own/hosts.yml"
    assert host_variables.inventory_label({"a": {"inventory_file": None}}, "a") == first


def test_metrics_name_an_inventory_by_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").touch()
    (tmp_path / "link").symlink_to("hosts.yml")
    assert host_variables.label_of(str(tmp_path / "link")) == str(tmp_path / "hosts.yml")
    assert host_variables.label_of("") == ""


def test_each_source_has_the_file_that_names_it() -> None:
    hostvars = {"a": {"inventory_file": "/x"}, "b": {"inventory_file": None}, "c": {"inventory_file": "/y"}}
    assert host_variables.inventory_files(hostvars, {"sources": ["a", "b"]}) == {"a": "/x", "b": ""}
    assert host_variables.inventory_files(hostvars, {}) == {}


@pytest.mark.parametrize(
    ("hostvars", "names"),
    [
        ({}, None),
        (SimpleNamespace(), None),
        (SimpleNamespace(_variable_manager=None), None),
        (SimpleNamespace(_variable_manager=SimpleNamespace(extra_vars={})), []),
        (SimpleNamespace(_variable_manager=SimpleNamespace(extra_vars={"a": 1, "b": 2})), ["a", "b"]),
    ],
)
def test_the_names_of_what_was_given_are_known_where_ansible_tells(hostvars: Any, names: list[str] | None) -> None:
    assert host_variables.extra_names(hostvars) == names
