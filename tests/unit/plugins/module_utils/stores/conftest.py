"""What several tests of stores fill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.stores import Place, served, three_tarballs


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a source's base with three tarballs."""
    return three_tarballs(tmp_path / "dayabay")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Place]:
    """Return a folder that is a store."""
    with served("disk", tmp_path / "store") as place:
        yield place


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Place]:
    """Return a bucket with object lock, in which what is put there is locked for three days."""
    with served("s3", tmp_path / "store") as place:
        place.options["lock_days"] = 3
        yield place
