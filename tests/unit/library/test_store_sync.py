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
from helpers.original_trees import marked, modern_text, put, tree_hash
from helpers.rekeyed import Site
from helpers.stores import BUCKET, ITEMS, KINDS, NEW, PASSWORD, SECRET, Place, brought, said, served, sync
from helpers.trees import Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import shared

OLD = "2013/05/10/104701"
ONE, TWO, OTHER = f"svn/x/{OLD}/x-1.tar", f"svn/x/{NEW}/x-2.tar", f"folders/y/{NEW}/y.tar"
ALL = sorted([ONE, TWO, OTHER])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a source's base with three tarballs."""
    base = marked(tmp_path / "dayabay")
    put(base, ONE, b"one" * 30000)
    put(base, TWO, b"two" * 30000)
    put(base, OTHER, b"other" * 100)
    return base


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


@pytest.mark.sampled(3)
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


@pytest.mark.sampled(3)
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


def test_check_mode_predicts_and_writes_nothing(base: Path, disk: Place) -> None:
    before = tree_hash(base), disk.files()
    result = sync(disk, base, check=True)
    assert result["uploaded"] == [TWO, OTHER, ONE] and not result["failures"]
    assert (tree_hash(base), disk.files()) == before


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


def test_what_somebody_removes_is_told_and_comes_back(base: Path, disk: Place) -> None:
    sync(disk, base)
    disk.delete(f"dayabay/{TWO}")
    disk.delete(f"dayabay/{OTHER}")
    disk.delete(f"dayabay/{OTHER}.dna")
    result = sync(disk, base)
    assert f"{OTHER} was there, and is gone: somebody other than this collection removed it" in said(result)
    assert f"{TWO} is gone, its dna alone is there" in said(result)
    assert sorted(result["uploaded"] + result["replaced"]) == sorted([TWO, OTHER]) and result["kept"] == ALL


def test_an_unchanged_tarball_is_sent_once(base: Path, disk: Place) -> None:
    sync(disk, base)
    later = "2013/05/12/104701"
    put(base, f"svn/x/{later}/x-2.tar", b"two" * 30000)
    result = sync(disk, base, later, expect={"x": 1})
    assert result["uploaded"] == [f"svn/x/{later}/x-2.tar"] and result["wire"] == 0
    assert disk.folder is not None
    files = [disk.folder / "dayabay" / path for path in (TWO, f"svn/x/{later}/x-2.tar")]
    assert files[0].stat().st_ino == files[1].stat().st_ino


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


def test_nothing_goes_of_an_item_that_is_missed(base: Path, disk: Place) -> None:
    sync(disk, base, keep=3)
    result = sync(disk, base, "2013/05/12/104701", keep=1, confirm=True)
    assert "expecting 1 tarball for x" in said(result) and not result["removed"] and result["kept"] == ALL


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


def test_a_disk_that_is_away_is_a_note_and_then_a_failure_and_is_filled_when_it_is_back(
    base: Path, disk: Place
) -> None:
    assert disk.folder is not None
    week = {"absent_for": 7 * 86400.0}
    sync(disk, base, store=week)
    away = disk.folder.with_name("away")
    disk.folder.rename(away)
    disk.folder.mkdir()
    put(base, "svn/x/2013/05/12/104701/x-3.tar", b"three" * 3000)
    soon = sync(disk, base, "2013/05/12/104701", store=week)
    assert (
        not soon["failures"]
        and "was there last in the run of 2013/05/11/104701, and may be away for 7d" in soon["notes"][0]
    )
    late = sync(disk, base, "2013/05/20/104701", store=week)
    assert "longer ago than the 7d of altbackup_absent_for" in said(late)
    assert not list(disk.folder.iterdir()), "an empty mount point is no disk"
    disk.folder.rmdir()
    away.rename(disk.folder)
    back = sync(disk, base, "2013/05/20/104701", store=week, expect={})
    assert back["uploaded"] == ["svn/x/2013/05/12/104701/x-3.tar"] and not back["failures"]


def test_disks_in_rotation_are_stores_of_one_name(base: Path, disk: Place) -> None:
    assert disk.folder is not None
    week = {"absent_for": 7 * 86400.0}
    sync(disk, base, store=week)
    disk.folder.rename(disk.folder.with_name("first"))
    (disk.folder / ".altbackup").mkdir(parents=True)
    second = sync(disk, base, "2013/05/12/104701", store=week, expect={})
    assert sorted(second["uploaded"]) == ALL and not second["failures"]
    assert any("may be away for 7d" in note for note in second["notes"])
    ids = {
        json.loads((folder / ".altbackup/store.json").read_text())["id"]
        for folder in (disk.folder, disk.folder.with_name("first"))
    }
    assert len(ids) == 2
    late = sync(disk, base, "2013/05/19/104702", store=week, expect={})
    assert (
        "disk" in said(late)
        and "longer ago than the 7d" in said(late)
        and "If it is gone for good, remove" in said(late)
    )


def test_a_place_that_holds_something_else_is_not_taken_for_a_new_store(base: Path, tmp_path: Path) -> None:
    with served("webdav", tmp_path / "store") as place:
        place.write("precious.txt", b"of somebody else")
        result = sync(place, base)
        assert "is not empty: nothing was touched" in said(result)
        assert set(place.files()) == {"precious.txt"}
        assert not sync(place, base, adopt=True)["failures"]


def test_a_store_that_was_emptied_is_not_filled_again_unless_that_is_meant(base: Path, tmp_path: Path) -> None:
    with served("webdav", tmp_path / "store") as place:
        sync(place, base)
        for path in place.files():
            place.delete(path)
        assert "was it emptied, or is it another place?" in said(sync(place, base))
        assert not place.files()
        assert sorted(sync(place, base, adopt=True)["uploaded"]) == ALL


def test_secrets_reach_neither_arguments_nor_messages(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "rclone").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{seen}\nexec /usr/bin/rclone -vv "$@"\n')
    (tools / "rclone").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin")
    with served("s3", tmp_path / "store") as place:
        place.s3.delete_bucket(Bucket=BUCKET)
        result = sync(place, base)
        assert result["failures"] and SECRET not in json.dumps(result) and SECRET not in seen.read_text()
        assert PASSWORD not in json.dumps(result)


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
