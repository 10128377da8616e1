"""Differences between a folder and its backup: every kind is found, contents are hidden, and lines are shown only on request."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.trees import make_odd_tree, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.archive.differences import (
    find_differences,
    summarize_differences,
    unified_diff,
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal folders."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "users.conf").write_text("alice = secret\nbob = other\n")
    (old / "sub").mkdir()
    (old / "sub" / "file").write_bytes(b"\0binary")
    (old / "link").symlink_to("users.conf")
    shutil.copytree(old, new, symlinks=True)
    return old, new


def test_a_copy_of_an_odd_tree_does_not_differ(tmp_path: Path) -> None:
    old = make_odd_tree(tmp_path / "old")
    new = tmp_path / "new"
    subprocess.run(["cp", "-a", old, new], check=True)
    os.utime(new, (0, 0))
    assert find_differences(str(old), str(new)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda new: (new / "users.conf").write_text("alice = secret\n"), ["users.conf differs in content"]),
        (lambda new: (new / "users.conf").chmod(0o600), ["users.conf differs in mode"]),
        (lambda new: (new / "more").touch(), ["more comes anew"]),
        (lambda new: (new / "users.conf").unlink(), ["users.conf is not in the backup"]),
        (lambda new: ((new / "link").unlink(), (new / "link").symlink_to("sub")), ["link differs in content"]),
        (lambda new: os.setxattr(new / "sub", "user.x", b"1"), ["sub differs in attributes"]),
        (lambda new: ((new / "link").unlink(), (new / "link").mkdir()), ["link differs in type, mode, content"]),
        (lambda new: new.chmod(0o700), [". differs in mode"]),
    ],
)
def test_each_difference_is_found(
    folders: tuple[Path, Path], change: Callable[[Path], object], expected: list[str]
) -> None:
    old, new = folders
    change(new)
    found = find_differences(str(old), str(new))
    assert [str(difference) for difference in found] == expected
    assert summarize_differences(found) == ", ".join(expected)


@needs_root
def test_an_owner_is_a_difference(folders: tuple[Path, Path]) -> None:
    old, new = folders
    os.chown(new / "sub", 1, 2)
    assert [str(difference) for difference in find_differences(str(old), str(new))] == ["sub differs in owner, group"]


def test_lines_of_texts_are_shown_and_digests_of_other_files(folders: tuple[Path, Path]) -> None:
    old, new = folders
    (new / "users.conf").write_text("alice = secret\nbob = mine\n")
    (new / "sub" / "file").write_bytes(b"\0other")
    (new / "sub" / "new").write_text("fresh\n")
    shown = unified_diff(str(old), str(new), find_differences(str(old), str(new)))
    assert "--- now/users.conf\n+++ backup/users.conf" in shown
    assert "-bob = other\n+bob = mine\n" in shown
    assert "sub/file differs in content: 7 bytes, sha256" in shown
    assert "+fresh" in shown


def test_what_goes_by_mail_holds_no_content(folders: tuple[Path, Path]) -> None:
    old, new = folders
    (new / "users.conf").write_text("alice = secret2\n")
    assert "secret" not in summarize_differences(find_differences(str(old), str(new)))


def test_a_diff_is_bounded(folders: tuple[Path, Path]) -> None:
    old, new = folders
    for number in range(40):
        (new / f"file{number}").write_text(f"line {number}\n" * 1000)
    found = find_differences(str(old), str(new))
    assert len(unified_diff(str(old), str(new), found)) < 70_000
    assert "[cut at 64 KiB]" in unified_diff(str(old), str(new), found)
    assert "and 20 more" in summarize_differences(found)
