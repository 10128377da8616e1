"""Shared by several files of unit tests, as it takes long to make."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.drills import Copies, make_copies
from hypothesis import settings

from ansible_collections.altbackup.core.plugins.module_utils.system import own_state

# a slow or busy machine is no failure
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    """Return a target's tree with one verified tarball of each kind, to be copied by tests that change it."""
    return make_copies(tmp_path_factory.mktemp("every_kind"))


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the state of this user's calls, and of another user's, in folders of the test."""
    folders: dict[int, str] = {}

    def folder() -> str:
        if os.geteuid() not in folders:
            folders[os.geteuid()] = tempfile.mkdtemp(prefix="state-", dir="/tmp")
        return folders[os.geteuid()]

    monkeypatch.setattr(own_state, "state_folder", folder)
    yield Path(folder())
    for path in folders.values():
        shutil.rmtree(path)
