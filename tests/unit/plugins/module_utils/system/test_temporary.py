"""Files that hand something to a program, on real disks with and without room."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.system.temporary import temporary_file, temporary_stream

CONTENT = bytes(range(256)) * 1000


def test_what_is_handed_over_is_private_and_gone_afterwards() -> None:
    with temporary_file(CONTENT) as path:
        assert Path(path).read_bytes() == CONTENT
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert not os.path.exists(path)
    with temporary_stream(CONTENT) as stream:
        assert stream.read() == CONTENT
    with temporary_file(b"") as path, temporary_stream(b"") as stream:
        assert (Path(path).read_bytes(), stream.read()) == (b"", b"")


@needs_root
@pytest.mark.parametrize("hand_over", [temporary_file, temporary_stream])
def test_a_full_disk_is_told_once_with_its_place(
    hand_over: Callable[[bytes], AbstractContextManager[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(OSError, match="No space left on device") as caught, hand_over(CONTENT):
            raise AssertionError("it is handed over whole or not at all")
        assert caught.value.errno == errno.ENOSPC
        assert str(caught.value.filename).startswith(str(disk))
        assert caught.value.__context__ is not None and caught.value.__context__.__context__ is None
        assert list(disk.iterdir()) == []
