"""The state of a user's calls lies in a private folder, which nobody else can reach or replace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system import own_state
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.own_state import (
    ROOTS_FOLDER,
    USERS_FOLDER,
    has_state,
    opened_state,
    state_folder,
)


def test_root_and_a_user_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert state_folder() == ROOTS_FOLDER
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    assert state_folder().endswith(USERS_FOLDER)
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    with pytest.raises(AltbackupError, match="uid 4711 has no entry in passwd"):
        state_folder()


def test_folder_is_made_private_and_is_there_then(state: Path) -> None:
    assert not has_state("restores")
    with opened_state("restores") as (descriptor, path):
        assert path == f"{state}/restores"
        assert os.fstat(descriptor).st_mode & 0o777 == 0o700
    assert has_state("restores")


def test_folder_that_others_can_replace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(own_state, "state_folder", lambda: str(tmp_path / "state"))
    with pytest.raises(InvalidInput, match="lies in a folder that others can change"), opened_state("restores"):
        raise AssertionError
