"""Files that only this user can read."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.altbackup.core.plugins.plugin_utils.report.private_files import write_private


def test_a_file_is_written_whole_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0)
    try:
        write_private(str(path), b"long text")
        write_private(str(path), b"text")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"text"
    assert oct(path.stat().st_mode) == "0o100600"
