"""Paths are asked for an answer by somebody who may hang for it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from helpers.dead_mount import dead_mount
from helpers.trees import make_tool, needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.system import mounts, processes
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ToolFailed


def test_everything_but_a_dead_mount_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_GRACE", 0.2)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff new\nline")
    os.mkdir(odd)
    paths = [str(tmp_path), odd, str(tmp_path / "absent"), str(tmp_path / "pipe"), str(tmp_path / "loop"), "/"]
    with dead_mount(tmp_path / "dead") as dead:
        silent = [str(dead), *(str(dead / str(number)) for number in range(40))]
        started = time.monotonic()
        assert mounts.find_hung([silent[0], *paths, *silent[1:], *paths], 3) == set(silent)
        assert 3 <= time.monotonic() - started < 10


def test_thousands_of_paths_are_asked_at_once() -> None:
    assert mounts.find_hung([f"/nowhere/{number}" for number in range(5000)], 60) == set()
    assert mounts.find_hung([], 0) == set()


def test_a_look_that_fails_itself_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_LOOK", "raise SystemExit('broken')")
    with pytest.raises(ToolFailed, match=r"looking at paths: .* broken"):
        mounts.find_hung(["/"], 10)


def test_interpreter_that_needs_its_libraries_named_looks_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tool(tmp_path, "python", f'[ "$LD_LIBRARY_PATH" ] || exit 127; exec {sys.executable} "$@"')
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(mounts.sys, "executable", str(tmp_path / "python"))
    assert mounts.find_hung(["/"], 20) == set()


@needs_root
def test_mount_points_bear_odd_names(tmp_path: Path) -> None:
    with small_disk(tmp_path / "a b\\c\nd", "size=1m") as disk:
        assert str(disk) in mounts.mount_points()
        assert mounts.file_system(str(disk)) == "tmpfs"
    assert "/" in mounts.mount_points()
    assert mounts.file_system("/proc/self") == "proc"
