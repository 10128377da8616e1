"""What an inventory says, and items that are kept for names and their completion."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.inventory import (
    _vault_options,
    all_kept_items,
    keep_items,
    kept_items,
)


@pytest.mark.parametrize(
    ("passed", "options"),
    [
        ([], []),
        (["-v", "--forks", "5"], []),
        (["--vault-password-file", "x", "-v"], ["--vault-password-file", "x"]),
        (["--vault-password-file=x"], ["--vault-password-file=x"]),
        (["--vault-password-file=x", "-v"], ["--vault-password-file=x"]),
        (["--vault-id", "a@x", "--vault-id=b@y"], ["--vault-id", "a@x", "--vault-id=b@y"]),
        (["-v", "--vault-pass-file", "x y"], ["--vault-pass-file", "x y"]),
        (["--vault-id"], ["--vault-id"]),
        (["--ask-vault-pass"], []),
        (["-e", "vault-id=x"], []),
    ],
)
def test_options_by_which_a_vault_is_read_are_handed_on(passed: list[str], options: list[str]) -> None:
    assert _vault_options(passed) == options


def test_items_are_kept_for_each_inventory_by_itself(tmp_path: Path) -> None:
    assert (kept_items(tmp_path, ["/a"]), all_kept_items(tmp_path)) == (None, [])
    keep_items(tmp_path, ["/a"], ["s/git/y", "s/git/x", "s/git/x"])
    keep_items(tmp_path, ["/a", "/b"], [])
    assert kept_items(tmp_path, ["/a"]) == ["s/git/x", "s/git/y"]
    assert kept_items(tmp_path, ["/a", "/b"]) == []
    assert kept_items(tmp_path, ["/b"]) is None
    assert all_kept_items(tmp_path) == ["s/git/x", "s/git/y"]
    assert stat.S_IMODE((tmp_path / "items.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["items.json"]


def test_items_of_the_last_inventories_are_kept(tmp_path: Path) -> None:
    for number in range(inventory._MOST_KEPT + 3):
        keep_items(tmp_path, [f"/{number}"], [f"s/git/{number}"])
        keep_items(tmp_path, ["/first"], ["s/git/first"])
    assert kept_items(tmp_path, ["/first"]) == ["s/git/first"], "it was listed again and again"
    assert kept_items(tmp_path, ["/0"]) is None
    assert len(all_kept_items(tmp_path)) == inventory._MOST_KEPT


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 200_000, b'{"[\\"/a\\"]": 7}'],
    ids=["empty", "cut", "a list", "a number", "bytes", "too deep", "no list"],
)
def test_a_damaged_file_of_items_knows_none_and_is_written_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_bytes(content)
    assert (kept_items(tmp_path, ["/a"]), all_kept_items(tmp_path)) == (None, [])
    keep_items(tmp_path, ["/a"], ["s/git/x"])
    assert kept_items(tmp_path, ["/a"]) == ["s/git/x"]
