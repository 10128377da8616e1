"""Whether a restore has the room that it needs: told with numbers before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.orders import FULL, order

from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import TooLarge
from ansible_collections.altbackup.core.plugins.module_utils.restore.order import Order
from ansible_collections.altbackup.core.plugins.module_utils.restore.room import (
    explain_too_large,
    require_arriving_space,
    require_free,
    require_room,
    require_space,
)
from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import discard, working
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, Hostile

EXABYTE = 1 << 60


def to(path: Path, size: int = 5, **more: Any) -> Order:
    """Return the order of a tarball of some bytes."""
    return order(destination=str(path), tarballs=[{**FULL, "size": size}], **more)


@pytest.mark.parametrize(("base", "needed"), [("", 10), ("/backup", 5)])
def test_a_tarball_that_has_to_arrive_takes_room_of_its_own(tmp_path: Path, base: str, needed: int) -> None:
    found = require_space(to(tmp_path / "a" / "thing", base=base))
    assert found["needed"] == needed
    assert abs(found["free"] - shutil.disk_usage(tmp_path).free) < 1 << 30


def test_two_tarballs_are_counted_together(tmp_path: Path) -> None:
    pair = order(destination=str(tmp_path / "thing"), tarballs=[FULL, {**FULL, "size": 7}], base="/backup")
    assert require_space(pair)["needed"] == 12


def test_too_little_room_is_told_with_both_numbers_and_the_folder(tmp_path: Path) -> None:
    with pytest.raises(AltbackupError, match=rf"^at least 1\.0 EiB are needed below {tmp_path} to restore .* are free"):
        require_space(to(tmp_path / "none" / "thing", EXABYTE // 2))
    with pytest.raises(AltbackupError, match=rf"^1\.0 EiB are needed below {tmp_path} .*: nothing was done"):
        require_room(to(tmp_path / "thing"), EXABYTE)
    require_room(to(tmp_path / "thing"), 0)


def test_what_is_just_free_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = require_free(to(tmp_path / "thing"), 0)["free"]
    monkeypatch.setattr(
        "ansible_collections.altbackup.core.plugins.module_utils.restore.room.nearest_folder", _fixed(free)
    )
    assert require_free(to(tmp_path / "thing"), free) == {"needed": free, "free": free}
    with pytest.raises(AltbackupError, match="are needed below"):
        require_free(to(tmp_path / "thing"), free + 1)


def _fixed(free: int) -> Any:
    from ansible_collections.altbackup.core.plugins.module_utils.restore.work_folder import NearestFolder

    return lambda path: NearestFolder("/there", free, False)


def test_where_tarballs_arrive_there_has_to_be_room_too(tmp_path: Path) -> None:
    destination = tmp_path / "thing"
    with working(str(destination)) as work:
        work.clear_arriving()
        require_arriving_space(to(destination), work)
        with pytest.raises(AltbackupError, match=r"^512 PiB are to arrive in .*: nothing was done; make room there"):
            require_arriving_space(to(destination, EXABYTE // 2), work)
        discard(work)


def test_what_is_too_large_tells_where_there_is_no_room_and_other_errors_are_theirs(tmp_path: Path) -> None:
    with pytest.raises(AltbackupError, match=rf"more than 1\.0 KiB are needed below {tmp_path} to restore") as caught:
        with explain_too_large(to(tmp_path / "thing"), 1024):
            raise TooLarge("member x exceeds the limit")
    assert not isinstance(caught.value, Hostile)
    with pytest.raises(Hostile, match="member y"), explain_too_large(to(tmp_path / "thing"), 1024):
        raise Hostile("member y leads out")
