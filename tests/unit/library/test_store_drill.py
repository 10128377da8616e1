"""Module store_drill, in process, on real stores: what they have is brought, proved and removed, a few items at a time, and all in turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import age_key
from helpers.original_trees import is_as_documented, reasons, run_module, tree_hash
from helpers.stores import Place, served, sync
from helpers.trees import FIRST, SECOND, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat

ITEMS = ["folders/a", "folders/b", "folders/c"]
LATER = "2013/05/20/104701"


@pytest.fixture
def base(tmp_path: Path) -> Base:
    """Return a source with three folders, of which one has a differential."""
    base = Base(tmp_path / "dayabay")
    for key in ITEMS:
        live = tmp_path / "live" / key[-1]
        live.mkdir(parents=True)
        (live / "file").write_text(f"{key}\n" * 99)
    (tmp_path / "live/a/large").write_bytes(bytes(range(256)) * 999)
    for stamp in (FIRST, SECOND):
        (tmp_path / "live/a/file").write_text(stamp)
        for key in ITEMS:
            base.dump_one(item("folder", tmp_path / "live" / key[-1], key[-1]), stamp=stamp, full_every=7)
    return base


@pytest.fixture
def disk(base: Base, tmp_path: Path) -> Iterator[Place]:
    """Return a folder that is a store and has all of it."""
    with served("disk", tmp_path / "store") as place:
        assert not filled(place, base)["failures"]
        yield place


def filled(place: Place, base: Base) -> dict[str, Any]:
    return sync(place, base.path, SECOND, keep=9, expect={"a": 1, "b": 1, "c": 1}, items=ITEMS)


def drill(place: Place, base: Base, stamp: str = LATER, **options: Any) -> dict[str, Any]:
    given = {"store": place.options, "base": str(base.path), "source": "dayabay", "stamp": stamp, "clock": stamp}
    return run_module("store_drill", **given, **{"names": ITEMS, **options})


def proved(result: dict[str, Any]) -> list[str]:
    return [entry["relpath"] for entry in result["proved"]]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_what_a_store_has_is_brought_proved_and_removed(kind: str, base: Base, tmp_path: Path) -> None:
    with served(kind, tmp_path / "store") as place:
        assert not filled(place, base)["failures"]
        before, files = tree_hash(base.path / "folders"), place.files()
        predicted = drill(place, base, check=True, items=9)
        assert proved(predicted) == [
            f"folders/a/{SECOND}/a.diff.tar.zst",
            f"folders/b/{SECOND}/b.tar.zst",
            f"folders/c/{SECOND}/c.tar.zst",
        ]
        result = drill(place, base, items=9)
        assert (result["failures"], result["left"], proved(result)) == ([], [], proved(predicted))
        assert is_as_documented("store_drill", result)
        assert all(entry["facts"] for entry in result["proved"])
        assert tree_hash(base.path / "folders") == before and place.files() == files
        assert not (base.path / ".altbackup/drilled/vault").exists()


def test_all_items_have_their_turn_and_the_one_that_waits_longest_is_next(base: Base, disk: Place) -> None:
    turns = [proved(drill(disk, base, f"2013/05/{day}/104701"))[0].split("/")[1] for day in range(20, 24)]
    assert turns == ["a", "b", "c", "a"]
    assert len(drill(disk, base)["left"]) == 2
    told = json.loads((base.path / ".altbackup/stores/vault/drilled.json").read_text())
    assert sorted(told) == ITEMS
    assert drill(disk, base, items=0)["proved"] == []
    assert not filled(disk, base)["changed"], "what is remembered of the store is as it was"


def test_other_bytes_and_what_is_not_there_are_failures_that_hold_up_nothing(base: Base, disk: Place) -> None:
    relpath = f"folders/b/{SECOND}/b.tar.zst"
    disk.write(f"dayabay/{relpath}", b"x" * (base.path / relpath).stat().st_size)
    result = drill(disk, base, items=9, names=[*ITEMS, "folders/d"])
    assert len(proved(result)) == 2
    absent, damaged = reasons(result)
    assert "vault: there is no verified tarball of folders/d" in absent
    assert relpath in damaged and "is not what was written" in damaged
    next_one = drill(disk, base, "2013/05/21/104701")
    assert proved(next_one) == [f"folders/a/{SECOND}/a.diff.tar.zst"], "what failed has had its turn, too"


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


def test_a_disk_that_is_away_is_told(base: Base, disk: Place, tmp_path: Path) -> None:
    (tmp_path / "store/files/.altbackup").exists()
    options = {**disk.options, "remote": str(tmp_path / "nowhere")}
    (reason,) = reasons(drill(Place("disk", options, None, None), base, fail=False))
    assert "is the disk of the store vault mounted?" in reason
