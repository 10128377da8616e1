"""Module store_drill, in process, on real stores: what they have is brought, proved and removed, a few items at a time, and all in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.original_trees import is_as_documented, reasons, tree_hash
from helpers.store_calls import drill, filled, proved, three_folders
from helpers.stores import Place, served
from helpers.trees import SECOND, Base


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


def test_a_disk_that_is_away_is_told(base: Base, disk: Place, tmp_path: Path) -> None:
    (tmp_path / "store/files/.altbackup").exists()
    options = {**disk.options, "remote": str(tmp_path / "nowhere")}
    (reason,) = reasons(drill(Place("disk", options, None, None), base, fail=False))
    assert "is the disk of the store vault mounted?" in reason
