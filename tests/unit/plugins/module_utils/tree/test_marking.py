"""Bases that set-up marks, and takes away again where nothing lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree.marking import clear_base, mark_base


def test_a_base_is_made_once_private_and_its_room_told(tmp_path: Path) -> None:
    base = tmp_path / "data" / "backup"
    assert mark_base(str(base), allow_root=True, write=False)["changed"]
    assert mark_base(str(base), allow_root=True, owner="made-before-it", write=False)["changed"]
    assert not base.parent.exists()
    made = mark_base(str(base), allow_root=True, tools=["sh", "no-such-program"])
    assert (made["changed"], made["missing"]) == (True, ["no-such-program"])
    assert 0 < made["free"] <= made["size"] and made["file_system"]
    assert [oct(path.stat().st_mode & 0o777) for path in (base, base / ".altbackup")] == ["0o700", "0o700"]
    assert not mark_base(str(base))["changed"], "what is marked is meant"


def test_a_base_on_the_root_file_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        AltbackupError, match=r"would lie on the root file system.*altbackup_allow_root_filesystem: true"
    ):
        mark_base(str(tmp_path / "backup"), root=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_base_to_which_others_can_write_or_that_is_anothers_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "backup"
    mark_base(str(base), allow_root=True)
    base.chmod(0o777)
    with pytest.raises(AltbackupError, match="can be written to by others"):
        mark_base(str(base))
    base.chmod(0o700)
    with pytest.raises(InvalidInput, match="does not exist"):
        mark_base(str(base), owner="nobody-of-that-name")
    if os.geteuid() == 0:
        with pytest.raises(AltbackupError, match="hands it over"):
            mark_base(str(base), owner="nobody")


def test_what_holds_nothing_is_taken_away_and_all_else_stays(tmp_path: Path) -> None:
    base = tmp_path / "backup"
    mark_base(str(base), allow_root=True)
    (base / ".altbackup" / "incoming" / "dayabay").mkdir(parents=True)
    assert clear_base(str(base), write=False) == (True, [])
    assert base.exists()
    arrived = base / ".altbackup" / "incoming" / "dayabay" / "sha256-00"
    for path in (arrived, base / "dayabay" / "x", base / ".altbackup" / "owner"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        changed, (note,) = clear_base(str(base))
        assert not changed and "stays" in note and path.exists()
        path.unlink()
        if path.parent.name == "dayabay" and path != arrived:
            path.parent.rmdir()
    assert clear_base(str(base)) == (True, [])
    assert not base.exists()
    assert clear_base(str(base)) == (False, [])
