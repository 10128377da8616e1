"""Settings of users: one declaration, and values given as YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.settings import SOURCE, problems_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import settings

ROOT = Path(__file__).resolve().parents[5]
ROLE = ROOT / "roles" / "altbackup"


def defaults(entry: str) -> dict[str, Any]:
    """Return the declared defaults of an entry point's variables."""
    options = settings.load_specs()[entry]
    return {name: option["default"] for name, option in options.items() if "default" in option}


def test_role_defaults_and_specs_agree_both_ways() -> None:
    written = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    declared: dict[str, Any] = {}
    for entry in settings.load_specs():
        declared |= defaults(entry)
    assert written == declared


def test_a_variable_of_both_is_the_same_in_both() -> None:
    specs = settings.load_specs()
    both = set(specs["source"]) & set(specs["target"])
    assert {"altbackup_keep", "altbackup_ssh_key", "altbackup_io_timeout"} <= both
    assert [name for name in both if specs["source"][name] != specs["target"][name]] == []


def test_variables_of_the_whole_run_are_of_no_node() -> None:
    assert not set(settings.names("main")) & {*settings.names("source"), *settings.names("target")}


@pytest.mark.parametrize("name", settings.names())
def test_every_variable_is_typed_and_described(name: str) -> None:
    assert name.startswith(settings.PREFIX)
    for options in settings.load_specs().values():
        if name in options:
            assert options[name]["type"] in ("str", "int", "float", "bool", "list", "dict", "raw")
            description = options[name]["description"]
            assert isinstance(description, list)
            assert all(sentence.endswith((".", "'.")) for sentence in description), description


@pytest.mark.parametrize("entry", ["main", "source", "target"])
def test_every_default_is_valid(entry: str) -> None:
    required = {name: "/x" for name, option in settings.load_specs()[entry].items() if option.get("required")}
    assert problems_of(entry, defaults(entry) | required) == []


def test_a_default_is_not_shared_between_hosts() -> None:
    settings.validate("source", SOURCE)[0]["altbackup_items"].append("mine")
    assert settings.validate("source", SOURCE)[0]["altbackup_items"] == []


def test_the_embedded_inventory_uses_known_variables_alone() -> None:
    used = {
        name
        for path in (ROOT / "inventory" / "local").rglob("*.yml")
        if path.parent.parent.name == "group_vars"
        for name in yaml.safe_load(path.read_text(encoding="utf-8"))
        if name.startswith(settings.PREFIX)
    }
    assert used
    assert used <= set(settings.names())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("altbackup_ssh_args", ["-o", "ProxyCommand=sshpass -p hunter22 ssh x"]),
        ("altbackup_ssh_args", {"a": "hunter22"}),
        ("altbackup_ssh_key", ["-----BEGIN OPENSSH PRIVATE KEY-----\nhunter22"]),
        ("altbackup_base", {"password": "hunter22"}),
        ("altbackup_base", "password=hunter22"),
        ("altbackup_items", "token: hunter22"),
        ("altbackup_bwlimit", "passphrase='hunter22 and more'"),
        ("altbackup_connect_timeout", "secret=hunter22"),
        ("altbackup_transport", {"cms01": "password=hunter22"}),
        ("altbackup_transport", "password=hunter22"),
        ("altbackup_discover", {"svn": "password=hunter22"}),
        ("altbackup_targets", [{"name": "cms01", "password": "hunter22"}]),
        ("altbackup_ext", "sshpass -p hunter22"),
    ],
)
def test_setting_that_is_refused_is_named_without_its_secret(name: str, value: object) -> None:
    problems = [problem for problem in settings.validate("source", {name: value})[1] if problem.variable == name]
    assert problems, "it is refused"
    assert "hunter22" not in problems[0].text


@pytest.mark.parametrize("name", ["altbackup_base", "altbackup_bwlimit", "altbackup_items", "altbackup_ext"])
def test_long_value_that_is_refused_is_shown_in_part(name: str) -> None:
    (text,) = [
        problem.text for problem in settings.validate("source", {name: "x" * 5000})[1] if problem.variable == name
    ]
    assert "xxx..." in text
    assert len(text) < 400


@pytest.mark.parametrize(
    ("entry", "name", "text", "expected"),
    [
        ("main", "altbackup_restore", "[{source: x, at: 2013/05/10}]", [{"source": "x", "at": "2013/05/10"}]),
        ("main", "altbackup_restore", "- source: x\n- source: y\n", [{"source": "x"}, {"source": "y"}]),
        ("main", "altbackup_adopt", "[dayabay/svn/dybsvn, a/git/b]", ["dayabay/svn/dybsvn", "a/git/b"]),
        ("main", "altbackup_adopt", "dayabay/folders/a: b", ["dayabay/folders/a: b"]),
        ("main", "altbackup_only_targets", "['cms01']", ["cms01"]),
        ("main", "altbackup_only_targets", "cms01,sdu", ["cms01", "sdu"]),
        ("source", "altbackup_targets", "- cms01\n- sdu", ["cms01", "sdu"]),
        ("source", "altbackup_items", "[{kind: svn, name: x, path: /x}]", [{"kind": "svn", "name": "x", "path": "/x"}]),
        ("source", "altbackup_discover", "{svn: /home/svn}", {"svn": "/home/svn"}),
        ("source", "altbackup_discover", "svn: /home/svn", {"svn": "/home/svn"}),
        ("source", "altbackup_discover", "svn=/home/svn", {"svn": "/home/svn"}),
        ("source", "altbackup_transport", "{cms01: pull}", {"cms01": "pull"}),
        ("source", "altbackup_transport", "pull", "pull"),
    ],
)
def test_lists_and_mappings_are_read_from_text_as_yaml(entry: str, name: str, text: str, expected: object) -> None:
    values, problems = settings.validate(entry, {**SOURCE, name: text})
    assert problems == []
    assert values[name] == expected


def test_every_list_and_mapping_can_be_given_as_yaml() -> None:
    least = {**SOURCE, "altbackup_target_base": "/copies"}
    for entry, options in settings.load_specs().items():
        for name, option in options.items():
            if option["type"] in ("list", "dict"):
                (problem,) = settings.validate(entry, {**least, name: "[{a: b"})[1]
                assert problem.variable == name
                assert "can be read neither as JSON nor as YAML: line 1, column 7: " in problem.text
                wrong = "{a: b}" if option["type"] == "list" else "[a]"
                (problem,) = settings.validate(entry, {**least, name: wrong})[1]
                assert "is not a " in problem.text


@pytest.mark.parametrize("entry", ["source", "target"])
def test_no_markup_of_documentation_is_shown_to_a_person(entry: str) -> None:
    for problem in settings.validate(entry, {})[1]:
        assert not re.search(r"\b[A-Z]\(", problem.text), problem


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("set C(mkdir -p) or V(none), see O(a.b=c)", "set mkdir -p or none, see a.b=c"),
        ("L(the docs, https://x.org/a) and U(https://x.org)", "the docs and https://x.org"),
        (
            "P(altbackup.core.quiet#callback), M(x.y.z), a(b) and UTC(+8)",
            "altbackup.core.quiet, x.y.z, a(b) and UTC(+8)",
        ),
    ],
)
def test_markup_of_documentation_is_read_as_what_it_marks(text: str, plain: str) -> None:
    assert settings.without_markup(text) == plain
