"""Fixtures of transfers between a source and a target."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.pair import Pair


@pytest.fixture(params=[False, True], ids=["push", "pull"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Pair:
    source, copies = tmp_path / "source", tmp_path / "copies"
    for base in (source, copies):
        (base / ".altbackup").mkdir(parents=True)
    return Pair(source, copies, request.param)
