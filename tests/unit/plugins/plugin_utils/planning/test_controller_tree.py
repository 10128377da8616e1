"""Contents of the controller's own item."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import controller_tree as trees
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.controller_tree import PLACE, controller_tree

VAULTED = b"$ANSIBLE_VAULT;1.1;AES256\n6162\n"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A checkout with files that belong to it, and others."""
    folder = tmp_path / "checkout"
    for name in (
        "roles/dump/tasks/main.yml",
        "var/demo/x",
        ".venv/bin/python",
        ".venv-lint/x",
        ".git/config",
        "library/a.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for name in ("library/__pycache__/a.pyc", "roles/var/main.yml", ".mypy_cache/x", "bin/altbackup", ".gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "bin" / "altbackup").chmod(0o755)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "modules").symlink_to("../library")
    return folder


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory with a vaulted file."""
    folder = tmp_path / "etc" / "mine"
    (folder / "group_vars" / "all").mkdir(parents=True)
    (folder / "hosts.yml").write_text("sources:\n")
    (folder / "group_vars" / "all" / "vault.yml").write_bytes(VAULTED)
    return folder


def test_it_holds_the_collection_without_what_can_be_made_again(collection: Path, inventory: Path) -> None:
    found = controller_tree([str(inventory)], collection)
    names = {name.removeprefix(f"{PLACE}/") for name in found if name.startswith(PLACE)}
    assert names == {
        ".gitignore",
        "bin/altbackup",
        "library/a.py",
        "plugins/modules",
        "roles/dump/tasks/main.yml",
        "roles/var/main.yml",
    }
    assert found[f"{PLACE}/plugins/modules"] == {"link": "../library"}
    assert found["collection"] == {"link": PLACE}
    assert found[f"{PLACE}/bin/altbackup"] == {"mode": 0o755, "content": b"bin/altbackup"}


def test_vaulted_files_are_as_they_are_on_disk(collection: Path, inventory: Path) -> None:
    found = controller_tree([str(inventory)], collection)
    assert found["inventory/mine/group_vars/all/vault.yml"]["content"] == VAULTED
    assert "-i ../../../inventory/mine " in found["README.txt"]["content"].decode()


def test_an_inventory_in_the_checkout_stays_in_its_place(collection: Path, inventory: Path) -> None:
    inside = collection / "inventory" / "mine"
    inside.parent.mkdir()
    os.rename(inventory, inside)
    found = controller_tree([str(inside)], collection)
    assert found[f"{PLACE}/inventory/mine/group_vars/all/vault.yml"]["content"] == VAULTED
    assert not [name for name in found if name.startswith("inventory/")]
    assert "-i inventory/mine " in found["README.txt"]["content"].decode()


def test_an_inventory_in_a_part_that_is_left_out_is_kept(collection: Path, inventory: Path) -> None:
    inside = collection / "var" / "mine"
    os.rename(inventory, inside)
    assert "inventory/mine/hosts.yml" in controller_tree([str(inside)], collection)


def test_a_file_is_kept_with_the_variables_beside_it_and_several_inventories_by_their_names(
    collection: Path, inventory: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "mine"
    other.mkdir(parents=True)
    (other / "hosts.yml").write_text("x")
    (inventory / "secret.txt").write_text("not of the inventory")
    found = controller_tree([str(inventory / "hosts.yml"), str(other), "localhost,"], collection)
    kept = [name for name in found if name.startswith("inventory/")]
    assert sorted(kept) == ["inventory/group_vars/all/vault.yml", "inventory/hosts.yml", "inventory/mine/hosts.yml"]
    twice = controller_tree([str(inventory), str(other)], collection)
    assert twice["inventory/mine-2/hosts.yml"]["content"] == b"x"


def test_no_inventory_on_disk_is_an_error(collection: Path) -> None:
    for sources in ([], ["localhost,"], ["/nonexistent"]):
        with pytest.raises(InvalidInput, match="is no file or folder that could be kept"):
            controller_tree(sources, collection)


def test_what_is_too_large_is_an_error_that_names_it(
    collection: Path, inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "_MOST", 5000)
    (collection / "image.iso").write_bytes(bytes(6000))
    with pytest.raises(InvalidInput, match=r"more than 4\.9 KiB: .*core/image.iso$"):
        controller_tree([str(inventory)], collection)


def test_links_are_kept_as_links_and_what_they_lead_to_is_not_read(
    collection: Path, inventory: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("outside")
    (inventory / "link").symlink_to(tmp_path / "secret")
    (inventory / "group_vars" / "linked").symlink_to(tmp_path / "folder")
    found = controller_tree([str(inventory)], collection)
    assert found["inventory/mine/link"] == {"link": str(tmp_path / "secret")}
    assert found["inventory/mine/group_vars/linked"] == {"link": str(tmp_path / "folder")}
    assert not [entry for entry in found.values() if b"outside" in entry.get("content", b"")]


def test_an_inventory_that_is_named_by_a_link_is_kept_with_its_content(
    collection: Path, inventory: Path, tmp_path: Path
) -> None:
    (tmp_path / "hosts.yml").symlink_to(inventory / "hosts.yml")
    (tmp_path / "current").symlink_to(inventory)
    found = controller_tree([str(tmp_path / "hosts.yml"), str(tmp_path / "current")], collection)
    assert found["inventory/hosts.yml"]["content"] == b"sources:\n"
    assert found["inventory/current/hosts.yml"]["content"] == b"sources:\n"


def test_pipes_and_sockets_are_not_opened(collection: Path, inventory: Path) -> None:
    os.mkfifo(inventory / "pipe")
    os.mkfifo(collection / "pipe")
    assert not [path for path in controller_tree([str(inventory)], collection) if path.endswith("pipe")]


def test_a_file_that_becomes_a_link_or_a_pipe_is_not_read(
    collection: Path, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who may write to the inventory may replace a file between check and open."""
    (tmp_path / "secret").write_text("outside")
    regular = os.stat(inventory / "hosts.yml")
    (inventory / "hosts.yml").unlink()
    (inventory / "hosts.yml").symlink_to(tmp_path / "secret")
    looked = os.stat

    def as_it_was(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        return regular if str(path) == "hosts.yml" else looked(path, *arguments, **options)

    monkeypatch.setattr(trees.os, "stat", as_it_was)
    with pytest.raises(OSError, match="symbolic links"):
        controller_tree([str(inventory)], collection)
    (inventory / "hosts.yml").unlink()
    os.mkfifo(inventory / "hosts.yml")
    with pytest.raises(InvalidInput, match="somebody changes what is read"):
        controller_tree([str(inventory)], collection)


KEYS = [
    "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n",
    "\n-----BEGIN RSA PRIVATE KEY-----\n",
    "a certificate, then\n-----BEGIN PRIVATE KEY-----\n",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
    "PuTTY-User-Key-File-3: ssh-ed25519\n",
    "# created\nAGE-SECRET-KEY-1X\n",
]


@pytest.mark.parametrize("content", KEYS)
def test_private_keys_do_not_travel_wherever_they_lie(collection: Path, inventory: Path, content: str) -> None:
    for place in (inventory / "files" / "deploy", collection / "deploy"):
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
    found = controller_tree([str(inventory)], collection)
    assert not [path for path in found if path.endswith("deploy")]
    said = found["README.txt"]["content"].decode()
    assert "    inventory/mine/files/deploy\n" in said and f"    {PLACE}/deploy\n" in said


@pytest.mark.parametrize(
    "name",
    [
        ".vault_pass",
        "vault-password.txt",
        "vault_password_file",
        ".vault-pass-prod",
        "id_ed25519",
        "x.p12",
        ".netrc",
        "password",
    ],
)
def test_files_called_like_a_password_do_not_travel(collection: Path, inventory: Path, name: str) -> None:
    (inventory / name).write_text("hunter2")
    found = controller_tree([str(inventory)], collection)
    assert f"inventory/mine/{name}" not in found
    assert name in found["README.txt"]["content"].decode()
    (inventory / name).write_bytes(VAULTED)
    assert f"inventory/mine/{name}" in controller_tree([str(inventory)], collection)


@pytest.mark.parametrize("name", ["passwords.yml", "id_ed25519.pub", "hosts.yml", "vault.yml", "known_hosts"])
def test_what_belongs_to_an_inventory_travels(collection: Path, inventory: Path, name: str) -> None:
    (inventory / name).write_text("x: y\n")
    assert f"inventory/mine/{name}" in controller_tree([str(inventory)], collection)


def test_files_of_passwords_that_a_run_was_given_do_not_travel(
    collection: Path, inventory: Path, tmp_path: Path
) -> None:
    (inventory / "plain").write_text("hunter2")
    (tmp_path / "elsewhere").symlink_to(inventory / "plain")
    for given in (inventory / "plain", tmp_path / "elsewhere"):
        found = controller_tree([str(inventory)], collection, secrets=[str(given)])
        assert "inventory/mine/plain" not in found


def test_a_huge_file_is_an_error_before_it_is_read(collection: Path, inventory: Path) -> None:
    with open(inventory / "huge", "wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InvalidInput, match=r"more than 32 MiB: .*inventory/mine/huge$"):
        controller_tree([str(inventory)], collection)
