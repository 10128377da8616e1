"""What lies in a store is read back in time, and what is bad is told and replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.original_trees import put
from helpers.stores import (
    ALL,
    BUCKET,
    ITEMS,
    KINDS,
    TWO,
    Place,
    said,
    served,
    sync,
)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("kind", KINDS)
def test_other_bytes_in_a_store_are_found_told_and_replaced(kind: str, base: Path, tmp_path: Path) -> None:
    with served(kind, tmp_path / "store") as place:
        sync(place, base)
        place.write(f"dayabay/{TWO}", b"x" * (base / TWO).stat().st_size)
        result = sync(place, base, scope="all")
        assert result["mismatch"] == [TWO] and result["replaced"] == [TWO]
        assert f"{TWO} does not match its dna" in said(result)
        assert place.files()[f"dayabay/{TWO}"] == (base / TWO).read_bytes()
        assert not sync(place, base, scope="all")["failures"]


@pytest.mark.full
def test_all_is_read_back_within_the_days_that_are_given(base: Path, disk: Place) -> None:
    for day in range(12, 16):
        put(base, f"svn/x/2013/05/{day}/104701/x-{day}.tar", b"%d" % day * 40000)
    sync(disk, base, "2013/05/15/104701", keep=30, steps=["upload"])
    read: set[str] = set()
    for day in range(16, 19):
        result = sync(
            disk, base, f"2013/05/{day}/104701", keep=30, reverify_days=3, steps=["upload", "check"], expect={}
        )
        assert result["match"] and len(result["match"]) < 7
        assert not result["failures"]
        read.update(result["match"])
    assert len(read) == 7


@pytest.mark.full
def test_the_digest_of_a_bucket_tells_that_bytes_are_good_and_an_etag_of_parts_does_not(
    base: Path, bucket: Place
) -> None:
    put(base, "folders/z/2013/05/11/104701/z.tar", b"z" * (11 << 20))
    parts = {"items": [*ITEMS, "folders/z"], "expect": {}}
    environment = bucket.options["config"].replace("rclone.conf", "environment")
    Path(environment).write_text("RCLONE_S3_CHUNK_SIZE=5Mi\nRCLONE_CONFIG_THERE_UPLOAD_CUTOFF=5Mi\n")
    Path(environment).chmod(0o600)
    sync(bucket, base, store={"environment": environment}, **parts)
    result = sync(bucket, base, "2013/05/11/104702", **parts)
    assert result["bytes_read"] in (0, 11 << 20) and set(result["match"]) >= set(ALL)
    bucket.s3.delete_object(Bucket=BUCKET, Key="nothing")
    tag = bucket.s3.head_object(Bucket=BUCKET, Key="backup/dayabay/folders/z/2013/05/11/104701/z.tar")["ETag"]
    assert ("-" in tag) == (result["bytes_read"] > 0)
