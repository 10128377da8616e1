"""The lookup of the controller's own item: what it is given to keep out of it, and that nothing of it stops a run."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants, context

from ansible_collections.altbackup.core.plugins.lookup import controller
from ansible_collections.altbackup.core.plugins.lookup.controller import LookupModule, secret_files


def unpacked(text: str) -> dict[str, Any]:
    """Return what a node is handed."""
    handed: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    return handed


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the command line, ansible.cfg and the environment give."""
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    monkeypatch.setattr(context, "CLIARGS", options)
    monkeypatch.setattr(constants, "DEFAULT_VAULT_IDENTITY_LIST", [])
    monkeypatch.setattr(constants, "DEFAULT_VAULT_PASSWORD_FILE", None)
    monkeypatch.setattr(constants.config, "get_config_value", lambda name: settings.get(name))
    return SimpleNamespace(options=options, settings=settings)


@pytest.mark.parametrize(
    ("options", "settings", "files"),
    [
        ({}, {}, []),
        ({"vault_password_files": ["/a", "/b"]}, {}, ["/a", "/b"]),
        ({"vault_password_files": None, "vault_ids": None}, {}, []),
        ({"vault_ids": ["prod@/a", "/b", "a@b@/c"]}, {}, ["/a", "/b", "/c"]),
        ({"vault_ids": ["prod@prompt"]}, {}, ["prompt"]),
        ({"become_password_file": "~/b", "connection_password_file": "", "private_key_file": "/k"}, {}, ["~/b", "/k"]),
        ({}, {"BECOME_PASSWORD_FILE": "/b", "DEFAULT_PRIVATE_KEY_FILE": "/k"}, ["/b", "/k"]),
    ],
)
def test_files_of_passwords_are_known_by_all_ways_they_are_given(
    options: dict[str, Any], settings: dict[str, Any], files: list[str], given: Any
) -> None:
    given.options.update(options)
    given.settings.update(settings)
    assert secret_files() == [str(Path(path).expanduser()) for path in files]


def test_an_identity_of_the_configuration_is_one_too(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DEFAULT_VAULT_IDENTITY_LIST", ["prod@/a"])
    monkeypatch.setattr(constants, "DEFAULT_VAULT_PASSWORD_FILE", "/b")
    assert secret_files() == ["/a", "/b"]


def test_the_inventory_and_the_collection_are_one_text_that_is_the_same_while_nothing_changes(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hosts.yml").write_text("all: {}\n")
    (tmp_path / "mine" / "word").write_text("hunter2\n")
    given.options["vault_password_files"] = [str(tmp_path / "mine" / "word")]
    tree = controller.controller_tree
    collection = tmp_path / "collection"
    collection.mkdir()
    monkeypatch.setattr(controller, "controller_tree", lambda sources, secrets: tree(sources, collection, secrets))
    (text,) = LookupModule().run([], {"ansible_inventory_sources": [str(tmp_path / "mine")]})
    assert LookupModule().run([], {"ansible_inventory_sources": [str(tmp_path / "mine")]}) == [text]
    entries = unpacked(text)["entries"]
    assert "inventory/mine/hosts.yml" in entries and "inventory/mine/word" not in entries
    assert "hunter2" not in str(entries)


@pytest.mark.parametrize("variables", [None, {}, {"ansible_inventory_sources": None}])
def test_what_cannot_be_read_stops_no_run(variables: Any, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(sources: list[str], secrets: list[str]) -> Any:
        raise OSError(13, "Permission denied", "/inventory")

    monkeypatch.setattr(controller, "controller_tree", broken)
    (text,) = LookupModule().run([], variables)
    handed = unpacked(text)
    assert handed["entries"] == {}
    assert handed["problem"].startswith("what the controller is to add cannot be read there: ")
    assert "Permission denied" in handed["problem"]
