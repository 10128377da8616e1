"""A bucket with object lock: what was put there is locked, and what was put over it does not replace it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.original_trees import marked, put, run_module
from helpers.stores import BUCKET, Place, said, sync

from ansible_collections.altbackup.core.plugins.module_utils.stores.locks import locker_of
from ansible_collections.altbackup.core.plugins.module_utils.stores.settings import parse_store, read_secrets
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

ONE, TWO = "svn/x/2013/05/10/104701/x-1.tar", "svn/x/2013/05/11/104701/x-2.tar"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a source's base with two tarballs."""
    base = marked(tmp_path / "dayabay")
    put(base, ONE, b"one" * 30000)
    put(base, TWO, b"two" * 30000)
    return base


def unlocked(place: Place) -> list[str]:
    """Return the paths of tarballs and sidecars that are not locked now."""
    return [
        path
        for path in place.files()
        if path.startswith("dayabay/")
        and "ObjectLockMode" not in place.s3.head_object(Bucket=BUCKET, Key=f"backup/{path}")
    ]


@pytest.mark.full
def test_what_a_killed_run_left_without_a_lock_is_locked_by_the_next(base: Path, bucket: Place) -> None:
    """It was killed before it locked the sidecar, or before it noted that it had put anything there."""
    days = bucket.options.pop("lock_days")
    sync(bucket, base, expect={})
    (memory,) = (base / ".altbackup/stores/vault").glob("*.json")
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "copies": {}}))
    bucket.options["lock_days"] = days
    assert unlocked(bucket)
    result = sync(bucket, base, expect={})
    assert not result["failures"], said(result)
    assert unlocked(bucket) == [] and set(result["locked_until"]) == {ONE, TWO}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("ending", ["", ".dna"])
def test_what_somebody_puts_over_a_locked_one_goes_and_the_good_one_is_read_again(
    ending: str, base: Path, bucket: Place
) -> None:
    assert not sync(bucket, base, expect={})["failures"]
    size = Path(f"{base / TWO}{ending}").stat().st_size
    bucket.write(f"dayabay/{TWO}{ending}", b"x" * size)
    result = sync(bucket, base, "2013/05/11/104702", expect={}, scope="all")
    healed = sync(bucket, base, "2013/05/11/104703", expect={}, scope="all")
    assert result["replaced"] == [TWO], said(result)
    assert not healed["failures"] and bucket.files()[f"dayabay/{TWO}"] == (base / TWO).read_bytes()
    assert unlocked(bucket) == []


def test_a_bucket_that_locks_for_longer_by_itself_is_respected(base: Path, bucket: Place) -> None:
    bucket.s3.put_object_lock_configuration(
        Bucket=BUCKET,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}},
        },
    )
    result = sync(bucket, base, expect={})
    assert not result["failures"], said(result)
    until = bucket.s3.head_object(Bucket=BUCKET, Key=f"backup/dayabay/{TWO}")["ObjectLockRetainUntilDate"]
    assert (until - bucket.s3.head_object(Bucket=BUCKET, Key=f"backup/dayabay/{TWO}")["LastModified"]).days >= 29


def test_a_dna_that_somebody_changed_is_found_in_the_same_night(base: Path, bucket: Place) -> None:
    """The digest of the tarball is as it was, which says nothing of its sidecar, without which nothing is restored."""
    bucket.options.pop("lock_days")
    assert not sync(bucket, base, expect={})["failures"]
    for ending in ("", ".dna"):
        (base / f"{ONE}{ending}").unlink()
    bucket.write(f"dayabay/{ONE}.dna", b"x" * len(bucket.files()[f"dayabay/{ONE}.dna"]))
    assert f"{ONE} has a malformed dna" in said(sync(bucket, base, "2013/05/11/104702", expect={}))


def test_what_lies_below_a_delete_marker_is_brought_if_it_has_the_bytes_that_it_should_have(
    base: Path, bucket: Place
) -> None:
    assert not sync(bucket, base, expect={})["failures"]
    wanted = [{"relpath": path, **json.loads((base / f"{path}.dna").read_text())} for path in (ONE, TWO)]
    bucket.write(f"dayabay/{TWO}", b"x" * 5000000)
    for path in (ONE, TWO):
        bucket.delete(f"dayabay/{path}")
    given = {"store": bucket.options, "base": str(base), "source": "dayabay", "step": "fetch", "fail": False}
    assert not run_module("store_fetch", **given, tarballs=wanted[:1])["failures"]
    assert (base / ".altbackup/fetched/vault/dayabay" / ONE).read_bytes() == (base / ONE).read_bytes()
    run_module("store_fetch", **{**given, "step": "remove"}, tarballs=[])
    assert "has 5000000 bytes below its delete marker" in said(run_module("store_fetch", **given, tarballs=wanted[1:]))


def test_a_lock_counts_below_what_was_put_over_it(base: Path, bucket: Place) -> None:
    """To remove what is over it would let a tarball stay without its dna."""
    assert not sync(bucket, base, expect={})["failures"]
    bucket.write(f"dayabay/{TWO}", (base / TWO).read_bytes())
    store = parse_store(bucket.options)
    locker = locker_of(store, read_secrets(store), Deadline(60))
    assert locker is not None and locker.is_locked(f"dayabay/{TWO}")
    assert not locker.is_locked("RESTORE.txt")
