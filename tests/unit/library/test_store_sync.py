"""Module store_sync, in process, on real stores: a folder, an account that has sftp alone, WebDAV, and a bucket with object lock."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.age_keys import age_key
from helpers.original_trees import modern_text, put, tree_hash
from helpers.stores import (
    ALL,
    BUCKET,
    KINDS,
    NEW,
    ONE,
    OTHER,
    TWO,
    Place,
    brought,
    said,
    served,
    sync,
    three_tarballs,
)
from helpers.trees import Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import shared


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a source's base with three tarballs."""
    return three_tarballs(tmp_path / "dayabay")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Place]:
    """Return a folder that is a store."""
    with served("disk", tmp_path / "store") as place:
        yield place


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Place]:
    """Return a bucket with object lock, in which what is put there is locked for three days."""
    with served("s3", tmp_path / "store") as place:
        place.options["lock_days"] = 3
        yield place


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", KINDS)
def test_a_store_gets_what_the_node_holds_and_a_second_call_does_nothing(kind: str, base: Path, tmp_path: Path) -> None:
    with served(kind, tmp_path / "store") as place:
        first = sync(place, base)
        assert not first["failures"] and first["changed"]
        assert first["uploaded"] == [TWO, OTHER, ONE], "the newest first"
        assert (first["kept"], first["counts"]) == (ALL, {"x": 1, "y": 1})
        files = place.files()
        for relpath in ALL:
            assert files[f"dayabay/{relpath}"] == (base / relpath).read_bytes()
            assert files[f"dayabay/{relpath}.dna"] == (base / f"{relpath}.dna").read_bytes()
        second = sync(place, base)
        assert not second["failures"] and not second["changed"] and not second["wire"]
        assert place.files() == files


def test_check_mode_predicts_and_writes_nothing(base: Path, disk: Place) -> None:
    before = tree_hash(base), disk.files()
    result = sync(disk, base, check=True)
    assert result["uploaded"] == [TWO, OTHER, ONE] and not result["failures"]
    assert (tree_hash(base), disk.files()) == before


@pytest.mark.full
def test_a_store_keeps_by_its_own_rules_and_gets_nothing_that_they_would_remove(base: Path, disk: Place) -> None:
    for day in range(12, 20):
        put(base, f"svn/x/2013/05/{day}/104701/x-{day}.tar", b"%d" % day * 4000)
    result = sync(disk, base, "2013/05/19/104701", keep=2, expect={"x": 1})
    assert [path for path in result["kept"] if path.startswith("svn")] == [
        f"svn/x/2013/05/{day}/104701/x-{day}.tar" for day in (18, 19)
    ]
    put(base, "svn/x/2013/05/20/104701/x-20.tar", b"20" * 4000)
    result = sync(disk, base, "2013/05/20/104701", keep=2, expect={"x": 1})
    assert result["removed"] == ["svn/x/2013/05/18/104701/x-18.tar"] and not result["failures"]
    assert "dayabay/svn/x/2013/05/18/104701/x-18.tar.dna" not in disk.files()


@pytest.mark.full
def test_a_hold_and_a_rule_that_fell_keep_what_would_go(base: Path, disk: Place) -> None:
    for day in range(12, 15):
        put(base, f"svn/x/2013/05/{day}/104701/x-{day}.tar", b"%d" % day * 4000)
    sync(disk, base, "2013/05/14/104701", keep=3, expect={"x": 1})
    fell = sync(disk, base, "2013/05/14/104702", keep=1, expect={"x": 1})
    assert "less is to be kept than before (keep from 3 to 1)" in said(fell) and not fell["removed"]
    marks = {"holds": {"svn/x/2013/05/12/104701": "audit"}}
    result = sync(disk, base, "2013/05/14/104703", keep=1, expect={"x": 1}, confirm=True, marks=marks)
    assert "svn/x/2013/05/12/104701/x-12.tar" in result["kept"] and result["removed"] == [
        "svn/x/2013/05/13/104701/x-13.tar"
    ]


@pytest.mark.full
def test_nothing_goes_of_an_item_that_is_missed(base: Path, disk: Place) -> None:
    sync(disk, base, keep=3)
    result = sync(disk, base, "2013/05/12/104701", keep=1, confirm=True)
    assert "expecting 1 tarball for x" in said(result) and not result["removed"] and result["kept"] == ALL


@pytest.mark.full
def test_a_locked_version_cannot_be_deleted_and_purge_leaves_it(base: Path, bucket: Place) -> None:
    first = sync(bucket, base)
    assert set(first["locked_until"]) == set(ALL)
    until = time.strptime(first["locked_until"][TWO], "%Y-%m-%dT%H:%M:%SZ")
    assert abs(time.mktime(until) - time.timezone - time.time() - 3 * 86400) < 3700
    assert "3 locked, the last one until" in "\n".join(first["notes"])
    for path in (f"dayabay/{TWO}", f"dayabay/{TWO}.dna"):
        (version,) = bucket.s3.list_object_versions(Bucket=BUCKET, Prefix=f"backup/{path}").get("Versions", [])[:1]
        with pytest.raises(ClientError, match="AccessDenied"):
            bucket.s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    put(base, "svn/x/2013/05/12/104701/x-3.tar", b"three" * 3000)
    result = sync(bucket, base, "2013/05/12/104701", keep=1, expect={"x": 1}, confirm=True)
    assert not result["removed"] and ONE in result["kept"]
    assert "2 tarballs would go, but the store keeps them locked until their dates" in result["notes"]


@pytest.mark.full
def test_what_a_lock_no_longer_keeps_goes_for_good(base: Path, bucket: Place) -> None:
    store = {"lock_days": 0}
    sync(bucket, base, store=store)
    put(base, "svn/x/2013/05/12/104701/x-3.tar", b"three" * 3000)
    result = sync(bucket, base, "2013/05/12/104701", keep=1, expect={"x": 1}, confirm=True, store=store)
    assert result["removed"] == [ONE, TWO], said(result)
    listed = bucket.s3.list_object_versions(Bucket=BUCKET, Prefix="backup/dayabay/svn/x/2013/05/1")
    listed = {**listed, "Versions": [one for one in listed["Versions"] if "/05/12/" not in one["Key"]]}
    assert not listed.get("Versions") and not listed.get("DeleteMarkers")


def test_a_delete_marker_is_a_failure_and_hides_nothing(base: Path, bucket: Place) -> None:
    sync(bucket, base)
    bucket.delete(f"dayabay/{TWO}")
    result = sync(bucket, base)
    assert f"dayabay/{TWO}" not in bucket.files()
    assert f"{TWO} was deleted in the store by somebody other than this collection" in said(result)
    assert "a delete marker hides it; the version below it is still there, and a restore reads it" in said(result)
    assert TWO not in result["kept"] and not result["uploaded"] and not result["removed"]
    assert "was there, and is gone" not in said(result)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"config": "/nonexistent/rclone.conf"}, "cannot be read"),
        ({"remote": ":s3,secret_access_key=x:bucket"}, "put them into rclone's configuration file"),
        ({"remote": "elsewhere:bucket"}, "there is no remote 'elsewhere'"),
        ({"remote": "mnt/drawer"}, "is neither a remote of rclone's configuration"),
        ({"remote": "/mnt/../drawer"}, "is not a plain absolute path"),
        ({"lock_days": 3}, "altbackup_store_lock_days locks objects of S3"),
    ],
)
def test_what_is_wrong_with_a_store_is_said_and_nothing_is_done(
    base: Path, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    config = tmp_path / "rclone.conf"
    config.write_text("[there]\ntype = webdav\nurl = http://127.0.0.1:9\n")
    config.chmod(0o600)
    place = Place("webdav", {"name": "vault", "config": str(config), "remote": "there:"}, None, tmp_path)
    result = sync(place, base, store=wrong)
    assert message in said(result) and not result["changed"]


def test_a_configuration_that_others_can_read_is_not_used(base: Path, tmp_path: Path) -> None:
    config = tmp_path / "rclone.conf"
    config.write_text("[there]\ntype = webdav\nurl = http://127.0.0.1:9\n")
    config.chmod(0o640)
    place = Place("webdav", {"name": "vault", "config": str(config), "remote": "there:"}, None, tmp_path)
    assert f"chmod 600 {config}" in said(sync(place, base))


@pytest.mark.full
def test_what_rclone_alone_brought_is_what_the_script_of_the_guides_restores_from(base: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "roles/synchronize/files/restore.sh"
    folder = tmp_path / "live" / "y"
    folder.mkdir(parents=True)
    (folder / "file").write_text("precious")
    stamp = "2013/05/12/104701"
    path = base / f"folders/y/{stamp}/y.tar"
    path.parent.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(folder.parent), "-cf", str(path), "y"], check=True)
    Path(f"{path}.dna").write_text(modern_text(path.read_bytes()))
    with served("sftp", tmp_path / "store") as place:
        result = sync(place, base, stamp, expect={"y": 1}, guides={"restore.sh": script.read_text()})
        assert not result["failures"], said(result)
        copy = brought(place, tmp_path / "brought")
    for words in (["list"], ["verify"], ["restore", "dayabay/folders/y", str(tmp_path / "back"), stamp]):
        ended = subprocess.run(["sh", str(copy / "restore.sh"), *words], check=False, capture_output=True)
        assert ended.returncode == 0, ended
    assert (tmp_path / "back" / "file").read_text() == "precious"


def test_a_store_is_told_nothing_of_what_its_source_has_encrypted(disk: Place, tmp_path: Path) -> None:
    planted = "planted-marker-4711"
    base, live, key = Base(tmp_path / "dayabay"), tmp_path / planted, age_key(tmp_path)
    live.mkdir()
    (live / f"{planted}.txt").write_text(planted * 9)
    form = ArchiveFormat(recipients=(key.recipient,))
    made = base.dump_one(item("folder", live, "y"), stamp=NEW, form=form)
    result = sync(disk, base.path, expect={"y": 1}, items=["folders/y"])
    assert not result["failures"], said(result)
    files = disk.files()
    assert files[f"dayabay/{made['relpath']}"] == Path(made["path"]).read_bytes()
    (record,) = (json.loads(content) for name, content in files.items() if "/records/" in name)
    assert record == shared(made["record"])
    for name, content in files.items():
        assert planted.encode() not in content, name
        assert made["record"]["manifest"].encode() not in content, name
