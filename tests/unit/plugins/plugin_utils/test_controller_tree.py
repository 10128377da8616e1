"""What the controller's own item holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils import controller_tree as trees
from ansible_collections.altbackup.core.plugins.plugin_utils.controller_tree import PLACE, controller_tree

VAULTED = b"$ANSIBLE_VAULT;1.1;AES256\n6162\n"


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A checkout with what belongs to it, and what does not."""
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
    with pytest.raises(InvalidInput, match=r"more than 5000: .*core/image.iso$"):
        controller_tree([str(inventory)], collection)
