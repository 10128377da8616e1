"""What is put into a store, once and as it should be, whatever a killed upload left there."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.original_trees import put
from helpers.rekeyed import Site
from helpers.stores import (
    KINDS,
    OLD,
    ONE,
    OTHER,
    TWO,
    Place,
    said,
    served,
    sync,
)

from ansible_collections.altbackup.core.plugins.module_utils.stores import upload
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError


@pytest.mark.sampled(6)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_upload_left_is_told_apart_and_completed_or_replaced(
    kind: str, base: Path, tmp_path: Path
) -> None:
    with served(kind, tmp_path / "store") as place:
        sync(place, base, steps=["check"])
        place.write(f"dayabay/{ONE}", (base / ONE).read_bytes()[:1000])
        place.write(f"dayabay/{TWO}", (base / TWO).read_bytes())
        place.write(f"dayabay/{OTHER}", b"y" * (base / OTHER).stat().st_size)
        result = sync(place, base)
        assert not result["failures"], said(result)
        assert result["replaced"] == [ONE] and sorted(result["uploaded"]) == sorted([TWO, OTHER])
        assert result["wire"] == (base / ONE).stat().st_size + (base / OTHER).stat().st_size, (
            "what was whole is not sent again"
        )
        assert place.files()[f"dayabay/{ONE}"] == (base / ONE).read_bytes()
        assert place.files()[f"dayabay/{OTHER}"] == (base / OTHER).read_bytes()


def test_a_store_with_another_content_is_not_touched(base: Path, disk: Place) -> None:
    sync(disk, base)
    put(base, TWO, b"two again" * 30)
    before = disk.files()
    result = sync(disk, base)
    assert "neither was touched" in said(result) and not result["changed"]
    assert disk.files() == before


def test_what_is_bad_on_the_node_is_not_put_into_a_store(base: Path, disk: Place) -> None:
    (base / TWO).write_bytes(b"x" * (base / TWO).stat().st_size)
    result = sync(disk, base)
    assert f"{TWO} does not match its dna" in said(result) and sorted(result["kept"]) == sorted([ONE, OTHER])
    assert f"dayabay/{TWO}.dna" not in disk.files()
    assert "expecting 1 tarball for x of dayabay on 2013/05/11 but got 0" in said(result)


def test_an_unchanged_tarball_is_sent_once(base: Path, disk: Place) -> None:
    sync(disk, base)
    later = "2013/05/12/104701"
    put(base, f"svn/x/{later}/x-2.tar", b"two" * 30000)
    result = sync(disk, base, later, expect={"x": 1})
    assert result["uploaded"] == [f"svn/x/{later}/x-2.tar"] and result["wire"] == 0
    assert disk.folder is not None
    files = [disk.folder / "dayabay" / path for path in (TWO, f"svn/x/{later}/x-2.tar")]
    assert files[0].stat().st_ino == files[1].stat().st_ino


@pytest.mark.parametrize("is_disk", [True, False])
def test_what_comes_to_a_path_meanwhile_is_neither_replaced_nor_removed(is_disk: bool) -> None:
    def refuse(old: str, new: str) -> None:
        raise FileExistsError(errno.EEXIST, "File exists", old, None, new)

    remote = SimpleNamespace(copies=True, copy=refuse, link=refuse)  # it has neither put nor remove
    work = SimpleNamespace(
        memory=SimpleNamespace(copies={}), store=SimpleNamespace(is_disk=is_disk), remote=remote, at=lambda path: path
    )
    with pytest.raises(AltbackupError, match=f"is left alone: the next run looks at it: {TWO}"):
        upload._repeat(work, SimpleNamespace(like=ONE), TWO, None)  # type: ignore[arg-type]


@pytest.mark.full
def test_what_was_encrypted_anew_since_stays_in_the_store_as_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.dump(OLD)
    (relpath,) = [one.relpath for one in site.tarballs()]
    with served("disk", tmp_path / "store") as place:
        asked: dict[str, Any] = {"expect": {"notes": 1}, "items": ["folders/notes"], "source": "dayabay"}
        assert not sync(place, site.base.path, OLD, **asked)["failures"]
        before = place.files()
        assert site.rekey()["failures"] == []
        result = sync(place, site.base.path, OLD, **asked)
        assert (result["failures"], result["changed"]) == ([], False), said(result)
        assert f"{relpath} is there as it was before it was encrypted anew, for others, and stays so" in result["notes"]
        assert place.files()[f"dayabay/{relpath}"] == before[f"dayabay/{relpath}"]
