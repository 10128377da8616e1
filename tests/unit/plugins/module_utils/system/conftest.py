"""Fixtures of readers, and of what they look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.readers import Readers


@pytest.fixture
def readers() -> Iterator[Readers]:
    """Yield what starts readers."""
    with Readers() as readers:
        yield readers


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    """Return a folder beside a secret, with links that lead to it, one of them from a folder above."""
    (tmp_path / "secret").write_text("secret")
    thing = tmp_path / "thing"
    thing.mkdir()
    (thing / "file").write_text("content")
    (thing / "file").chmod(0o600)
    (thing / "absolute").symlink_to(tmp_path / "secret")
    (thing / "relative").symlink_to("../secret")
    return thing
