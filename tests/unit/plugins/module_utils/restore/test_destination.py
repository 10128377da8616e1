"""The place at which something is to stand: what stands there makes way only if that was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.restore.destination import exists_beside, require_place
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput

THERE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "file": (
        lambda path: path.write_bytes(bytes(1536)),
        "a file of 1.5 KiB, changed 1970-01-01 00:00 UTC, stands there",
    ),
    "folder": (lambda path: path.mkdir(), "a folder, changed 1970-01-01"),
    "link": (lambda path: path.symlink_to("/nonexistent"), "a link, changed 1970-01-01"),
    "pipe": (os.mkfifo, "something special, changed 1970-01-01"),
}


@pytest.mark.parametrize("what", THERE)
def test_what_stands_there_is_described_and_may_be_moved_aside(tmp_path: Path, what: str) -> None:
    destination, aside = tmp_path / "thing", tmp_path / "thing.20130511-090000"
    make, told = THERE[what]
    make(destination)
    os.utime(destination, (5, 5), follow_symlinks=False)
    with pytest.raises(AltbackupError, match="is there already, and a restore replaces nothing by itself") as caught:
        require_place(str(destination), "")
    assert told in str(caught.value)
    require_place(str(destination), str(aside))
    make(aside)
    with pytest.raises(AltbackupError, match=r"is there already, so what stands at .* cannot be moved there"):
        require_place(str(destination), str(aside))
    assert os.path.lexists(destination)


@pytest.mark.parametrize("path", ["thing", "a/b/thing", "odd \udcff\n"])
def test_where_nothing_stands_anything_may(tmp_path: Path, path: str) -> None:
    require_place(str(tmp_path / path), "")
    require_place(str(tmp_path / path), str(tmp_path / f"{path}.aside"))
    assert os.listdir(tmp_path) == []


def test_a_file_on_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="file is no folder"):
        require_place(str(tmp_path / "file" / "thing"), "")


@needs_root
def test_a_mount_point_cannot_be_moved_aside(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        with pytest.raises(AltbackupError, match="is a mount point, which cannot be moved aside"):
            require_place(str(disk), f"{disk}.aside")


@pytest.mark.parametrize(
    ("suffix", "stands"), [("-wal", True), ("-shm", True), ("-journal", False), ("", False), (".d", True)]
)
def test_what_stands_beside_is_seen_whatever_it_is(tmp_path: Path, suffix: str, stands: bool) -> None:
    (tmp_path / "db-wal").touch()
    (tmp_path / "db-shm").symlink_to("/nonexistent")
    (tmp_path / "db.d").mkdir()
    assert exists_beside(str(tmp_path / "db"), suffix) is stands
    assert exists_beside(str(tmp_path / "none" / "db"), suffix) is False
