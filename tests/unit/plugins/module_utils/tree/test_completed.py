"""Completed restores: what stands as it was put there counts, and nothing that merely looks like it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import make_odd_tree, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.tree.completed import (
    compare,
    describe,
    look_of,
    recall,
    remember,
)

ORDER = {"source": "dayabay", "tarball": [["x", "md5", "y", 1]], "mode": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """The open folder of `thing`."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def keep(folder: int, path: Path) -> None:
    assert remember(folder, str(path), describe(folder, path.name, ORDER, "folders/thing")) == []


@needs_root
def test_a_rename_is_no_change_and_all_else_is(tmp_path: Path, folder: int) -> None:
    thing = make_odd_tree(tmp_path / "thing")
    (thing / "below").mkdir()
    (thing / "below" / "file").write_text("x")
    before = look_of(folder, "thing")
    thing.rename(tmp_path / "other")
    assert look_of(folder, "other") == before
    seen = {before}
    changes: list[Callable[[Path], Any]] = [
        lambda file: file.write_text("y"),
        lambda file: file.chmod(0o600),
        lambda file: os.chown(file, 12, 12),
        lambda file: os.setxattr(file, "user.x", b"x"),
        lambda file: os.link(file, tmp_path / "link"),
        lambda file: file.rename(file.with_name("named")),
        lambda file: os.mkfifo(file),
        lambda file: file.unlink(),
    ]
    for change in changes:
        time.sleep(0.01)  # longer than the clock of the file system ticks
        change(tmp_path / "other" / "below" / "file")
        seen.add(look_of(folder, "other"))
    assert len(seen) == len(changes) + 1


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_files_and_links_count_too(tmp_path: Path, folder: int, kind: str) -> None:
    thing = tmp_path / "thing"
    thing.write_text("x") if kind == "file" else thing.symlink_to("/etc" if kind == "link" else "/none")
    keep(folder, thing)
    assert compare(str(thing), ORDER, recall(str(thing))) == (True, "")
    text = thing.read_text() if kind == "file" else os.readlink(thing)
    thing.unlink()
    assert compare(str(thing), ORDER, recall(str(thing))) == (False, "")
    thing.write_text(text) if kind == "file" else thing.symlink_to(text)
    assert compare(str(thing), ORDER, recall(str(thing)))[0] is False


def test_what_is_remembered_of_another_path_or_order_does_not_count(tmp_path: Path, folder: int) -> None:
    thing = tmp_path / "thing"
    thing.write_text("x")
    assert recall(str(thing)) is None
    keep(folder, thing)
    assert recall(str(tmp_path / "other")) is None
    assert compare(str(thing), {**ORDER, "mode": "0700"}, recall(str(thing))) == (
        False,
        "an earlier restore put folders/thing there: this order has another mode",
    )
    assert compare(str(tmp_path / "none" / "thing"), ORDER, recall(str(thing))) == (False, "")


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder so deep that only special code can remove it."""
    path = tmp_path / "thing"
    path.mkdir()
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def test_what_nests_too_deep_is_not_remembered_and_not_compared(deep: Path, folder: int) -> None:
    thing = deep
    keep(folder, thing)
    known = recall(str(thing))
    where = os.open(thing, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=where)
        below = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    changed = {**(known or {}), "changed": None}
    done, reason = compare(str(thing), ORDER, changed)
    assert not done
    assert "it cannot be seen whether it was changed since: " in reason
    (note,) = remember(folder, str(thing), describe(folder, "thing", ORDER, "folders/thing"))
    assert note.startswith(f"{thing} is restored, but a rerun will not know that: ")


def test_what_was_restored_long_ago_is_forgotten(tmp_path: Path, folder: int, state: Path) -> None:
    for name in ("old", "new", "newest"):
        (tmp_path / name).write_text("x")
        keep(folder, tmp_path / name)
        if name == "old":
            (known,) = (state / "restored").iterdir()
            os.utime(known, (time.time() - 91 * 86400,) * 2)
    assert [recall(str(tmp_path / name)) is not None for name in ("old", "new", "newest")] == [False, True, True]
    assert len(os.listdir(state / "restored")) == 2
