"""Encrypted archives: what age was not given, or did not take, is never taken for all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.age_keys import age_key
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import (
    ArchiveFormat,
    Part,
    store_archive,
    tar_process,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, DeadlineExceeded
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


class Digest:
    """A digest for which there is room for so many blocks alone."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    def update(self, block: bytes) -> None:
        self.blocks -= 1
        if self.blocks < 0:
            raise MemoryError("no room")


def write(folder: Path, size: int, extension: str, blocks: int = 1 << 30) -> None:
    """Write an encrypted archive of a file of so many bytes."""
    (folder / "live").mkdir()
    (folder / "live" / "file").write_bytes(os.urandom(size))
    form = ArchiveFormat(extension, recipients=(age_key(folder).recipient,))
    parts = [Part(str(folder / "live"), [b".", b"./file"])]
    with tar_process(parts, top="top") as tar:
        store_archive(
            str(folder / "made"),
            tar.stdout,
            tar,
            str(folder / "live"),
            top="top",
            form=form,
            deadline=Deadline(20, "dump"),
            plain=Digest(blocks),
        )


@pytest.mark.parametrize("extension", [".tar", ".tar.zst"])
@pytest.mark.parametrize(("size", "blocks"), [(1000, 0), (9_000_000, 0), (9_000_000, 1)])
def test_what_could_not_be_handed_on_to_age_is_told(tmp_path: Path, extension: str, size: int, blocks: int) -> None:
    with pytest.raises(AltbackupError) as caught:
        write(tmp_path, size, extension, blocks)
    assert not isinstance(caught.value, DeadlineExceeded)


@pytest.mark.parametrize("extension", [".tar", ".tar.zst"])
@pytest.mark.parametrize("size", [30_000, 120_000, 9_000_000])
def test_an_age_that_reads_half_and_says_all_is_well_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, size: int
) -> None:
    make_tool(tmp_path / "bin", "age", "head -c 20000")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(AltbackupError) as caught:
        write(tmp_path, size, extension)
    assert not isinstance(caught.value, DeadlineExceeded)
