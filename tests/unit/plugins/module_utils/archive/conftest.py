"""What several tests of archives pack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with a file that has a second name, and a link to it in a folder below."""
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("content")
    (folder / "sub" / "link").symlink_to("./file")
    os.link(folder / "file", folder / "twin")
    return folder
