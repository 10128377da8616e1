"""Drills from a store: all items in turn, what is bad, and what is encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.age_keys import age_key
from helpers.original_trees import reasons
from helpers.store_calls import FOLDERS, drill, filled, proved, three_folders
from helpers.stores import Place, served, sync
from helpers.trees import FIRST, SECOND, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat


@pytest.fixture
def base(tmp_path: Path) -> Base:
    """Return a source with three folders, of which one has a differential."""
    return three_folders(tmp_path)


@pytest.fixture
def disk(base: Base, tmp_path: Path) -> Iterator[Place]:
    """Return a folder that is a store and has all of it."""
    with served("disk", tmp_path / "store") as place:
        assert not filled(place, base)["failures"]
        yield place


@pytest.mark.full
def test_all_items_have_their_turn_and_the_one_that_waits_longest_is_next(base: Base, disk: Place) -> None:
    turns = [proved(drill(disk, base, f"2013/05/{day}/104701"))[0].split("/")[1] for day in range(20, 24)]
    assert turns == ["a", "b", "c", "a"]
    assert len(drill(disk, base)["left"]) == 2
    told = json.loads((base.path / ".altbackup/stores/vault/drilled.json").read_text())
    assert sorted(told) == FOLDERS
    assert drill(disk, base, items=0)["proved"] == []
    assert not filled(disk, base)["changed"], "what is remembered of the store is as it was"


@pytest.mark.full
def test_other_bytes_and_what_is_not_there_are_failures_that_hold_up_nothing(base: Base, disk: Place) -> None:
    relpath = f"folders/b/{SECOND}/b.tar.zst"
    disk.write(f"dayabay/{relpath}", b"x" * (base.path / relpath).stat().st_size)
    result = drill(disk, base, items=9, names=[*FOLDERS, "folders/d"])
    assert len(proved(result)) == 2
    absent, damaged = reasons(result)
    assert "vault: there is no verified tarball of folders/d" in absent
    assert relpath in damaged and "is not what was written" in damaged
    next_one = drill(disk, base, "2013/05/21/104701")
    assert proved(next_one) == [f"folders/a/{SECOND}/a.diff.tar.zst"], "what failed has had its turn, too"


@pytest.mark.full
def test_what_is_encrypted_is_proved_with_a_key_alone(tmp_path: Path) -> None:
    base, live, key = Base(tmp_path / "dayabay"), tmp_path / "live", age_key(tmp_path)
    live.mkdir()
    (live / "file").write_text("precious")
    base.dump_one(item("folder", live, "a"), form=ArchiveFormat(recipients=(key.recipient,)))
    with served("disk", tmp_path / "store") as place:
        sync(place, base.path, FIRST, expect={"a": 1}, items=["folders/a"])
        without = drill(place, base, names=["folders/a"])
        assert (without["failures"], without["proved"]) == ([], [])
        assert "the ciphertext alone was proved" in without["notes"][0]
        assert len(drill(place, base, names=["folders/a"], identity=key.text)["proved"]) == 1
